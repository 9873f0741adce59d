// The audit log: every entry, the newest first, and more as they come.

import { get, live } from './api.js';
import { el, say } from './dom.js';
import { pretty, write } from './json.js';
import { content, count, facts, fail, table, terms, tools } from './listing.js';
import { shown } from './text.js';
import { time } from './time.js';

// How many entries one request brings.
const PAGE = 100;
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

function draw() {
  facts.textContent = entries.length ? count(entries[0].index, 'entry', 'entries') : '';
  if (list) { list.update(entries); return; }
  list = table([
    ['No.', ({ index }) => String(index)],
    ['When', ({ entry }) => time(entry.time)],
    ['Kind', ({ entry }) => entry.kind.replaceAll('_', ' ')],
    ['Who', ({ entry }) => el('bdi', {}, shown(String(who(entry))))],
    ['What', ({ entry }) => shown(what(entry))],
  ], entries, { label: 'Entries', open: opened, text: (row) => write(row, 0) });
  const older = el('button', { type: 'button', onclick: async () => {
    const first = entries.at(-1)?.index ?? 1;
    if (first <= 1 || entries.length >= KEPT) { say(first <= 1 ? 'That is the beginning.' : 'No more fit here; `countersign audit list` has them all.', 'note'); return; }
    const after = Math.max(0, first - 1 - PAGE);
    const more = await get(`/audit?after=${after}&limit=${first - 1 - after}`);
    entries = [...entries, ...more.sort((one, other) => other.index - one.index)];
    draw();
  } }, 'Older');
  content.replaceChildren(list.place, el('div', { class: 'actions more' }, older));
}

async function refresh() {
  try {
    const newest = entries[0]?.index;
    const more = await get(newest === undefined ? `/audit?limit=${PAGE}` : `/audit?after=${newest}&limit=${PAGE}`);
    const fresh = more.sort((one, other) => other.index - one.index);
    if (fresh.length || !list) {
      entries = [...fresh, ...entries].slice(0, KEPT);
      draw();
    }
  } catch (error) { if (!list) fail(error); }
}

tools.append(el('span', { class: 'faint' }, 'Check it on the gateway’s machine: ', el('code', {}, 'countersign audit verify')));
live(refresh, () => {}, ['entry']);
refresh();
