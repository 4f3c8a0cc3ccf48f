// The leaderboard. Who is on it, and in what order, is the word of GET /top,
// asked again every few seconds and as soon as an event shows that it may have
// changed. How the scores of those on it move is in their snapshots, which
// the watch brings, and by the lines in them.
import {el, Figure, idNode, holderLink, say, still, plural, compareIds} from './dom.js';
import {exact, group, parse} from './decimal.js';
import {clockText, millis, now, parseTime, readable} from './time.js';
import {read, status, Watch} from './server.js';
import {lineOfRank, lineOfSnapshot} from './line.js';
import {everyBeat, isPaused, pause, repeat, soon} from './ticker.js';
import {choice, copyable, fact, lagOf, toggle} from './parts.js';

const PAGE = 25, MOST = 400;
const WATCH_ALL = 500;        // up to so many holders, everyone's changes are followed
const WATCH_LENGTH = 12000;   // of an address, which a server bounds
const AGAIN = 5000;           // ms between two looks at the ranking
const SORT = 1000;            // ms between two looks at the order on the page

export function board(main, options, leave) {
  const by = options.get('by') === 'settled' ? 'settled' : 'live';
  const token = options.get('token') ?? '';
  const b = new Board(main, by, token, leave);
  b.begin();
}

function address(by, token) {
  const query = new URLSearchParams();
  if (by !== 'live') query.set('by', by);
  if (token !== '') query.set('token', token);
  const text = query.toString();
  return '#/' + (text && '?' + text);
}

class Board {
  constructor(main, by, token, leave) {
    Object.assign(this, {main, by, token, leave, limit: PAGE, full: false});
    this.rows = new Map();       // by holder, those on the page
    this.snapshots = new Map();  // by holder: what the watch has sent, which beats the ranking
    this.watched = undefined;    // undefined: nobody yet; null: all; else a set
    this.sortedAt = 0;
    this.facts = {holders: el('span'), rate: el('span'), lag: el('span'), through: el('span')};
  }

  begin() {
    this.draw();
    this.watch = new Watch({
      snapshot: s => this.heard(s),
      gone: id => {
        this.snapshots.delete(id);
        this.refreshSoon();
      },
      complete: () => this.refresh(),
    });
    this.leave.addEventListener('abort', () => this.watch.close());
    this.refreshSoon = soon(() => this.refresh(), 400, this.leave);
    // A ranking may be a second old: who came after it was made is on the next one.
    this.refreshLater = soon(() => this.refresh(), 1600, this.leave);
    repeat(() => this.refresh(), AGAIN, this.leave);
    repeat(() => this.health(), 2000, this.leave);
    everyBeat(t => this.beat(t), this.leave);
  }

  draw() {
    const tokenField = el('input', {id: 'token', name: 'token', type: 'text', value: this.token, placeholder: 'all tokens', spellcheck: 'false', autocapitalize: 'off', autocomplete: 'off'});
    this.tbody = el('tbody', {role: 'rowgroup'});
    this.table = el('table', {class: 'board', 'data-by': this.by, role: 'table', 'aria-labelledby': 'title', hidden: true},
      el('thead', {role: 'rowgroup'}, el('tr', {role: 'row'},
        el('th', {role: 'columnheader', scope: 'col'}, 'Rank'),
        el('th', {role: 'columnheader', scope: 'col'}, 'Holder'),
        el('th', {role: 'columnheader', scope: 'col', class: 'number'}, this.by === 'live' ? 'Live score' : 'Settled score'),
        el('th', {role: 'columnheader', scope: 'col', class: 'number'}, this.by === 'live' ? 'Per second' : 'Live score'))),
      this.tbody);
    this.more = el('button', {type: 'button', class: 'more', hidden: true, onclick: () => {
      this.limit = Math.min(this.limit * 2, MOST);
      this.refresh();
    }}, 'Show more');
    this.place = el('div', {class: 'place'}, el('p', {class: 'quiet'}, 'Reading the ranking…'));
    this.stamp = el('p', {class: 'stamp'});
    this.main.append(
      el('div', {class: 'lead'},
        el('h1', {id: 'title', tabindex: '-1'}, 'Leaderboard'),
        el('dl', {class: 'facts'},
          fact('Holders', this.facts.holders),
          fact('Events', this.facts.rate),
          fact('Lag', this.facts.lag),
          fact('Applied through', this.facts.through))),
      el('div', {class: 'controls'},
        choice('Ranked by', 'by', [['live', 'Live'], ['settled', 'Settled']], this.by, v => { location.hash = address(v, this.token); }),
        el('form', {class: 'filter', onsubmit: e => { e.preventDefault(); location.hash = address(this.by, tokenField.value); }},
          el('label', {for: 'token'}, 'Token'), tokenField,
          this.token !== '' && el('a', {href: address(this.by, '')}, 'all tokens')),
        el('span', {class: 'spread'}),
        toggle('All digits', this.full, on => { this.full = on; this.table.classList.toggle('full', on); this.beat(now(), true); }, 'digits'),
        toggle('Pause', isPaused(), on => { pause(on); this.table.classList.toggle('paused', on); }, 'pause')),
      this.place, this.table, this.more, this.stamp);
  }

  // refresh asks who is on the board.
  async refresh() {
    if (isPaused() && this.rows.size > 0) return;
    if (this.asking) {
      this.askAgain = true;
      return;
    }
    this.asking = true;
    try {
      this.take(await read('top', {by: this.by, token: this.token, limit: this.limit}, this.leave));
    } catch (err) {
      if (this.leave.aborted) return;
      if (this.rows.size === 0) this.refused(err);
    } finally {
      this.asking = false;
      if (this.askAgain && !this.leave.aborted) {
        this.askAgain = false;
        this.refreshSoon();
      }
    }
  }

  refused(err) {
    this.place.hidden = false;
    if (err.status === 404 && this.token !== '') {
      this.place.replaceChildren(el('div', {class: 'empty'},
        el('h2', {}, 'Nobody holds ', idNode(this.token)),
        el('p', {}, 'Token ids are compared letter by letter. ', el('a', {href: address(this.by, '')}, 'All tokens'))));
      return;
    }
    this.place.replaceChildren(el('p', {class: 'failed'}, err.status === 0 ? 'The server does not answer.' : `The ranking could not be read: ${err.message}.`));
  }

  take(top) {
    const asOf = top.as_of;
    const seen = new Set();
    for (const r of top.holders) {
      seen.add(r.holder_id);
      let row = this.rows.get(r.holder_id);
      if (!row) {
        row = new Row(r.holder_id, this.by);
        this.rows.set(r.holder_id, row);
      }
      row.ranked(r, asOf);
      // By token there is no snapshot: those are sums over all.
      const s = this.token === '' && this.snapshots.get(r.holder_id);
      if (s) row.update(s);
    }
    for (const id of this.rows.keys()) if (!seen.has(id)) this.rows.delete(id);
    this.count = top.count;
    this.facts.holders.textContent = group(String(top.count));
    this.more.hidden = top.count <= top.holders.length || this.limit >= MOST;
    this.follow(top);
    if (top.holders.length === 0) this.nobody();
    else {
      if (this.table.hidden) say(`${plural(top.count, 'holder')} ranked`);
      this.place.hidden = true;
      this.table.hidden = false;
    }
    this.known(top);
    this.stamp.hidden = top.holders.length === 0;
    this.beat(now(), true);
    this.sort(true);
  }

  nobody() {
    const line = 'holdmetrics record --token GOLD --holder alice --start now --weight 2.5';
    this.table.hidden = true;
    if (!this.place.hidden && this.place.querySelector('.empty')) return;
    this.place.hidden = false;
    this.place.replaceChildren(this.token !== '' ?
      el('div', {class: 'empty'},
        el('h2', {}, 'Nobody holds ', idNode(this.token)),
        el('p', {}, 'Token ids are compared letter by letter. ', el('a', {href: address(this.by, '')}, 'All tokens'))) :
      el('div', {class: 'empty'},
        el('h2', {}, 'No holder yet'),
        el('p', {}, 'The first hold event appears here by itself. On the command line it is sent so:'),
        el('div', {class: 'command'}, el('code', {}, line), copyable(() => line, 'the command')),
        el('p', {class: 'quiet'}, 'Other ways to send events are in the ', el('a', {href: 'docs'}, 'documentation'), '.')));
  }

  known(top) {
    document.getElementById('known').replaceChildren(...top.holders.slice(0, 100).map(r => el('option', {value: r.holder_id})));
  }

  // follow watches everyone while that is few, else those who are shown.
  follow(top) {
    if (top.count <= WATCH_ALL) {
      if (this.watched !== null) {
        this.watched = null;
        this.watch.open({});
      }
      return;
    }
    if (this.watched && top.holders.every(r => this.watched.has(r.holder_id) || this.watched.full || r.holder_id.includes(','))) return;
    const holders = new Set();
    let length = 0;
    for (const r of top.holders) {
      if (r.holder_id.includes(',')) continue; // it cannot be in a list; the ranking tells of it
      length += encodeURIComponent(r.holder_id).length + 3;
      if (length > WATCH_LENGTH) {
        holders.full = true;
        break;
      }
      holders.add(r.holder_id);
    }
    this.watched = holders;
    this.snapshots.clear();
    this.watch.open({holders: [...holders].join(',')});
  }

  heard(s) {
    this.snapshots.set(s.holder_id, s);
    const row = this.rows.get(s.holder_id);
    if (row && this.token === '') {
      const news = row.position !== undefined && s.position > row.position;
      row.update(s);
      if (isPaused()) return;
      row.show(now(), this.full);
      if (news) row.flash();
      this.sort(true);
    } else {
      this.refreshSoon();
      this.refreshLater();
    }
  }

  beat(t, force) {
    if (isPaused() && !force) return;
    let over = false;
    for (const row of this.rows.values()) over = row.show(t, this.full) || over;
    if (over) this.refreshSoon();
    const text = `as of ${clockText(millis(t))} UTC, in weight-seconds`;
    if (this.stamp.textContent !== text) this.stamp.textContent = text;
    if (performance.now() - this.sortedAt > SORT) this.sort();
  }

  // sort puts the rows in order, and lets the eye follow those that move.
  sort(force) {
    if (isPaused() && !force) return;
    this.sortedAt = performance.now();
    const t = now();
    const value = row => this.by === 'live' ? row.line.at(t) : row.settled;
    const order = [...this.rows.values()].map(row => ({row, v: value(row)}))
      .sort((a, b) => a.v < b.v ? 1 : a.v > b.v ? -1 : compareIds(a.row.id, b.row.id));
    const most = order.length ? order[0].v : 0n;
    order.forEach(({row, v}, i) => row.rank(i + 1, most > 0n ? Number(v * 10000n / most) / 100 : 0));
    const nodes = order.map(o => o.row.node);
    if (nodes.length === this.tbody.children.length && nodes.every((n, i) => n === this.tbody.children[i])) return;
    const before = still() ? null : new Map([...this.tbody.children].map(n => [n, n.offsetTop]));
    const focus = this.tbody.contains(document.activeElement) ? document.activeElement : null;
    this.tbody.replaceChildren(...nodes);
    if (focus?.isConnected && focus !== document.activeElement) focus.focus({preventScroll: true});
    if (!before || before.size === 0) return;
    for (const n of nodes) {
      const from = before.get(n);
      if (from === undefined) n.animate([{opacity: 0}, {opacity: 1}], {duration: 300});
      else if (from !== n.offsetTop) n.animate([{transform: `translateY(${from - n.offsetTop}px)`}, {transform: 'none'}], {duration: 350, easing: 'ease-out'});
    }
  }

  // health shows how far the system is.
  async health() {
    let s;
    try {
      s = await status(this.leave);
    } catch {
      return;
    }
    const at = millis(parseTime(s.at));
    if (this.last && at > this.last.at) {
      const perSecond = Math.max(0, (s.events - this.last.events) / ((at - this.last.at) / 1000));
      this.facts.rate.textContent = `${group(String(Math.round(perSecond)))} /s`;
    } else {
      this.facts.rate.textContent = '–';
    }
    this.last = {at, events: s.events};
    this.facts.lag.textContent = lagOf(s);
    const through = s.partitions.map(p => p.applied_through).filter(Boolean).map(x => millis(parseTime(x)));
    this.facts.through.textContent = through.length ? readable(Math.max(...through)) : '–';
    document.getElementById('version').textContent = s.version ? `holdmetrics ${s.version}` : '';
  }
}

class Row {
  constructor(id, by) {
    this.id = id;
    this.by = by;
    this.score = new Figure();
    this.other = new Figure('figure minor');
    this.place = el('span', {class: 'rank'});
    this.bar = el('span', {class: 'share', 'aria-hidden': 'true'}, el('i'));
    this.node = el('tr', {role: 'row'},
      el('td', {role: 'cell', class: 'place'}, this.place),
      el('th', {role: 'rowheader', scope: 'row'}, el('a', {href: holderLink(id), title: id, 'aria-label': /\S/.test(id) ? undefined : 'a holder whose id is blank'}, idNode(id))),
      el('td', {role: 'cell', class: 'number main'}, this.score.node, this.bar),
      el('td', {role: 'cell', class: 'number second'}, this.other.node));
    this.node.dataset.holder = id;
  }

  ranked(r, asOf) {
    this.line = lineOfRank(r, asOf);
    this.settled = parse(r.settled_score);
  }

  update(s) {
    this.line = lineOfSnapshot(s);
    this.settled = parse(s.score_exact);
    this.position = s.position;
  }

  // show brings the figures to t; true: the line is over and a new one is due.
  show(t, full) {
    const live = this.line.text(t);
    const moves = this.line.moves && !this.line.over(t);
    this.node.classList.toggle('moves', moves);
    this.node.dataset.at = t;
    if (this.by === 'live') {
      this.score.show(live, {places: 2, fixed: this.line.moves, full, mantissa: innerWidth < 700 ? 6 : 9});
      this.other.show(this.line.over(t) ? '0' : exact(this.line.rate), {full, mantissa: 3});
    } else {
      this.score.show(exact(this.settled), {full, mantissa: innerWidth < 700 ? 6 : 9});
      this.other.show(live, {places: 2, fixed: this.line.moves, full});
    }
    return this.line.moves && this.line.over(t);
  }

  rank(n, percent) {
    const text = String(n);
    if (this.place.textContent !== text) this.place.textContent = text;
    this.bar.firstChild.style.width = `${percent}%`;
  }

  flash() {
    if (still()) return;
    this.node.classList.remove('news');
    void this.node.offsetWidth; // the animation starts again
    this.node.classList.add('news');
  }
}
