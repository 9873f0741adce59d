// The audit log: every entry, the newest first, and more as they come.

import { get, live, post } from './api.js';
import { el, say } from './dom.js';
import { pretty, write } from './json.js';
import { content, count, facts, fail, page, table, terms, tools } from './listing.js';
import { shown } from './text.js';
import { time } from './time.js';

// How many entries one request brings.
const PAGE = 100;
// How long a whole log may take to be verified, in milliseconds.
const VERIFIED_WITHIN = 600_000;
// How many are kept on the page.
const KEPT = 2_000;

let entries = [];
let list;

const who = (entry) => entry.agent ?? entry.person?.name ?? entry.reviewer ?? entry.by?.name ?? entry.by ?? '';
const scope = (of) => (of && typeof of === 'object' ? Object.entries(of)[0].join(' ') : of);
const what = (entry) => [scope(entry.scope), entry.kind === 'halt' || entry.kind === 'resume' ? entry.reason : null, entry.tool, entry.event, entry.state, entry.access, entry.outcome?.status, entry.decision]
  .filter((part) => typeof part === 'string').join(' · ');

function opened({ index, chain, entry }) {
  return el('div', {},
    el('h2', {}, `Entry ${index}`),
    terms([['When', time(entry.time)], ['Kind', entry.kind.replaceAll('_', ' ')],
      ['Hold', entry.hold && el('a', { href: `/holds/${entry.hold}` }, entry.hold)], ['Chain', el('code', {}, chain)]]),
    el('pre', { class: 'arguments' }, pretty(entry, { hidden: 0, alike: 0 })));
}

// What the whole log is searched for, and where the search goes on; nothing when the newest are followed.
let sought = '';
let next;
// Which of the questions under way is the last: what others answer late is not shown.
let asked = 0;

const search = el('input', { type: 'search', placeholder: 'Search the whole log, Enter', maxlength: 200, 'aria-label': 'Search the whole log' });
search.addEventListener('keydown', (event) => { if (event.key === 'Enter') { event.preventDefault(); seek(search.value.trim()); } });
search.addEventListener('input', () => { if (!search.value && sought) seek(''); });

const found = async (below) => get(`/audit/search?${new URLSearchParams({ words: sought, ...(below ? { below } : {}) })}`);

async function seek(words) {
  sought = words;
  entries = [];
  asked += 1;
  const mine = asked;
  try {
    if (sought) {
      const part = await found();
      if (mine !== asked) return;
      ({ entries, next } = part);
      draw();
    } else { await refresh(); }
  } catch (error) { say(error.message, 'wrong'); }
}

async function older() {
  const mine = asked;
  if (entries.length >= KEPT) { say('No more fit here; search for what you want, or use countersign audit list.', 'note'); return; }
  try {
    if (sought) {
      if (!next) { say('That is the beginning.', 'note'); return; }
      const part = await found(next);
      if (mine !== asked) return;
      next = part.next;
      entries = [...entries, ...part.entries];
    } else {
      const first = entries.at(-1)?.index ?? 1;
      if (first <= 1) { say('That is the beginning.', 'note'); return; }
      const after = Math.max(0, first - 1 - PAGE);
      const more = await get(`/audit?after=${after}&limit=${first - 1 - after}`);
      if (mine !== asked || first !== entries.at(-1)?.index) return;
      entries = [...entries, ...more.sort((one, other) => other.index - one.index)];
    }
    draw();
  } catch (error) { say(error.message, 'wrong'); }
}

function draw() {
  facts.textContent = sought ? `${count(entries.length, 'entry', 'entries')} found${next ? ', so far' : ''}` : entries.length ? count(entries[0].index, 'entry', 'entries') : '';
  if (list) { list.update(entries); return; }
  list = table([
    ['No.', ({ index }) => String(index)],
    ['When', ({ entry }) => time(entry.time)],
    ['Kind', ({ entry }) => entry.kind.replaceAll('_', ' ')],
    ['Who', ({ entry }) => el('bdi', {}, shown(String(who(entry))))],
    ['What', ({ entry }) => shown(what(entry))],
  ], entries, { label: 'Entries', open: opened, text: (row) => write(row, 0), key: ({ index }) => index, search });
  content.replaceChildren(list.place, el('div', { class: 'actions more' }, el('button', { type: 'button', onclick: older }, 'Older')));
}

async function refresh() {
  if (sought) return;
  const mine = asked;
  try {
    const newest = entries[0]?.index;
    const more = await get(newest === undefined ? `/audit?limit=${PAGE}` : `/audit?after=${newest}&limit=${PAGE}`);
    if (mine !== asked || newest !== entries[0]?.index) return;
    const fresh = more.sort((one, other) => other.index - one.index);
    if (fresh.length || !list) {
      entries = [...fresh, ...entries].slice(0, KEPT);
      draw();
    }
  } catch (error) { if (!list) fail(error); }
}

const outcome = el('p', { class: 'found', role: 'status', hidden: true });
const check = el('button', { type: 'button', onclick: async () => {
  check.disabled = true;
  outcome.className = 'found';
  outcome.hidden = false;
  outcome.replaceChildren('Reading every entry again …');
  try {
    const { verified, entries: count, head, open, index, wrong } = await post('/audit/verify', undefined, VERIFIED_WITHIN);
    outcome.className = `found ${verified ? 'done' : 'wrong'}`;
    outcome.replaceChildren(...(verified
      ? [el('strong', {}, `All ${count.toLocaleString()} entries are as they were written`), open ? `, ${open.toLocaleString()} calls have no outcome yet` : '', '. Head: ', el('code', {}, head),
        '. The gateway says so of itself; ', el('code', {}, 'countersign audit verify'), ' recomputes it without the gateway.']
      : [el('strong', {}, `NOT as it was written from entry ${index.toLocaleString()} on: `), shown(wrong)]));
  } catch (error) {
    outcome.className = 'found wrong';
    outcome.textContent = error.message;
  } finally { check.disabled = false; }
} }, 'Verify');
page.querySelector('.bar').after(outcome);
tools.append(check);
live(refresh, () => {}, ['entry']);
refresh();
