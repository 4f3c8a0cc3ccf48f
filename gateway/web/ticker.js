// What moves on the page moves by one ticker, which rests while nobody looks,
// while the reader has paused it, and while the server is away: what is not known
// to be true is not drawn as if it were.
import {now} from './time.js';
import {link} from './server.js';
import {still} from './dom.js';

const BEAT = 100, CALM_BEAT = 1000;

const parts = new Set();
let paused = false, last = 0, asked = false;

function beat(at) {
  asked = false;
  if (parts.size === 0) return;
  if (at - last >= (still() ? CALM_BEAT : BEAT) && !paused && link.lost === null) {
    last = at;
    const t = now();
    for (const part of parts) part(t);
  }
  next();
}

function next() {
  if (!asked) {
    asked = true;
    requestAnimationFrame(beat);
  }
}

// everyBeat calls part with the server's time until signal ends.
export function everyBeat(part, signal) {
  parts.add(part);
  signal.addEventListener('abort', () => parts.delete(part));
  next();
}

export const isPaused = () => paused;
export function pause(on) {
  paused = on;
}

// repeat does work now and again every so often while the page is seen, until
// signal ends. What work throws is its own to tell.
export function repeat(work, every, signal) {
  let timer;
  const run = async () => {
    clearTimeout(timer);
    if (!document.hidden) await work();
    if (!signal.aborted) timer = setTimeout(run, every);
  };
  const seen = () => !document.hidden && run();
  document.addEventListener('visibilitychange', seen, {signal});
  signal.addEventListener('abort', () => clearTimeout(timer));
  run();
}

// soon gives a function that does work once, so long after it was first asked.
export function soon(work, delay, signal) {
  let timer = null;
  return () => {
    if (timer === null && !signal.aborted) {
      timer = setTimeout(() => {
        timer = null;
        if (!signal.aborted) work();
      }, delay);
    }
  };
}
