// A definition that its server changed: what is different, and to accept it.

import { post } from './api.js';
import { ask, el, say } from './dom.js';
import { badge, shown } from './text.js';
import { time } from './time.js';

const LINES = { same: ['', ' ', ''], removed: ['removed', '−', 'removed: '], added: ['added', '+', 'added: '], left_out: ['left', '…', 'lines that are the same'] };

function differences(view, seen) {
  return el('div', { class: 'look', tabindex: 0, role: 'region', 'aria-label': 'What is different' }, el('ol', { class: 'lines' }, view.differences.map(({ how, text }) => {
    const [kind, sign, said] = LINES[how];
    return el('li', { class: kind }, el('span', { class: 'sign', 'aria-hidden': 'true' }, sign), el('span', { class: 'spoken' }, said), shown(text, seen));
  })));
}

async function accept(view) {
  const wrong = el('p', { class: 'wrong', role: 'alert', hidden: true });
  return ask('Accept this definition?', [
    el('p', {}, 'Agents are shown ', el('code', {}, shown(view.tool)), ' as its server describes it now, and may ask for calls of it where rules let them.'),
    el('p', {}, 'The record says that you accepted it.'), wrong,
  ], { label: 'Accept it', submit: async (close) => {
    try { close(await post('/catalog/accept', { tool: view.tool, digest: view.digest })); } catch (error) { wrong.textContent = error.message; wrong.hidden = false; }
  } });
}

// What is shown of a definition that waits; `changed` is done once it was accepted.
export function waiting(view, operates, changed) {
  const seen = { hidden: 0, alike: 0 };
  const lines = differences(view, seen);
  return el('section', { class: 'outcome wrong' },
    el('h3', {}, view.before ? 'Its server describes it otherwise than it was accepted' : 'Nobody has accepted it yet'),
    el('p', {}, 'Agents are not shown it, since ', time(view.since), '. ', badge(seen)),
    lines, el('p', { class: 'faint' }, 'digest ', el('code', {}, view.digest)),
    operates ? el('div', { class: 'actions' }, el('button', { type: 'button', class: 'main', onclick: async () => {
      if (!await accept(view)) return;
      say('Accepted.');
      await changed();
    } }, 'Accept this definition …')) : el('p', { class: 'faint' }, 'An operator accepts it.'));
}
