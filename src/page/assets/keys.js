// What the keyboard does, the list of it, and the command palette.

import { el } from './dom.js';

let known = {};

const pages = () => palette([...document.querySelectorAll('nav a')].map((link) => [link.textContent, () => location.assign(link.href)]));

// What the keys of a page do, besides what they do on every page.
export function keys(commands) {
  known = { '?': ['all keys', () => help()], ':': ['all pages', pages], ...commands };
  document.addEventListener('keydown', (event) => {
    const typing = event.target.closest('input, textarea, select, dialog');
    if (event.key === 'k' && (event.ctrlKey || event.metaKey) && !typing) { event.preventDefault(); known[':']?.[1](); return; }
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (typing) {
      if (event.key === 'Escape' && !event.target.closest('dialog')) event.target.blur();
      return;
    }
    // A button or link that has the focus is pressed by it.
    if (event.key === 'Enter' && event.target.closest('a, button, summary')) return;
    const command = known[event.key];
    if (command) { event.preventDefault(); command[1](); }
  });
}

function over(title, body) {
  const dialog = el('dialog', { 'aria-labelledby': 'over-title', onclose: () => dialog.remove() },
    el('h2', { id: 'over-title' }, title), body,
    el('form', { method: 'dialog', class: 'actions' }, el('button', { class: 'plain' }, 'Close')));
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

const help = () => over('Keys', el('dl', { class: 'keys' }, Object.entries(known).map(([key, [told]]) => [
  el('dt', {}, el('kbd', {}, key === ':' ? 'Ctrl K' : key)), el('dd', {}, told),
])));

export function palette(commands) {
  const options = el('ul', { class: 'commands', id: 'commands' });
  const wanted = el('input', { 'aria-label': 'Command', placeholder: 'Where to, or which call', autocomplete: 'off', 'aria-controls': 'commands' });
  const dialog = over('Go to', [wanted, options]);
  let found = [];
  const run = ([, work]) => { dialog.close(); work(); };
  const draw = () => {
    const words = wanted.value.toLowerCase().split(/\s+/).filter(Boolean);
    found = commands.filter(([told]) => words.every((word) => told.toLowerCase().includes(word))).slice(0, 12);
    options.replaceChildren(...found.map((command) => el('li', {}, el('button', { type: 'button', class: 'plain', onclick: () => run(command) }, command[0]))));
  };
  wanted.addEventListener('input', draw);
  wanted.addEventListener('keydown', (event) => {
    if (event.key === 'Enter') { event.preventDefault(); if (found.length) run(found[0]); }
    if (event.key === 'ArrowDown') { event.preventDefault(); options.querySelector('button')?.focus(); }
  });
  draw();
  wanted.focus();
}
