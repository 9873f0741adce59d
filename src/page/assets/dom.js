// Makes elements. Text is only ever text: nothing here reads markup.

export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (key === 'value') element.value = value;
    else element.setAttribute(key, value === true ? '' : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Notes the moment from which the page is of use: what was drawn has been painted.
export function ofUse() {
  if (performance.getEntriesByName('of use').length) return;
  requestAnimationFrame(() => setTimeout(() => performance.mark('of use')));
}

// A dialog that stands over the page until it is closed; `settle` says what came of it.
export function ask(title, body, actions) {
  return new Promise((settle) => {
    const close = (answer) => { dialog.close(); settle(answer); };
    const dialog = el('dialog', { 'aria-labelledby': 'dialog-title', onclose: () => { dialog.remove(); settle(null); } },
      el('form', { method: 'dialog', onsubmit: (event) => { event.preventDefault(); actions.submit(close); } },
        el('h2', { id: 'dialog-title' }, title),
        body,
        el('div', { class: 'actions' },
          el('button', { class: `main ${actions.kind ?? ''}` }, actions.label),
          el('button', { type: 'button', class: 'plain', onclick: () => close(null) }, actions.leave ?? 'Cancel'))));
    document.body.append(dialog);
    dialog.showModal();
    dialog.querySelector('input, textarea')?.focus();
  });
}

let told;
// Says something for a moment, to screen readers too.
export function say(text, kind = 'done') {
  told?.remove();
  const toast = el('p', { class: `toast ${kind}` }, text);
  told = toast;
  document.getElementById('told').append(toast);
  setTimeout(() => toast.remove(), kind === 'wrong' ? 12_000 : 5_000);
}
