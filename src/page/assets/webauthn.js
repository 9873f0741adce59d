// What passkeys are asked and answer, in bytes and in words.

export const bytes = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
export const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
export const known = (ids) => ids.map((id) => ({ type: 'public-key', id: bytes(id) }));

export function inWords(error) {
  if (error.name === 'NotAllowedError') return 'It was cancelled, or took too long.';
  if (error.name === 'InvalidStateError') return 'This device has a passkey for you already.';
  return error.message;
}
