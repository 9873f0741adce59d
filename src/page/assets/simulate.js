// What other rules would have decided about recorded calls: the rules in force to be edited, and what flips.

import { get, post } from './api.js';
import { el } from './dom.js';
import { DECISIONS, decision } from './explain.js';
import { count, page } from './listing.js';
import { badge, plain, shown } from './text.js';
import { time } from './time.js';

// How long it may take before the page looks away from it, in milliseconds; the gateway gives it 25 s.
const PATIENCE = 45_000;
// The largest request, in bytes, and the most calls one goes over.
const LARGEST = 2 * 1_048_576;
const MOST = 100_000;

const rounded = (number) => Number(number).toLocaleString(undefined, { maximumFractionDigits: 1 });
const by = (rules) => (rules.length ? shown(rules.join(', ')) : 'by default');

// A cell of the matrix: how many calls were decided as `before` and would be as `after`.
function matrix(cells) {
  const rulings = Object.keys(DECISIONS).filter((name) => cells.some((cell) => cell.before === name || cell.after === name));
  const calls = (before, after) => Number(cells.find((cell) => cell.before === before && cell.after === after)?.calls ?? 0);
  return el('div', { class: 'scroll grid', tabindex: 0, role: 'region', 'aria-label': 'How many calls would be decided how' }, el('table', {},
    el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'It was ↓, it would be →'), rulings.map((name) => el('th', { scope: 'col' }, decision(name))))),
    el('tbody', {}, rulings.map((before) => el('tr', {}, el('th', { scope: 'row' }, decision(before)),
      rulings.map((after) => el('td', { class: calls(before, after) && before !== after ? DECISIONS[after].kind : null }, el('span', { class: 'number-of' }, calls(before, after).toLocaleString()))))))));
}

function sample(flip, seen) {
  return el('li', {}, el('p', {}, decision(flip.before), ' → ', decision(flip.after), ' ', el('code', {}, shown(flip.tool, seen)), ' for ', el('bdi', {}, shown(flip.agent, seen)), ', ', time(flip.at)),
    el('p', { class: 'faint' }, 'It was ', by(flip.rules_before), '; it would be ', by(flip.rules_after), '. ', el('a', { href: `/policy?call=${flip.call}` }, 'Explain by the rules in force')),
    flip.reason ? el('blockquote', {}, shown(flip.reason, seen, { lines: true })) : null);
}

function result(view) {
  const seen = { hidden: 0, alike: 0 };
  const load = view.held_per_day ? ` (${rounded(view.held_per_day[0])} → ${rounded(view.held_per_day[1])} a day)` : '';
  const samples = view.samples.map((flip) => sample(flip, seen));
  return el('div', { class: 'explanation', role: 'status' },
    el('h2', {}, Number(view.flips) ? `${count(view.flips, 'call')} of ${view.judged.toLocaleString()} would be decided otherwise` : Number(view.judged) ? `${count(view.judged, 'call')}: all would be decided as they were` : 'There are no calls to judge'),
    view.since ? el('p', { class: 'faint' }, 'The oldest began ', time(view.since), '. ', badge(seen)) : null,
    view.whole ? null : el('p', { class: 'differs' }, 'There was no time for more calls.'),
    el('p', {}, `Waiting for people: ${view.held_before.toLocaleString()} → ${view.held_after.toLocaleString()}${load}`),
    view.matrix.length ? matrix(view.matrix) : null,
    samples.length ? [el('h3', {}, 'Some of them, the newest first'), el('ul', { class: 'plain steps' }, samples)] : null,
    view.not_judged.length ? [el('h3', {}, 'Not judged'), el('ul', {}, view.not_judged.map((left) => el('li', {}, `${count(left.calls, 'call')}: `, shown(left.why))))] : null);
}

// The form: the files of the rules in force, which may be changed here, and over how many calls to try them.
export async function simulateForm() {
  if (page.dataset.role !== 'operator') return el('p', { class: 'empty' }, 'Operators try other rules over recorded calls.');
  const { revision } = await get('/policy');
  const { files: kept } = await get(`/policy/history/${revision}`);
  const before = new Map(kept.filter((file) => file.kind === 'policy').map((file) => [file.name, file.text]));
  const files = new Map(before);
  const choice = el('select', { id: 'simulate-file' });
  const text = el('textarea', { id: 'simulate-text', class: 'code', rows: 20, spellcheck: 'false', autocapitalize: 'off' });
  const last = el('input', { id: 'simulate-last', type: 'number', min: 1, max: MOST, required: true, value: 10_000 });
  const taken = el('input', { id: 'simulate-take', type: 'file', multiple: true, accept: '.yaml,.yml' });
  const wrong = el('p', { class: 'wrong', role: 'alert', hidden: true });
  const standing = el('p', { class: 'faint', role: 'status' });
  const answer = el('div', { class: 'answer', role: 'region', 'aria-label': 'What would be decided otherwise', tabindex: 0 });
  const complain = (told) => { wrong.replaceChildren(shown(told, undefined, { lines: true })); wrong.hidden = !told; };
  const isChanged = (name) => files.get(name) !== before.get(name);
  const mark = (name) => `${plain(name)}${isChanged(name) ? ' (changed)' : ''}`;
  const say = () => {
    const changed = [...files.keys()].filter(isChanged).length;
    const gone = [...before.keys()].filter((name) => !files.has(name)).length;
    standing.textContent = changed || gone ? [changed && `${count(changed, 'file')} changed`, gone && `${count(gone, 'file')} left out`].filter(Boolean).join(', ') : 'These are the rules in force; change them here.';
  };
  const show = (name = choice.value) => {
    choice.replaceChildren(...[...files.keys()].sort().map((each) => el('option', { value: each, selected: each === name }, mark(each))));
    text.value = files.get(choice.value) ?? '';
    text.disabled = !files.size;
    say();
  };
  choice.addEventListener('change', () => show());
  text.addEventListener('input', () => { files.set(choice.value, text.value); choice.selectedOptions[0].textContent = mark(choice.value); say(); });
  taken.addEventListener('change', async () => {
    try {
      for (const file of taken.files) {
        if (file.size > LARGEST) throw new Error(`${file.name} is larger than a request may be`);
        const known = [...files.keys()].find((name) => name.split('/').at(-1) === file.name);
        files.set(known ?? file.name, await file.text());
        show(known ?? file.name);
      }
      complain('');
    } catch (error) { complain(error.message); }
    taken.value = '';
  });
  const button = el('button', { class: 'main' }, 'Simulate');
  const submit = async (event) => {
    event.preventDefault();
    if (!last.reportValidity()) return;
    button.disabled = true;
    complain('');
    answer.replaceChildren(el('p', { class: 'faint', role: 'status' }, 'It judges …'));
    try {
      const policies = [...files].map(([name, content]) => ({ name, text: content }));
      answer.replaceChildren(result(await post('/policy/simulate', { policies, last: last.valueAsNumber }, PATIENCE)));
      if (answer.getBoundingClientRect().top > innerHeight - 120) answer.scrollIntoView();
    } catch (error) { answer.replaceChildren(); complain(error.message); } finally { button.disabled = false; }
  };
  show([...files.keys()].sort()[0]);
  return el('div', { class: 'explain' }, el('form', { class: 'asking', novalidate: true, onsubmit: submit },
    el('label', { for: 'simulate-file' }, 'File'), choice,
    el('label', { for: 'simulate-text' }, 'Its rules'), text, standing,
    el('div', { class: 'actions' }, el('button', { type: 'button', onclick: () => { if (before.has(choice.value)) files.set(choice.value, before.get(choice.value)); else files.delete(choice.value); show(); } }, 'As in force'),
      el('button', { type: 'button', onclick: () => { files.delete(choice.value); show(); } }, 'Leave this file out')),
    el('label', { for: 'simulate-take' }, 'Or files of your own'), taken,
    el('label', { for: 'simulate-last' }, 'Over the last calls'), last, wrong,
    el('div', { class: 'actions' }, button, el('span', { class: 'faint' }, 'Nothing runs, nothing is counted or recorded. Manifests are those in force.'))), answer);
}
