// The holds of one token, drawn: above, the weight that counts at every instant;
// below, each hold as a bar, solid where it counts and hatched where a heavier or
// equal one counts instead.
import {el, svg, figure, idNode, plural} from './dom.js';
import {exact, parse, plainText} from './decimal.js';
import {duration, millis, parseTime, readable} from './time.js';
import {timeAxis} from './chart.js';

const ROWS = 50;      // of the table, at first
const TRACKS = 28;     // of bars

// hold makes a row of GET /stats/{holder}/holds ready to be drawn.
export function hold(row, order) {
  const start = parseTime(row.start), end = parseTime(row.end);
  return {row, order, start: millis(start), end: end === null ? Infinity : millis(end), weight: parse(row.weight)};
}

// counts says what counts: stretches [from, to) with the hold on top, or under sum
// with all of them. Of equal weights the first hold counts, as on the server.
export function counts(holds, policy, from, to) {
  const list = holds.map(h => ({h, from: Math.max(h.start, from), to: Math.min(h.end, to)})).filter(s => s.to > s.from);
  const cuts = [...new Set(list.flatMap(s => [s.from, s.to]))].sort((a, b) => a - b);
  const stretches = [];
  let next = 0, running = [];
  list.sort((a, b) => a.from - b.from);
  for (let i = 1; i < cuts.length; i++) {
    const at = cuts[i - 1];
    while (next < list.length && list[next].from <= at) running.push(list[next++]);
    running = running.filter(s => s.to > at);
    if (running.length === 0) continue;
    let on, weight;
    if (policy === 'sum') {
      on = running.map(s => s.h);
      weight = on.reduce((sum, h) => sum + h.weight, 0n);
    } else {
      const top = running.reduce((a, b) => b.h.weight > a.h.weight || b.h.weight === a.h.weight && b.h.order < a.h.order ? b : a);
      on = [top.h];
      weight = top.h.weight;
    }
    const before = stretches.at(-1);
    if (before && before.to === at && before.weight === weight && before.on.length === on.length && before.on.every((h, k) => h === on[k])) before.to = cuts[i];
    else stretches.push({from: at, to: cuts[i], weight, on});
  }
  return stretches;
}

// tracks puts each hold into the first track that is free.
export function tracks(holds) {
  const ends = [];
  for (const h of holds) {
    let track = ends.findIndex(end => end <= h.start);
    if (track < 0) track = ends.push(0) - 1;
    ends[track] = Math.max(h.end, h.start + 1e-9);
    h.track = track;
  }
  return ends.length;
}

let patterns = 0;

// STEPS lead from what a hold weighs to what it counts. They are shown where one of
// the holds has them: without rules most are 0.
const STEPS = [['cut', 'Not counting', '-'], ['multiplied', 'Multiplier', '+'], ['boosted', 'Boosts', '+'], ['removed', 'Overlap', '-'], ['added', 'Other holds', '+']];

// step is what a row has of one, with its sign.
const step = (r, [key, , sign]) => sign === '-' ? -parse(r[key]) : parse(r[key]);

export class Timeline {
  // sealed is the row of all holds of the token that were sealed, which has no line.
  constructor(token, rows, from, to, cut, sealed) {
    this.holds = rows.map(hold);
    const all = sealed ? [...rows, sealed] : rows;
    this.policy = all[0]?.policy ?? 'merge';
    this.from = from;
    this.to = to;
    this.picture = el('div', {class: 'picture'});
    this.pattern = `hatch-${++patterns}`;
    this.stretches = counts(this.holds, this.policy, from, to);
    this.tracks = tracks(this.holds);
    const counted = exact(all.reduce((sum, r) => sum + parse(r.counted), 0n));
    const steps = STEPS.map(s => [s, all.reduce((sum, r) => sum + step(r, s), 0n)]).filter(([, sum]) => sum !== 0n);
    const rule = all[0]?.rule;
    this.node = el('section', {class: 'token'},
      el('header', {},
        el('h3', {class: token.length > 48 && 'long'}, idNode(token)),
        el('p', {class: 'quiet'}, plural(rows.length, 'hold') + (cut ? ' of more' : '') + (rows.length === 1 ? ' counts ' : ' count '), figure(counted),
          steps.flatMap(([[, name], sum]) => [`, ${name.toLowerCase()} `, figure(exact(sum))])),
        sealed && el('p', {class: 'quiet'}, 'Of that ', figure(sealed.counted), ` is of holds that ended by ${readable(millis(parseTime(sealed.end)))} and were sealed; they are not drawn.`),
        el('p', {class: 'quiet policy'}, rule ? ['Rule ', idNode(rule), '. '] : '', this.policy === 'sum' ? 'Policy sum: where holds overlap, their weights add up.' : 'Policy merge: where holds overlap, the largest weight counts.')),
      this.picture, this.table(rows));
  }

  draw() {
    const width = this.picture.clientWidth;
    if (!width) return;
    const {from, to} = this;
    const shownTracks = Math.min(this.tracks, TRACKS);
    const track = shownTracks <= 6 ? 16 : shownTracks <= 14 ? 11 : 7;
    const top = 16, skyline = 54, gap = 8, left = 4, right = 16;
    const bars = top + skyline + gap, bottom = bars + shownTracks * track + 4;
    const height = bottom + 24;
    const x = t => left + (to > from ? (Math.min(Math.max(t, from), to) - from) / (to - from) : 0) * (width - left - right);
    const most = this.stretches.reduce((m, s) => s.weight > m ? s.weight : m, 0n);
    const y = w => top + skyline - (most > 0n ? Number(w * 1000n / most) / 1000 : 0) * skyline;
    const wide = (a, b) => Math.max(1.5, x(b) - x(a));

    const skylinePath = [];
    let edge = null;
    for (const s of this.stretches) {
      if (edge !== s.from) {
        if (edge !== null) skylinePath.push(`L${x(edge).toFixed(1)} ${y(0n)}`);
        skylinePath.push(`M${x(s.from).toFixed(1)} ${y(0n)}`);
      }
      skylinePath.push(`L${x(s.from).toFixed(1)} ${y(s.weight).toFixed(1)}L${Math.max(x(s.to), x(s.from) + 1).toFixed(1)} ${y(s.weight).toFixed(1)}`);
      edge = s.to;
    }
    if (edge !== null) skylinePath.push(`L${x(edge).toFixed(1)} ${y(0n)}`);

    const drawn = this.holds.filter(h => h.track < TRACKS);
    const barY = h => bars + h.track * track;
    const solid = this.stretches.flatMap(s => s.on.filter(h => h.track < TRACKS).map(h =>
      svg('rect', {class: 'solid', x: x(s.from), y: barY(h), width: wide(s.from, s.to), height: track - 3})));
    this.picture.replaceChildren(svg('svg', {width, height, viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': this.summary()},
      svg('defs', {}, svg('pattern', {id: this.pattern, width: 5, height: 5, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)'},
        svg('rect', {width: 5, height: 5, class: 'hatch-ground'}), svg('rect', {width: 2, height: 5, class: 'hatch-line'}))),
      most > 0n && svg('g', {class: 'level'},
        svg('line', {x1: left, x2: width - right, y1: y(most), y2: y(most)}),
        svg('text', {x: left, y: y(most) - 4}, `weight ${plainText(exact(most))}`)),
      svg('path', {class: 'skyline', d: skylinePath.join('')}),
      drawn.map(h => svg('rect', {class: 'bar', fill: `url(#${this.pattern})`, x: x(h.start), y: barY(h), width: wide(h.start, h.end), height: track - 3})),
      solid,
      drawn.map(h => svg('rect', {class: 'outline', x: x(h.start), y: barY(h), width: wide(h.start, h.end), height: track - 3, rx: 1}, svg('title', {}, said(h.row)))),
      drawn.filter(h => h.end > to).map(h => svg('path', {class: h.end === Infinity ? 'open' : 'later', d: `M${x(to) + 2} ${barY(h)}l7 ${(track - 3) / 2}l-7 ${(track - 3) / 2}z`})),
      timeAxis(from, to, x, bottom, width)),
    ...this.tracks > TRACKS ? [el('p', {class: 'quiet'}, `${this.tracks - TRACKS} more rows of overlapping holds are not drawn as bars; the line above counts them.`)] : []);
  }

  summary() {
    const open = this.holds.filter(h => h.end === Infinity).length;
    return `Timeline from ${readable(this.from)} to ${readable(this.to)} UTC: ${plural(this.holds.length, 'hold')}, ${open} open, at most ${this.tracks} at a time. The table below has each.`;
  }

  table(rows) {
    const body = el('tbody');
    const cells = (label, ...children) => el('td', {'data-label': label}, ...children);
    const number = (label, text) => el('td', {'data-label': label, class: 'number'}, figure(text));
    const steps = STEPS.filter(s => rows.some(r => step(r, s) !== 0n));
    const add = (from, to) => body.append(...rows.slice(from, to).map(r => el('tr', {},
      cells('Start', readable(millis(parseTime(r.start)))),
      cells('End', r.end ? readable(millis(parseTime(r.end))) : el('span', {class: 'openword'}, 'open')),
      number('Weight', r.weight),
      number('By weight', r.plain),
      steps.map(s => number(s[1], exact(step(r, s)))),
      number('Counts', r.counted),
      cells('Counting time', duration(Number(r.counted_seconds)), r.hold_id ? el('span', {class: 'holdid'}, 'id ', idNode(r.hold_id)) : null))));
    let shown = Math.min(ROWS, rows.length);
    add(0, shown);
    const more = el('button', {type: 'button', class: 'more', hidden: shown === rows.length, onclick: () => {
      add(shown, shown + 10 * ROWS);
      shown = Math.min(shown + 10 * ROWS, rows.length);
      more.hidden = shown === rows.length;
    }}, 'Show more holds');
    return el('details', {open: rows.length <= (innerWidth < 700 ? 3 : 8)},
      el('summary', {}, rows.length === 1 ? 'The hold' : `The ${rows.length} holds`),
      el('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Holds'},
        el('table', {class: 'holds'},
          el('thead', {}, el('tr', {},
            ...['Start', 'End'].map(h => el('th', {scope: 'col'}, h)),
            ...['Weight', 'By weight', ...steps.map(s => s[1]), 'Counts'].map(h => el('th', {scope: 'col', class: 'number'}, h)),
            el('th', {scope: 'col'}, 'Counting time'))),
          body)),
      more);
  }
}

function said(r) {
  const span = `${readable(millis(parseTime(r.start)))} to ${r.end ? readable(millis(parseTime(r.end))) : 'now, still open'}`;
  return `${span}\nweight ${r.weight}\nby weight ${r.plain}, counts ${r.counted}`;
}
