// The calls that wait for a person, live, and the one that is looked at.

import { get, live } from './api.js';
import { el, ofUse, say } from './dom.js';
import { keys, palette } from './keys.js';
import { write } from './json.js';
import { shown } from './text.js';
import { time } from './time.js';

// How many rows are shown at first, and how many more each time that more are asked for.
const ROWS = 25;
const STEP = 100;
// How many rows there may be.
const MOST = 1_000;
// How much of the arguments a row shows, in characters.
const GLIMPSE = 90;

const root = document.getElementById('inbox');
const list = document.getElementById('rows');
const detail = document.getElementById('detail');
const count = document.getElementById('count');
const standing = document.getElementById('standing');
const search = document.getElementById('search');
const me = { name: root.dataset.name, decides: root.dataset.decides === 'true' };
const state = { holds: null, unsure: [], selected: root.dataset.hold || null, view: null, extra: {}, rules: new Map(), tools: new Map(), drawn: '', limit: ROWS };

// What shows one call: the list does not wait for it.
let showing = null;
const one = () => (showing ??= import('./hold.js').then((program) => { state.program = program; }, (error) => { showing = null; throw error; }));

// What every call is shown with, from when the first is looked at; without it a call is shown all the same.
let asked = null;
const known = () => (asked ??= Promise.all([
  get('/policy').then(({ rules }) => { state.rules = new Map(rules.map((rule) => [rule.name, rule])); }, () => {}),
  get('/catalog').then((tools) => { state.tools = new Map(tools.map((tool) => [tool.name, tool])); }, () => {}),
]));

const matches = (hold) => {
  const wanted = search.value.trim().toLowerCase();
  return !wanted || [hold.tool, hold.agent, hold.via?.agent, hold.owner, hold.id, ...hold.rules].some((text) => text?.toLowerCase().includes(wanted));
};
const isMore = () => state.holds?.length >= state.limit;
// Those whose outcome nobody recorded come first: they wait for a person too.
const visible = () => [...state.unsure, ...(state.holds ?? [])].filter(matches);

const glimpse = (given) => {
  const text = Object.entries(given).map(([key, value]) => `${key} ${typeof value === 'string' ? value : write(value, 0)}`).join(', ');
  return text.length > GLIMPSE ? `${[...text].slice(0, GLIMPSE).join('')} …` : text;
};

function row(hold) {
  return el('li', {}, el('a', {
    href: `/holds/${hold.id}`, 'data-id': hold.id, 'aria-current': hold.id === state.selected ? 'true' : null,
    onclick: (event) => { if (!event.ctrlKey && !event.metaKey) { event.preventDefault(); select(hold.id, true); } },
  },
  el('span', { class: 'row' }, el('code', {}, shown(hold.tool)), hold.identical > 1 ? el('span', { class: 'badge warn' }, `× ${hold.identical}`) : null, hold.state === 'unknown' ? el('span', { class: 'badge wrong' }, 'outcome unknown') : time(hold.decide_by, { until: true })),
  el('span', { class: 'glimpse' }, shown(glimpse(hold.arguments))),
  el('span', { class: 'faint' }, el('bdi', {}, shown(hold.agent)), hold.via ? [' via ', el('bdi', {}, shown(hold.via.agent))] : null, hold.owner ? [' for ', el('bdi', {}, shown(hold.owner))] : null, ' · ', time(hold.created_at))));
}

function drawList() {
  const holds = visible();
  if (state.holds && !holds.length) {
    list.replaceChildren(el('li', { class: 'empty' },
      search.value ? el('p', {}, 'Nothing that waits matches.') : [el('p', {}, el('strong', {}, 'Nothing waits.')), el('p', {}, 'Calls that policy holds appear here by themselves.')]));
  } else if (state.holds) {
    const focused = document.activeElement?.dataset?.id;
    list.replaceChildren(...holds.map(row), ...(isMore() ? [el('li', { class: 'empty' }, el('button', { type: 'button', onclick: () => more() }, 'More'))] : []));
    if (focused) list.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
  }
  const waiting = [...state.unsure, ...(state.holds ?? [])].reduce((sum, hold) => sum + hold.identical, 0);
  count.textContent = state.holds ? `${waiting}${isMore() ? '+' : ''}` : '';
  document.title = `${waiting ? `(${waiting}) ` : ''}Inbox - Countersign`;
}

function drawDetail() {
  root.dataset.view = state.selected ? 'detail' : 'list';
  if (!state.view) {
    detail.replaceChildren(el('div', { class: 'empty' }, state.selected
      ? el('p', {}, 'Loading …')
      : [el('p', {}, el('strong', {}, 'Nothing is selected.')), el('p', {}, 'Press ', el('kbd', {}, 'j'), ' for the next call, ', el('kbd', {}, '?'), ' for all keys.')]));
    state.drawn = '';
    return;
  }
  const besides = Object.assign(state.extra, { me, rules: state.rules, tools: state.tools, back: () => select(null) });
  const drawn = JSON.stringify(state.view);
  // What has not changed stays, with what is being typed into it.
  if (drawn === state.drawn) { state.program.complete(detail.firstElementChild, besides); return; }
  const focused = detail.contains(document.activeElement);
  const writing = detail.querySelector('.rejecting:not([hidden])') || document.querySelector('dialog');
  if (writing && state.view.state === 'pending' && detail.firstElementChild?.dataset.id === state.view.id) return;
  state.drawn = drawn;
  detail.replaceChildren(state.program.article(state.view, besides, refresh));
  if (focused) detail.querySelector('h2').focus({ preventScroll: true });
}

async function load(id) {
  const [view] = await Promise.all([get(`/approvals/${encodeURIComponent(id)}`), known(), one()]);
  if (state.selected !== id) return;
  const before = state.view;
  state.view = view;
  if (before?.id === view.id && before.state === 'pending' && view.state !== 'pending') {
    const last = view.verdicts.at(-1);
    if (last && last.person.name !== me.name) say(`${last.person.name} ${last.decision === 'approve' ? 'approved' : 'rejected'} it.`, 'note');
  }
  drawDetail();
  if (!state.extra.recent) {
    const known = await state.program.background(view).catch(() => ({ last: null, recent: null }));
    if (state.selected !== id) return;
    Object.assign(state.extra, known);
    drawDetail();
  }
}

export function select(id, focus = false) {
  if (state.selected !== id) Object.assign(state, { selected: id, view: null, extra: {}, drawn: '' });
  history.replaceState(null, '', id ? `/holds/${id}` : '/');
  drawList();
  drawDetail();
  list.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest' });
  if (!id) return;
  load(id).then(() => { if (focus) detail.querySelector('h2')?.focus(); }, (error) => fail(error));
}

function fail(error) {
  detail.replaceChildren(el('div', { class: 'empty' }, el('p', { class: 'wrong' }, error.message)));
}

// Asked for beside the list, which does not wait for it.
async function doubts() {
  const unsure = await get(`/approvals?state=unknown&limit=${ROWS}`);
  if (!unsure.length && !state.unsure.length) return;
  state.unsure = unsure;
  drawList();
}

let busy = null;
let again = false;
export async function refresh() {
  if (busy) { again = true; return busy; }
  busy = (async () => {
    try {
      do {
        again = false;
        const [holds] = await Promise.all([get(`/approvals?state=pending&limit=${state.limit}`), state.selected ? load(state.selected) : null]);
        state.holds = holds;
        drawList();
        ofUse();
        requestIdleCallback(() => Promise.all([one(), doubts()]).catch(() => {}));
      } while (again);
      stands('live');
    } catch (error) {
      if (error.status === 0 || error.status >= 500) stands('broken');
      else if (error.status === 404 && state.selected) fail(error);
      else say(error.message, 'wrong');
    } finally { busy = null; }
  })();
  return busy;
}

// Shows more rows; the focus goes on from where it was.
async function more(limit = state.limit + STEP) {
  const from = state.holds.length;
  state.limit = Math.min(limit, MOST);
  await refresh();
  if (list.contains(document.activeElement) || document.activeElement === document.body) list.querySelectorAll('a')[from]?.focus();
}

const STANDINGS = { live: 'Live', broken: 'No connection', offline: 'Offline' };
function stands(how) {
  standing.dataset.standing = how;
  standing.textContent = STANDINGS[how];
}

function move(by) {
  const holds = visible();
  if (!holds.length) return;
  const at = holds.findIndex((hold) => hold.id === state.selected);
  if (by > 0 && at === holds.length - 1 && isMore() && state.limit < MOST) { more().then(() => { if (visible().length > holds.length) move(by); }); return; }
  const next = at < 0 ? (by > 0 ? 0 : holds.length - 1) : Math.min(Math.max(at + by, 0), holds.length - 1);
  select(holds[next].id);
}

const press = (selector) => detail.querySelector(selector);
keys({
  j: ['the next call', () => move(1)],
  k: ['the call before', () => move(-1)],
  Enter: ['read the call', () => press('h2')?.focus()],
  a: ['approve, with Enter', () => press('.approve:enabled')?.focus()],
  r: ['reject, with a reason', () => press('.decisions button.reject')?.click()],
  e: ['approve with other arguments', () => [...detail.querySelectorAll('.actions button')].find((it) => it.textContent.startsWith('Edit'))?.click()],
  s: ['let such calls pass', () => [...detail.querySelectorAll('.actions button')].find((it) => it.textContent.startsWith('Let'))?.click()],
  '/': ['search', () => search.focus()],
  Escape: ['back to the list', () => { search.blur(); select(null); }],
  ':': ['all commands', () => palette([
    ['Inbox', () => location.assign('/')], ['Account', () => location.assign('/account')],
    ...visible().map((hold) => [`${hold.tool} of ${hold.agent} (${hold.id.slice(0, 8)})`, () => select(hold.id, true)]),
  ])],
});

search.addEventListener('input', () => {
  // What is searched for may stand in a row that is not here yet.
  if (search.value && isMore() && state.limit < MOST) more(MOST);
  drawList();
});
drawDetail();
live(refresh, stands);
refresh();
