// A live score between events is a straight line. Nobody goes along it past
// until, where it may break; at that instant it is requested again.
import {along, exact, parse} from './decimal.js';
import {parseTime} from './time.js';

export class Line {
  constructor(base, rate, since, until) {
    this.base = parse(base);
    this.rate = parse(rate);
    this.since = parseTime(since) ?? 0n;
    this.until = parseTime(until);
  }

  // at is the score at t, or at until where t is behind it.
  at(t) {
    return along(this.base, this.rate, this.last(t) - this.since);
  }

  last(t) {
    return this.until !== null && t > this.until ? this.until : t;
  }

  get moves() {
    return this.rate !== 0n;
  }

  over(t) {
    return this.until !== null && t >= this.until;
  }

  text(t) {
    return exact(this.at(t));
  }
}

// Line.ofSnapshot and ofRank read the two forms in which the server tells a line.
export const lineOfSnapshot = s => new Line(s.live_base, s.live_rate, s.since, s.until);
export const lineOfRank = (r, asOf) => new Line(r.score, r.rate, asOf, r.until);
