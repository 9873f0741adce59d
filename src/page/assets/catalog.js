// The catalog: every tool with its definition, and why agents cannot call some.

import { get } from './api.js';
import { el } from './dom.js';
import { pretty } from './json.js';
import { content, count, facts, fail, table, terms } from './listing.js';
import { badge, shown } from './text.js';

const EFFECTS = { read: '', write: 'warn', delete: 'wrong', destructive: 'wrong' };

function opened(tool) {
  const seen = { hidden: 0, alike: 0 };
  const described = shown(tool.description, seen, { lines: true });
  return el('div', {}, el('h2', {}, el('code', {}, shown(tool.name, seen))), tool.title ? el('p', {}, shown(tool.title, seen)) : null, badge(seen),
    tool.unavailable ? el('p', { class: 'wrong' }, 'Agents cannot call it: ', shown(tool.unavailable)) : null,
    el('blockquote', {}, described),
    terms([['Backend', shown(tool.backend)], ['Capability', tool.capability && shown(tool.capability)], ['Action', tool.action && shown(tool.action)],
      ['Effect', tool.action_type && shown(tool.action_type)], ['Environment', tool.environment && shown(tool.environment)], ['Risk', tool.risk && shown(tool.risk)],
      ['Tags', tool.tags.length ? shown(tool.tags.join(', ')) : null], ['Fingerprint', el('code', {}, tool.definition_fingerprint)]]),
    el('h3', {}, 'Arguments'), el('pre', { class: 'arguments' }, pretty(tool.input_schema, seen)));
}

get('/catalog').then((tools) => {
  const off = tools.filter((tool) => tool.unavailable).length;
  facts.textContent = `${count(tools.length, 'tool')}${off ? `, ${off} unavailable` : ''}`;
  content.replaceChildren(table([
    ['Tool', (tool) => el('code', {}, shown(tool.name))],
    ['Effect', (tool) => (tool.action_type ? el('span', { class: `badge ${EFFECTS[tool.action_type] ?? ''}` }, shown(tool.action_type)) : '')],
    ['Environment', (tool) => shown(tool.environment ?? '')],
    ['Risk', (tool) => shown(tool.risk ?? '')],
    ['Backend', (tool) => shown(tool.backend)],
    ['Agents', (tool) => el('span', { class: `badge ${tool.unavailable ? 'wrong' : 'done'}` }, tool.unavailable ? 'cannot call it' : 'may ask for it')],
  ], tools, { label: 'Tools', open: opened, text: (tool) => [tool.name, tool.title, tool.description, tool.backend, tool.capability, tool.action, ...tool.tags].join(' ') }).place);
}, fail);
