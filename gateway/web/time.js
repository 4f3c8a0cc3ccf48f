// Times are BigInt nanoseconds since 1970 wherever a figure depends on them, and
// milliseconds as a double where something is only drawn.

const FORM = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/;

// parseTime reads RFC 3339; it returns null for an absent time.
export function parseTime(text) {
  if (!text) return null;
  const m = FORM.exec(text);
  if (!m) throw new RangeError(`not a time: ${text}`);
  return BigInt(Date.parse(m[1] + m[3])) * 1000000n + BigInt((m[2] ?? '').padEnd(9, '0'));
}

// timeText writes RFC 3339 with as many places as there are.
export function timeText(ns) {
  const fraction = (ns % 1000000000n).toString().padStart(9, '0').replace(/0+$/, '');
  return new Date(Number(ns / 1000000n)).toISOString().slice(0, 19) + (fraction && '.' + fraction) + 'Z';
}

export const millis = ns => Number(ns) / 1e6;

// readable is a time for people, in UTC as everything here is.
export function readable(ms, places = 0) {
  if (!Number.isFinite(ms)) return '–';
  return new Date(ms).toISOString().replace('T', ' ').slice(0, 19 + (places && places + 1));
}

export const clockText = ms => new Date(ms).toISOString().slice(11, 19);

const UNITS = [['y', 31557600], ['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];

// duration says seconds in its two largest units.
export function duration(seconds) {
  if (seconds > 0 && seconds < 1) return '< 1 s';
  const parts = [];
  let rest = Math.floor(seconds);
  for (const [name, size] of UNITS) {
    const n = Math.floor(rest / size);
    if (n > 0 || (parts.length === 0 && name === 's')) parts.push(`${n} ${name}`);
    rest -= n * size;
    if (parts.length === 2) break;
  }
  return parts.join(' ');
}

// The server's clock as its answers show it: the sample with the shortest
// way is the best, and an old one is given up in favour of a new one.
let offset = 0, quality = Infinity, sampledAt = -Infinity;

export function heard(serverText, sentAt, gotAt) {
  const way = gotAt - sentAt;
  if (way > quality && gotAt - sampledAt < 60000) return;
  offset = millis(parseTime(serverText)) - (sentAt + gotAt) / 2;
  quality = way;
  sampledAt = gotAt;
}

// now is the server's time in nanoseconds.
export const now = () => BigInt(Math.round(Date.now() + offset)) * 1000000n;

const STEPS = [1, 5, 15, 30, 60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 345600, 604800, 1209600].map(s => s * 1000);
const DAY = 86400000;

// ticks are round instants within [from, to], at most count of them, each with
// the shortest text that tells it from its neighbours.
export function ticks(from, to, count) {
  const span = to - from;
  if (!(span > 0)) return [];
  const step = STEPS.find(s => span / s <= count);
  if (step) {
    const list = [];
    for (let t = Math.ceil(from / step) * step; t <= to; t += step) {
      const iso = new Date(t).toISOString();
      list.push({at: t, text: step >= DAY ? iso.slice(5, 10) : span > DAY ? iso.slice(5, 16).replace('T', ' ') : step < 60000 ? iso.slice(11, 19) : iso.slice(11, 16)});
    }
    return list;
  }
  const months = span / (30.44 * DAY);
  const every = [1, 2, 3, 6, 12, 24, 60, 120, 240, 600].find(m => months / m <= count) ?? 1200;
  const first = new Date(from), list = [];
  for (let m = Math.ceil((first.getUTCFullYear() * 12 + first.getUTCMonth()) / every) * every; ; m += every) {
    const at = Date.UTC(Math.floor(m / 12), m % 12, 1);
    if (at > to) return list;
    if (at >= from) list.push({at, text: new Date(at).toISOString().slice(0, every >= 12 ? 4 : 7)});
  }
}
