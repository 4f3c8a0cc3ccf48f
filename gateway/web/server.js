// The way to the server: reads, the watch, and what to say while it is away.
import {heard} from './time.js';
import {access} from './access.js';

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

const PATIENCE = 15000;

async function ask(path, query, signal) {
  if (access.denied !== null) throw new Refused(401, access.denied); // another key is awaited
  const url = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const v of [value].flat()) if (v !== '' && v !== undefined && v !== null) url.searchParams.append(name, v);
  }
  const limits = [AbortSignal.timeout(PATIENCE)];
  if (signal) limits.push(signal);
  let answer;
  try {
    answer = await fetch(url, {signal: AbortSignal.any(limits), headers: access.headers('application/json, application/problem+json')});
  } catch (err) {
    if (signal?.aborted) throw err;
    link.failed();
    throw new Refused(0, 'the server does not answer');
  }
  if (answer.status < 500) link.worked();
  if (answer.ok) return answer;
  throw await refusal(answer);
}

// refusal is the error of an answer. Of a call that wants a key the page asks for one.
async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  const detail = problem.detail ?? `the server answered ${answer.status}`;
  if (answer.status === 401) access.refused(detail);
  return new Refused(answer.status, detail);
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

// savesWithKey has a link to a file ask with the key, which a browser would not send.
export function savesWithKey(anchor, name) {
  anchor.addEventListener('click', async e => {
    if (!access.hasKey()) return;
    e.preventDefault();
    try {
      const answer = await fetch(anchor.href, {headers: access.headers('text/csv, application/problem+json')});
      if (!answer.ok) throw await refusal(answer);
      const url = URL.createObjectURL(await answer.blob());
      const save = document.createElement('a');
      save.href = url;
      save.download = name();
      save.click();
      setTimeout(() => URL.revokeObjectURL(url), 60000);
    } catch (err) {
      anchor.title = String(err.message);
    }
  });
}

// blocks yields the events of an answer of text/event-stream, as {event, data}.
async function* blocks(body, beat) {
  const decoder = new TextDecoder();
  let rest = '', event = '', data = [];
  for (const reader = body.getReader(); ;) {
    const {done, value} = await reader.read();
    if (done) return;
    beat();
    rest += decoder.decode(value, {stream: true});
    const lines = rest.split('\n');
    rest = lines.pop();
    for (let line of lines) {
      if (line.endsWith('\r')) line = line.slice(0, -1);
      if (line === '') {
        if (data.length > 0) yield {event: event || 'message', data: data.join('\n')};
        event = '';
        data = [];
        continue;
      }
      const colon = line.indexOf(':');
      if (colon === 0) continue; // a remark, which keeps the connection alive
      const field = colon < 0 ? line : line.slice(0, colon);
      const text = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (field === 'event') event = text;
      if (field === 'data') data.push(text);
    }
  }
}

const FIRST_RETRY = 1000, LAST_RETRY = 15000;

// SILENCE is how long a watch may say nothing, in ms: servers say something every 15 s.
const SILENCE = 60000;

// Watch follows snapshots: all, or those of some holders. It reads the events itself,
// since the browser's own reader sends no key, and gives up on an answer that is an error.
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

  async connect() {
    if (access.denied !== null) return; // another key begins it again
    const url = new URL('stats/watch', document.baseURI);
    url.searchParams.set('live', 'true');
    url.searchParams.set('interval', '500ms');
    for (const [name, value] of Object.entries(this.query)) url.searchParams.set(name, value);
    const own = this.own = new AbortController();
    const beat = () => {
      clearTimeout(this.silence);
      this.silence = setTimeout(() => own.abort(), SILENCE);
    };
    try {
      beat();
      const answer = await fetch(url, {signal: own.signal, headers: access.headers('text/event-stream, application/problem+json'), cache: 'no-store'});
      if (!answer.ok) throw await refusal(answer);
      for await (const {event, data} of blocks(answer.body, beat)) {
        if (this.own !== own) return;
        this.take(event, data);
      }
    } catch (err) {
      if (this.own === own && (err.status === 401 || err.status === 403)) {
        this.close(); // another key begins it again
        return;
      }
    }
    if (this.own !== own) return;
    clearTimeout(this.silence);
    link.failed();
    this.timer = setTimeout(() => this.connect(), this.wait * (0.75 + Math.random() / 2));
    this.wait = Math.min(this.wait * 2, LAST_RETRY);
  }

  take(event, data) {
    if (event === 'stat') this.snapshot(JSON.parse(data));
    if (event === 'gone') this.gone(JSON.parse(data).holder_id);
    if (event === 'complete') {
      this.wait = FIRST_RETRY;
      link.worked();
      this.complete?.();
    }
  }

  close() {
    clearTimeout(this.timer);
    clearTimeout(this.silence);
    this.own?.abort();
    this.own = null;
  }
}
