// Says what became of a call whose outcome nobody recorded.

import { post } from './api.js';
import { ask, el, say } from './dom.js';
import { signed } from './sign.js';

const WAYS = {
  done: ['It was done', 'The call took effect. Its agent is told that it was done, as you say.'],
  failed: ['It failed', 'The call did not take effect, or not wholly. Its agent is told that it failed, as you say.'],
  run_again: ['Run it again …', 'The call runs once more, with the same arguments. It needs the approvals that it needed before.'],
};

async function resolve(view, resolution, rendered) {
  const [label, told] = WAYS[resolution];
  const wrong = el('p', { class: 'wrong', role: 'alert', hidden: true });
  const reason = el('textarea', { id: 'resolve-reason', rows: 2, maxlength: 2000 });
  const key = crypto.randomUUID();
  return ask(label.replace(' …', ''), [
    el('p', {}, told), el('label', { for: 'resolve-reason' }, 'How do you know? The agent reads this.'), reason, wrong,
  ], { label: view.signature ? 'Sign and say so' : label.replace(' …', ''), submit: async (close) => {
    const given = { resolution, decision: 'approve', digest: view.digest, rendered, reason: reason.value.trim() || undefined, idempotency_key: key };
    try {
      close(await post(`/approvals/${view.id}/resolution`, view.signature ? await signed(view, given) : given));
    } catch (error) { wrong.replaceChildren(...(error.parts ?? [error.message]).flat()); wrong.hidden = false; }
  } });
}

// What a person may say of `view`; `rendered` tells what was shown.
export function resolutions(view, rendered, changed) {
  const choose = async (resolution) => {
    if (!await resolve(view, resolution, await rendered())) return;
    say(resolution === 'run_again' ? 'It may run again.' : 'Noted.');
    await changed();
  };
  return el('div', { class: 'decisions' },
    el('p', {}, 'The gateway stopped after the call began and before its outcome was recorded. Look at what it would have changed, then say:'),
    el('div', { class: 'actions' }, Object.entries(WAYS).map(([resolution, [label]]) =>
      el('button', { type: 'button', 'data-resolution': resolution, onclick: () => choose(resolution) }, label))));
}
