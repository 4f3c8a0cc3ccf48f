// Building the page. Text from outside only ever becomes a text node.
import {brief, group, spoken} from './decimal.js';

const SVG = 'http://www.w3.org/2000/svg';

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat().filter(c => c !== null && c !== undefined && c !== false));
  return node;
}

export const el = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
export const svg = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

// What turns text around or does not show: an id that has it must not look like
// one that has not. The joiners of emoji and of Persian stay as they are, and so does
// the selector of coloured emoji.
const UNSEEN = /[\u0000-\u001f\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180e\u2000-\u200b\u200e\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff9-\ufffb]|[\u{e0000}-\u{e01ef}]|^\s+|\s+$/gu;

// idNode is an id as it is, isolated from the direction of what stands around it.
export function idNode(id) {
  const node = el('bdi', {class: 'id'});
  let at = 0;
  for (const m of id.matchAll(UNSEEN)) {
    if (m.index > at) node.append(id.slice(at, m.index));
    for (const c of m[0]) {
      const code = c.codePointAt(0).toString(16).toUpperCase().padStart(4, '0');
      node.append(el('span', {class: 'unseen', title: `the character U+${code}`}, c === ' ' ? '·' : code));
    }
    at = m.index + m[0].length;
  }
  node.append(id.slice(at));
  return node;
}

export const holderLink = id => '#/holder/' + encodeURIComponent(id);

// figure is a number that may change: show sets it, in brief with the exact text
// at hand, or exact where full is set.
export class Figure {
  constructor(className = 'figure') {
    this.digits = document.createTextNode('');
    this.fraction = el('span', {class: 'fraction'});
    this.power = el('sup');
    this.brief = el('span', {'aria-hidden': 'true'}, this.digits, this.fraction, this.power);
    this.read = el('span', {class: 'sr'});
    this.node = el('span', {class: className}, this.brief, this.read);
  }

  show(text, {places = 3, fixed = false, full = false, mantissa = 6} = {}) {
    if (this.node.dataset.exact === text && this.full === full) return;
    this.full = full;
    this.node.dataset.exact = text;
    const b = full ? {text, power: 0, cut: false} : brief(text, places, fixed, mantissa);
    const [whole, fraction] = full ? text.split('.') : [b.text];
    this.digits.data = full ? group(whole) : b.power ? `${b.text} × 10` : b.text + (b.cut && !fixed ? '…' : '');
    const after = fraction ? '.' + fraction : '';
    if (this.fraction.textContent !== after) this.fraction.textContent = after;
    const power = b.power ? String(b.power).replace('-', '−') : '';
    if (this.power.textContent !== power) this.power.textContent = power;
    this.read.textContent = full ? text : spoken(b);
    if (b.cut) this.node.title = text;
    else this.node.removeAttribute('title');
  }
}

export function figure(text, options) {
  const f = new Figure();
  f.show(text, options);
  return f.node;
}

// say tells those who listen. Only what somebody waits for is said: never a
// figure that moves.
export function say(text) {
  const node = document.getElementById('say');
  if (node.textContent !== text) node.textContent = text;
}

// plural is a number with its noun.
export const plural = (n, one, many = one + 's') => `${n} ${n === 1 ? one : many}`;

export const still = () => matchMedia('(prefers-reduced-motion: reduce)').matches;

// compareIds is the order of the server: by code points, not by UTF-16 units.
export function compareIds(a, b) {
  const p = a[Symbol.iterator](), q = b[Symbol.iterator]();
  for (;;) {
    const x = p.next(), y = q.next();
    if (x.done || y.done) return x.done - y.done ? (x.done ? -1 : 1) : 0;
    if (x.value !== y.value) return x.value.codePointAt(0) - y.value.codePointAt(0);
  }
}
