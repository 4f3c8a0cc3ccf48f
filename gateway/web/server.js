// The way to the server: reads, the watch, and what to say while it is away.
import {heard} from './time.js';

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

const PATIENCE = 15000;

async function ask(path, query, signal) {
  const url = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const v of [value].flat()) if (v !== '' && v !== undefined && v !== null) url.searchParams.append(name, v);
  }
  const limits = [AbortSignal.timeout(PATIENCE)];
  if (signal) limits.push(signal);
  let answer;
  try {
    answer = await fetch(url, {signal: AbortSignal.any(limits), headers: {Accept: 'application/json, application/problem+json'}});
  } catch (err) {
    if (signal?.aborted) throw err;
    link.failed();
    throw new Refused(0, 'the server does not answer');
  }
  if (answer.status < 500) link.worked();
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, problem.detail ?? `the server answered ${answer.status}`);
}

export async function read(path, query, signal) {
  return (await ask(path, query, signal)).json();
}

// readLines reads at most most rows of NDJSON and reports whether there were more,
// so that a holder of a million holds costs no more than the page can draw.
export async function readLines(path, query, most, signal) {
  const own = new AbortController();
  const answer = await ask(path, {...query, format: 'ndjson'}, signal ? AbortSignal.any([signal, own.signal]) : own.signal);
  const rows = [];
  const decoder = new TextDecoder();
  let rest = '';
  for (const reader = answer.body.getReader(); ;) {
    const {done, value} = await reader.read();
    rest += done ? decoder.decode() : decoder.decode(value, {stream: true});
    const lines = rest.split('\n');
    rest = lines.pop();
    for (const line of lines) {
      if (rows.length === most) {
        own.abort();
        return {rows, more: true};
      }
      if (line) rows.push(JSON.parse(line));
    }
    if (done) return {rows, more: false};
  }
}

// Every id can be asked for: a browser takes a path segment of dots for a way up,
// whatever its encoding, so such a holder cannot be named in a path.
export const inPath = id => id !== '.' && id !== '..';
export const holderPath = (id, rest = '') => 'stats/' + encodeURIComponent(id) + rest;

// status asks for the state of the system, and sets the clock by the answer.
export async function status(signal) {
  const sent = Date.now();
  const s = await read('status', {}, signal);
  heard(s.at, sent, Date.now());
  return s;
}

// link remembers whether the server was last heard, and tells who listens.
export const link = {
  lost: null, // since when, by the reader's clock
  listeners: new Set(),
  failed() {
    if (this.lost === null) {
      this.lost = Date.now();
      for (const f of this.listeners) f();
    }
  },
  worked() {
    if (this.lost !== null) {
      this.lost = null;
      for (const f of this.listeners) f();
    }
  },
};

const FIRST_RETRY = 1000, LAST_RETRY = 15000;

// Watch follows snapshots: all, or those of some holders. The browser's own
// reconnecting gives up on an answer that is an error, so it is done here.
export class Watch {
  constructor({snapshot, gone, complete}) {
    Object.assign(this, {snapshot, gone, complete, wait: FIRST_RETRY});
  }

  // open follows what the query says from now on: holder, or holders with commas
  // between, or all.
  open(query) {
    this.close();
    this.query = query;
    this.connect();
  }

  connect() {
    const url = new URL('stats/watch', document.baseURI);
    url.searchParams.set('live', 'true');
    url.searchParams.set('interval', '500ms');
    for (const [name, value] of Object.entries(this.query)) url.searchParams.set(name, value);
    const source = this.source = new EventSource(url);
    source.addEventListener('stat', e => {
      if (this.source === source) this.snapshot(JSON.parse(e.data));
    });
    source.addEventListener('gone', e => {
      if (this.source === source) this.gone(JSON.parse(e.data).holder_id);
    });
    source.addEventListener('complete', () => {
      if (this.source !== source) return;
      this.wait = FIRST_RETRY;
      link.worked();
      this.complete?.();
    });
    source.addEventListener('error', () => {
      if (this.source !== source) return;
      source.close();
      link.failed();
      this.timer = setTimeout(() => this.connect(), this.wait * (0.75 + Math.random() / 2));
      this.wait = Math.min(this.wait * 2, LAST_RETRY);
    });
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }
}
