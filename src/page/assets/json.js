// JSON as it came: numbers keep their spelling, keys their names.

import { el } from './dom.js';
import { shown } from './text.js';

class Spelled {
  constructor(text) { this.text = text; }

  // To be reckoned with, it is a number as any other.
  valueOf() { return Number(this.text); }

  toLocaleString(...how) { return this.valueOf().toLocaleString(...how); }
}

// Reads JSON; a number that would be written in another way than it came is kept as it came.
export const read = (text) => JSON.parse(text, (_, value, context) =>
  typeof value === 'number' && context?.source !== undefined && String(value) !== context.source ? new Spelled(context.source) : value);

// Writes JSON, with `indent` spaces a level or none.
export function write(value, indent = 2, level = 0) {
  if (value instanceof Spelled) return value.text;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const isList = Array.isArray(value);
  const items = isList ? value.map((item) => write(item, indent, level + 1))
    : Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}:${indent ? ' ' : ''}${write(item, indent, level + 1)}`);
  const [open, close] = isList ? '[]' : '{}';
  if (!items.length) return open + close;
  if (!indent) return open + items.join(',') + close;
  const pad = '\n' + ' '.repeat(indent * (level + 1));
  return `${open}${pad}${items.join(`,${pad}`)}\n${' '.repeat(indent * level)}${close}`;
}

// The text of a text, so that quotes and escapes are those of JSON and what is hidden is seen.
const text = (value, seen) => shown(JSON.stringify(value), seen);

// A value for people: keys and values in lines, what `marks` name by their pointer marked.
export function pretty(value, seen, marks = new Map(), pointer = '', level = 0) {
  const mark = marks.get(pointer);
  const wrap = (content, kind) => el('span', { class: `${kind}${mark ? ' marked' : ''}`, title: mark }, content);
  if (value instanceof Spelled) return wrap(value.text, 'number');
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return wrap(String(value), 'number');
  if (typeof value === 'string') return wrap(text(value, seen), 'string');
  const isList = Array.isArray(value);
  const items = Object.entries(value);
  const [open, close] = isList ? '[]' : '{}';
  if (!items.length) return wrap(open + close, 'number');
  const pad = '  '.repeat(level + 1);
  const lines = items.map(([key, item], place) => [
    `\n${pad}`,
    isList ? null : [el('span', { class: 'key' }, text(key, seen)), ': '],
    pretty(item, seen, marks, `${pointer}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`, level + 1),
    place + 1 < items.length ? ',' : null,
  ]);
  return el('span', mark ? { class: 'marked', title: mark } : {}, open, lines, `\n${'  '.repeat(level)}${close}`);
}

// What differs: one line for each member that is not the same, by its pointer.
export function differences(before, after, pointer = '') {
  const isTree = (value) => value !== null && typeof value === 'object' && !(value instanceof Spelled);
  if (isTree(before) && isTree(after) && Array.isArray(before) === Array.isArray(after)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    return keys.flatMap((key) => {
      const at = `${pointer}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;
      if (!Object.hasOwn(before, key)) return [{ at, after: after[key] }];
      if (!Object.hasOwn(after, key)) return [{ at, before: before[key] }];
      return differences(before[key], after[key], at);
    });
  }
  return write(before, 0) === write(after, 0) ? [] : [{ at: pointer || '/', before, after }];
}
