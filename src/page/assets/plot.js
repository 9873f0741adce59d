// Plots over time: bars upon each other, and lines. The numbers stand in a table below for whoever reads, not looks.

import { el } from './dom.js';

const SVG = 'http://www.w3.org/2000/svg';
const [WIDTH, HEIGHT] = [600, 140];
const DAY = 86_400;

function draw(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const day = new Intl.DateTimeFormat(undefined, { weekday: 'short', day: 'numeric', month: 'short' });
const both = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

// A round number that is not less.
function top(most) {
  const power = 10 ** Math.floor(Math.log10(Math.max(most, 1)));
  return [1, 2, 5, 10].map((times) => times * power).find((round) => round >= most) ?? most;
}

// `series` are `[name, class, value of a step]`, where a value may be null; `kind` is `bars` or `lines`.
export function plot(title, note, steps, series, { kind = 'bars', write = (value) => value.toLocaleString(), most } = {}) {
  const values = steps.map((step) => series.map(([, , value]) => value(step)));
  const sums = values.map((row) => (kind === 'bars' ? row.reduce((sum, value) => sum + value, 0) : Math.max(0, ...row.filter((value) => value !== null))));
  const highest = most ?? top(Math.max(0, ...sums));
  const nothing = values.flat().every((value) => value === null || (kind === 'bars' && value === 0));
  const each = WIDTH / steps.length;
  const y = (value) => HEIGHT - (Math.min(value, highest) / highest) * HEIGHT;
  const told = (at) => `${both.format(new Date(steps[at].at))}: ${series.map(([name], which) => (values[at][which] === null ? null : `${name} ${write(values[at][which])}`)).filter(Boolean).join(', ') || 'nothing'}`;
  const marks = kind === 'bars' ? bars(values, series, each, y) : lines(values, series, each, y);
  const areas = steps.map((_, at) => {
    const area = draw('rect', { x: at * each, y: 0, width: each, height: HEIGHT, class: 'area' });
    area.append(draw('title', {}, told(at)));
    return area;
  });
  const span = (new Date(steps.at(-1).at) - new Date(steps[0].at)) / 1000;
  const label = (at) => (span > 2 * DAY ? day : clock).format(new Date(steps[at].at));
  const picture = draw('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    ...[0, 0.5].map((share) => draw('line', { x1: 0, x2: WIDTH, y1: share * HEIGHT, y2: share * HEIGHT, class: 'ruler' })), ...marks, ...areas);
  return el('section', { class: 'plot' },
    el('div', { class: 'row' }, el('h2', {}, title), el('ul', { class: 'legend' }, series.map(([name, look]) => el('li', {}, el('span', { class: `swatch ${look}` }), name)))),
    el('p', { class: 'faint' }, note),
    el('div', { class: 'chart' }, el('span', { class: 'most' }, write(highest)), picture, nothing ? el('p', { class: 'nothing' }, 'Nothing in this time.') : null),
    el('div', { class: 'axis' }, [0, Math.floor(steps.length / 2), steps.length - 1].map((at) => el('span', {}, label(at)))),
    el('details', {}, el('summary', {}, 'As numbers'), table(title, steps, series, values, write)));
}

function bars(values, series, each, y) {
  return values.flatMap((row, at) => {
    let below = 0;
    return row.map((value, which) => {
      const [from, to] = [below, below + value];
      below = to;
      return value ? draw('rect', { x: at * each + each * 0.1, width: each * 0.8, y: y(to), height: y(from) - y(to), class: series[which][1] }) : '';
    });
  });
}

// A line is broken where there is nothing. Dots are lines without length, whose ends are round however it is stretched.
function lines(values, series, each, y) {
  return series.flatMap(([, look], which) => {
    let [path, dots] = ['', ''];
    values.forEach((row, at) => {
      if (row[which] === null) return;
      const place = `${(at + 0.5) * each} ${y(row[which])}`;
      path += at > 0 && values[at - 1][which] !== null ? `L${place}` : `M${place}`;
      dots += `M${place}h0`;
    });
    return path ? [draw('path', { d: path, class: look }), draw('path', { d: dots, class: `${look} dots` })] : [];
  });
}

function table(title, steps, series, values, write) {
  return el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': `${title}, as numbers` }, el('table', {},
    el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'From'), series.map(([name]) => el('th', { scope: 'col' }, name)))),
    el('tbody', {}, steps.map((step, at) => (values[at].some((value) => value) ? el('tr', {}, el('td', {}, both.format(new Date(step.at))), values[at].map((value) => el('td', {}, value === null ? '–' : write(value)))) : null)).filter(Boolean))));
}
