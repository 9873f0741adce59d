// What pages that list something share: a table that can be searched, and one row in full beside it.

import { el } from './dom.js';
import { keys } from './keys.js';

export const page = document.getElementById('page');
export const content = document.getElementById('content');
export const facts = document.getElementById('facts');
export const tools = document.getElementById('tools');

// How a call may stand, and how that is coloured.
export const KINDS = { running: 'warn', held: 'warn', refused: 'wrong', success: 'done', tool_error: 'wrong', backend_error: 'wrong', timeout: 'wrong', cancelled: '', halted: 'wrong', result_refused: 'wrong', unknown: 'wrong' };
export const status = (call) => el('span', { class: `badge ${KINDS[call.status] ?? ''}` }, [call.status, call.refusal].filter(Boolean).join(': ').replaceAll('_', ' '));

export function fail(error) {
  content.replaceChildren(el('p', { class: 'empty wrong', role: 'alert' }, error.message));
}

// A table. `columns` are `[title, what a cell holds]`; `open` makes what is shown of the row that is selected.
// `key` tells rows apart when the table is made anew. With `search`, a field of the page's own, what is found is the
// page's affair; with `again`, what is shown of the selected row is made anew with the table.
export function table(columns, rows, { label, open, text, key = (row) => row, search: given, again = false }) {
  const body = el('tbody');
  const detail = el('section', { class: 'aside', hidden: true, tabindex: -1, 'aria-label': 'The selected row' });
  const search = given ?? el('input', { type: 'search', placeholder: 'Search', 'aria-label': `Search: ${label}` });
  let all = rows;
  let selected = null;
  const lineOf = (wanted) => [...body.children].find((line) => line.row !== undefined && key(line.row) === wanted);
  const fill = (row) => detail.replaceChildren(el('button', { type: 'button', class: 'plain close', onclick: () => { detail.hidden = true; lineOf(selected)?.querySelector('button')?.focus(); } }, 'Close'), open(row));
  const show = (row, line) => {
    selected = key(row);
    body.querySelectorAll('tr').forEach((other) => other.classList.toggle('selected', other === line));
    detail.hidden = false;
    fill(row);
    detail.focus({ preventScroll: true });
  };
  const draw = () => {
    const words = (given ? '' : search.value).toLowerCase().split(/\s+/).filter(Boolean);
    const found = all.filter((row) => words.every((word) => text(row).toLowerCase().includes(word)));
    const focused = body.contains(document.activeElement) ? document.activeElement.closest('tr').row : undefined;
    body.replaceChildren(...found.map((row) => {
      const line = el('tr', { class: key(row) === selected ? 'selected' : null }, columns.map(([, cell], place) => {
        const shown = cell(row);
        return el('td', {}, place === 0 && open ? el('button', { type: 'button', class: 'open', onclick: () => show(row, line) }, shown) : shown);
      }));
      line.row = row;
      return line;
    }));
    // Whoever goes through the rows with the keyboard stays where they are.
    if (focused !== undefined) lineOf(key(focused))?.querySelector('button')?.focus();
    if (!found.length) body.append(el('tr', {}, el('td', { colspan: columns.length, class: 'empty' }, all.length || given?.value ? 'Nothing matches.' : 'Nothing here yet.')));
  };
  if (!given) search.addEventListener('input', draw);
  draw();
  const step = (by) => {
    const buttons = [...body.querySelectorAll('button.open')];
    const at = buttons.indexOf(document.activeElement);
    buttons[Math.min(Math.max(at + by, 0), buttons.length - 1)]?.focus();
  };
  keys({
    j: ['the next row', () => step(1)],
    k: ['the row before', () => step(-1)],
    '/': ['search', () => search.focus()],
    Escape: ['close what is open', () => { detail.hidden = true; }],
  });
  const place = el('div', { class: 'listing' },
    el('div', { class: 'main' }, search,
      el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': label },
        el('table', {}, el('thead', {}, el('tr', {}, columns.map(([title]) => el('th', { scope: 'col' }, title)))), body))),
    detail);
  const update = (next) => {
    all = next;
    draw();
    const row = all.find((row) => key(row) === selected);
    if (again && row && !detail.hidden) fill(row);
  };
  return { place, update };
}

// A number of things, in words.
export const count = (number, one, many = `${one}s`) => `${number.toLocaleString()} ${number === 1 ? one : many}`;

// A value as terms and descriptions; what is absent is left out.
export const terms = (pairs) => el('dl', { class: 'terms' }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== '')
  .map(([term, value]) => [el('dt', {}, term), el('dd', {}, value)]));
