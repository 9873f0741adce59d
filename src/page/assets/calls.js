// Calls: every one that the record tells of, the newest first, and the story of one.

import { get, live } from './api.js';
import { el, ofUse, say } from './dom.js';
import { pretty } from './json.js';
import { KINDS, content, count, facts, fail, status, table, terms, tools } from './listing.js';
import { shown } from './text.js';
import { after, time } from './time.js';

// How many calls one request brings, and how many are kept on the page.
const PAGE = 50;
const KEPT = 2_000;

let calls = [];
let next;
let list;

const kind = el('select', { 'aria-label': 'Only calls that stand so', onchange: () => refresh(true) },
  el('option', { value: '' }, 'Every outcome'), Object.keys(KINDS).map((name) => el('option', { value: name }, name.replaceAll('_', ' '))));

// What all calls of the record are looked through for.
const field = (name, words) => el('input', { class: 'filter', 'data-filter': name, placeholder: words, maxlength: 128, autocomplete: 'off', spellcheck: 'false', 'aria-label': `Only calls with this: ${words}`, onchange: () => refresh(true) });
const filters = [field('agent', 'Agent'), field('tool', 'Tool'), field('rule', 'Rule'), field('id', 'Call')];
// Which of the questions under way is the last: what others answer late is not shown.
let asked = 0;

function query(cursor) {
  const wanted = new URLSearchParams({ limit: PAGE });
  if (kind.value) wanted.set('status', kind.value);
  for (const { dataset, value } of filters) if (value.trim()) wanted.set(dataset.filter, value.trim());
  if (cursor) wanted.set('cursor', cursor);
  return `/calls?${wanted}`;
}

function story({ call, entries, more }) {
  const begun = new Date(call.at);
  const via = entries.map(({ entry }) => entry.via?.agent).find(Boolean);
  const workflow = entries.map(({ entry }) => entry.workflow).find(Boolean);
  return [
    terms([['Agent', el('bdi', {}, shown(call.agent))], ['Via', via && el('bdi', {}, shown(via))], ['Tool', el('code', {}, shown(call.tool))], ['Stands', status(call)],
      ['Workflow', workflow && el('a', { href: `/workflows?agent=${encodeURIComponent(call.agent)}` }, shown(workflow))],
      ['Rules', call.rules.length ? shown(call.rules.join(', ')) : 'none'], ['Began', time(call.at)],
      ['Hold', call.hold && el('a', { href: `/holds/${call.hold}` }, call.hold.slice(0, 12))], ['Call', el('code', {}, call.call)]]),
    el('p', {}, el('a', { href: `/policy?call=${call.call}` }, 'Explain why'), ' by the rules in force.'),
    el('h3', {}, 'From arrival to outcome'),
    el('ol', { class: 'story' }, entries.map(({ index, entry }) => el('li', {},
      el('span', { class: 'when' }, after(new Date(entry.time) - begun)),
      el('details', {}, el('summary', {}, told(entry), el('small', {}, ` entry ${index}`)), el('pre', { class: 'arguments' }, pretty(entry, { hidden: 0, alike: 0 })))))),
    more ? el('p', { class: 'faint' }, 'There is more in the record than is shown.') : null,
  ];
}

function told(entry) {
  const parts = [entry.kind, entry.event, entry.decision, entry.outcome?.status, entry.refusal?.kind, entry.verdict && `${entry.verdict.decision} by ${entry.verdict.person?.name}`];
  return shown(parts.filter((part) => typeof part === 'string').join(' · ').replaceAll('_', ' '));
}

function opened(row) {
  const place = el('div', {}, el('h2', {}, el('code', {}, shown(row.tool))), el('p', { class: 'faint' }, 'Loading …'));
  get(`/calls/${row.call}`).then((whole) => place.lastChild.replaceWith(...story(whole).filter(Boolean)),
    (error) => { place.lastChild.textContent = error.message; });
  return place;
}

function draw() {
  facts.textContent = next ? `the newest ${calls.length}` : count(calls.length, 'call');
  if (list) { list.update(calls); return; }
  list = table([
    ['Tool', (call) => el('code', {}, shown(call.tool))],
    ['Agent', (call) => el('bdi', {}, shown(call.agent))],
    ['Stands', status],
    ['When', (call) => time(call.at)],
    ['Rules', (call) => shown(call.rules.join(', '))],
  ], calls, { label: 'Calls', open: opened, text: (call) => [call.tool, call.agent, call.status, call.refusal, call.call, call.hold, ...call.rules].join(' '), key: (call) => call.call });
  const older = el('button', { type: 'button', onclick: async () => {
    if (!next || calls.length >= KEPT) { say(next ? 'No more fit here; search for what you want.' : 'That is the beginning.', 'note'); return; }
    try {
      const mine = asked;
      const more = await get(query(next));
      if (mine !== asked) return;
      calls = [...calls, ...more.calls];
      next = more.next;
      draw();
    } catch (error) { say(error.message, 'wrong'); }
  } }, 'Older');
  content.replaceChildren(list.place, el('div', { class: 'actions more' }, older));
}

async function refresh(anew = false) {
  if (anew) asked += 1;
  const mine = asked;
  try {
    const first = await get(query());
    if (mine !== asked) return;
    const known = anew ? [] : calls.filter((call) => !first.calls.some((other) => other.call === call.call));
    if (anew || !calls.length) next = first.next;
    calls = [...first.calls, ...known].slice(0, KEPT);
    draw();
    ofUse();
  } catch (error) { if (list) say(error.message, 'wrong'); else fail(error); }
}

tools.append(...filters, kind);
live(() => refresh(), () => {}, ['entry', 'hold']);
refresh();
