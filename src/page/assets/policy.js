// The rules in force, each with its place and the tools it can match.

import { get } from './api.js';
import { el } from './dom.js';
import { content, count, facts, fail, table, terms } from './listing.js';
import { shown } from './text.js';

const KINDS = { ALLOW: 'done', DENY: 'wrong', REQUIRE_APPROVAL: 'warn', ALLOW_WITH_CONSTRAINTS: '' };
const decision = (name) => el('span', { class: `badge ${KINDS[name] ?? ''}` }, name);

function opened(rule) {
  return el('div', {}, el('h2', {}, shown(rule.name)),
    terms([['Decision', decision(rule.decision)], ['Where', el('code', {}, shown(rule.location))]]),
    el('h3', {}, 'Can match'),
    rule.tools.length ? el('ul', {}, rule.tools.map((tool) => el('li', {}, el('code', {}, shown(tool))))) : el('p', { class: 'faint' }, 'No tool of the catalog.'));
}

get('/policy').then(({ revision, default: otherwise, rules, warnings }) => {
  facts.textContent = `${count(rules.length, 'rule')}, otherwise ${otherwise}; revision ${revision.slice(7, 19)}`;
  const list = table([
    ['Rule', (rule) => shown(rule.name)],
    ['Decision', (rule) => decision(rule.decision)],
    ['Can match', (rule) => (rule.tools.length <= 3 ? el('code', {}, shown(rule.tools.join(', ') || 'nothing')) : `${rule.tools.length} tools`)],
    ['Where', (rule) => el('code', {}, shown(rule.location))],
  ], rules, { label: 'Rules', open: opened, text: (rule) => [rule.name, rule.decision, rule.location, ...rule.tools].join(' ') });
  content.replaceChildren(list.place,
    warnings.length ? el('section', { class: 'hold' }, el('h3', {}, 'What looks wrong'), el('ul', {}, warnings.map((warning) => el('li', {}, el('code', {}, shown(warning.location)), ' ', shown(warning.message))))) : '');
}, fail);
