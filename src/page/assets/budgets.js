// How much may be spent, and what is spent of it by whom.

import { el } from './dom.js';
import { count } from './listing.js';
import { shown } from './text.js';
import { time } from './time.js';

const WORDS = { DENY: 'refused', REQUIRE_APPROVAL: 'held for people' };

const number = (value) => value.toLocaleString(undefined, { maximumFractionDigits: 1 });
const length = (ms) => (ms < 1_000 ? `${ms} ms` : ms < 120_000 ? `${number(ms / 1_000)} s` : `${number(ms / 60_000)} min`);

function amounts({ calls, tokens, cost_usd: dollars, compute_ms: compute }) {
  return [
    calls === undefined ? null : count(calls, 'call'),
    tokens === undefined ? null : count(tokens, 'token'),
    dollars === undefined ? null : `$${dollars.toLocaleString(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 6 })}`,
    compute === undefined ? null : length(compute),
  ].filter(Boolean).join(', ');
}

const who = (account) => Object.values(account.who).join(' · ') || 'all together';

function spent(account) {
  const share = Math.min(account.share, 100);
  return [el('meter', { min: 0, max: 100, high: 80, optimum: 0, value: share, 'aria-label': `${account.share} % spent` }), ` ${account.share} %: ${amounts(account.spent)}`];
}

function rows(budget) {
  const accounts = budget.spent.length ? budget.spent : [null];
  return accounts.map((account, nth) => el('tr', {},
    el('td', {}, nth ? '' : shown(budget.name)),
    el('td', {}, account ? el('bdi', {}, shown(who(account))) : `each ${budget.per.join(' and ')}`),
    el('td', { class: account?.share >= 100 ? 'bad' : null }, account ? spent(account) : 'nothing'),
    el('td', {}, nth ? '' : amounts(budget.spend)),
    el('td', {}, nth ? '' : WORDS[budget.then] ?? budget.then),
    el('td', {}, nth ? '' : budget.renews_at ? time(budget.renews_at) : 'never'),
    el('td', {}, nth ? '' : el('code', {}, shown(budget.location)))));
}

// The budgets as a part of a page; nothing where there are none.
export function budgetsOf({ budgets, more }) {
  if (!budgets.length) return null;
  return el('section', { class: 'budgets', 'aria-labelledby': 'budgets' }, el('h2', { id: 'budgets' }, 'Budgets'),
    el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'What is spent of budgets' }, el('table', {},
      el('thead', {}, el('tr', {}, ['Budget', 'Who', 'Spent', 'Of', 'Then calls are', 'Renews', 'Where'].map((title) => el('th', { scope: 'col' }, title)))),
      el('tbody', {}, budgets.flatMap(rows)))),
    more || budgets.some((budget) => budget.more) ? el('p', { class: 'faint' }, 'There are more; those who spent the largest share are shown.') : null);
}
