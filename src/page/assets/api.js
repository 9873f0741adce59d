// The gateway's JSON API, in the name of whoever is signed in here.

import { read } from './json.js';

const csrf = document.querySelector('meta[name=csrf]').content;
// How long one request may take, in milliseconds, where nothing else is said.
const PATIENCE = 15_000;

export class Refused extends Error {
  constructor(status, told) { super(told); this.status = status; }
}

async function send(method, path, body, patience = PATIENCE) {
  let answer;
  try {
    answer = await fetch(`/api/v1${path}`, {
      method,
      // A page may have asked for it before this program ran; with other headers it would be asked for again.
      headers: method === 'GET' ? {} : { 'x-csrf-token': csrf, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      body,
      signal: AbortSignal.timeout(patience),
    });
  } catch {
    throw new Refused(0, 'The gateway does not answer. Nothing was decided here; this page tries again by itself.');
  }
  if (answer.status === 401) location.assign(`/sign-in?next=${encodeURIComponent(location.pathname)}`);
  const text = await answer.text();
  if (!answer.ok) {
    let told = text;
    try { told = JSON.parse(text).error; } catch { /* the text says it */ }
    throw new Refused(answer.status, told || `status ${answer.status}`);
  }
  return text ? read(text) : null;
}

export const get = (path) => send('GET', path);
export const post = (path, value, patience) => send('POST', path, typeof value === 'string' ? value : JSON.stringify(value), patience);
export const remove = (path) => send('DELETE', path);

// Calls `changed` when something happened, at once after a break and at least every `EVERY` milliseconds. All that
// follow share one stream: a browser opens few connections to one place.
const EVERY = 20_000;
// How far the log had come when this page was made: what came later the stream tells, so that nothing is asked
// for twice when it opens first.
const after = document.querySelector('meta[name=after]').content;
const followers = [];
let stream;
let isFirst = true;
const tell = (how) => followers.forEach(({ standing }) => standing(how));
function heed({ changed, kinds }) {
  // The first entry that is told shows where the stream begins: at what this page knows.
  for (const kind of [...kinds, 'reset']) stream.addEventListener(kind, ({ type, lastEventId }) => { if (type !== 'entry' || lastEventId !== after) changed(); });
}
function open() {
  stream = new EventSource(`/api/v1/events?after=${after}`);
  stream.addEventListener('open', () => {
    tell('live');
    if (!isFirst) followers.forEach(({ changed }) => changed());
    isFirst = false;
  });
  followers.forEach(heed);
  stream.addEventListener('error', () => {
    tell(navigator.onLine ? 'broken' : 'offline');
    // The browser comes back by itself after a break, and not after a refusal.
    if (stream.readyState === EventSource.CLOSED) setTimeout(open, 3_000);
  });
}
export function live(changed, standing, kinds = ['hold']) {
  const follower = { changed, standing, kinds };
  followers.push(follower);
  if (!stream) open(); else heed(follower);
  if (stream.readyState === EventSource.OPEN) standing('live');
  setInterval(changed, EVERY);
  addEventListener('online', changed);
  addEventListener('offline', () => standing('offline'));
  document.addEventListener('visibilitychange', () => { if (!document.hidden) changed(); });
}
