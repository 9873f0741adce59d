// Times as people read them: how long ago or how long still, the date and UTC on hover.

import { el } from './dom.js';

let local = null;
// Lengths of time, in seconds.
export const UNITS = [['day', 86_400], ['hour', 3_600], ['minute', 60], ['second', 1]];

function relative(seconds) {
  const [unit, length] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? UNITS.at(-1);
  const number = Math.trunc(Math.abs(seconds) / length);
  const before = seconds < 0;
  if (!number) return 'now';
  if (unit === 'day' && number === 1) return before ? 'yesterday' : 'tomorrow';
  const told = `${number} ${unit}${number === 1 ? '' : 's'}`;
  return before ? `${told} ago` : `in ${told}`;
}

function left(seconds) {
  if (seconds <= 0) return 'time is up';
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  const two = (number) => String(number).padStart(2, '0');
  return hours >= 48 ? `${Math.floor(hours / 24)} days` : hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

// Shows when `at` was, or with `until` how long it is until then; kept up to date by the clock below.
export function time(at, { until = false } = {}) {
  const shown = el('time', { datetime: at, 'data-until': until ? '' : null });
  update(shown);
  return shown;
}

// A length of time after something began.
export const after = (ms) => (ms < 1_000 ? `+${ms} ms` : ms < 120_000 ? `+${(ms / 1000).toFixed(1)} s` : `+${Math.round(ms / 60_000)} min`);

function update(shown) {
  const seconds = (new Date(shown.dateTime) - Date.now()) / 1000;
  const text = 'until' in shown.dataset ? left(seconds) : relative(seconds);
  if (shown.textContent !== text) shown.textContent = text;
  if ('until' in shown.dataset) shown.classList.toggle('soon', seconds < 120);
}

// The date is written once somebody points at it. To make what formats dates takes longer than to draw all rows.
document.addEventListener('pointerover', ({ target }) => {
  const shown = target.closest?.('time');
  if (!shown || shown.title) return;
  const moment = new Date(shown.dateTime);
  local ??= new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
  shown.title = `${local.format(moment)} (${moment.toISOString()})`;
});

setInterval(() => document.querySelectorAll('time').forEach(update), 1000);
