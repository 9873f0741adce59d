// One held call: everything a person needs to decide, and then what came of it.

import { ask, el, say } from './dom.js';
import { get, post } from './api.js';
import { differences, pretty, read, write } from './json.js';
import { resolutions } from './resolve.js';
import { body, signed } from './sign.js';
import { badge, shown } from './text.js';
import { time } from './time.js';

// What is longer has to be read to its end before it can be approved, in characters.
const LONG = 4_000;
const STATES = {
  pending: 'waits for a person', approved: 'approved, about to run', executing: 'running now', finished: 'ran',
  unknown: 'outcome unknown', rejected: 'rejected', expired: 'expired undecided', withdrawn: 'taken back by its agent',
  lapsed: 'approved, but not run in time', superseded: 'replaced by a new hold', halted: 'halted',
};

const section = (title, ...content) => {
  const shownContent = content.flat().filter(Boolean);
  return shownContent.length ? el('section', {}, el('h3', {}, title), shownContent) : null;
};
const name = (text) => el('bdi', {}, shown(text));
const copyable = (text, label) => el('button', {
  class: 'copy', type: 'button', title: `Copy ${label}`, onclick: async () => { await navigator.clipboard.writeText(text); say('Copied.'); },
}, text.slice(0, 12));

function effects(tool) {
  if (!tool) return null;
  const kinds = { read: 'calm', write: 'warn', delete: 'wrong', admin: 'wrong' };
  return [
    tool.action_type && el('span', { class: `badge ${kinds[tool.action_type] ?? ''}` }, tool.action_type),
    tool.risk && el('span', { class: `badge ${['high', 'critical'].includes(tool.risk) ? 'wrong' : ''}` }, `${tool.risk} risk`),
    tool.environment && el('span', { class: 'badge' }, shown(tool.environment)),
  ];
}

const edits = (view) => view.edits.map((edit) => el('li', {},
  el('code', {}, shown(edit.pointer)), ' was ',
  edit.from === undefined ? 'not given' : el('del', {}, shown(write(edit.from, 0))), ', runs with ',
  el('ins', {}, shown(write(edit.to, 0))),
  el('small', {}, ' by ', el('code', {}, shown(edit.constraint)), ' of rule ', name(edit.rule))));

function similar(view, last) {
  if (last === undefined) return el('p', { class: 'faint' }, 'Looking for an earlier call …');
  if (!last) return el('p', { class: 'faint' }, 'No call of this tool by this agent was approved before.');
  const lines = differences(last.arguments, view.arguments);
  return [
    el('p', { class: 'faint' }, 'Against ', el('a', { href: `/holds/${last.id}` }, last.id.slice(0, 8)), ', approved ', time(last.created_at), ':'),
    lines.length
      ? el('ul', { class: 'differences' }, lines.map(({ at, before, after }) => el('li', {}, el('code', {}, shown(at)), ' ',
        before === undefined ? null : [el('del', {}, shown(write(before, 0))), ' '],
        after === undefined ? null : el('ins', {}, shown(write(after, 0))))))
      : el('p', {}, 'The very same arguments.'),
  ];
}

function argumentsOf(view, more, read) {
  const seen = { hidden: 0, alike: 0 };
  const marks = new Map(view.edits.map((edit) => [edit.pointer, `changed by ${edit.constraint} of rule ${edit.rule}`]));
  const looks = {
    Pretty: () => el('pre', { class: 'arguments' }, pretty(view.arguments, seen, marks)),
    Raw: () => el('pre', { class: 'arguments raw' }, shown(write(view.arguments, 0))),
    Before: () => el('div', { class: 'arguments' }, similar(view, more.last)),
  };
  const labels = { Pretty: 'Pretty', Raw: 'Raw', Before: 'Against the last one' };
  const length = write(view.arguments, 0).length;
  const panel = el('div', { class: 'look', tabindex: 0, role: 'region', 'aria-label': 'Arguments' });
  const tabs = Object.keys(looks).map((look) => el('button', { type: 'button', class: 'tab', 'aria-pressed': 'false', onclick: () => show(look) }, labels[look]));
  const show = (look) => {
    tabs.forEach((tab) => tab.setAttribute('aria-pressed', String(tab.textContent === labels[look])));
    panel.replaceChildren(looks[look](), el('span', { class: 'end' }));
    if (look !== 'Before') new IntersectionObserver((met, observer) => {
      if (met.some((it) => it.isIntersecting)) { observer.disconnect(); read(); }
    }, { root: panel }).observe(panel.lastChild);
  };
  show('Pretty');
  return el('section', {},
    el('div', { class: 'row' }, el('h3', {}, 'Arguments'), badge(seen),
      length > LONG ? el('span', { class: 'badge warn' }, `${length.toLocaleString()} characters: read to the end`) : null,
      el('span', { class: 'tabs' }, tabs)),
    panel,
    view.edits.length ? el('ul', { class: 'edits' }, edits(view)) : null);
}

function why(view, rules) {
  const ruled = view.rules.map((rule) => el('li', {}, el('strong', {}, name(rule)),
    rules.get(rule) ? el('small', {}, ' ', el('code', {}, shown(rules.get(rule).location))) : null));
  return section('Why it is held',
    el('ul', { class: 'plain' }, ruled),
    view.reason ? el('p', {}, shown(view.reason)) : null,
    el('p', {}, el('a', { href: `/policy?call=${view.call}` }, 'Explain')),
    view.agent_reason ? el('figure', {}, el('figcaption', {}, 'The agent says ', el('span', { class: 'badge' }, 'not verified')), el('blockquote', {}, shown(view.agent_reason, undefined, { lines: true }))) : null);
}

function radius({ all, tool }) {
  const bad = tool.calls.filter((call) => !['success', 'held', 'running'].includes(call.status)).length;
  const many = ({ calls, next }) => `${calls.length.toLocaleString()}${next ? ' or more' : ''}`;
  return section('The last 24 hours', el('p', {}, `${many(all)} calls of this agent, ${many(tool)} of this tool`,
    bad ? [', ', el('strong', {}, `${bad} of them refused or failed`)] : null, '. ', el('a', { href: '/calls' }, 'All calls')));
}

// Adds to an article what was asked for after it was shown; nothing that is being typed is touched.
export function complete(article, more) {
  const place = article.querySelector('.radius');
  if (more.recent && !place.firstChild) place.append(radius(more.recent));
}

const signature = ({ signature: given }) => given && el('span', { class: 'faint' }, typeof given === 'string'
  ? ', signed with an SSH key' : [', signed with the passkey ', given.name ? name(given.name) : null]);
const said = (view) => view.verdicts.map((verdict) => el('li', {},
  el('strong', {}, shown(verdict.person.name)), verdict.decision === 'approve' ? ' approved' : ' rejected', ' ', time(verdict.at), signature(verdict),
  verdict.reason ? el('blockquote', {}, shown(verdict.reason, undefined, { lines: true })) : null));

const amended = (view) => view.amendments.map((amendment) => el('li', {},
  el('strong', {}, shown(amendment.person.name)), ' changed ', time(amendment.at), ': ',
  amendment.changes.map((change) => el('code', {}, shown(change.pointer), ' '))));

function outcome(view) {
  const states = { finished: view.outcome?.status === 'success' ? 'done' : 'wrong', unknown: 'wrong', rejected: 'wrong', executing: 'live', approved: 'live' };
  const last = view.verdicts.at(-1);
  return el('section', { class: `outcome ${states[view.state] ?? ''}`, role: 'status' },
    el('h3', {}, STATES[view.state] ?? view.state),
    last ? el('p', {}, `${last.decision === 'approve' ? 'Approved' : 'Rejected'} by `, el('strong', {}, shown(last.person.name)), ' ', time(last.at), signature(last)) : null,
    view.state === 'approved' && view.execute_by ? el('p', {}, 'May begin to run for ', time(view.execute_by, { until: true })) : null,
    view.outcome ? el('p', {}, 'Outcome: ', el('strong', {}, view.outcome.status.replaceAll('_', ' ')), ` after ${view.outcome.backend_ms} ms`, view.outcome.error ? el('span', {}, ': ', shown(view.outcome.error)) : null) : null,
    view.why ? el('p', {}, shown(view.why)) : null,
    view.anew ? el('p', {}, 'Held anew: ', el('a', { href: `/holds/${view.anew}` }, view.anew.slice(0, 8))) : null,
    view.result ? el('details', {}, el('summary', {}, 'What came back'), el('pre', { class: 'arguments' }, pretty(view.result, { hidden: 0, alike: 0 }))) : null);
}

async function presented(article) {
  // Browsers have this where the page came over https or from this machine.
  if (!crypto.subtle) return undefined;
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(article.innerText));
  const hex = [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return { by: 'page', digest: `sha256:${hex}` };
}

// Makes the article for `view`. `more` has what is known besides: rules, tools, the last approved call, who looks.
export function article(view, more, changed) {
  const pending = view.state === 'pending';
  const whole = { read: write(view.arguments, 0).length <= LONG };
  const seen = { hidden: 0, alike: 0 };
  const title = el('h2', { tabindex: -1 }, el('code', {}, shown(view.tool, seen)));
  const actions = pending ? decisions(view, more, whole, changed, () => result) : null;
  const result = el('article', { class: 'hold', 'data-id': view.id, 'data-state': view.state },
    el('header', {},
      el('button', { type: 'button', class: 'plain back', onclick: () => more.back() }, '← All'),
      el('div', { class: 'row' }, title, badge(seen), effects(more.tools.get(view.tool))),
      el('p', {}, name(view.agent), view.via ? [' via ', name(view.via.agent)] : null, view.owner ? [' for ', name(view.owner)] : null, view.client ? [' with ', name(view.client)] : null, ' · asked ', time(view.created_at),
        view.identical > 1 ? [' ', el('span', { class: 'badge warn' }, `${view.identical} identical calls`)] : null),
      pending
        ? el('p', { class: 'clocks' }, 'Decide within ', time(view.decide_by, { until: true }), ` · then it may begin to run for ${Math.round(view.execute_within / 60)} min`)
        : null),
    pending ? null : outcome(view),
    view.state === 'unknown' && more.me.decides ? resolutions(view, () => presented(result), changed) : null,
    argumentsOf(view, more, () => { whole.read = true; actions?.ready(); }),
    why(view, more.rules),
    el('div', { class: 'radius' }),
    section('Who decides', view.needs ? el('p', {}, shown(view.needs)) : null,
      view.verdicts.length ? el('ul', { class: 'plain' }, said(view)) : null,
      view.amendments.length ? el('ul', { class: 'plain' }, amended(view)) : null),
    actions?.bar,
    el('footer', {}, 'hold ', copyable(view.id, 'the identifier'), ' · digest ', copyable(view.digest, 'the digest')));
  complete(result, more);
  return result;
}

function decisions(view, more, whole, changed, self) {
  if (!more.me.decides) return { bar: el('p', { class: 'faint' }, 'You may look, and not decide.'), ready() {} };
  const wrong = el('p', { class: 'wrong', role: 'alert', hidden: true });
  const attempt = async (work, told) => {
    wrong.hidden = true;
    bar.inert = true;
    try { await work(); say(told); await changed(); } catch (error) {
      wrong.replaceChildren(...(error.parts ?? [error.message]).flat());
      wrong.hidden = false;
      if (error.status === 409) await changed();
    } finally { bar.inert = false; }
  };
  const key = crypto.randomUUID();
  const verdict = async (decision, rest = {}) => ({ decision, digest: view.digest, rendered: await presented(self()), idempotency_key: key, ...rest });
  const decide = async (decision, rest) => {
    const given = await verdict(decision, rest);
    // A signature is for one call, so identical ones are signed one by one.
    if (view.signature && decision === 'approve') {
      await post(`/approvals/${view.id}/verdict`, await signed(view, given));
      return;
    }
    if (view.identical > 1) {
      const count = await counted(view, decision);
      if (!count) throw new Error('Nothing was decided.');
      const made = await post(`/approvals/${view.id}/identical`, { count, ...given });
      if (made.not_decided.length) throw new Error(`${made.not_decided.length} of ${count} could not be decided: ${made.not_decided[0].error}`);
      return;
    }
    await post(`/approvals/${view.id}/verdict`, given);
  };
  const approve = el('button', { type: 'button', class: 'main approve', onclick: () => attempt(() => decide('approve'), 'Approved.') }, view.signature ? 'Sign and approve' : 'Approve', el('kbd', {}, 'a'));
  const reason = el('textarea', { id: 'reason', rows: 2, maxlength: 2000, 'aria-describedby': 'reason-rule' });
  const send = () => attempt(() => decide('reject', { reason: reason.value.trim() || undefined }), 'Rejected.');
  reason.addEventListener('keydown', (event) => { if (event.key === 'Enter' && !event.shiftKey) { event.preventDefault(); send(); } });
  const rejecting = el('div', { class: 'rejecting', hidden: true },
    el('label', { for: 'reason' }, 'Why not?'), reason,
    el('p', { id: 'reason-rule', class: 'faint' }, 'The agent reads this. Enter sends it, Shift and Enter begin a line.'),
    el('button', { type: 'button', class: 'reject', onclick: send }, 'Reject'));
  const reject = el('button', { type: 'button', class: 'reject', 'aria-expanded': 'false', onclick: () => {
    rejecting.hidden = !rejecting.hidden;
    reject.setAttribute('aria-expanded', String(!rejecting.hidden));
    if (!rejecting.hidden) reason.focus();
  } }, 'Reject …', el('kbd', {}, 'r'));
  const edit = view.allow_edit && (view.identical <= 1 || view.signature)
    ? el('button', { type: 'button', onclick: () => attempt(() => editing(view, verdict), 'Approved as changed.') }, 'Edit …', el('kbd', {}, 'e')) : null;
  const stand = el('button', { type: 'button', onclick: () => attempt(() => standing(view), 'Granted.') }, 'Let such calls pass …', el('kbd', {}, 's'));
  const unread = el('p', { class: 'faint', id: 'unread' }, 'Read the arguments to their end first.');
  const bar = el('div', { class: 'decisions' },
    view.signature ? el('p', { class: 'faint' }, 'Approving takes your signature: your passkey is asked for.', view.identical > 1 ? ` Each of the ${view.identical} calls is signed for itself.` : null) : null,
    wrong, unread,
    el('div', { class: 'actions' }, approve, reject, edit, view.signature ? null : stand), rejecting);
  const ready = () => { approve.disabled = !whole.read; unread.hidden = whole.read; };
  ready();
  return { bar, ready };
}

// How many identical calls a person means, typed.
async function counted(view, decision) {
  const typed = el('input', { id: 'count', inputmode: 'numeric', autocomplete: 'off', required: true });
  return ask(`${decision === 'approve' ? 'Approve' : 'Reject'} ${view.identical} identical calls?`,
    [el('label', { for: 'count' }, `Each runs for itself. Type ${view.identical} to go on.`), typed],
    { label: decision === 'approve' ? 'Approve all' : 'Reject all', submit: (close) => { if (Number(typed.value) === view.identical) close(view.identical); else typed.select(); } });
}

async function editing(view, verdict) {
  const text = el('textarea', { id: 'edited', rows: 14, spellcheck: 'false', class: 'code', value: write(view.arguments) });
  const wrong = el('p', { class: 'wrong', hidden: true });
  const changes = el('ul', { class: 'differences' });
  const look = () => {
    try {
      changes.replaceChildren(...differences(view.arguments, read(text.value)).map(({ at, before, after }) => el('li', {}, el('code', {}, shown(at)), ' ',
        before === undefined ? null : [el('del', {}, shown(write(before, 0))), ' '], after === undefined ? null : el('ins', {}, shown(write(after, 0))))));
      wrong.hidden = true;
      return true;
    } catch (error) {
      wrong.textContent = `Not JSON: ${error.message}`;
      wrong.hidden = false;
      return false;
    }
  };
  text.addEventListener('input', look);
  const given = await verdict('approve');
  const made = await ask('Approve with other arguments', [
    el('label', { for: 'edited' }, 'The call runs with exactly these. Policy looks at it once more.'), text, wrong, changes,
  ], { label: view.signature ? 'Sign and approve as changed' : 'Approve as changed', submit: async (close) => {
    if (!look()) return;
    try {
      const whole = view.signature ? await signed(view, given, text.value) : given;
      close(await post(`/approvals/${view.id}/verdict`, body(whole, text.value)));
    } catch (error) { wrong.replaceChildren(...(error.parts ?? [error.message]).flat()); wrong.hidden = false; }
  } });
  if (!made) throw new Error('Nothing was changed.');
}

async function standing(view) {
  const bounds = el('textarea', { id: 'bounds', rows: 4, class: 'code', spellcheck: 'false', value: '{}' });
  const hours = el('input', { id: 'hours', type: 'number', min: 1, max: 720, value: 1, required: true });
  const reason = el('input', { id: 'standing-reason', maxlength: 2000 });
  const wrong = el('p', { class: 'wrong', hidden: true });
  const rule = el('pre', { class: 'arguments', hidden: true });
  let drafted = null;
  const button = (label) => { document.querySelector('dialog button.main').textContent = label; };
  const forget = () => { drafted = null; rule.hidden = true; button('Show the rule'); };
  [bounds, hours, reason].forEach((field) => field.addEventListener('input', forget));
  const wanted = (confirm, until) => `{"hold":${JSON.stringify(view.id)},"bounds":${bounds.value},"until":${JSON.stringify(until)}${reason.value ? `,"reason":${JSON.stringify(reason.value)}` : ''}${confirm ? `,"confirm":${JSON.stringify(confirm)}` : ''}}`;
  let until;
  const made = await ask('Let calls like this pass without a person', [
    el('p', {}, 'For this agent and this tool, while the arguments keep to bounds, written as constraints of rules.'),
    el('label', { for: 'bounds' }, 'Bounds, {} for any arguments'), bounds,
    el('label', { for: 'hours' }, 'For how many hours'), hours,
    el('label', { for: 'standing-reason' }, 'Why'), reason, wrong, rule,
  ], { label: 'Show the rule', submit: async (close) => {
    try {
      read(bounds.value);
      until ??= new Date(Date.now() + Number(hours.value) * 3_600_000).toISOString();
      if (!drafted) {
        until = new Date(Date.now() + Number(hours.value) * 3_600_000).toISOString();
        drafted = await post('/standing', wanted(null, until));
        rule.replaceChildren(shown(drafted.rule, undefined, { lines: true }));
        rule.hidden = false;
        wrong.hidden = true;
        button('Grant it');
        return;
      }
      close(await post('/standing', wanted(drafted.id, until)));
    } catch (error) { wrong.textContent = error.message; wrong.hidden = false; }
  } });
  if (!made) throw new Error('Nothing was granted.');
}

// What is known besides a hold, asked for once it is shown.
export async function background(view) {
  const after = new Date(Date.now() - 86_400_000).toISOString();
  const calls = (wanted) => get(`/calls?${new URLSearchParams({ agent: view.agent, after, limit: 200, ...wanted })}`);
  const [holds, all, tool] = await Promise.all([
    get(`/approvals?${new URLSearchParams({ agent: view.agent, state: 'finished', limit: 200 })}`), calls({}), calls({ tool: view.tool }),
  ]);
  return { last: holds.find((hold) => hold.id !== view.id && hold.tool === view.tool) ?? null, recent: { all, tool } };
}
