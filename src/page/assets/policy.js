// The policy: the rules in force as their files write them, what they decide about each agent and tool, and why.

import { get } from './api.js';
import { el } from './dom.js';
import { DECISIONS, approval, conditions, constraints, decision, explainForm } from './explain.js';
import { content, count, facts, fail, table, terms, tools } from './listing.js';
import { simulateForm } from './simulate.js';
import { shown } from './text.js';
import { time } from './time.js';

function opened(rule) {
  const parts = [conditions(rule.matches), conditions(rule.except ?? [], 'except '), constraints(rule.constraints)].flat();
  return el('div', {}, el('h2', {}, shown(rule.name)),
    terms([['Decision', rule.mode === 'shadow' ? [decision(rule.decision), ' in shadow: recorded, decides nothing'] : decision(rule.decision)], ['Where', el('code', {}, shown(rule.location))], ['Reason', rule.reason && shown(rule.reason)], ['Approval', rule.approval && el('span', {}, approval(rule.approval))]]),
    el('h3', {}, 'Matches'), el('ul', { class: 'plain conditions' }, parts.length ? parts : el('li', {}, 'every call')),
    el('h3', {}, 'Can match'),
    rule.tools.length ? el('ul', {}, rule.tools.map((tool) => el('li', {}, el('code', {}, shown(tool))))) : el('p', { class: 'faint' }, 'No tool of the catalog.'));
}

const written = (rule) => lines(rule).join('; ') || 'every call';
const lines = (rule) => {
  const all = rule.matches.map(({ key, any_of: wanted }) => `${key}: ${wanted.join(', ')}`);
  const except = (rule.except ?? []).map(({ key, any_of: wanted }) => `except ${key}: ${wanted.join(', ')}`);
  return [...all, ...except, ...(rule.mode === 'shadow' ? ['in shadow: decides nothing'] : [])];
};

async function rules() {
  const { revision, default: otherwise, rules: all, warnings, refused, rolled_back: back } = await get('/policy');
  facts.textContent = `${count(all.length, 'rule')}, otherwise ${otherwise}; revision ${revision.slice(7, 19)}`;
  const list = table([
    ['Rule', (rule) => shown(rule.name)],
    ['Decision', (rule) => decision(rule.decision)],
    ['Matches', (rule) => (lines(rule).length ? lines(rule).map((one) => el('code', { class: 'line' }, shown(one))) : 'every call')],
    ['Can match', (rule) => (rule.tools.length <= 2 ? el('code', {}, shown(rule.tools.join(', ') || 'nothing')) : `${rule.tools.length} tools`)],
    ['Where', (rule) => el('code', {}, shown(rule.location))],
  ], all, { label: 'Rules', open: opened, text: (rule) => [rule.name, rule.decision, rule.location, rule.reason, written(rule), ...rule.tools].join(' ') });
  return [
    back ? el('p', { class: 'found wrong', role: 'alert' }, el('strong', {}, `Rolled back to ${back.revision.slice(7, 19)}`), ' by ', shown(back.by), ', since ', time(back.at), ': ', shown(back.reason), '. The files are not what is in force', back.waiting ? [', and changed at ', time(back.waiting)] : '', '; ', el('code', {}, 'countersign policy reload'), ' puts them in force again.') : '',
    refused ? el('p', { class: 'found wrong', role: 'alert' }, el('strong', {}, 'The files are not what is in force'), ', since ', time(refused.at), ': ', el('pre', { class: 'plain' }, shown(refused.why, undefined, { lines: true }))) : '',
    list.place,
    warnings.length ? el('section', { class: 'warnings' }, el('h2', {}, 'What looks wrong'), el('ul', {}, warnings.map((warning) => el('li', {}, el('code', {}, shown(warning.location)), ' ', shown(warning.message))))) : ''];
}

// How an agent of the table is called.
const named = (row) => row.agent ?? (row.known === 'named' ? `group ${row.groups.join(', ')}` : 'any other agent');
const KNOWN = { other: 'in no group, and not named by a rule', named: 'named by a rule', registered: 'registered', seen: 'not registered, called lately' };

function cell(row, tool, one) {
  const names = one.decisions.map((name) => DECISIONS[name].name);
  const last = DECISIONS[one.decisions.at(-1)];
  const told = `${names.join('/')}${one.depends_on?.length ? ` by ${one.depends_on.join(', ')}` : ''}`;
  const why = one.rules.length ? `: ${one.rules.join(', ')}` : ': by default';
  return el('td', { class: one.decisions.length > 1 ? 'mixed' : last.kind },
    el('button', { type: 'button', class: 'cell', tabindex: -1, title: `${told}${why}`, 'aria-label': `${told}: ${named(row)}, ${tool.name}`,
      onclick: () => look('explain', { agent: row.agent ?? 'any-other-agent', groups: row.groups.join(', '), tool: tool.name }) },
    el('span', { 'aria-hidden': 'true' }, one.decisions.map((name) => DECISIONS[name].sign).join('')), ' ', names.join('/')));
}

// The grid: tools down, agents across; the arrows move in it.
async function grid() {
  const agent = el('input', { type: 'search', placeholder: 'Agent or group', 'aria-label': 'Only agents with this in their name or groups' });
  const tool = el('input', { type: 'search', placeholder: 'Tool', 'aria-label': 'Only tools with this in their name' });
  const place = el('div', { class: 'scroll grid', role: 'region', 'aria-label': 'What can be decided', tabindex: -1 });
  const left = el('p', { class: 'faint', role: 'status' });
  let asked = 0;
  const draw = async () => {
    const mine = (asked += 1);
    const wanted = new URLSearchParams(Object.entries({ agent: agent.value.trim(), tool: tool.value.trim() }).filter(([, text]) => text));
    try {
      const all = await get(`/policy/table?${wanted}`);
      if (mine !== asked) return;
      facts.textContent = `${count(all.tools.length, 'tool')}, ${count(all.rows.length, 'agent')}; revision ${all.revision.slice(7, 19)}`;
      left.textContent = [[all.tools_left_out, 'tool'], [all.rows_left_out, 'agent']].filter(([number]) => number).map(([number, what]) => `${count(number, `more ${what}`)} left out: search for what you want.`).join(' ');
      place.replaceChildren(all.tools.length && all.rows.length ? el('table', {},
        el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Tool'), all.rows.map((row) => el('th', { scope: 'col', title: KNOWN[row.known] }, shown(named(row)),
          el('small', {}, row.agent && row.groups.length ? shown(row.groups.join(', ')) : KNOWN[row.known]))))),
        el('tbody', {}, all.tools.map((one, at) => el('tr', {}, el('th', { scope: 'row' }, el('code', {}, shown(one.name)), one.available ? '' : el('span', { class: 'faint', title: 'It cannot be called now.' }, ' unavailable')),
          all.rows.map((row) => cell(row, one, row.cells[at]))))))
        : el('p', { class: 'empty' }, 'Nothing matches.'));
      place.querySelector('button.cell')?.setAttribute('tabindex', '0');
    } catch (error) { if (mine === asked) place.replaceChildren(el('p', { class: 'empty wrong', role: 'alert' }, error.message)); }
  };
  let later;
  const soon = () => { clearTimeout(later); later = setTimeout(draw, 200); };
  agent.addEventListener('input', soon);
  tool.addEventListener('input', soon);
  place.addEventListener('keydown', (event) => {
    const moves = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
    const at = event.target.closest('td');
    if (!moves[event.key] || !at) return;
    event.preventDefault();
    const [down, across] = moves[event.key];
    const line = at.parentElement;
    const next = line.parentElement.rows[line.sectionRowIndex + down]?.cells[at.cellIndex + across]?.querySelector('button.cell');
    if (!next) return;
    event.target.setAttribute('tabindex', '-1');
    next.setAttribute('tabindex', '0');
    next.focus();
  });
  await draw();
  return [el('div', { class: 'filters' }, agent, tool), el('p', { class: 'legend faint' }, Object.entries(DECISIONS).map(([name]) => decision(name)), ' Where one cell has several, it depends on what it names; a cell opens why.'), place, left];
}

const looks = { rules: ['Rules', rules], table: ['Table', grid], explain: ['Explain', async (given) => { facts.textContent = 'why a call is decided as it is'; return [explainForm(given)]; }],
  simulate: ['Simulate', async () => { facts.textContent = 'other rules over recorded calls'; return [await simulateForm()]; }] };
const tabs = Object.entries(looks).map(([name, [title]]) => el('button', { type: 'button', class: 'tab', 'data-look': name, onclick: () => look(name) }, title));

// Shows one of them, and says so in the address, so that it can be handed on.
async function look(name, given = {}, push = true) {
  tabs.forEach((tab) => tab.setAttribute('aria-pressed', String(tab.dataset.look === name)));
  const address = new URLSearchParams({ ...(name === 'rules' ? {} : { look: name }), ...Object.fromEntries(Object.entries(given).filter(([, text]) => text)) });
  if (push) history.pushState(null, '', `/policy${String(address) ? `?${address}` : ''}`);
  try { content.replaceChildren(...await looks[name][1](given)); } catch (error) { fail(error); }
}

function asAddressed() {
  const { look: name, ...given } = Object.fromEntries(new URLSearchParams(location.search));
  look(Object.hasOwn(looks, name ?? '') ? name : given.call ? 'explain' : 'rules', given, false);
}

tools.append(el('span', { class: 'tabs', role: 'group', 'aria-label': 'What to look at' }, tabs));
addEventListener('popstate', asAddressed);
asAddressed();
