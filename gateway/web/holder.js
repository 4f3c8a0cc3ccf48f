// One holder: figures, the score over time, and the holds of each token.
import {el, Figure, idNode, say, plural} from './dom.js';
import {group} from './decimal.js';
import {duration, millis, now, parseTime, readable, timeText} from './time.js';
import {holderPath, inPath, read, readLines, savesWithKey, status, Watch} from './server.js';
import {Line} from './line.js';
import {everyBeat, isPaused, pause, repeat, soon} from './ticker.js';
import {choice, copyable, fact, failed, toggle} from './parts.js';
import {Chart} from './chart.js';
import {Timeline} from './timeline.js';
import {Proved} from './proved.js';

const HOLDS = 2000;    // of a holder, drawn and listed
const TOKENS = 8;      // drawn at first
const POINTS = 160;
const AGAIN = 15000;   // ms between two looks at what grows with time alone

const SPANS = [['all', 'All time'], ['365d', 'Year'], ['30d', '30 days'], ['1d', '24 hours'], ['1h', 'Hour']];
const DAYS = {'365d': 365, '30d': 30, '1d': 1, '1h': 1 / 24};

export function holder(main, id, options, leave) {
  new Holder(main, id, options, leave).begin();
}

class Holder {
  constructor(main, id, options, leave) {
    Object.assign(this, {main, id, options, leave});
    this.span = DAYS[options.get('span')] ? options.get('span') : options.get('from') || options.get('to') ? 'own' : 'all';
    this.chartToken = options.get('token') ?? '';
    this.chart = new Chart();
    this.timelines = [];
    this.tokensShown = TOKENS;
    this.score = new Figure('figure exact');
    this.rate = new Figure();
    this.settled = new Figure();
    this.proved = new Proved();
    this.facts = {rank: el('span'), share: el('span'), held: el('span'), tokens: el('span')};
  }

  // address is this view with other options.
  address(change) {
    const q = new URLSearchParams(this.options);
    for (const [name, value] of Object.entries(change)) {
      if (value) q.set(name, value);
      else q.delete(name);
    }
    const text = q.toString();
    return '#/holder/' + encodeURIComponent(this.id) + (text && '?' + text);
  }

  // window is what the reads ask for, again each time where it ends now.
  window() {
    if (DAYS[this.span]) {
      const from = now() - BigInt(Math.round(DAYS[this.span] * 86400)) * 1000000000n;
      return {from: timeText(from > 0n ? from : 0n)};
    }
    return {from: this.options.get('from') ?? '', to: this.options.get('to') ?? ''};
  }

  get endsNow() {
    return this.span !== 'own' || !this.options.get('to');
  }

  begin() {
    this.draw();
    if (!inPath(this.id)) {
      this.place.replaceChildren(el('div', {class: 'empty'}, el('h2', {}, 'This id cannot be shown here'),
        el('p', {}, 'A browser takes it for a way up the path. ', el('a', {href: 'scores?holder=' + encodeURIComponent(this.id)}, 'Its figures are here'), '.')));
      return;
    }
    this.watch = new Watch({snapshot: s => this.heard(s), gone: () => this.refreshSoon()});
    this.leave.addEventListener('abort', () => this.watch.close());
    this.refreshSoon = soon(() => this.refresh(), 400, this.leave);
    new ResizeObserver(soon(() => this.redraw(), 60, this.leave)).observe(this.place);
    status(this.leave).catch(() => {}).then(() => {
      if (this.leave.aborted) return;
      this.watch.open({holder: this.id});
      repeat(() => this.refresh(), AGAIN, this.leave);
    });
    everyBeat(t => this.beat(t), this.leave);
  }

  draw() {
    const time = (name, label) => {
      const field = el('input', {type: 'text', name, id: `window-${name}`, value: this.options.get(name) ?? '', placeholder: name === 'from' ? '2026-01-01' : 'now', spellcheck: 'false', autocomplete: 'off', size: '20'});
      return [el('label', {for: `window-${name}`}, label), field];
    };
    this.windowProblem = el('span', {class: 'failed', role: 'alert'});
    this.place = el('div', {class: 'place'}, el('p', {class: 'quiet'}, 'Reading the holder…'));
    this.main.append(
      el('p', {class: 'eyebrow'}, 'Holder'),
      el('div', {class: 'who'}, el('h1', {tabindex: '-1', class: this.id.length > 48 && 'long'}, idNode(this.id)), copyable(() => this.id, 'the id')),
      this.place);
    this.figures = el('div', {class: 'figures'},
      el('div', {class: 'big'},
        el('div', {class: 'head'},
          el('h2', {class: 'eyebrow', id: 'score-name'}, this.span === 'all' ? 'Live score' : 'Live score in the window'),
          copyable(() => this.score.node.dataset.exact ?? '', 'the score')),
        el('p', {class: 'exactly', id: 'score'}, this.score.node),
        this.motion = el('p', {class: 'quiet'})),
      el('dl', {class: 'facts'},
        fact('Rank', this.facts.rank),
        fact('Share of all', this.facts.share),
        fact('Held', this.facts.held),
        fact('Settled', this.settled.node),
        fact('Tokens', this.facts.tokens),
        this.proved.node));
    this.controls = el('div', {class: 'controls'},
      choice('Window', 'span', this.span === 'own' ? [...SPANS, ['own', 'Own']] : SPANS, this.span, v => {
        location.hash = this.address({span: v === 'all' ? '' : v, from: '', to: ''});
      }),
      el('form', {class: 'filter', onsubmit: e => this.ownWindow(e)}, ...time('from', 'From'), ...time('to', 'to'),
        el('button', {type: 'submit'}, 'Apply'), this.windowProblem),
      el('span', {class: 'spread'}),
      toggle('Pause', isPaused(), on => pause(on), 'pause'));
    this.pick = el('select', {id: 'chart-token', onchange: e => { location.hash = this.address({token: e.target.value}); }});
    this.csv = el('a', {download: ''}, 'CSV');
    this.holdsCSV = el('a', {download: ''}, 'CSV');
    savesWithKey(this.csv, () => 'history.csv');
    savesWithKey(this.holdsCSV, () => 'holds.csv');
    this.overTime = el('section', {'aria-labelledby': 'over-time'},
      el('header', {class: 'bar'}, el('h2', {id: 'over-time'}, 'Score over time'), el('span', {class: 'spread'}),
        el('label', {for: 'chart-token'}, 'Token'), this.pick, this.csv),
      this.chart.node);
    this.holdsPlace = el('div');
    this.holds = el('section', {'aria-labelledby': 'holds-title'},
      el('header', {class: 'bar'}, el('h2', {id: 'holds-title'}, 'Holds'), el('span', {class: 'spread'}), this.holdsCSV),
      el('ul', {class: 'legend', 'aria-label': 'Legend'},
        el('li', {}, el('i', {class: 'k-solid'}), 'counts'),
        el('li', {}, el('i', {class: 'k-hatch'}), 'covered by another hold, counts nothing'),
        el('li', {}, el('i', {class: 'k-open'}), 'still open')),
      this.holdsPlace);
  }

  ownWindow(e) {
    e.preventDefault();
    const form = new FormData(e.target);
    const read = name => {
      const text = form.get(name).trim();
      if (text === '' || text === 'now') return '';
      const plain = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)?$/.test(text);
      const full = !plain ? text : text.length === 10 ? text + 'T00:00:00Z' : text.length === 16 ? text.replace(' ', 'T') + ':00Z' : text.replace(' ', 'T') + 'Z';
      if (!/^\d+(\.\d+)?$/.test(full) && (Number.isNaN(Date.parse(full)) || !/(Z|[+-]\d\d:\d\d)$/.test(full))) throw name;
      return full;
    };
    try {
      location.hash = this.address({from: read('from'), to: read('to'), span: ''});
    } catch (name) {
      this.windowProblem.textContent = `“${form.get(name)}” is not a time: write it as 2026-01-31 or 2026-01-31 14:00, in UTC.`;
      document.getElementById(`window-${name}`).focus();
    }
  }

  heard(s) {
    if (s.holder_id !== this.id) return;
    const news = this.position !== undefined && s.position !== this.position;
    this.position = s.position;
    this.snapshot = s;
    if (news || !this.read) this.refreshSoon();
    this.setLine();
    this.proved.look(this.position, this.leave);
  }

  // setLine: the rate is the snapshot's; where the score starts from is the
  // word of the read, which knows the window.
  setLine() {
    if (!this.read) return;
    const s = this.snapshot;
    const moves = s && this.endsNow && (s.until === undefined || parseTime(s.until) > parseTime(this.read.as_of));
    this.line = new Line(this.read.score, moves ? s.live_rate : '0', this.read.as_of, moves ? s.until : null);
    const rate = moves && s.live_rate !== '0';
    this.rate.show(rate ? s.live_rate : '0');
    this.motion.replaceChildren(...(rate ? ['grows by ', this.rate.node, ' a second, weight × seconds'] :
      [this.endsNow ? 'stands still: no hold is open; weight × seconds' : 'weight × seconds']));
    this.figures.classList.toggle('moves', Boolean(rate));
    this.beat(now(), true);
  }

  beat(t, force) {
    if (!this.line || isPaused() && !force) return;
    this.score.show(this.line.text(t), {full: true});
    this.score.node.dataset.at = t;
    if (this.line.moves && this.line.over(t)) this.refreshSoon();
  }

  async refresh() {
    if (this.asking) {
      this.askAgain = true;
      return;
    }
    this.asking = true;
    try {
      await this.reads();
    } catch (err) {
      if (!this.leave.aborted) this.refused(err);
    } finally {
      this.asking = false;
      if (this.askAgain && !this.leave.aborted) {
        this.askAgain = false;
        this.refreshSoon();
      }
    }
  }

  async reads() {
    const w = this.window();
    const [figures, rank, history, holds] = await Promise.all([
      read(holderPath(this.id), w, this.leave),
      read(holderPath(this.id, '/rank'), {by: 'live'}, this.leave).catch(() => null), // without it the rest is still worth reading
      read(holderPath(this.id, '/history'), {...w, token: this.chartToken, points: POINTS}, this.leave).catch(err => err),
      readLines(holderPath(this.id, '/holds'), w, HOLDS, this.leave),
    ]);
    const first = !this.read;
    this.read = figures;
    if (first) this.place.replaceChildren(this.figures, this.controls, this.overTime, this.holds);
    this.facts.rank.replaceChildren(...(rank ? [`${group(String(rank.rank))}`, el('small', {}, ` of ${group(String(rank.count))}`)] : ['–']));
    this.facts.share.textContent = rank?.share !== undefined ? percent(rank.share) : '–';
    this.facts.held.textContent = duration(Number(figures.held_seconds));
    this.facts.held.title = `${figures.held_seconds} seconds, summed over tokens`;
    this.settled.show(figures.settled_score);
    this.facts.tokens.textContent = group(String(figures.tokens.length));
    this.setLine();
    this.proved.look(this.position, this.leave);
    this.tokens(figures.tokens);
    const url = (rest, more) => holderPath(this.id, rest) + '?' + new URLSearchParams(Object.entries({...w, ...more, format: 'csv'}).filter(([, v]) => v !== ''));
    this.csv.href = url('/history', {token: this.chartToken, points: POINTS});
    this.holdsCSV.href = url('/holds', {});
    if (history instanceof Error) this.chart.node.replaceChildren(failed(history));
    else this.chart.show(history, this.span === 'all');
    this.timelinesOf(holds, millis(parseTime(figures.as_of)));
    if (first) say(`${plural(figures.tokens.length, 'token')}` + (rank ? `, rank ${rank.rank} of ${rank.count}` : ''));
  }

  tokens(list) {
    const ids = list.slice(0, 500).map(t => t.token_id);
    if (this.chartToken && !ids.includes(this.chartToken)) ids.push(this.chartToken);
    if (this.pick.options.length === ids.length + 1) return;
    this.pick.replaceChildren(el('option', {value: '', selected: this.chartToken === ''}, 'all'),
      ...ids.map(id => el('option', {value: id, selected: id === this.chartToken}, id)));
  }

  timelinesOf({rows, more}, to) {
    const drawn = rows.filter(r => r.start); // a row without is of holds that were sealed, which have no line
    const openDetails = new Map(this.timelines.map(t => [t.token, t.node.querySelector('details').open]));
    const byToken = Map.groupBy(rows, r => r.token_id);
    const w = this.window();
    let from = w.from && parseTimeOrSeconds(w.from);
    if (!from) from = drawn.reduce((m, r) => Math.min(m, millis(parseTime(r.start))), to);
    const tokens = [...byToken.keys()];
    this.timelines = tokens.slice(0, this.tokensShown).map((token, i) => {
      const t = new Timeline(token, byToken.get(token).filter(r => r.start), from, to, more && i === tokens.length - 1, byToken.get(token).find(r => !r.start));
      t.token = token;
      if (openDetails.has(token)) t.node.querySelector('details').open = openDetails.get(token);
      return t;
    });
    const focus = this.holdsPlace.contains(document.activeElement) ? focusPath(this.holdsPlace) : null;
    this.holdsPlace.replaceChildren(
      ...rows.length === 0 ? [el('p', {class: 'quiet'}, 'No hold reaches into this window.')] : [],
      ...this.timelines.map(t => t.node),
      ...tokens.length > this.tokensShown ? [el('button', {type: 'button', class: 'more', onclick: () => {
        this.tokensShown *= 4;
        this.timelinesOf({rows, more}, to);
      }}, `Show more of the ${tokens.length} tokens`)] : [],
      ...more ? [el('p', {class: 'quiet'}, `These are the first ${group(String(HOLDS))} holds; the CSV has all.`)] : []);
    focus?.();
    this.redraw();
  }

  redraw() {
    this.chart.draw();
    for (const t of this.timelines) t.draw();
  }

  refused(err) {
    if (this.read && err.status !== 422) return; // what was read stays; the notice above says that the server is away
    this.place.replaceChildren(err.status === 404 ?
      el('div', {class: 'empty'},
        el('h2', {}, 'No such holder'),
        el('p', {}, 'Nothing was ever recorded for this id. Ids are compared letter by letter, upper and lower case too.'),
        /^0x/i.test(this.id) && this.id !== this.id.toLowerCase() && el('p', {}, el('a', {href: '#/holder/' + encodeURIComponent(this.id.toLowerCase())}, 'The same address in lower case')),
        el('p', {}, el('a', {href: '#/'}, 'To the leaderboard'))) :
      el('div', {}, failed(err), err.status === 422 && el('p', {}, el('a', {href: this.address({from: '', to: '', span: ''})}, 'All time'))));
    if (err.status === 404) say('No such holder');
  }
}

// focusPath remembers which of its kind had the focus, since what is drawn again is
// another node.
function focusPath(root) {
  const kind = 'summary, button, [tabindex]';
  const i = [...root.querySelectorAll(kind)].indexOf(document.activeElement);
  return () => root.querySelectorAll(kind)[i]?.focus({preventScroll: true});
}

function percent(share) {
  const p = share * 100;
  if (p === 0) return '0 %';
  return p < 0.01 ? '< 0.01 %' : `${p.toFixed(p < 1 ? 2 : 1)} %`;
}

function parseTimeOrSeconds(text) {
  return /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text);
}
