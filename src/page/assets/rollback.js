// Rolling a workflow back: the calls that would undo it, exactly those run that were shown, and what came of them.

import { post } from './api.js';
import { ask, el } from './dom.js';
import { pretty } from './json.js';
import { count } from './listing.js';
import { badge, shown } from './text.js';

// How long one run may take before the page looks away from it, in milliseconds; a run begins calls for 20 s.
const PATIENCE = 120_000;
const STATES = { planned: ['warn', 'to be undone'], done: ['done', 'undone'], waiting: ['warn', 'waits for people'], impossible: ['wrong', 'cannot be undone'], skipped: ['', 'left as it is'] };
// Of the others the state tells all.
const CAME = { tool_error: 'It did not succeed', refused: 'It was refused' };

function line(step, ran, seen, skip) {
  const [kind, told] = STATES[step.state];
  const undoing = step.compensation;
  return el('li', { 'data-state': step.state },
    el('p', { class: 'row' }, el('span', { class: `badge ${kind}` }, told), el('code', {}, shown(step.tool, seen)), el('code', { class: 'faint' }, step.call.slice(-12)),
      step.hold ? el('a', { href: `/holds/${step.hold}` }, 'the held call') : null),
    step.why ? el('p', {}, shown(step.why, seen)) : null,
    undoing && step.state !== 'done' ? [el('p', {}, 'by ', el('code', {}, shown(undoing.tool, seen)), ' with'), el('pre', { class: 'arguments' }, pretty(undoing.arguments, seen))] : null,
    CAME[ran?.outcome] ? el('p', { class: 'wrong' }, CAME[ran.outcome], ran.told ? [': ', shown(ran.told, seen, { lines: true })] : '') : null,
    step.state === 'planned' || step.state === 'skipped' ? el('label', { class: 'check' }, el('input', { type: 'checkbox', checked: step.state === 'skipped', 'data-call': step.call, onchange: ({ target }) => skip(step.call, target.checked) }), ' Leave it as it is') : null);
}

// Shows what rolling `workflow` back would do, and does it; `changed` is done after every run.
export function rollBack(workflow, changed) {
  const path = `/workflows/${workflow.id}/rollback`;
  const left = new Set();
  const steps = el('ol', { class: 'steps' });
  const head = el('p', { role: 'status' }, 'Loading …');
  const wrong = el('p', { class: 'wrong', role: 'alert', hidden: true });
  const told = el('div', { class: 'answer' }, head, wrong, steps);
  let agreed = null;
  let busy = false;
  const button = () => told.closest('form')?.querySelector('button.main');
  const complain = (text) => { wrong.textContent = text; wrong.hidden = !text; };
  const request = (plan, patience) => post(path, { ...(plan ? { plan } : {}), skip: [...left] }, patience);

  function draw({ plan, ran }) {
    const seen = { hidden: 0, alike: 0 };
    const number = (state) => plan.steps.filter((step) => step.state === state).length;
    const came = new Map(ran.map((one) => [one.call, one]));
    // What is shown now is what the next press runs.
    const planned = number('planned');
    agreed = planned && plan.whole ? plan.digest : null;
    steps.replaceChildren(...plan.steps.map((step) => line(step, came.get(step.call), seen, skip)));
    head.replaceChildren(
      plan.steps.length ? [planned ? `${count(planned, 'call')} to undo, the newest first` : number('waiting') ? 'It waits for people; when they have approved, look again' : 'Nothing is left to undo', '. '].join('') : 'No call of it had an effect that is recorded. ',
      Number(plan.only_read) ? `${count(plan.only_read, 'call')} only read. ` : '', badge(seen) ?? '');
    if (!plan.whole) complain('It has more calls than can be rolled back; these are the newest.');
    const run = button();
    // Whoever closed it looks no more.
    if (!run) return;
    run.disabled = !agreed;
    run.hidden = !planned;
    run.textContent = `Undo ${count(planned, 'call')}`;
  }

  async function during(work) {
    if (busy) return;
    busy = true;
    const run = button();
    run.disabled = true;
    complain('');
    try { draw(await work()); } catch (error) {
      // Why nothing ran is said beside the plan as it is now.
      try { draw(await request()); } catch { run.disabled = true; }
      complain(error.message);
    } finally { busy = false; }
  }

  function skip(call, leave) {
    if (leave) left.add(call); else left.delete(call);
    during(() => request());
  }

  const dialog = ask(['Roll back ', shown(workflow.name), '?'], told, { label: 'Undo', kind: 'reject', leave: 'Close', submit: () => during(async () => {
    head.textContent = 'It runs …';
    const done = await request(agreed, PATIENCE);
    changed();
    return done;
  }) });
  during(() => request());
  return dialog;
}
