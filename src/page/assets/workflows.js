// Workflows: what agents did together, call by call, and rolling it back.

import { get, live } from './api.js';
import { el, ofUse, say } from './dom.js';
import { content, count, facts, fail, page, status, table, terms, tools } from './listing.js';
import { rollBack } from './rollback.js';
import { shown } from './text.js';
import { after, time } from './time.js';

// How many workflows one request brings, how many calls of one, and how many workflows are kept on the page.
const PAGE = 50;
const PART = 100;
const KEPT = 1_000;
// How often the list is asked for anew while entries come, in milliseconds.
const PACE = 2_000;
const COUNTED = [['running', 'warn'], ['held', 'warn'], ['succeeded', 'done'], ['failed', 'wrong'], ['refused', 'wrong']];
const operates = page.dataset.role === 'operator';

let workflows = [];
let next;
let list;
// Which of the questions under way is the last: what others answer late is not shown.
let asked = 0;
// What is shown beside the list.
let beside;

const agent = el('input', { class: 'filter', placeholder: 'Agent', maxlength: 128, autocomplete: 'off', spellcheck: 'false', 'aria-label': 'Only workflows of this agent', value: new URLSearchParams(location.search).get('agent') ?? '', onchange: () => refresh(true) });

function query(cursor) {
  const wanted = new URLSearchParams({ limit: PAGE });
  if (agent.value.trim()) wanted.set('agent', agent.value.trim());
  if (cursor) wanted.set('cursor', cursor);
  return `/workflows?${wanted}`;
}

const counts = (workflow) => COUNTED.filter(([name]) => Number(workflow.counts[name])).map(([name, kind]) => [el('span', { class: `badge ${kind}` }, `${workflow.counts[name]} ${name}`), ' ']);
const ended = (workflow) => (workflow.ended ? time(workflow.ended) : el('span', { class: 'badge' }, 'open'));

function call(row, begun) {
  const link = (id) => el('a', { href: `/policy?call=${id}`, title: `explain ${id}` }, el('code', {}, id.slice(-12)));
  return el('li', {}, el('span', { class: 'when' }, after(new Date(row.at) - begun)),
    el('div', {}, el('p', {}, el('code', {}, shown(row.tool)), ' ', status(row), row.decision ? [' ', row.decision.replaceAll('_', ' ')] : '', row.rules.length ? [' by ', shown(row.rules.join(', '))] : ''),
      row.brings?.length ? el('p', {}, 'brought ', row.brings.map((label) => [el('span', { class: 'badge note' }, label.replaceAll('_', ' ')), ' '])) : null,
      row.compensates ? el('p', {}, 'undoes ', link(row.compensates)) : null,
      row.compensated_by ? el('p', {}, row.compensation_status === 'success' ? 'undone by ' : 'was to be undone by ', link(row.compensated_by), row.compensation_status === 'success' ? '' : `, which stands as ${row.compensation_status.replaceAll('_', ' ')}`) : null,
      el('p', { class: 'faint' }, link(row.call), row.hold ? [' · ', el('a', { href: `/holds/${row.hold}` }, 'the held call')] : '')));
}

// The calls of a workflow, in parts; `parts` of them at first.
async function timeline(workflow, parts = 1) {
  const begun = new Date(workflow.began);
  const story = el('ol', { class: 'story calls' });
  const more = el('button', { type: 'button', onclick: async () => { try { await part(); } catch (error) { say(error.message, 'wrong'); } } }, 'More calls');
  let cursor;
  let seen = 0;
  const part = async () => {
    const { calls, next: rest } = await get(`/workflows/${workflow.id}?limit=${PART}${cursor ? `&cursor=${cursor}` : ''}`);
    story.append(...calls.map((row) => call(row, begun)));
    seen += 1;
    cursor = rest;
    more.hidden = !rest;
  };
  do await part(); while (cursor && seen < parts);
  return { nodes: [story, el('div', { class: 'actions' }, more)], parts: () => seen };
}

const about = (workflow) => terms([['Agent', el('bdi', {}, shown(workflow.agent))], ['Began', time(workflow.began)], ['Last call', time(workflow.last)], ['Ended', ended(workflow)],
  ['Calls', counts(workflow)], ['Workflow', el('code', {}, workflow.id)]]);

function opened(workflow) {
  const mine = { id: workflow.id, drawn: JSON.stringify(workflow), parts: () => 1, about: el('div', {}, about(workflow)), calls: el('div', {}, el('p', { class: 'faint' }, 'Loading …')) };
  beside = mine;
  const place = el('div', {}, el('h2', {}, shown(workflow.name)), mine.about,
    operates ? el('div', { class: 'actions' }, el('button', { type: 'button', onclick: () => rollBack(workflow, () => follow(workflow, mine)) }, 'Roll back …')) : null,
    el('h3', {}, 'Its calls, in order'), mine.calls);
  follow(workflow, mine);
  return place;
}

async function follow(workflow, mine) {
  try {
    const { nodes, parts } = await timeline(workflow, mine.parts());
    if (mine !== beside) return;
    mine.parts = parts;
    mine.calls.replaceChildren(...nodes);
  } catch (error) { mine.calls.replaceChildren(el('p', { class: 'wrong', role: 'alert' }, error.message)); }
}

function draw() {
  facts.textContent = next ? `the newest ${workflows.length}` : count(workflows.length, 'workflow');
  const now = workflows.find(({ id }) => id === beside?.id);
  if (now && JSON.stringify(now) !== beside.drawn) {
    beside.drawn = JSON.stringify(now);
    beside.about.replaceChildren(about(now));
    follow(now, beside);
  }
  if (list) { list.update(workflows); return; }
  list = table([
    ['Workflow', (workflow) => shown(workflow.name)],
    ['Agent', (workflow) => el('bdi', {}, shown(workflow.agent))],
    ['Calls', counts],
    ['Began', (workflow) => time(workflow.began)],
    ['Ended', ended],
  ], workflows, { label: 'Workflows', open: opened, text: ({ name, agent: by, id }) => `${name} ${by} ${id}`, key: ({ id }) => id });
  const older = el('button', { type: 'button', onclick: async () => {
    if (!next || workflows.length >= KEPT) { say(next ? 'No more fit here; look for one agent.' : 'That is the beginning.', 'note'); return; }
    try {
      const mine = asked;
      const more = await get(query(next));
      if (mine !== asked) return;
      workflows = [...workflows, ...more.workflows];
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
    const known = anew ? [] : workflows.filter(({ id }) => !first.workflows.some((other) => other.id === id));
    if (anew || !workflows.length) next = first.next;
    workflows = [...first.workflows, ...known].slice(0, KEPT);
    draw();
    ofUse();
  } catch (error) { if (list) say(error.message, 'wrong'); else fail(error); }
}

let due;
// Calls may come by the hundred: the list is asked for once.
function soon() {
  due ??= setTimeout(() => { due = undefined; refresh(); }, PACE);
}

tools.append(agent);
live(soon, () => {}, ['entry', 'hold']);
refresh();
