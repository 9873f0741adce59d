// The limits on how often calls may be made, and what is left of each for whoever used some of it; and the budgets.

import { get, live } from './api.js';
import { budgetsOf } from './budgets.js';
import { el } from './dom.js';
import { content, count, facts, fail, table, terms } from './listing.js';
import { shown } from './text.js';
import { UNITS } from './time.js';

// How often what is left is looked at anew, in milliseconds: it comes back by itself.
const PACE = 5_000;

const round = (value) => value.toLocaleString(undefined, { maximumFractionDigits: 1 });

function rate({ count: calls, period }) {
  const [unit, length] = UNITS.find(([, length]) => period % length === 0) ?? ['second', 1];
  const times = period / length;
  return `${calls.toLocaleString()} per ${times === 1 ? unit : `${round(times)} ${unit}s`}`;
}

function within(seconds) {
  if (seconds <= 0) return 'now';
  const [unit, length] = UNITS.find(([, length]) => seconds >= length) ?? ['second', 1];
  return `in ${count(Math.ceil(seconds / length), unit)}`;
}

const who = (used) => [used.agent, used.tool, used.backend, used.client, used.workflow].filter(Boolean).join(' · ') || 'all together';
const meter = (used, burst) => el('meter', { min: 0, max: burst, low: burst * 0.25, value: used.left, 'aria-label': `${used.left} of ${burst} left` });
const least = (limit) => limit.used[0];

function opened(limit) {
  return el('div', {}, el('h2', {}, shown(limit.name)),
    terms([['Lets through', rate(limit)], ['At once', limit.burst.toLocaleString()], ['Counted apart for', limit.per.join(' and ')], ['Where', el('code', {}, shown(limit.location))]]),
    el('h3', {}, 'Used'),
    limit.used.length ? el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'What is left' }, el('table', { class: 'narrow' },
      el('thead', {}, el('tr', {}, ['Who', 'Left', 'Next', 'All again'].map((title) => el('th', { scope: 'col' }, title)))),
      el('tbody', {}, limit.used.map((used) => el('tr', {}, el('td', {}, el('bdi', {}, shown(who(used)))), el('td', {}, meter(used, limit.burst), ` ${used.left} of ${limit.burst}`),
        el('td', {}, within(used.next_in)), el('td', {}, within(used.full_in)))))))
      : el('p', { class: 'faint' }, 'Nobody used any of it lately.'),
    limit.more ? el('p', { class: 'faint' }, 'There are more; those with the least left are shown.') : null);
}

let list;
const spending = el('div');

async function refresh() {
  try {
    const [{ limits, more }, found] = await Promise.all([get('/limits'), get('/budgets')]);
    const budgets = budgetsOf(found);
    const out = found.budgets.filter((budget) => budget.spent.some((account) => account.share >= 100)).length;
    const short = limits.filter((limit) => limit.used.some((used) => used.left === 0)).length;
    facts.textContent = `${count(limits.length, 'limit')}${more ? ', and more' : ''}${short ? `; ${short} used up by somebody` : ''}`
      + (budgets ? `; ${count(found.budgets.length, 'budget')}${out ? `, ${out} spent by somebody` : ''}` : '');
    if (list) { list.update(limits); spending.replaceChildren(...(budgets ? [budgets] : [])); return; }
    list = table([
      ['Limit', (limit) => shown(limit.name)],
      ['Lets through', rate],
      ['At once', (limit) => limit.burst.toLocaleString()],
      ['For each', (limit) => limit.per.join(' and ')],
      ['Least left', (limit) => (least(limit) ? [meter(least(limit), limit.burst), ` ${least(limit).left}, `, el('bdi', {}, shown(who(least(limit))))] : 'nothing used')],
      ['Where', (limit) => el('code', {}, shown(limit.location))],
    ], limits, { label: 'Limits', open: opened, text: (limit) => [limit.name, limit.location, ...limit.used.map(who)].join(' '), key: (limit) => limit.name, again: true });
    spending.replaceChildren(...(budgets ? [budgets] : []));
    content.replaceChildren(list.place, spending);
  } catch (error) { if (!list) fail(error); }
}

live(refresh, () => {}, ['entry']);
setInterval(() => { if (!document.hidden) refresh(); }, PACE);
refresh();
