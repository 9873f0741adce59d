// How calls fared: what was decided, what came of it, how long people took, which tools fail.

import { get, live } from './api.js';
import { el } from './dom.js';
import { keys } from './keys.js';
import { content, facts, fail, tools } from './listing.js';
import { plot } from './plot.js';
import { shown } from './text.js';

const SPANS = { hour: '60 minutes', day: '24 hours', week: '7 days', month: '30 days' };
// How often what is shown is asked for anew while calls come, in milliseconds.
const PACE = 5_000;

const sum = (steps, value) => steps.reduce((all, step) => all + value(step), 0);
const percent = (share) => `${(share * 100).toLocaleString(undefined, { maximumFractionDigits: 1 })} %`;
const rate = ({ succeeded, failed }) => (succeeded + failed ? succeeded / (succeeded + failed) : null);

function seconds(value) {
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 120) return `${value.toLocaleString(undefined, { maximumFractionDigits: 1 })} s`;
  if (value < 7_200) return `${Math.round(value / 60)} min`;
  return `${(value / 3_600).toLocaleString(undefined, { maximumFractionDigits: 1 })} h`;
}

const tile = (title, value, note) => el('div', { class: 'tile' }, el('dt', {}, title), el('dd', {}, el('strong', {}, value), note ? el('small', {}, note) : null));

function tiles(steps, pending) {
  const all = { succeeded: sum(steps, (step) => step.succeeded), failed: sum(steps, (step) => step.failed) };
  const decided = sum(steps, (step) => step.allowed + step.denied + step.held + step.refused);
  const held = sum(steps, (step) => step.held);
  const waits = steps.filter((step) => step.waits.count);
  // The median of all cannot be had from those of the steps; the worst step says what a person wants to know.
  const slowest = Math.max(0, ...waits.map((step) => step.waits.median));
  const share = rate(all);
  return el('dl', { class: 'tiles' },
    tile('Calls asked for', decided.toLocaleString()),
    tile('Success of what ran', share === null ? '–' : percent(share), `${all.failed.toLocaleString()} failed`),
    tile('Denied or turned away', sum(steps, (step) => step.denied + step.refused).toLocaleString()),
    tile('Held for people', held.toLocaleString(), `${pending.toLocaleString()} wait now`),
    tile('Slowest decisions', waits.length ? seconds(slowest) : '–', 'median of the slowest step'));
}

function byTool(list) {
  const failed = (tool) => Object.values(tool.failed).reduce((all, some) => all + some, 0);
  const how = (tool) => Object.entries(tool.failed).map(([name, some]) => `${name.replaceAll('_', ' ')} ${some.toLocaleString()}`).join(', ');
  return el('section', { class: 'plot' }, el('h2', {}, 'By tool'),
    el('p', { class: 'faint' }, 'The tools that were asked for most, and how their calls ended.'),
    el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Calls by tool' }, el('table', {},
      el('thead', {}, el('tr', {}, ['Tool', 'Calls', 'Succeeded', 'Turned away', 'Failed', 'How'].map((title) => el('th', { scope: 'col' }, title)))),
      el('tbody', {}, list.length ? list.map((tool) => el('tr', {},
        el('td', {}, el('code', {}, tool.tool === '_other' ? 'unknown tools' : shown(tool.tool))), [tool.calls, tool.succeeded, tool.refused, failed(tool)].map((number, at) => el('td', { class: at === 3 && number ? 'bad' : null }, number.toLocaleString())),
        el('td', {}, how(tool)))) : el('tr', {}, el('td', { colspan: 6, class: 'empty' }, 'Nothing in this time.'))))));
}

const span = el('select', { 'aria-label': 'Of which time', onchange: () => refresh() },
  Object.entries(SPANS).map(([name, words]) => el('option', { value: name, selected: name === 'day' }, `The last ${words}`)));

async function refresh() {
  try {
    const { steps, tools: list, pending, whole } = await get(`/statistics?span=${span.value}`);
    facts.textContent = whole ? '' : 'of the newest calls: there were more than are gone over';
    // Whoever has opened the numbers keeps them open.
    const open = [...content.querySelectorAll('details')].map((details) => details.open);
    content.replaceChildren(tiles(steps, pending), el('div', { class: 'plots' },
      plot('Decisions', 'What rules said to the calls that were asked for.', steps, [
        ['allowed', 'good', (step) => step.allowed], ['held', 'held', (step) => step.held], ['denied', 'bad', (step) => step.denied], ['turned away', 'dim', (step) => step.refused]]),
      plot('Outcomes', 'What came of the calls that ran.', steps, [['succeeded', 'good', (step) => step.succeeded], ['failed', 'bad', (step) => step.failed]]),
      plot('Success rate', 'The share of the calls that ran and gave a result.', steps, [['success', 'good', rate]], { kind: 'lines', write: percent, most: 1 }),
      plot('Time to a decision', 'How long held calls waited for people, by when they were asked.', steps, [
        ['half within', 'held', (step) => step.waits.median], ['95 of 100 within', 'dim', (step) => step.waits.p95]], { kind: 'lines', write: seconds }),
      byTool(list)));
    content.querySelectorAll('details').forEach((details, at) => { details.open = Boolean(open[at]); });
  } catch (error) { if (!content.querySelector('.plots')) fail(error); }
}

let due;
// Calls may come by the hundred: what they make of the plots is asked for once.
function soon() {
  due ??= setTimeout(() => { due = undefined; refresh(); }, PACE);
}

keys({});
tools.append(span);
live(soon, () => {}, ['entry']);
refresh();
