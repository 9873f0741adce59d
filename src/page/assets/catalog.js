// The catalog: every tool with its definition, why agents cannot call some, and a form to try it.

import { get, live, post } from './api.js';
import { el, say } from './dom.js';
import { explain, explanation } from './explain.js';
import { form, tree } from './form.js';
import { pretty } from './json.js';
import { content, count, facts, fail, page, table, terms } from './listing.js';
import { waiting } from './quarantine.js';
import { badge, shown } from './text.js';

// How long a tried call may take before the page looks away from it, in milliseconds; the call goes on.
const PATIENCE = 180_000;
// How often the catalog is asked for anew while entries come, in milliseconds.
const PACE = 2_000;
const EFFECTS = { read: '', write: 'warn', delete: 'wrong', admin: 'wrong', destructive: 'wrong' };
const operates = page.dataset.role === 'operator';

// What came of a call that was tried.
function outcome(view) {
  const kinds = { success: ['done', 'The tool gave a result'], tool_error: ['wrong', 'The tool says that it failed'], refused: ['wrong', 'Refused'], held: ['live', 'It waits for people'] };
  const [kind, title] = kinds[view.outcome];
  const seen = { hidden: 0, alike: 0 };
  const texts = (view.result?.content ?? []).map((block) => (block.type === 'text' ? el('pre', { class: 'arguments' }, shown(block.text, seen, { lines: true })) : el('pre', { class: 'arguments' }, pretty(block, seen))));
  return el('section', { class: `outcome ${kind}`, role: 'status' }, el('h3', {}, title),
    el('p', { class: 'faint' }, 'As ', el('bdi', {}, shown(view.agent)), view.rules.length ? [', by ', shown(view.rules.join(', '))] : null, '. ', el('a', { href: `/policy?call=${view.call}` }, 'Explain'), ' ', el('code', {}, view.call)),
    view.told ? el('blockquote', {}, shown(view.told, seen, { lines: true })) : null,
    view.hold ? el('p', {}, el('a', { href: `/holds/${view.hold}` }, 'The call that waits'), '. Its result stands there once it ran.') : null,
    view.edits.length ? el('ul', { class: 'edits' }, view.edits.map((edit) => el('li', {}, el('code', {}, shown(edit.pointer)), ' ran with ', el('ins', {}, pretty(edit.to, seen)), ' by ', shown(edit.rule)))) : null,
    texts, view.result?.structuredContent !== undefined ? el('details', {}, el('summary', {}, 'Structured'), el('pre', { class: 'arguments' }, pretty(view.result.structuredContent, seen))) : null,
    view.result && !texts.length && view.result.structuredContent === undefined ? el('p', { class: 'faint' }, 'It said nothing.') : null, badge(seen));
}

function trying(tool) {
  const fields = form(tool.input_schema);
  const answer = el('div', { class: 'answer' });
  const wrong = (error) => answer.replaceChildren(el('p', { class: 'wrong', role: 'alert' }, error.message));
  const name = JSON.stringify(tool.name);
  const buttons = [];
  const during = async (work) => {
    buttons.forEach((button) => { button.disabled = true; });
    try { await work(); } catch (error) { wrong(error); } finally { buttons.forEach((button) => { button.disabled = false; }); }
  };
  const ask = async () => {
    const value = fields.value();
    if (value === undefined) return;
    await during(async () => {
      const me = (await get('/whoami')).tries_as;
      if (!me) throw new Error('An agent has the name by which the page would call for you; nothing can be tried.');
      const view = await explain(`{"agent":${JSON.stringify(me)},"client":"countersign-page","tool":${name},"arguments":${value}}`);
      fields.faults(view.faults);
      answer.replaceChildren(explanation(view));
    });
  };
  const call = () => {
    const value = fields.value();
    if (value === undefined) return;
    during(async () => {
      answer.replaceChildren(el('p', { class: 'faint', role: 'status' }, 'It runs …'));
      const view = await post('/try', `{"tool":${name},"arguments":${value}}`, PATIENCE);
      if (view.refusal === 'invalid_arguments') {
        const { faults } = await explain(`{"agent":${JSON.stringify(view.agent)},"tool":${name},"arguments":${value}}`);
        fields.faults(faults);
      } else fields.faults([]);
      answer.replaceChildren(outcome(view));
      answer.scrollIntoView({ block: 'nearest' });
      if (view.outcome === 'held') say('It waits for people.', 'note');
    });
  };
  buttons.push(el('button', { class: 'main', disabled: Boolean(tool.unavailable) }, 'Call it'), el('button', { type: 'button', onclick: ask }, 'What would the rules say?'));
  return [el('h3', {}, 'Try it'), el('form', { class: 'asking', novalidate: true, onsubmit: (event) => { event.preventDefault(); call(); } },
    el('p', { class: 'faint' }, 'A real call, as an agent of yours: rules, limits and the record are as for any agent.'), fields.place, el('div', { class: 'actions' }, buttons)), answer];
}

function opened(tool) {
  const seen = { hidden: 0, alike: 0 };
  const described = shown(tool.description, seen, { lines: true });
  return el('div', {}, el('h2', {}, el('code', {}, shown(tool.name, seen))), tool.title ? el('p', {}, shown(tool.title, seen)) : null, badge(seen),
    quarantined.has(tool.name) ? waiting(quarantined.get(tool.name), operates, accepted) : tool.unavailable ? el('p', { class: 'wrong' }, 'Agents cannot call it: ', shown(tool.unavailable)) : null,
    el('blockquote', {}, described),
    terms([['Backend', shown(tool.backend)], ['Capability', tool.capability && shown(tool.capability)], ['Action', tool.action && shown(tool.action)],
      ['Effect', tool.action_type && shown(tool.action_type)], ['Environment', tool.environment && shown(tool.environment)], ['Risk', tool.risk && shown(tool.risk)],
      ['Tags', tool.tags.length ? shown(tool.tags.join(', ')) : null], ['Fingerprint', el('code', {}, tool.definition_fingerprint)]]),
    el('h3', {}, 'Arguments'), tree(tool.input_schema),
    el('details', {}, el('summary', {}, 'The schema as it is'), el('pre', { class: 'arguments' }, pretty(tool.input_schema, seen))),
    operates && !tool.name.includes(':') ? trying(tool) : el('p', {}, el('a', { href: `/policy?${new URLSearchParams({ look: 'explain', tool: tool.name })}` }, 'What would the rules say of a call?')));
}

let list;
let drawn = '';
let quarantined = new Map();
const stands = (tool) => (quarantined.has(tool.name) ? ['wrong', 'definition changed'] : tool.unavailable ? ['wrong', 'cannot call it'] : ['done', 'may ask for it']);

async function refresh() {
  try {
    const [all, changed] = await Promise.all([get('/catalog'), get('/catalog/quarantine')]);
    quarantined = new Map(changed.map((view) => [view.tool, view]));
    // What waits for a person comes first.
    const tools = [...all.filter((tool) => quarantined.has(tool.name)), ...all.filter((tool) => !quarantined.has(tool.name))];
    const off = tools.filter((tool) => tool.unavailable).length;
    facts.textContent = `${count(tools.length, 'tool')}${off ? `, ${off} unavailable` : ''}${changed.length ? `, ${count(changed.length, 'definition')} changed` : ''}`;
    const now = JSON.stringify([tools, changed]);
    if (now === drawn) return;
    drawn = now;
    if (list) { list.update(tools); return; }
    list = table([
      ['Tool', (tool) => el('code', {}, shown(tool.name))],
      ['Effect', (tool) => (tool.action_type ? el('span', { class: `badge ${EFFECTS[tool.action_type] ?? ''}` }, shown(tool.action_type)) : '')],
      ['Environment', (tool) => shown(tool.environment ?? '')],
      ['Risk', (tool) => shown(tool.risk ?? '')],
      ['Backend', (tool) => shown(tool.backend)],
      ['Agents', (tool) => { const [kind, told] = stands(tool); return el('span', { class: `badge ${kind}` }, told); }],
    ], tools, { label: 'Tools', open: opened, text: (tool) => [tool.name, tool.title, tool.description, tool.backend, tool.capability, tool.action, ...tool.tags].join(' '), key: (tool) => tool.name });
    content.replaceChildren(list.place);
  } catch (error) { if (!list) fail(error); }
}

// What is open beside the list is shown as it is now.
async function accepted() {
  await refresh();
  content.querySelector('tr.selected button.open')?.click();
}

let due;
// Calls may come by the hundred: whether one of them told of a change is asked once.
function soon() {
  due ??= setTimeout(() => { due = undefined; refresh(); }, PACE);
}

live(soon, () => {}, ['entry']);
refresh();
