// Agents and people: who is known, added and taken out.

import { get, post, remove } from './api.js';
import { ask, el, say } from './dom.js';
import { span } from './explain.js';
import { content, count, facts, fail, page, table, terms, tools } from './listing.js';
import { shown } from './text.js';
import { time } from './time.js';

const operates = page.dataset.role === 'operator';
const list = (text) => text.split(',').map((part) => part.trim()).filter(Boolean);
const status = (one) => (one.revoked_at ? el('span', { class: 'badge wrong' }, 'revoked')
  : one.expires_at && new Date(one.expires_at) <= Date.now() ? el('span', { class: 'badge wrong' }, 'expired') : el('span', { class: 'badge done' }, 'in force'));

async function attempt(work, told) {
  try { if (await work() !== null) { if (told) say(told); await refresh(); } } catch (error) { say(error.message, 'wrong'); }
}

// What is shown this once: a token, a link.
const once = (title, secret, hint) => ask(title, [el('p', {}, hint), el('pre', { class: 'arguments' }, secret)], { label: 'Copy and close', submit: async (close) => {
  try { await navigator.clipboard.writeText(secret); } catch { /* it can be marked and copied */ }
  close(true);
} });

const field = (id, label, hint, attributes = {}) => [el('label', { for: id }, label), el('input', { id, autocomplete: 'off', 'aria-describedby': `${id}-hint`, ...attributes }), el('p', { id: `${id}-hint`, class: 'faint' }, hint)];
const value = (id) => document.getElementById(id).value.trim();

const addAgent = () => attempt(async () => {
  const made = await ask('Add an agent', [field('name', 'Name', 'Letters, digits, dot, dash.', { required: true }),
    field('groups', 'Groups', 'Rules go by them; commas between.'), field('owner', 'Acts for', 'A person; you, if empty.')], { label: 'Add', submit: async (close) => {
    try { close(await post('/agents', { name: value('name'), groups: list(value('groups')), ...(value('owner') ? { owner: value('owner') } : {}) })); } catch (error) { say(error.message, 'wrong'); }
  } });
  if (made) await once(`The token of ${made.name ?? 'the agent'}`, made.token, 'It is shown this once. Clients send it as a bearer token.');
  return made;
});

const invite = () => attempt(async () => {
  const made = await ask('Invite a person', [field('name', 'Name', 'As verdicts will carry it.', { required: true }), field('groups', 'Groups', 'Rules name them as group:NAME; commas between.'),
    el('label', { for: 'role' }, 'Role'), el('select', { id: 'role' }, ['viewer', 'reviewer', 'operator'].map((role) => el('option', { value: role, selected: role === 'reviewer' }, role)))], { label: 'Make the link', submit: async (close) => {
    try { close(await post(`/reviewers/${encodeURIComponent(value('name'))}/invitation`, { role: value('role'), groups: list(value('groups')) })); } catch (error) { say(error.message, 'wrong'); }
  } });
  if (made) await once('The invitation', made.url, 'It works once; hand it over where nobody else reads it.');
  return made;
});

const sure = (title, told) => ask(title, el('p', {}, told), { label: 'Revoke', kind: 'reject', submit: (close) => close(true) });

// What this agent did in a day, and what is left of its limits.
function usage(one) {
  const place = el('div', {}, el('p', { class: 'faint' }, 'Loading …'));
  const name = encodeURIComponent(one.name);
  const since = new Date(Date.now() - 86_400_000).toISOString();
  const many = ({ calls, next }) => `${calls.length.toLocaleString()}${next ? ' or more' : ''}`;
  const calls = (more) => get(`/calls?agent=${name}&after=${since}&limit=200${more}`);
  Promise.all([calls(''), calls('&status=refused'), get(`/limits?agent=${name}`)]).then(([all, refused, { limits, more }]) => {
    const denied = { calls: refused.calls.filter((call) => call.refusal === 'denied'), next: refused.next };
    place.replaceChildren(
      el('h3', {}, 'The last 24 hours'), el('p', {}, `${many(all)} calls, ${many(refused)} refused, ${many(denied)} of them denied by a rule. `, el('a', { href: '/calls' }, 'All calls')),
      el('h3', {}, 'Limits'), limits.length ? el('ul', { class: 'plain' }, limits.map(limit)) : el('p', { class: 'faint' }, 'None counts its calls.'),
      more ? el('p', { class: 'faint' }, 'There are more.') : '');
  }, (error) => place.replaceChildren(el('p', { class: 'wrong', role: 'alert' }, error.message)));
  return place;
}

function limit(one) {
  const all = `${one.burst.toLocaleString()} at once, ${one.count.toLocaleString()} in ${span(one.period)}`;
  const per = one.per.filter((dimension) => dimension !== 'agent');
  const who = (key) => per.map((dimension) => key[dimension]).filter((text) => text !== undefined).join(', ');
  return el('li', {}, el('strong', {}, shown(one.name)), ' ', el('small', { class: 'faint' }, `${all}${per.length ? `, by ${per.join(' and ')}` : ''}`),
    el('ul', {}, one.used.length ? one.used.map((key) => el('li', {}, who(key) ? [el('bdi', {}, shown(who(key))), ': '] : null, el('strong', {}, `${key.left.toLocaleString()} left`),
      key.left === 0 ? `; the next in ${span(key.next_in)}` : '', `; all of it in ${span(key.full_in)}`)) : el('li', {}, 'all of it left')),
    one.more ? el('p', { class: 'faint' }, 'and more') : null);
}

function agent(one) {
  const path = `/agents/${encodeURIComponent(one.name)}`;
  return el('div', {}, el('h2', {}, shown(one.name)), el('p', {}, status(one)),
    terms([['Acts for', one.owner && shown(one.owner)], ['Groups', one.groups.length ? shown(one.groups.join(', ')) : 'none'], ['Added', time(one.created_at)], ['Last used', one.last_used ? time(one.last_used) : 'never'],
      ['Expires', one.expires_at ? time(one.expires_at) : 'never'], ['Revoked', one.revoked_at && time(one.revoked_at)]]),
    usage(one),
    operates && !one.revoked_at ? el('div', { class: 'actions' },
      el('button', { type: 'button', onclick: () => attempt(async () => { const made = await post(`${path}/token`, {}); await once(`The new token of ${one.name}`, made.token, 'It is shown this once; the old one has ended.'); }) }, 'New token'),
      el('button', { type: 'button', class: 'reject', onclick: () => attempt(async () => { if (!await sure(`Revoke ${one.name}?`, 'Its token ends at once, and its name is not given again.')) return null; return remove(path).then(() => true); }, 'Revoked.') }, 'Revoke …')) : null);
}

function person(one) {
  const path = `/reviewers/${encodeURIComponent(one.name)}`;
  return el('div', {}, el('h2', {}, shown(one.name)), el('p', {}, status(one)),
    terms([['Role', one.role], ['Groups', one.groups.length ? shown(one.groups.join(', ')) : 'none'], ['Also known as', one.also.length ? shown(one.also.join(', ')) : null], ['Added', time(one.created_at)],
      ['Expires', one.expires_at ? time(one.expires_at) : 'never'], ['Revoked', one.revoked_at && time(one.revoked_at)],
      ['Signing keys', one.keys.length ? el('ul', { class: 'plain' }, one.keys.map((key) => el('li', {}, el('code', {}, shown(key.fingerprint))))) : 'none']]),
    operates && !one.revoked_at ? el('div', { class: 'actions' },
      el('button', { type: 'button', onclick: () => attempt(async () => { const made = await post(`${path}/invitation`, {}); await once(`A link for ${one.name}`, made.url, 'With it they set a new passkey or password, once.'); }) }, 'New link'),
      el('button', { type: 'button', onclick: () => attempt(() => remove(`${path}/sessions`).then(() => true), 'Signed out everywhere.') }, 'Sign out everywhere'),
      el('button', { type: 'button', class: 'reject', onclick: () => attempt(async () => { if (!await sure(`Revoke ${one.name}?`, 'Their sessions, token and keys end at once; approvals that have not been used yet count no more.')) return null; return remove(path).then(() => true); }, 'Revoked.') }, 'Revoke …')) : null);
}

let drawn;
async function refresh() {
  try {
    const [agents, people] = await Promise.all([get('/agents'), get('/reviewers')]);
    const rows = [...agents.map((one) => ({ kind: 'agent', ...one })), ...people.map((one) => ({ kind: 'person', ...one }))];
    facts.textContent = `${count(agents.length, 'agent')}, ${count(people.length, 'person', 'people')}`;
    if (drawn) { drawn.update(rows); return; }
    drawn = table([
      ['Name', (one) => shown(one.name)],
      ['What', (one) => (one.kind === 'agent' ? 'agent' : one.role)],
      ['Groups', (one) => shown(one.groups.join(', '))],
      ['For', (one) => (one.owner ? el('bdi', {}, shown(one.owner)) : '')],
      ['Last used', (one) => (one.kind === 'person' ? '' : one.last_used ? time(one.last_used) : 'never')],
      ['Standing', status],
    ], rows, { label: 'Agents and people', open: (one) => (one.kind === 'agent' ? agent(one) : person(one)), text: (one) => [one.name, one.kind, one.role, one.owner, ...one.groups].join(' ') });
    content.replaceChildren(drawn.place);
  } catch (error) { fail(error); }
}

if (operates) tools.append(el('button', { type: 'button', class: 'main', onclick: addAgent }, 'Add an agent'), el('button', { type: 'button', onclick: invite }, 'Invite a person'));
refresh();
