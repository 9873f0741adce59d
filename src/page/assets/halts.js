// What is halted, on every page; and the switch, for operators.

import { get, live, post } from './api.js';
import { ask, el } from './dom.js';
import { shown } from './text.js';
import { time } from './time.js';

// How many halts stand open in the banner, on a phone one; the others are folded away.
const open = () => (matchMedia('(max-width: 40rem)').matches ? 1 : 2);
// The scopes that name something: the word on the page, and where the names that exist come from.
const SCOPES = {
  agent: ['One agent', () => get('/agents').then((agents) => agents.filter((one) => !one.revoked_at).map((one) => one.name))],
  group: ['A group of agents', () => get('/agents').then((agents) => agents.flatMap((one) => one.groups))],
  tool: ['One tool', () => get('/catalog').then((tools) => tools.map((one) => one.name))],
  backend: ['A backend, with all its tools', () => get('/catalog').then((tools) => tools.map((one) => one.backend))],
  capability: ['A capability', () => get('/catalog').then((tools) => tools.map((one) => one.capability).filter((one) => typeof one === 'string'))],
  workflow: ['A workflow', () => Promise.resolve([])],
};
// After how many minutes a halt ends by itself; 0 for not at all.
const ENDS = [[0, 'When it is resumed'], [15, 'In 15 minutes'], [60, 'In 1 hour'], [480, 'In 8 hours'], [1440, 'In 1 day']];

const place = document.getElementById('halts');
const operates = place.dataset.role === 'operator';

// What a scope stops, in words; names are the operators' own, and shown like everybody's.
function what(scope) {
  if (scope === 'all') return ['all calls'];
  const [[kind, name]] = Object.entries(scope);
  const words = { agent: 'all calls of the agent ', group: 'all calls of agents in the group ', tool: 'all calls of ', backend: 'all calls of the backend ', capability: 'all calls with the capability ', workflow: 'all calls of the workflow ' };
  return [words[kind] ?? `${kind} `, el('code', {}, shown(name))];
}

function line(halt) {
  return el('div', { class: 'halt', 'data-halt': halt.id },
    el('div', {},
      el('p', {}, el('strong', {}, 'Halted: ', what(halt.scope)), ' - ', el('bdi', {}, shown(halt.reason))),
      el('p', { class: 'by' }, 'by ', el('bdi', {}, shown(halt.by.name)), ' ', time(halt.since), ' · ', halt.until ? ['ends in ', time(halt.until, { until: true })] : 'until it is resumed')),
    operates ? el('button', { type: 'button', class: 'quiet', 'aria-label': `Resume … ${el('p', {}, what(halt.scope)).textContent}`, onclick: () => resume(halt) }, 'Resume …') : null);
}

let drawn = '';
function draw(halts) {
  const now = JSON.stringify(halts);
  // What has not changed is not said again to who listens.
  if (now === drawn) return;
  drawn = now;
  const folded = place.querySelector('details')?.open ?? false;
  const first = open();
  const rest = halts.slice(first);
  place.hidden = !halts.length;
  place.replaceChildren(...halts.slice(0, first).map(line), ...(rest.length
    ? [el('details', { open: folded }, el('summary', {}, `${rest.length} more ${rest.length === 1 ? 'halt is' : 'halts are'} engaged`), rest.map(line))] : []));
}

async function refresh() {
  // What was said last stays until the gateway says something else.
  try { draw(await get('/halts')); } catch { /* the page tells of the connection */ }
}

const fault = () => el('p', { class: 'wrong', role: 'alert', hidden: true });
// Does what a dialog is for; what goes wrong is said in it.
async function attempt(told, close, work) {
  try { close(await work()); } catch (error) { told.textContent = error.message; told.hidden = false; }
}
const value = (id) => document.getElementById(id).value.trim();

async function resume(halt) {
  const wrong = fault();
  const done = await ask('Resume', [
    el('p', {}, 'Calls run again: ', what(halt.scope), '. What was held and halted stays so; agents ask anew.'),
    el('label', { for: 'halt-reason' }, 'Why'), el('textarea', { id: 'halt-reason', rows: 2, required: true, maxlength: 2000 }), wrong,
  ], { label: 'Resume', submit: (close) => attempt(wrong, close, () => post(`/halts/${encodeURIComponent(halt.id)}/resume`, { reason: value('halt-reason') })) });
  if (done) await refresh();
}

// The first step: what to stop, and why.
async function wanted() {
  const wrong = fault();
  const names = el('datalist', { id: 'halt-names' });
  const name = el('input', { id: 'halt-name', list: 'halt-names', autocomplete: 'off', maxlength: 256, 'aria-describedby': 'halt-name-hint' });
  const named = el('div', { hidden: true }, el('label', { for: 'halt-name' }, 'Its name'), name, names, el('p', { id: 'halt-name-hint', class: 'faint' }, 'Exactly as the gateway knows it.'));
  const offer = async () => {
    const kind = scope.value;
    named.hidden = kind === 'all';
    name.required = kind !== 'all';
    names.replaceChildren();
    if (kind === 'all') return;
    const known = await SCOPES[kind][1]().catch(() => []);
    if (scope.value === kind) names.replaceChildren(...[...new Set(known)].sort().map((one) => el('option', { value: one })));
  };
  const scope = el('select', { id: 'halt-scope', onchange: () => { name.value = ''; offer(); } },
    el('option', { value: 'all' }, 'Everything'), Object.entries(SCOPES).map(([kind, [word]]) => el('option', { value: kind }, word)));
  const ends = el('select', { id: 'halt-ends' }, ENDS.map(([minutes, word]) => el('option', { value: minutes }, word)));
  const reason = el('textarea', { id: 'halt-reason', rows: 2, required: true, maxlength: 2000, 'aria-describedby': 'halt-reason-hint' });
  offer();
  return ask('Halt calls', [
    el('label', { for: 'halt-scope' }, 'Stop'), scope, named,
    el('label', { for: 'halt-reason' }, 'Why'), reason, el('p', { id: 'halt-reason-hint', class: 'faint' }, 'Agents whose calls are refused read this.'),
    el('label', { for: 'halt-ends' }, 'Ends'), ends, wrong,
  ], { label: 'Look at what stops', submit: (close) => attempt(wrong, close, async () => {
    const chosen = { kind: scope.value, name: name.value.trim(), reason: reason.value.trim(), minutes: Number(ends.value) };
    chosen.scope = chosen.kind === 'all' ? 'all' : { [chosen.kind]: chosen.name };
    return { ...chosen, reach: await post('/halts/reach', { scope: chosen.scope }) };
  }) });
}

const many = (number, one, more = `${one}s`) => `${number.toLocaleString()} ${number === 1 ? one : more}`;

// The second step: what it reaches now, and a button that names it.
function sure({ scope, reason, minutes, reach }) {
  const wrong = fault();
  return ask('Stop these calls?', [
    el('p', {}, 'From now on ', what(scope), ' are refused, ', minutes ? `for ${ENDS.find(([length]) => length === minutes)[1].slice(3)}.` : 'until somebody resumes them.'),
    el('ul', {},
      el('li', {}, `${many(reach.agents, 'agent')} and ${many(reach.tools, 'tool')} are in reach.`),
      el('li', {}, reach.running ? `${many(reach.running, 'call')} that ${reach.running === 1 ? 'runs is' : 'run are'} stopped, and may have had an effect.` : 'None of their calls runs at this moment.'),
      el('li', {}, reach.holds || reach.more ? `${reach.more ? 'More than ' : ''}${many(reach.holds, 'held call')} ${reach.holds === 1 && !reach.more ? 'ends' : 'end'}; agents have to ask again.` : 'None of their calls waits for people.')),
    el('p', {}, 'Agents read: ', el('bdi', {}, shown(reason))), wrong,
  ], { label: ['Halt ', what(scope)], kind: 'reject', submit: (close) => attempt(wrong, close, () => post('/halts', {
    scope, reason, ...(minutes ? { until: new Date(Math.floor(Date.now() / 1000 + minutes * 60) * 1000).toISOString() } : {}),
  })) });
}

document.getElementById('halt')?.addEventListener('click', async () => {
  const chosen = await wanted();
  if (chosen && await sure(chosen)) await refresh();
});

live(refresh, () => {}, ['halts']);
if (place.dataset.engaged === 'true') refresh();
