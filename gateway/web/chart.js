// The score over time, drawn; read with the pointer or with the arrow keys.
import {el, svg, Figure} from './dom.js';
import {group, timesTen} from './decimal.js';
import {millis, parseTime, readable, ticks} from './time.js';

// axisText is a number on an axis, which only needs to be about right.
function axisText(n) {
  if (n === 0) return '0';
  const size = Math.abs(n);
  if (size >= 1e7 || size < 1e-3) {
    const [digits, power] = n.toExponential(2).split('e');
    return Number(digits) + timesTen(Number(power));
  }
  const text = String(Number(n.toPrecision(6)));
  const [whole, fraction] = text.split('.');
  return group(whole) + (fraction ? '.' + fraction : '');
}

function levels(low, high, count) {
  if (!(high > low)) return [low];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= rough);
  const list = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high * (1 + 1e-12); k++) list.push(k * step);
  return list;
}

// Chart draws points of GET /stats/{holder}/history into its node.
export class Chart {
  constructor() {
    this.picture = el('div', {class: 'picture', tabindex: '0', role: 'group', 'aria-label': 'Score over time', 'aria-describedby': 'chart-help'});
    this.live = new Figure();
    this.settled = new Figure();
    this.when = el('span', {class: 'when'});
    this.reading = el('output', {class: 'reading'},
      this.when,
      el('span', {class: 'key live'}, 'live ', this.live.node),
      el('span', {class: 'key settled'}, 'settled ', this.settled.node));
    this.help = el('span', {class: 'sr', id: 'chart-help'}, 'The left and right arrow keys go from point to point.');
    this.node = el('div', {class: 'chart'}, this.reading, this.picture, this.help);
    this.picture.addEventListener('pointermove', e => this.point(e));
    this.picture.addEventListener('pointerdown', e => this.point(e));
    this.picture.addEventListener('pointerleave', () => this.choose(null));
    this.picture.addEventListener('blur', () => this.choose(null));
    this.picture.addEventListener('keydown', e => this.key(e));
  }

  show(points, fromZero) {
    this.points = points.map(p => ({
      at: millis(parseTime(p.as_of)), live: p.score_double, settled: p.settled_score_double,
      liveText: p.score, settledText: p.settled_score,
    }));
    this.fromZero = fromZero;
    this.draw();
  }

  draw() {
    const width = this.picture.clientWidth, points = this.points;
    if (!points?.length || !width) return;
    const height = Math.round(Math.min(260, Math.max(170, width * 0.32)));
    const high = Math.max(...points.map(p => p.live), ...points.map(p => p.settled));
    const lowest = Math.min(...points.map(p => p.settled), ...points.map(p => p.live));
    const low = this.fromZero || high === lowest ? 0 : lowest;
    const marks = levels(low, high, 4);
    const left = 10 + Math.max(...marks.map(m => axisText(m).length)) * 7.2, right = 14, top = 10, bottom = 26;
    const from = points[0].at, to = points.at(-1).at;
    const x = this.x = t => left + (to > from ? (t - from) / (to - from) : 0) * (width - left - right);
    const y = this.y = v => height - bottom - (high > low ? (v - low) / (high - low) : 0) * (height - top - bottom);
    const path = key => points.map((p, i) => `${i ? 'L' : 'M'}${x(p.at).toFixed(1)} ${y(p[key]).toFixed(1)}`).join('');
    // Settled figures stand still between the ends of holds.
    const steps = points.map((p, i) => i ? `H${x(p.at).toFixed(1)}V${y(p.settled).toFixed(1)}` : `M${x(p.at).toFixed(1)} ${y(p.settled).toFixed(1)}`).join('');
    this.cursor = svg('g', {class: 'cursor', visibility: 'hidden'},
      svg('line', {y1: top, y2: height - bottom}), svg('circle', {r: 4, class: 'live'}), svg('circle', {r: 3.5, class: 'settled'}));
    this.picture.replaceChildren(svg('svg', {width, height, viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': this.summary()},
      marks.map(m => svg('g', {class: 'level'},
        svg('line', {x1: left, x2: width - right, y1: y(m), y2: y(m)}),
        svg('text', {x: left - 8, y: y(m) + 4, 'text-anchor': 'end'}, axisText(m)))),
      timeAxis(from, to, x, height - bottom, width),
      svg('path', {class: 'under', d: `${path('live')}L${x(to)} ${y(low)}L${x(from)} ${y(low)}Z`}),
      svg('path', {class: 'line settled', d: steps}),
      svg('path', {class: 'line live', d: path('live')}),
      this.cursor));
    this.choose(this.chosen ?? null);
  }

  summary() {
    const a = this.points[0], b = this.points.at(-1);
    return `The live score goes from ${axisText(a.live)} at ${readable(a.at)} to ${axisText(b.live)} at ${readable(b.at)} UTC; settled it is ${axisText(b.settled)}.`;
  }

  point(e) {
    const at = e.clientX - this.picture.getBoundingClientRect().left;
    let best = 0;
    this.points?.forEach((p, i) => {
      if (Math.abs(this.x(p.at) - at) < Math.abs(this.x(this.points[best].at) - at)) best = i;
    });
    this.choose(best);
  }

  key(e) {
    const last = this.points.length - 1, i = this.chosen ?? last;
    const to = {ArrowLeft: i - 1, ArrowRight: i + 1, Home: 0, End: last, PageUp: i - 10, PageDown: i + 10}[e.key];
    if (to === undefined) return;
    e.preventDefault();
    this.choose(Math.max(0, Math.min(last, to)));
  }

  // choose reads one point out; null: the last one, without a mark.
  choose(i) {
    if (!this.points?.length) return;
    this.chosen = i;
    const p = this.points[Math.min(i ?? Infinity, this.points.length - 1)];
    this.when.textContent = `${readable(p.at)} UTC`;
    this.live.show(p.liveText);
    this.settled.show(p.settledText);
    this.cursor.setAttribute('visibility', i === null ? 'hidden' : 'visible');
    const [line, live, settled] = this.cursor.children;
    line.setAttribute('x1', this.x(p.at));
    line.setAttribute('x2', this.x(p.at));
    live.setAttribute('cx', this.x(p.at));
    live.setAttribute('cy', this.y(p.live));
    settled.setAttribute('cx', this.x(p.at));
    settled.setAttribute('cy', this.y(p.settled));
  }
}

// timeAxis draws ticks below what is drawn.
export function timeAxis(from, to, x, y, width) {
  return svg('g', {class: 'axis'},
    svg('line', {x1: x(from), x2: x(to), y1: y, y2: y}),
    ticks(from, to, Math.max(2, Math.floor(width / 85))).map(t => {
      const half = t.text.length * 3.4, at = x(t.at);
      const anchor = at - half < 0 ? 'start' : at + half > width ? 'end' : 'middle';
      return svg('g', {}, svg('line', {x1: at, x2: at, y1: y, y2: y + 4}),
        svg('text', {x: at, y: y + 17, 'text-anchor': anchor}, t.text));
    }));
}
