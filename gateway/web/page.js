// The page: which view the address asks for, the search, and the notice that the
// server is away.
import {el, idNode, say, holderLink} from './dom.js';
import {clockText} from './time.js';
import {link} from './server.js';
import {access, isKey} from './access.js';
import {board} from './board.js';
import {holder} from './holder.js';
import {system} from './system.js';

const main = document.getElementById('main');
const find = document.getElementById('find');
const field = document.getElementById('holder');

// route reads an address: #/, #/system, #/holder/<id>, each with ?name=value.
function route(hash) {
  const [path, query = ''] = hash.replace(/^#\/?/, '').split('?', 2);
  const [view, id] = path.split('/');
  const options = new URLSearchParams(query);
  if (view === 'holder' && id) {
    try {
      return {view, id: decodeURIComponent(id), options};
    } catch {
      return {view: 'unknown', options};
    }
  }
  return {view: view === '' ? 'board' : view === 'system' ? view : 'unknown', options};
}

let leave = null;
let shown = null;

function show() {
  const r = route(location.hash);
  const key = r.view + '/' + (r.id ?? '');
  leave?.abort();
  leave = new AbortController();
  const turned = shown !== null && shown !== key;
  const refocus = document.activeElement?.id && main.contains(document.activeElement) ? document.activeElement.id : null;
  shown = key;
  for (const a of document.querySelectorAll('nav [data-view]')) {
    if (a.dataset.view === r.view) a.setAttribute('aria-current', 'page');
    else a.removeAttribute('aria-current');
  }
  field.value = r.id ?? '';
  main.replaceChildren();
  switch (r.view) {
    case 'board':
      document.title = 'Leaderboard · holdmetrics';
      board(main, r.options, leave.signal);
      break;
    case 'system':
      document.title = 'System · holdmetrics';
      system(main, leave.signal);
      break;
    case 'holder':
      document.title = r.id + ' · holdmetrics';
      holder(main, r.id, r.options, leave.signal);
      break;
    default:
      document.title = 'Not found · holdmetrics';
      main.append(el('div', {class: 'empty'},
        el('h1', {tabindex: '-1'}, 'There is nothing at this address'),
        el('p', {}, el('a', {href: '#/'}, 'To the leaderboard'))));
  }
  if (turned) {
    scrollTo(0, 0);
    main.querySelector('h1')?.focus({preventScroll: true});
  } else if (refocus) {
    document.getElementById(refocus)?.focus({preventScroll: true});
  }
}

addEventListener('hashchange', show);

// A page that a browser keeps for the way back must not keep its connections: of
// those there are six to a server, for all its pages.
addEventListener('pagehide', () => leave?.abort());
addEventListener('pageshow', e => e.persisted && show());

find.addEventListener('submit', e => {
  e.preventDefault();
  const id = field.value;
  if (id === '') {
    say('Type the id of a holder');
    field.focus();
    return;
  }
  const to = holderLink(id);
  if (location.hash === to) show();
  else location.hash = to;
});

document.getElementById('skip').addEventListener('click', e => {
  e.preventDefault(); // the address names the view
  main.focus();
});

addEventListener('keydown', e => {
  if (e.key !== '/' || e.ctrlKey || e.metaKey || e.altKey) return;
  if (/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName)) return;
  e.preventDefault();
  field.focus();
  field.select();
});

const notice = document.getElementById('notice');
let tell;
link.listeners.add(() => {
  clearTimeout(tell);
  if (link.lost === null) {
    notice.hidden = true;
    if (notice.hasChildNodes()) say('The server answers again');
    notice.replaceChildren();
    document.body.classList.remove('away');
    return;
  }
  document.body.classList.add('away');
  // A server that is restarted is back before this is worth a word.
  tell = setTimeout(() => {
    notice.hidden = false;
    notice.replaceChildren(
      el('strong', {}, 'The server does not answer.'),
      ` Figures stand still since ${clockText(link.lost)} UTC. The page tries again by itself. `,
      el('button', {type: 'button', onclick: () => show()}, 'Try now'));
  }, 1500);
});

// The key: asked for when the server wants one, or when the reader wants another.
const ask = document.getElementById('access');
const typed = document.getElementById('access-key');
const why = document.getElementById('access-why');
const opener = document.getElementById('access-open');

function askForKey(text) {
  why.textContent = text;
  document.getElementById('access-clear').hidden = isSecureContext;
  ask.hidden = false;
  typed.focus();
}

access.listeners.add(() => {
  opener.textContent = access.hasKey() ? 'Forget the key' : 'Use a key';
  // Where keys count, /metrics wants one, which a link does not send.
  document.getElementById('metrics').hidden = access.hasKey() || access.denied !== null;
  if (access.denied === null) {
    ask.hidden = true;
    return;
  }
  askForKey(access.hasKey() ? 'The key was not taken: ' + access.denied : '');
});

ask.addEventListener('submit', e => {
  e.preventDefault();
  const text = typed.value.trim();
  typed.value = '';
  if (!isKey(text)) {
    askForKey('A key is one word, as it was shown when it was made.');
    return;
  }
  access.use(text);
  say('The key is in use');
  show();
});

opener.addEventListener('click', () => {
  if (!access.hasKey()) {
    askForKey('');
    return;
  }
  access.use('');
  say('The key is forgotten');
  show();
});

show();
