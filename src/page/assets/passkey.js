// Talks to the browser's authenticators: registers a passkey, and signs in with one.

import { bytes, inWords, known, text } from './webauthn.js';

const csrf = document.querySelector('meta[name=csrf]').content;

async function post(path, body) {
  const answer = await fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-csrf-token': csrf },
    body: JSON.stringify(body),
  });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  return told;
}

async function register(start, finish, name) {
  const asked = await post(start, {});
  const created = await navigator.credentials.create({
    publicKey: {
      rp: { id: asked.domain, name: 'Countersign' },
      user: { id: bytes(asked.handle), name: asked.name, displayName: asked.name },
      challenge: bytes(asked.challenge),
      pubKeyCredParams: asked.algorithms.map((alg) => ({ type: 'public-key', alg })),
      timeout: asked.timeout,
      excludeCredentials: known(asked.known),
      authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
      attestation: 'none',
    },
  });
  return post(finish, {
    name,
    id: text(created.rawId),
    client_data: text(created.response.clientDataJSON),
    authenticator_data: text(created.response.getAuthenticatorData()),
  });
}

async function signIn() {
  const asked = await post('/sign-in/passkey/start', {});
  const given = await navigator.credentials.get({
    publicKey: {
      rpId: asked.domain,
      challenge: bytes(asked.challenge),
      timeout: asked.timeout,
      userVerification: 'required',
    },
  });
  const handle = given.response.userHandle;
  return post('/sign-in/passkey/finish', {
    id: text(given.rawId),
    client_data: text(given.response.clientDataJSON),
    authenticator_data: text(given.response.authenticatorData),
    signature: text(given.response.signature),
    handle: handle && handle.byteLength ? text(handle) : null,
  });
}

const ways = {
  'sign-in': () => signIn(),
  account: (name) => register('/account/passkeys/start', '/account/passkeys/finish', name),
  invitation: (name, code) =>
    register(`/invitation/${code}/passkey/start`, `/invitation/${code}/passkey/finish`, name),
};

if (window.PublicKeyCredential) {
  for (const part of document.querySelectorAll('[data-passkey]')) {
    const button = part.querySelector('button');
    const wrong = part.querySelector('.wrong');
    const name = part.querySelector('input');
    part.hidden = false;
    button.addEventListener('click', async () => {
      button.disabled = true;
      wrong.hidden = true;
      try {
        const way = ways[part.dataset.passkey];
        location.assign((await way(name?.value.trim(), part.dataset.code)).next);
      } catch (error) {
        wrong.textContent = inWords(error);
        wrong.hidden = false;
      } finally {
        button.disabled = false;
      }
    });
  }
}
