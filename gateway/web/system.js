// The system: throughput, lag, and who owns which partition.
import {el, svg, idNode, plural, say} from './dom.js';
import {group} from './decimal.js';
import {millis, parseTime, readable} from './time.js';
import {status} from './server.js';
import {repeat} from './ticker.js';
import {fact, failed, lagOf, lagEvents, lagSeconds} from './parts.js';

const EVERY = 2000, SAMPLES = 90;

const samples = []; // stays while the reader looks at other views

export function system(main, leave) {
  const facts = Object.fromEntries(['events', 'lag', 'holders', 'watchers', 'total', 'generation'].map(n => [n, el('span')]));
  const picture = el('div', {class: 'picture spark'});
  const cells = el('ul', {class: 'partitions', 'aria-label': 'Partitions'});
  const rows = el('tbody');
  const workers = el('ul', {class: 'workers'});
  const place = el('div', {class: 'place'}, el('p', {class: 'quiet'}, 'Asking the server…'));
  const content = el('div', {},
    el('dl', {class: 'facts'},
      fact('Events', facts.events), fact('Lag', facts.lag), fact('Holders', facts.holders),
      fact('Applied in all', facts.total), fact('Watchers', facts.watchers), fact('Generation', facts.generation)),
    el('section', {'aria-labelledby': 'through'}, el('header', {class: 'bar'}, el('h2', {id: 'through'}, 'Throughput')), picture),
    el('section', {'aria-labelledby': 'parts'}, el('header', {class: 'bar'}, el('h2', {id: 'parts'}, 'Partitions')), cells,
      el('details', {}, el('summary', {}, 'As a table'),
        el('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Partitions as a table'}, el('table', {class: 'plain'},
          el('thead', {}, el('tr', {}, ...['Partition', 'State', 'Owner'].map(h => el('th', {scope: 'col'}, h)),
            ...['Epoch', 'Position', 'Stored', 'Published', 'End', 'Lag', 'Lag in events', 'Lag in seconds', 'Events', 'Rejected'].map(h => el('th', {scope: 'col', class: 'number'}, h)),
            el('th', {scope: 'col'}, 'Applied through'))), rows)))),
    el('section', {'aria-labelledby': 'owners'}, el('header', {class: 'bar'}, el('h2', {id: 'owners'}, 'Owners')), workers));
  main.append(el('div', {class: 'lead'}, el('h1', {tabindex: '-1'}, 'System')), place);

  const show = s => {
    const at = millis(parseTime(s.at));
    const before = samples.at(-1);
    if (before && (s.events < before.events || s.generation !== before.generation || at - before.at > 10 * EVERY)) samples.length = 0;
    if (!before || at > before.at) samples.push({at, events: s.events, generation: s.generation});
    if (samples.length > SAMPLES) samples.shift();
    if (!content.isConnected) {
      place.replaceChildren(content);
      say(`${plural(s.partitions.length, 'partition')}, lag ${lagOf(s)}`);
    }
    const rates = samples.slice(1).map((p, i) => ({at: p.at, rate: (p.events - samples[i].events) / ((p.at - samples[i].at) / 1000)}));
    facts.events.textContent = rates.length ? `${group(String(Math.round(rates.at(-1).rate)))} /s` : '–';
    facts.lag.textContent = lagOf(s);
    facts.holders.textContent = group(String(s.holders));
    facts.total.textContent = group(String(s.events));
    facts.watchers.textContent = group(String(s.watchers));
    facts.generation.textContent = s.generation || '–';
    facts.generation.title = [s.rules && `rules ${s.rules}`, s.prepared && `${s.prepared} is prepared`].filter(Boolean).join('; ');
    spark(picture, rates);
    cells.replaceChildren(...s.partitions.map(p => el('li', {class: p.trouble ? 'bad' : p.lag > 0 ? 'behind' : 'good'},
      el('b', {}, `${p.partition}`), el('span', {}, p.state),
      el('span', {class: 'quiet'}, p.trouble ? p.trouble : p.lag > 0 ? `lag ${lagEvents(p)}` : `${group(String(p.events))} events`))));
    rows.replaceChildren(...s.partitions.map(p => el('tr', {},
      el('th', {scope: 'row'}, p.partition), el('td', {}, p.state), el('td', {}, idNode(p.owner)),
      ...[p.epoch, p.position, p.stored, p.published, p.end, p.lag].map(n => el('td', {class: 'number'}, group(String(n)))),
      el('td', {class: 'number'}, lagEvents(p)), el('td', {class: 'number'}, lagSeconds(p)),
      ...[p.events, p.rejected].map(n => el('td', {class: 'number'}, group(String(n)))),
      el('td', {}, p.applied_through ? readable(millis(parseTime(p.applied_through))) : '–'))));
    workers.replaceChildren(...(s.workers.length ? s.workers.map(w => el('li', {}, el('b', {}, idNode(w.id)), ` owns ${plural(w.partitions.length, 'partition')}: ${ranges(w.partitions)}`)) :
      [el('li', {class: 'quiet'}, 'Nobody owns a partition.')]));
    document.getElementById('version').textContent = s.version ? `holdmetrics ${s.version}` : '';
  };

  repeat(async () => {
    try {
      show(await status(leave));
    } catch (err) {
      if (!leave.aborted && !content.isConnected) place.replaceChildren(failed(err));
    }
  }, EVERY, leave);
}

// ranges writes 0, 1, 2, 5 as 0–2, 5.
function ranges(list) {
  const parts = [];
  for (const n of list) {
    const last = parts.at(-1);
    if (last && last[1] === n - 1) last[1] = n;
    else parts.push([n, n]);
  }
  return parts.map(([a, b]) => a === b ? `${a}` : `${a}–${b}`).join(', ');
}

function spark(picture, rates) {
  const width = picture.clientWidth, height = 90;
  if (!width) return;
  if (rates.length < 2) {
    picture.replaceChildren(el('p', {class: 'quiet'}, 'Being measured…'));
    return;
  }
  const highest = Math.max(...rates.map(r => r.rate)), most = Math.max(1, highest);
  const from = rates[0].at, to = rates.at(-1).at;
  const x = t => (t - from) / (to - from) * (width - 2) + 1, y = v => height - 4 - v / most * (height - 26);
  const line = rates.map((r, i) => `${i ? 'L' : 'M'}${x(r.at).toFixed(1)} ${y(r.rate).toFixed(1)}`).join('');
  picture.replaceChildren(svg('svg', {width, height, viewBox: `0 0 ${width} ${height}`, role: 'img',
    'aria-label': `Events a second over the last ${Math.round((to - from) / 1000)} seconds: at most ${Math.round(highest)}, now ${Math.round(rates.at(-1).rate)}`},
  svg('text', {x: 1, y: 12, class: 'label'}, `highest ${group(String(Math.round(highest)))} /s in the last ${Math.round((to - from) / 1000)} s`),
  svg('path', {class: 'under', d: `${line}L${x(to)} ${height - 4}L${x(from)} ${height - 4}Z`}),
  svg('path', {class: 'line live', d: line})));
}
