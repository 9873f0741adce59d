// A form made from a JSON Schema, and the schema as a tree to read. What a schema can say is more than a form can
// ask: whatever it does not understand is a field for JSON, and the whole can always be written as JSON.

import { el } from './dom.js';
import { read, write } from './json.js';
import { plain, shown } from './text.js';

// How deep a form goes; what is deeper is JSON.
const DEPTH = 5;
// How many lines a tree has, and how many fields a form opens up: what refers to itself grows without end.
const MOST = 1_000;
let room = MOST;
// How many references are followed to one part of a schema.
const HOPS = 16;
// How many items of a list get fields.
const ITEMS = 100;

let next = 0;
const step = (key) => key.replaceAll('~', '~0').replaceAll('/', '~1');
const isTree = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);

// The part of `root` that `schema` stands for.
function resolve(root, schema) {
  for (let hop = 0; hop < HOPS; hop += 1) {
    if (!isTree(schema) || typeof schema.$ref !== 'string') break;
    let found = root;
    for (const part of schema.$ref.replace(/^#\/?/, '').split('/').filter(Boolean)) {
      const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
      found = isTree(found) && Object.hasOwn(found, key) ? found[key] : undefined;
    }
    schema = found;
  }
  return isTree(schema) ? schema : {};
}

// Its one type beside `null`; none where there are several, or none is said.
function typeOf(schema) {
  const types = [schema.type].flat().filter((type) => type !== undefined && type !== 'null');
  return types.length === 1 ? types[0] : undefined;
}

// What a value must keep to, in words.
function bounds(schema) {
  const said = (key, before, after = '') => (schema[key] === undefined ? null : `${before} ${write(schema[key], 0)}${after}`);
  return [said('minimum', 'at least'), said('exclusiveMinimum', 'more than'), said('maximum', 'at most'), said('exclusiveMaximum', 'less than'), said('multipleOf', 'a multiple of'),
    said('minLength', 'at least', ' characters'), said('maxLength', 'at most', ' characters'), said('pattern', 'matches'), said('format', 'format'),
    said('minItems', 'at least', ' items'), said('maxItems', 'at most', ' items'), schema.uniqueItems === true ? 'no item twice' : null, said('const', 'only'), said('default', 'default')].filter(Boolean).join(', ');
}

const kindOf = (schema) => (schema.enum ? 'one of' : ['oneOf', 'anyOf', 'allOf'].find((key) => schema[key]) ?? ([schema.type].flat().filter(Boolean).join(' or ') || 'anything'));

// The schema as a tree: each property with its type, bounds and description.
export function tree(root, schema = root, level = 0, lines = { left: MOST }) {
  const whole = resolve(root, schema);
  const required = new Set(Array.isArray(whole.required) ? whole.required : []);
  const inner = (part) => (level < DEPTH && lines.left > 0 ? tree(root, part, level + 1, lines) : null);
  const line = (name, part, marks) => {
    lines.left -= 1;
    if (lines.left < 0) return lines.left === -1 ? el('li', { class: 'faint' }, 'and more: see it as JSON') : null;
    const it = resolve(root, part);
    const limits = bounds(it);
    return el('li', {}, el('div', {}, name, ' ', el('span', { class: 'faint' }, shown(kindOf(it)), marks ? `, ${marks}` : ''),
      it.enum ? [' ', el('code', {}, shown(it.enum.map((one) => write(one, 0)).join(', ')))] : null, limits ? el('span', { class: 'faint' }, '; ', shown(limits)) : null),
    typeof it.description === 'string' ? el('div', { class: 'faint' }, shown(it.description)) : null, inner(it));
  };
  const all = [
    ...Object.entries(isTree(whole.properties) ? whole.properties : {}).map(([name, part]) => line(el('code', { class: 'key' }, shown(name)), part, required.has(name) ? 'required' : '')),
    ...(isTree(whole.items) ? [line('each item', whole.items)] : []),
    ...['oneOf', 'anyOf', 'allOf'].flatMap((key) => (Array.isArray(whole[key]) ? whole[key].map((part, at) => line(`${key} ${at + 1}`, part)) : [])),
    ...(isTree(whole.additionalProperties) ? [line('any other', whole.additionalProperties)] : []),
  ];
  const closed = level === 0 && whole.additionalProperties === false && all.length ? el('li', { class: 'faint' }, 'and nothing else') : null;
  if (!all.length) return level === 0 ? el('p', { class: 'faint' }, whole.additionalProperties === false ? 'It takes no arguments.' : 'It says nothing of its arguments.') : null;
  return el('ul', { class: 'tree' }, all, closed);
}

// A field: `place` to put it, `text()` its value as JSON (`undefined`: not given), `at(pointer)` who shows a fault there.
function field(root, part, { name, pointer, required, value, level }) {
  const schema = resolve(root, part);
  room -= 1;
  const id = `field-${(next += 1)}`;
  const type = typeOf(schema);
  const given = value === undefined ? schema.default : value;
  const limits = bounds(schema);
  const fault = el('p', { class: 'wrong', id: `${id}-fault`, hidden: true });
  const hint = el('p', { class: 'faint', id: `${id}-hint` }, typeof schema.description === 'string' ? [shown(schema.description), ' '] : null, limits ? ['(', shown(limits), ')'] : null);
  const label = (text = []) => el('label', { for: id }, shown(name), required ? el('span', { class: 'faint' }, ' (required)') : null, text);
  const common = { id, 'aria-describedby': `${id}-hint ${id}-fault`, 'aria-required': required ? 'true' : null };
  const tell = (message, input) => {
    fault.hidden = !message;
    fault.replaceChildren(message ? shown(message) : '');
    if (message) input?.setAttribute('aria-invalid', 'true'); else input?.removeAttribute('aria-invalid');
  };
  const simple = (input, text) => ({ place: el('div', { class: 'field' }, label(), input, hint, fault), text, at: (where) => (where === pointer ? { tell: (message) => tell(message, input), input } : null) });
  if (Array.isArray(schema.enum) && schema.enum.length) {
    const texts = schema.enum.map((one) => write(one, 0));
    const input = el('select', common, el('option', { value: '' }, required ? 'Choose …' : 'not given'), texts.map((text, at) => el('option', { value: String(at), selected: given !== undefined && write(given, 0) === text }, plain(typeof schema.enum[at] === 'string' ? schema.enum[at] : text))));
    return simple(input, () => (input.value === '' ? undefined : texts[Number(input.value)]));
  }
  if (type === 'boolean') {
    const input = el('select', common, [['', required ? 'Choose …' : 'not given'], ['true', 'true'], ['false', 'false']].map(([key, text]) => el('option', { value: key, selected: given !== undefined && String(given) === key }, text)));
    return simple(input, () => input.value || undefined);
  }
  if (type === 'number' || type === 'integer') {
    const input = el('input', { ...common, inputmode: type === 'integer' ? 'numeric' : 'decimal', autocomplete: 'off', value: given === undefined || given === null ? '' : write(given, 0) });
    // As it is typed: a number is never rounded by the page; what is none is told by the gateway's own check.
    return simple(input, () => { const text = input.value.trim(); return text === '' ? undefined : /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text) ? text : JSON.stringify(text); });
  }
  if (type === 'string') {
    const long = typeof given === 'string' && given.includes('\n') || (schema.maxLength ?? 0) > 200 || /content|body|text|query|statement|message/i.test(name);
    const input = el(long ? 'textarea' : 'input', { ...common, ...(long ? { rows: 3 } : {}), autocomplete: 'off', spellcheck: 'false', value: typeof given === 'string' ? given : '' });
    const empty = el('input', { type: 'checkbox', id: `${id}-empty` });
    const made = simple(input, () => (input.value !== '' || empty.checked ? JSON.stringify(input.value) : undefined));
    // What is not required is left out; what is may be meant to be empty.
    if (required && !(schema.minLength > 0)) made.place.append(el('label', { class: 'check' }, empty, ' an empty text'));
    return made;
  }
  if (type === 'object' && isTree(schema.properties) && level < DEPTH && (room > 0 || level === 0) && !Object.keys(schema.properties).includes('__proto__')) {
    return group(root, schema, { name, pointer, required, value: isTree(given) ? given : undefined, level, hint, fault });
  }
  if (type === 'array' && isTree(schema.items) && level < DEPTH && room > 0) {
    return list(root, schema, { name, pointer, required, value: Array.isArray(given) ? given : [], given: given !== undefined, level, hint, fault });
  }
  const input = el('textarea', { ...common, class: 'code', rows: 3, spellcheck: 'false', value: given === undefined ? '' : write(given, 2) });
  const made = simple(input, () => (input.value.trim() === '' ? undefined : input.value));
  made.place.querySelector('label').append(el('span', { class: 'faint' }, ' as JSON'));
  return { ...made, check: () => { try { if (input.value.trim()) read(input.value); return true; } catch (error) { tell(`Not JSON: ${error.message}`, input); input.focus(); return false; } } };
}

// The fields of an object.
function group(root, schema, { name, pointer, required, value = {}, level, hint, fault }) {
  const needed = new Set(Array.isArray(schema.required) ? schema.required : []);
  const fields = Object.entries(schema.properties).map(([key, part]) => [key, field(root, part, {
    name: key, pointer: `${pointer}/${step(key)}`, required: needed.has(key), value: Object.hasOwn(value, key) ? value[key] : undefined, level: level + 1 })]);
  const rest = Object.keys(value).filter((key) => !Object.hasOwn(schema.properties, key));
  const text = () => {
    const members = fields.map(([key, one]) => [key, one.text()]).filter(([, it]) => it !== undefined).map(([key, it]) => `${JSON.stringify(key)}:${it}`);
    members.push(...rest.map((key) => `${JSON.stringify(key)}:${write(value[key], 0)}`));
    return members.length || required || level === 0 ? `{${members.join(',')}}` : undefined;
  };
  const inner = fields.map(([, one]) => one.place);
  const tell = (message) => { fault.hidden = !message; fault.replaceChildren(message ? shown(message) : ''); };
  const at = (where) => fields.map(([, one]) => one.at(where)).find(Boolean) ?? (where === pointer ? { tell } : null);
  return {
    place: level === 0 ? el('div', { class: 'fields' }, inner) : el('fieldset', {}, el('legend', {}, shown(name)), hint, inner, fault),
    text, at, check: () => fields.every(([, one]) => one.check?.() ?? true),
  };
}

// The items of a list.
function list(root, schema, { name, pointer, value, required, given, level, hint, fault }) {
  let items = [];
  const place = el('div');
  const draw = () => place.replaceChildren(...items.map((one, at) => el('div', { class: 'item' }, one.place,
    el('button', { type: 'button', class: 'plain', 'aria-label': `Take out item ${at + 1} of ${plain(name)}`, onclick: () => { items.splice(at, 1); draw(); more.focus(); } }, 'Take out'))));
  const add = (it) => { items.push(field(root, schema.items, { name: `item ${items.length + 1}`, pointer: `${pointer}/${items.length}`, required: true, value: it, level: level + 1 })); };
  const more = el('button', { type: 'button', onclick: () => { if (items.length < ITEMS) { add(); draw(); place.lastChild.querySelector('input, textarea, select')?.focus(); } } }, 'Add an item');
  value.slice(0, ITEMS).forEach(add);
  draw();
  const tell = (message) => { fault.hidden = !message; fault.replaceChildren(message ? shown(message) : ''); };
  return {
    place: el('fieldset', {}, el('legend', {}, shown(name), required ? el('span', { class: 'faint' }, ' (required)') : null), hint, place, more, fault),
    text: () => (items.length || required || given ? `[${items.map((one) => one.text() ?? 'null').join(',')}]` : undefined),
    at: (where) => items.map((one) => one.at(where)).find(Boolean) ?? (where === pointer ? { tell } : null),
    check: () => items.every((one) => one.check?.() ?? true),
  };
}

// The form for `schema`, with `value` in it. `value()` gives the arguments as JSON, `undefined` where they are none;
// `faults(all)` shows at each field what the gateway says is wrong there.
export function form(schema, value) {
  room = MOST;
  const id = `raw-${(next += 1)}`;
  const fault = el('p', { class: 'wrong', id: `${id}-fault`, role: 'alert', hidden: true });
  const raw = el('textarea', { id, class: 'code', rows: 8, spellcheck: 'false', 'aria-describedby': `${id}-fault` });
  const rawPlace = el('div', { class: 'field' }, el('label', { for: id }, 'Arguments as JSON'), raw);
  const stage = el('div');
  let fields;
  const tell = (message) => { fault.hidden = !message; fault.replaceChildren(message ? shown(message) : ''); };
  const asFields = (given) => {
    const whole = { type: 'object', properties: {}, ...resolve(schema, schema) };
    fields = group(schema, isTree(whole.properties) ? whole : { ...whole, properties: {} }, { name: '', pointer: '', required: true, value: given, level: 0, hint: null, fault });
    stage.replaceChildren(Object.keys(whole.properties ?? {}).length ? fields.place : el('p', { class: 'faint' }, 'It names no arguments; write some as JSON, if it takes any.'));
  };
  const parse = () => {
    try {
      const parsed = read(raw.value.trim() || '{}');
      if (isTree(parsed)) return parsed;
      tell('The arguments are an object, like {"path": "a"}.');
    } catch (error) { tell(`Not JSON: ${error.message}`); }
    raw.focus();
    return undefined;
  };
  const toggle = el('button', { type: 'button', class: 'tab', 'aria-pressed': 'false', onclick: () => {
    tell();
    if (fields) {
      if (!fields.check()) return;
      const text = fields.text();
      try { raw.value = write(read(text), 2); } catch { raw.value = text; }
      fields = undefined;
      stage.replaceChildren(rawPlace);
    } else {
      const parsed = parse();
      if (parsed === undefined) return;
      asFields(parsed);
    }
    toggle.setAttribute('aria-pressed', String(!fields));
  } }, 'As JSON');
  asFields(isTree(value) ? value : undefined);
  return {
    place: el('div', { class: 'form', role: 'group', 'aria-label': 'Arguments' }, el('div', { class: 'row' }, el('span', { class: 'heading' }, 'Arguments'), toggle), stage, fault),
    value: () => {
      tell();
      if (fields) return fields.check() ? fields.text() : undefined;
      return parse() === undefined ? undefined : raw.value.trim() || '{}';
    },
    faults: (all) => {
      stage.querySelectorAll('.field > .wrong').forEach((old) => { old.hidden = true; });
      stage.querySelectorAll('[aria-invalid]').forEach((old) => old.removeAttribute('aria-invalid'));
      const rest = [];
      let first;
      for (const { pointer, message } of all) {
        const place = fields?.at(pointer);
        if (place?.input) { place.tell(message); first ??= place.input; } else rest.push(pointer ? `${pointer}: ${message}` : message);
      }
      tell(rest.join('; '));
      first?.focus();
    },
  };
}
