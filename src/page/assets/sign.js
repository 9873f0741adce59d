// Signs a verdict with a passkey of the person: in place, and over nothing but what was shown.

import { post } from './api.js';
import { el } from './dom.js';
import { known, inWords, text } from './webauthn.js';

// How long the browser may ask for the passkey, in milliseconds.
const PATIENCE = 120_000;

// What hinders a signature here, with what helps.
export class CannotSign extends Error {
  constructor(words, ...parts) { super(words); this.parts = [words, ...parts]; }
}

const commands = (view) => [' On the command line, an SSH key signs: ', el('code', {}, `countersign approvals approve ${view.id.slice(0, 8)} --sign-with KEY`)];
const account = () => el('a', { href: '/account' }, 'your account');

function nothingFits(view, made) {
  if (!made.domain) {
    const named = `${location.protocol}//localhost${location.port ? `:${location.port}` : ''}`;
    const here = /^(127\.|\[::1\]$)/.test(location.hostname);
    return new CannotSign('Passkeys need a name, and this page was opened under an address. ', 'Open it under ',
      here ? el('a', { href: `${named}/holds/${view.id}` }, named) : 'the name of the gateway', ' and sign there.', commands(view));
  }
  if (made.unfit) return new CannotSign('Your passkeys cannot sign here: they are of another address, or from before verdicts could be signed. ', 'Add one anew under ', account(), '.', commands(view));
  return new CannotSign('You have no passkey to sign with. ', 'Add one under ', account(), ', then approve.', commands(view));
}

// What the gateway asks to sign must be the verdict that this page is about.
function checked(message, view, given, edited) {
  const said = JSON.parse(message);
  const same = said.hold === view.id && said.decision === given.decision && (said.reason ?? undefined) === given.reason
    && said.resolves?.resolution === given.resolution;
  if (!same || (!edited && said.digest !== view.digest)) throw new Error('The gateway asked to sign something else than was shown. Nothing was signed.');
}

// The body of a verdict; the numbers of changed arguments go as they were typed.
export const body = (given, edit) =>
  edit === undefined ? JSON.stringify(given) : JSON.stringify({ ...given, edit: 0 }).replace(/"edit":0\}$/, () => `"edit":${edit}}`);

// The verdict with a signature of it. Throws, and changes nothing, when there is none.
export async function signed(view, given, edit) {
  const { decision, digest, reason, resolution } = given;
  const made = await post(`/approvals/${view.id}/statement`, body({ decision, digest, reason, resolution }, edit));
  if (!made.passkeys.length) throw nothingFits(view, made);
  if (!navigator.credentials?.get || !crypto.subtle) throw new CannotSign('This browser has no passkeys here.', commands(view));
  checked(made.message, view, given, edit !== undefined);
  const challenge = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(made.message));
  let answer;
  try {
    answer = await navigator.credentials.get({
      publicKey: {
        rpId: made.domain, challenge, timeout: PATIENCE, userVerification: 'required',
        allowCredentials: known(made.passkeys.map(({ id }) => id)),
      },
    });
  } catch (error) {
    throw new Error(`${inWords(error)} Nothing was signed, and nothing was decided.`);
  }
  const { authenticatorData, clientDataJSON, signature } = answer.response;
  return {
    ...given,
    signature: {
      kind: 'webauthn', credential: text(answer.rawId), authenticator_data: text(authenticatorData),
      client_data: text(clientDataJSON), signature: text(signature),
    },
  };
}
