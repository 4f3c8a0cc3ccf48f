// Exact figures. A decimal is a BigInt of 1e-36 units: weights have 18 places,
// multipliers 6 and times 9, so a rate times a time in nanoseconds fits exactly.
// No figure is ever a float on its way from the server to the reader.

const PLACES = 36;
const UNIT = 10n ** BigInt(PLACES);
const PER_NANOSECOND = 10n ** 9n;

// parse reads a decimal in plain notation. It throws on anything else, also on
// more places than it could keep.
export function parse(text) {
  const m = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text ?? '0');
  if (!m || (m[3] ?? '').length > PLACES) throw new RangeError(`not a decimal: ${text}`);
  const units = BigInt(m[2]) * UNIT + BigInt((m[3] ?? '').padEnd(PLACES, '0'));
  return m[1] ? -units : units;
}

// exact writes a decimal with all its digits and nothing more.
export function exact(units) {
  const sign = units < 0n ? '-' : '';
  const digits = (units < 0n ? -units : units).toString().padStart(PLACES + 1, '0');
  const whole = digits.slice(0, -PLACES);
  const fraction = digits.slice(-PLACES).replace(/0+$/, '');
  return sign + whole + (fraction && '.' + fraction);
}

// along is base + rate x elapsed, elapsed in nanoseconds.
export function along(base, rate, elapsed) {
  return elapsed > 0n ? base + rate * elapsed / PER_NANOSECOND : base;
}

// A thin space keeps long numbers readable and means the same everywhere, which
// neither comma nor point does.
const THIN = '\u2009';

export function group(whole) {
  return whole.length < 5 ? whole : whole.replace(/\B(?=(\d{3})+$)/g, THIN);
}

const LONGEST = 15; // digits before the point that are written out

// brief is a decimal as a reader takes it in: grouped, a few places, and from
// 16 digits on a mantissa with a power of ten. It only ever leaves digits out;
// the exact text is for the caller to keep at hand. fixed asks for that many
// places always, so that a moving figure keeps its width; mantissa is how many
// places it has before a power of ten.
export function brief(text, places = 3, fixed = false, mantissa = 6) {
  const sign = text.startsWith('-') ? '−' : '';
  const [whole, fraction = ''] = text.replace('-', '').split('.');
  if (whole.length > LONGEST) {
    return {text: `${sign}${whole[0]}.${whole.slice(1, 1 + mantissa)}`, power: whole.length - 1, cut: true};
  }
  let shown = fraction.slice(0, places);
  if (whole === '0' && /[1-9]/.test(fraction) && !/[1-9]/.test(shown) && !fixed) {
    const zeros = /^0*/.exec(fraction)[0].length;
    const digits = fraction.slice(zeros, zeros + 4);
    return {text: `${sign}${digits[0]}${digits.length > 1 ? '.' + digits.slice(1) : ''}`, power: -zeros - 1, cut: fraction.length > zeros + 4};
  }
  if (fixed) shown = shown.padEnd(places, '0');
  else shown = shown.replace(/0+$/, '');
  return {text: sign + group(whole) + (shown && '.' + shown), power: 0, cut: fraction.length > places && /[1-9]/.test(fraction.slice(places))};
}

// spoken is what a screen reader says for a figure from brief.
export function spoken(b) {
  return b.text.replaceAll(THIN, '') + (b.power ? ` times ten to the ${b.power}` : '');
}

const RAISED = '⁰¹²³⁴⁵⁶⁷⁸⁹';

// timesTen is a power of ten where there are no elements to raise it.
export function timesTen(power) {
  return ` × 10${power < 0 ? '⁻' : ''}${[...String(Math.abs(power))].map(d => RAISED[d]).join('')}`;
}

// plainText is brief as plain text.
export function plainText(text) {
  const b = brief(text);
  return b.text + (b.power ? timesTen(b.power) : b.cut ? '…' : '');
}
