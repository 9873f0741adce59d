// Shows text that agents and tools wrote, so that what cannot be seen is seen.

import { el } from './dom.js';

// What a browser draws as nothing, or lets change the order or shape of what stands around it.
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cn}\p{Co}\p{Cs}\u00A0\u034F\u115F\u1160\u17B4\u17B5\u180B-\u180F\u2000-\u200A\u2800\u3164\uFFA0\uFE00-\uFE0F\u{1D173}-\u{1D17A}\u{E0000}-\u{E0FFF}]/u;
// Emoji are drawn with joiners, selectors and tags: those of a known emoji hide nothing.
const PIECES = /(\p{RGI_Emoji})|([\s\S])/gv;
// Letters of these scripts look like Latin ones; beside Latin letters in one word they may be meant to.
const WORD = /[\p{L}\p{M}\p{N}]+/gu;
const LATIN = /\p{Script=Latin}/u;
const ALIKE = /[\p{Script=Cyrillic}\p{Script=Greek}\p{Script=Armenian}\p{Script=Cherokee}\p{Script=Coptic}\u{FF01}-\u{FF5E}\u{1D400}-\u{1D7FF}]/u;

const NAMES = new Map([
  [0x00, 'NULL'], [0x07, 'BELL'], [0x08, 'BACKSPACE'], [0x09, 'TAB'], [0x0a, 'LINE FEED'], [0x0d, 'CARRIAGE RETURN'],
  [0x1b, 'ESCAPE'], [0x7f, 'DELETE'], [0xa0, 'NO-BREAK SPACE'], [0xad, 'SOFT HYPHEN'],
  [0x200b, 'ZERO WIDTH SPACE'], [0x200c, 'ZERO WIDTH NON-JOINER'], [0x200d, 'ZERO WIDTH JOINER'],
  [0x200e, 'LEFT-TO-RIGHT MARK'], [0x200f, 'RIGHT-TO-LEFT MARK'], [0x202a, 'LEFT-TO-RIGHT EMBEDDING'],
  [0x202b, 'RIGHT-TO-LEFT EMBEDDING'], [0x202c, 'POP DIRECTIONAL FORMATTING'], [0x202d, 'LEFT-TO-RIGHT OVERRIDE'],
  [0x202e, 'RIGHT-TO-LEFT OVERRIDE'], [0x2060, 'WORD JOINER'], [0x2066, 'LEFT-TO-RIGHT ISOLATE'],
  [0x2067, 'RIGHT-TO-LEFT ISOLATE'], [0x2068, 'FIRST STRONG ISOLATE'], [0x2069, 'POP DIRECTIONAL ISOLATE'],
  [0xfeff, 'ZERO WIDTH NO-BREAK SPACE'],
]);

function named(code) {
  const hex = `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
  if (code >= 0xe0000 && code <= 0xe007f) return `${hex} TAG CHARACTER`;
  if ((code >= 0xfe00 && code <= 0xfe0f) || (code >= 0xe0100 && code <= 0xe01ef)) return `${hex} VARIATION SELECTOR`;
  const name = NAMES.get(code);
  return name ? `${hex} ${name}` : `${hex} (not visible)`;
}

// The places in `text` that a reader would not see, or take for something else.
function alike(text) {
  const places = new Set();
  for (const { 0: word, index } of text.matchAll(WORD)) {
    if (!LATIN.test(word) || !ALIKE.test(word)) continue;
    let at = index;
    for (const letter of word) {
      if (ALIKE.test(letter)) places.add(at);
      at += letter.length;
    }
  }
  return places;
}

// Nearly all text is this, and there is nothing in it to look for.
const PLAIN = /^[ -~]*$/;

// `text` for the page. `seen` counts what was made visible. Line breaks stay where `lines` says so.
export function shown(text, seen = { hidden: 0, alike: 0 }, { lines = false } = {}) {
  const parts = document.createDocumentFragment();
  if (PLAIN.test(text)) { parts.append(text); return parts; }
  const confusable = alike(text);
  let plain = '';
  const flush = () => { if (plain) parts.append(plain); plain = ''; };
  for (const piece of text.matchAll(PIECES)) {
    const [whole, emoji] = piece;
    let at = piece.index;
    if (emoji) { plain += whole; continue; }
    for (const letter of whole) {
      const code = letter.codePointAt(0);
      if (lines && (letter === '\n' || letter === '\t')) plain += letter;
      else if (HIDDEN.test(letter)) {
        flush();
        seen.hidden += 1;
        parts.append(el('span', { class: 'unseen', title: named(code) }, named(code).split(' ')[0]));
      } else if (confusable.has(at)) {
        flush();
        seen.alike += 1;
        parts.append(el('span', { class: 'alike', title: `U+${code.toString(16).toUpperCase().padStart(4, '0')}: not a Latin letter` }, letter));
      } else plain += letter;
      at += letter.length;
    }
  }
  flush();
  return parts;
}

// The same as text alone, for where no element can stand: an option, a label.
export const plain = (text) => shown(text).textContent;

// The badge for what was made visible, if anything was.
export function badge(seen) {
  const told = [];
  if (seen.hidden) told.push(seen.hidden === 1 ? '1 hidden character' : `${seen.hidden} hidden characters`);
  if (seen.alike) told.push(seen.alike === 1 ? '1 look-alike letter' : `${seen.alike} look-alike letters`);
  return told.length ? el('span', { class: 'badge warn' }, told.join(', ')) : null;
}
