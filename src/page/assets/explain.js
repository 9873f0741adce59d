// Why a call is decided as it is: the answer of the rules, condition by condition, and the form that asks for it.

import { get, post } from './api.js';
import { el } from './dom.js';
import { form } from './form.js';
import { write } from './json.js';
import { terms } from './listing.js';
import { plain, shown } from './text.js';

// How each decision is coloured, signed and named: never by colour alone.
export const DECISIONS = {
  ALLOW: { kind: 'done', sign: '✓', name: 'allow' },
  ALLOW_WITH_CONSTRAINTS: { kind: 'note', sign: '≤', name: 'constrain' },
  REQUIRE_APPROVAL: { kind: 'warn', sign: '‖', name: 'hold' },
  DENY: { kind: 'wrong', sign: '✗', name: 'deny' },
};

export const decision = (name) => {
  const { kind, sign } = DECISIONS[name] ?? { kind: '', sign: '' };
  return el('span', { class: `badge ${kind}` }, el('span', { 'aria-hidden': 'true' }, `${sign} `), name);
};

// A length of time in seconds, in words.
export function span(seconds) {
  const units = [[86_400, 'd'], [3_600, 'h'], [60, 'min'], [1, 's']];
  const parts = [];
  let rest = Math.ceil(seconds);
  for (const [size, unit] of units) {
    if (rest >= size && parts.length < 2) { parts.push(`${Math.floor(rest / size)}\u00a0${unit}`); rest %= size; }
  }
  return parts.join(' ') || '0\u00a0s';
}

export const approval = (asked) => [shown(asked.told), `; ${span(asked.decide_within)} to decide, then ${span(asked.execute_within)} to begin`,
  asked.allow_edit ? '; reviewers may change the arguments' : '', asked.keep ? '; stays when its client cancels' : ''];

// Conditions as a rule writes them, with what the call has where that is known.
export function conditions(all, before = '') {
  return all.map(({ key, any_of: wanted, values, holds }) => el('li', {},
    holds === undefined ? null : el('span', { class: `sign ${holds ? 'done' : 'wrong'}`, role: 'img', 'aria-label': holds ? 'holds' : 'does not hold' }, holds ? '✓' : '✗'), ' ',
    before, el('code', {}, `${key}: `, shown(wanted.join(', '))),
    values ? el('span', { class: 'faint' }, values.length ? [' is ', el('bdi', {}, shown(values.join(', ')))] : ' has none') : null));
}

export const constraints = (all) => Object.entries(all ?? {}).map(([name, value]) => el('li', {}, 'constraint ', el('code', {}, shown(name), ': ', shown(write(value, 0)))));

function rule(one) {
  const parts = [conditions(one.conditions), conditions(one.except ?? [], 'except '), constraints(one.constraints)].flat();
  return el('li', { class: 'ruled' },
    el('details', { open: one.matched }, el('summary', {},
      el('span', { class: `sign ${one.matched ? 'done' : 'faint'}`, role: 'img', 'aria-label': one.matched ? 'matches' : 'does not match' }, one.matched ? '✓' : '✗'), ' ',
      el('strong', {}, shown(one.name)), ' ', decision(one.decision), one.decides || one.mode === 'shadow' ? [' ', el('span', { class: 'badge' }, one.decides ? 'decides' : 'in shadow')] : null, ' ', el('small', {}, el('code', {}, shown(one.location)))),
    one.reason ? el('blockquote', {}, shown(one.reason)) : null,
    el('ul', { class: 'plain conditions' }, parts.length ? parts : el('li', {}, 'every call')),
    one.approval ? el('p', { class: 'faint' }, 'Approval: ', approval(one.approval)) : null));
}

function nearest({ change, then }) {
  const what = {
    argument: () => ['With ', el('code', {}, shown(change.pointer)), ' as ', el('code', {}, shown(write(change.value, 0)))],
    match: () => ['Were it so that', el('ul', { class: 'plain conditions' }, conditions(change.unmet), (change.excepted ?? []).length ? el('li', {}, 'not all of its exceptions hold: ', change.excepted.map((it) => el('code', {}, `${it.key}: `, shown(it.any_of.join(', '))))) : null),
      'the rule ', el('strong', {}, shown(change.rule)), ' (', el('code', {}, shown(change.location)), ') would match too'],
    without: () => ['If ', el('strong', {}, shown(change.rules.join(', '))), ' did not match'],
  };
  return el('section', { class: 'nearest' }, el('h3', {}, 'The nearest change'), el('p', {}, what[change.kind](), ': ', decision(then)));
}

// What `/policy/explain` answered.
export function explanation(view) {
  const told = view.explanation;
  const { recorded } = view;
  return el('div', { class: 'explanation', role: 'status' },
    el('h2', {}, el('code', {}, shown(view.tool)), ' for ', el('bdi', {}, shown(view.agent))),
    terms([['Groups', view.groups.length ? shown(view.groups.join(', ')) : 'none'], ['Client', view.client && shown(view.client)],
      ['Arguments', el('code', {}, shown(write(view.arguments, 0)))], ['Revision', el('code', {}, view.revision.slice(7, 19))]]),
    view.unavailable ? el('p', { class: 'wrong' }, 'Whatever the rules say, it cannot be called now: ', shown(view.unavailable)) : null,
    view.faults.length ? [el('p', { class: 'wrong' }, 'The arguments do not fit the schema. Such a call is refused before rules are asked.'),
      el('ul', {}, view.faults.map((fault) => el('li', {}, fault.pointer ? [el('code', {}, shown(fault.pointer)), ': '] : null, shown(fault.message))))] : null,
    told ? [el('p', { class: 'verdict' }, decision(told.decision), ' ', told.decided_by.length ? ['by ', el('strong', {}, shown(told.decided_by.join(', ')))] : 'by default: no rule matches'),
      told.reason ? el('blockquote', {}, shown(told.reason)) : null,
      told.edits.length ? el('ul', { class: 'edits' }, told.edits.map((edit) => el('li', {}, el('code', {}, shown(edit.pointer)), ' was ',
        edit.from === undefined ? 'not given' : el('del', {}, shown(write(edit.from, 0))), ', runs with ', el('ins', {}, shown(write(edit.to, 0))), el('small', {}, ' by ', shown(edit.constraint), ' of ', shown(edit.rule))))) : null,
      told.approval ? el('p', {}, 'Approval: ', approval(told.approval), '.') : null,
      told.standing ? el('p', {}, 'A standing approval covers it; nobody is asked.') : null] : null,
    recorded ? el('p', { class: recorded.differs ? 'differs' : 'faint' }, 'When it was made: ', recorded.decision === 'none' ? '' : decision(recorded.decision), ' ',
      recorded.refusal ? shown(recorded.refusal.replaceAll('_', ' ')) : '', recorded.rules.length ? [' by ', shown(recorded.rules.join(', '))] : '', '. ',
      { true: 'The rules in force now decide otherwise.', false: 'The rules in force now decide the same.' }[recorded.differs] ?? 'Rules had no part in it.') : null,
    (view.notes ?? []).map((note) => el('p', { class: 'faint' }, 'Note: ', shown(note), '.')),
    told?.nearest ? nearest(told.nearest) : null,
    told ? [el('h3', {}, 'Rules that can match this tool'), told.rules.length ? el('ul', { class: 'plain' }, told.rules.map(rule)) : el('p', { class: 'faint' }, 'None.'),
      told.rules_left_out ? el('p', { class: 'faint' }, `${told.rules_left_out.toLocaleString()} more do not match and are left out.`) : null] : null);
}

export const explain = (wanted) => post('/policy/explain', wanted);

// The form that asks: agent, groups, client, tool, arguments. `given` fills it in.
export function explainForm(given = {}) {
  const answer = el('div', { class: 'answer', role: 'region', 'aria-label': 'The answer', tabindex: 0 });
  const agents = el('datalist', { id: 'agents' });
  const agent = el('input', { id: 'explain-agent', list: 'agents', required: true, autocomplete: 'off', value: given.agent ?? '' });
  const groups = el('input', { id: 'explain-groups', autocomplete: 'off', 'aria-describedby': 'explain-groups-hint', value: given.groups ?? '' });
  const client = el('input', { id: 'explain-client', autocomplete: 'off', value: given.client ?? '' });
  const tool = el('select', { id: 'explain-tool', required: true });
  const place = el('div');
  const wrong = el('p', { class: 'wrong', role: 'alert', hidden: true });
  let fields;
  let tools = [];
  const choose = (value) => {
    const chosen = tools.find((it) => it.name === tool.value);
    if (!chosen) { place.replaceChildren(); fields = undefined; return; }
    fields = form(chosen.input_schema, value);
    place.replaceChildren(fields.place);
  };
  const ask = async (wanted) => {
    wrong.hidden = true;
    try {
      const view = await explain(wanted);
      fields?.faults(view.faults);
      answer.replaceChildren(explanation(view));
      // On a phone it stands below the form.
      if (answer.getBoundingClientRect().top > innerHeight - 120) answer.scrollIntoView();
      return view;
    } catch (error) {
      wrong.textContent = error.message;
      wrong.hidden = false;
      return null;
    }
  };
  tool.addEventListener('change', () => choose());
  const element = el('form', { class: 'asking', novalidate: true, onsubmit: (event) => {
    event.preventDefault();
    const value = fields?.value();
    if (!agent.value.trim() || value === undefined) { (agent.value.trim() ? tool : agent).focus(); return; }
    const named = groups.value.split(',').map((part) => part.trim()).filter(Boolean);
    ask(`{"agent":${JSON.stringify(agent.value.trim())},"tool":${JSON.stringify(tool.value)}${named.length ? `,"groups":${JSON.stringify(named)}` : ''}${client.value ? `,"client":${JSON.stringify(client.value)}` : ''},"arguments":${value}}`);
  } },
  el('div', { class: 'fields' },
    el('div', {}, el('label', { for: 'explain-agent' }, 'Agent'), agent, agents),
    el('div', {}, el('label', { for: 'explain-tool' }, 'Tool'), tool),
    el('div', {}, el('label', { for: 'explain-groups' }, 'Groups'), groups, el('p', { id: 'explain-groups-hint', class: 'faint' }, 'Commas between; those it is registered with, if empty.')),
    el('div', {}, el('label', { for: 'explain-client' }, 'Client'), client)),
  place, wrong,
  el('div', { class: 'actions' }, el('button', { class: 'main' }, 'Explain'), el('span', { class: 'faint' }, 'Nothing runs, nothing is counted or recorded.')));
  Promise.all([get('/catalog'), get('/agents')]).then(async ([catalog, known]) => {
    tools = catalog;
    tool.append(...catalog.map((it) => el('option', { value: it.name }, plain(it.name))));
    agents.append(...known.filter((it) => !it.revoked_at).map((it) => el('option', { value: it.name })));
    if (given.call) {
      const view = await ask({ call: given.call });
      if (view) { agent.value = view.agent; client.value = view.client ?? ''; tool.value = view.tool; choose(view.arguments); }
      return;
    }
    if (given.tool) tool.value = given.tool;
    choose(given.arguments);
  }, (error) => { wrong.textContent = error.message; wrong.hidden = false; });
  return el('div', { class: 'explain' }, element, answer);
}
