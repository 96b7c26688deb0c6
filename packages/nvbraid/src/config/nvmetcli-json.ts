import { NvbraidError } from '@nvbraid/base';
import type { AttributeRow, Place } from './attributes.ts';
import { checkValue, type Edit } from './edits.ts';
import { DEFAULT_ANA_GROUP, type Group, KINDS } from './kinds.ts';
import { MAX_CONFIG_BYTES } from './limits.ts';
import { parseJson, pythonJson, RawNumber } from './python-json.ts';
import { ConfigNode, nodePath, nodesOf } from './tree.ts';
import { compactJson } from './values.ts';

export interface Parsed {
  readonly tree: ConfigNode;
  /** What is kept but has no effect, a sentence each. */
  readonly warnings: readonly string[];
}

type Fields = Readonly<Record<string, unknown>>;

/**
 * Reads what `nvmetcli save` (or this library) wrote. Values are checked one by one; how they go together is checked
 * when the tree is applied.
 * @throws NvbraidError EINVAL with the path of what is wrong, ENOTSUP for what nvmet has and this library does not
 */
export function parseConfig(text: string): Parsed {
  if (text.length > MAX_CONFIG_BYTES) {
    throw new NvbraidError('EINVAL', `the configuration is longer than ${MAX_CONFIG_BYTES} bytes`);
  }
  let value: unknown;
  try {
    value = parseJson(text);
  } catch (error) {
    throw new NvbraidError('EINVAL', `the configuration is not JSON: ${(error as Error).message}`, { cause: error });
  }
  return treeOf(value);
}

/** The same for JSON that has been parsed. @throws NvbraidError EINVAL, ENOTSUP */
export function treeOf(value: unknown): Parsed {
  const warnings: string[] = [];
  const tree = new ConfigNode('root', []);
  readNode(tree, fieldsOf(value, '/'), warnings);
  checkLinks(tree);
  warnings.push(...ignoredValues(tree));
  return { tree, warnings };
}

/** What nvmetcli would save: the text of a file, to the byte. */
export function formatConfig(tree: ConfigNode): string {
  return pythonJson(jsonOf(tree));
}

// ---------------------------------------------------------------- reading

function fieldsOf(value: unknown, path: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof RawNumber)) {
    return value as Fields;
  }
  throw new NvbraidError('EINVAL', `${path}: an object is expected in the configuration, not ${short(value)}`);
}

function listOf(value: unknown, path: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new NvbraidError('EINVAL', `${path}: a list is expected in the configuration, not ${short(value)}`);
}

function short(value: unknown): string {
  return (JSON.stringify(value instanceof RawNumber ? value.text : value) ?? 'nothing').slice(0, 60);
}

function readNode(node: ConfigNode, fields: Fields, warnings: string[]): void {
  const path = nodePath(node);
  const { kind } = node;
  const sections = new Set<string>();
  const inObject = new Map<string, AttributeRow>();
  for (const row of kind.attributes) {
    for (const { section, key } of row.places) {
      if (section === null) inObject.set(key, row);
      else sections.add(section);
    }
  }
  sections.add('nvbraid');
  for (const section of kind.sections) if (!kind.groups[section] && !kind.links[section]) sections.add(section);
  // Sections first: what stands in the object itself says the last word, as in nvmetcli.
  for (const [key, value] of Object.entries(fields)) {
    if (sections.has(key)) readSection(node, key, fieldsOf(value, `${path} ${key}`), warnings);
  }
  for (const [key, value] of Object.entries(fields)) {
    if (sections.has(key)) continue;
    const row = inObject.get(key);
    if (row !== undefined) {
      node.keys.add(key);
      readValue(node, row, value);
    } else if (Object.hasOwn(kind.groups, key)) readGroup(node, key, listOf(value, `${path} ${key}`), warnings);
    else if (Object.hasOwn(kind.links, key)) readLinks(node, key, listOf(value, `${path} ${key}`));
    else if (Object.hasOwn(kind.only, key)) readOnly(node, key, listOf(value, `${path} ${key}`), warnings);
    else if (!isName(node, key)) keep(node, '', key, value, warnings);
  }
  if (kind.name === 'port' && !node.group('ana_groups').has(DEFAULT_ANA_GROUP)) {
    // It is there in every port; a file that does not name it does not get it written either.
    const names = [...node.names, DEFAULT_ANA_GROUP];
    const others = [...node.group('ana_groups')];
    node.group('ana_groups').clear();
    node.group('ana_groups').set(DEFAULT_ANA_GROUP, new ConfigNode('ana-group', names));
    for (const [name, group] of others) node.group('ana_groups').set(name, group);
  }
}

/** The key under which the object's own name stands. */
function isName(node: ConfigNode, key: string): boolean {
  const found = Object.values(KINDS).flatMap((kind) =>
    Object.values(kind.groups).filter((group) => group.kind === node.kind.name),
  );
  return found.some((group) => group.key === key);
}

function readSection(node: ConfigNode, section: string, fields: Fields, warnings: string[]): void {
  node.keys.add(section);
  for (const [key, value] of Object.entries(fields)) {
    const row = node.kind.attributes.find((candidate) =>
      candidate.places.some((place) => place.section === section && place.key === key),
    );
    if (row === undefined) keep(node, section, key, value, warnings);
    else readValue(node, row, value);
  }
}

function readValue(node: ConfigNode, row: AttributeRow, value: unknown): void {
  const text = textOf(value, row.places[0]!.as);
  if (text === null)
    throw new NvbraidError('EINVAL', `${nodePath(node)}: ${row.name} is ${row.type.says}, not ${short(value)}`);
  node.attributes.set(row.name, checkValue(row, text, nodePath(node)));
}

/** Files that people write have numbers where nvmetcli has texts: it takes both. */
function textOf(value: unknown, as: Place['as']): string | null {
  if (as === 'json') return compactJson(value);
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return String(value);
  if (value instanceof RawNumber) return value.text;
  if (typeof value === 'boolean') return value ? '1' : '0';
  return null;
}

function readGroup(node: ConfigNode, name: string, entries: readonly unknown[], warnings: string[]): void {
  node.keys.add(name);
  const row: Group = node.kind.groups[name]!;
  entries.forEach((entry, index) => {
    const where = `${nodePath(node)} ${name}[${index}]`;
    const fields = fieldsOf(entry, where);
    const id = Object.hasOwn(fields, row.key) ? fields[row.key] : undefined;
    if (typeof id !== 'string' && typeof id !== 'number') {
      throw new NvbraidError('EINVAL', `${where}: '${row.key}' is not defined`);
    }
    const problem = row.problem(String(id));
    if (problem !== null) throw new NvbraidError('EINVAL', `${where}: ${row.key} '${id}' ${problem}`);
    if (node.group(name).has(String(id))) throw new NvbraidError('EINVAL', `${where}: ${row.key} ${id} is there twice`);
    const child = new ConfigNode(row.kind, [...node.names, String(id)]);
    readNode(child, fields, warnings);
    node.group(name).set(String(id), child);
  });
}

function readLinks(node: ConfigNode, name: string, entries: readonly unknown[]): void {
  node.keys.add(name);
  for (const entry of entries) {
    if (typeof entry !== 'string') {
      throw new NvbraidError('EINVAL', `${nodePath(node)} ${name}: a name is expected, not ${short(entry)}`);
    }
    if (node.linked(name).has(entry))
      throw new NvbraidError('EINVAL', `${nodePath(node)} ${name}: ${entry} is there twice`);
    node.linked(name).add(entry);
  }
}

function readOnly(node: ConfigNode, name: string, entries: readonly unknown[], warnings: string[]): void {
  node.keys.add(name);
  if (entries.length > 1)
    throw new NvbraidError('EINVAL', `${nodePath(node)}: there is one ${name}, not ${entries.length}`);
  for (const entry of entries) {
    const child = new ConfigNode(node.kind.only[name]!, node.names);
    node.only.set(name, child);
    readNode(child, fieldsOf(entry, `${nodePath(node)}/${name}`), warnings);
  }
}

function keep(node: ConfigNode, section: string, key: string, value: unknown, warnings: string[]): void {
  let kept = node.unknown.get(section);
  if (kept === undefined) node.unknown.set(section, (kept = new Map()));
  kept.set(key, value);
  const name = section === '' ? key : `${section}_${key}`;
  warnings.push(`${nodePath(node)}: ${name} is not known here: it is kept, but changes nothing`);
}

function checkLinks(tree: ConfigNode): void {
  for (const node of nodesOf(tree)) {
    for (const [name, links] of node.links) {
      const { to } = node.kind.links[name]!;
      for (const link of links) {
        if (tree.group(to).has(link)) continue;
        throw new NvbraidError('ENOENT', `${nodePath(node)}/${name}/${link}: there is no /${to}/${link}`);
      }
    }
  }
}

/**
 * A sentence for each value that differs from the default and changes nothing.
 * @param edits look only at what these have set
 */
export function ignoredValues(tree: ConfigNode, edits: readonly Edit[] | null = null): string[] {
  const set =
    edits === null ? null : new Set(edits.map((edit) => (edit.op === 'set' ? `${edit.path} ${edit.attribute}` : '')));
  const warnings: string[] = [];
  for (const node of nodesOf(tree)) {
    for (const row of node.kind.attributes) {
      if (row.ignored === null || node.get(row.name) === node.defaultOf(row)) continue;
      const path = nodePath(node);
      if (set !== null && !set.has(`${path} ${row.name}`)) continue;
      warnings.push(`${path}: ${row.name}=${node.get(row.name)} is kept, but changes nothing: ${row.ignored}`);
    }
  }
  return warnings;
}

// ---------------------------------------------------------------- writing

/** The object that nvmetcli would write for a node. */
export function jsonOf(node: ConfigNode): Fields {
  const { kind } = node;
  const object = new Map<string, unknown>();
  for (const [key, group] of Object.entries(kind.groups)) {
    // A directory that got its first entry here is written although the file did not have it.
    const children = [...node.group(key).values()].filter(isWritten);
    if (children.length > 0 || node.keys.has(key))
      object.set(
        key,
        children.map((child) => entryOf(child, group)),
      );
  }
  for (const key of Object.keys(kind.links)) {
    if (node.linked(key).size > 0 || node.keys.has(key)) object.set(key, [...node.linked(key)]);
  }
  for (const key of Object.keys(kind.only)) {
    const child = node.only.get(key);
    if (child !== undefined || node.keys.has(key)) object.set(key, child === undefined ? [] : [jsonOf(child)]);
  }
  const sections = new Map<string, Map<string, unknown>>();
  const put = (section: string | null, key: string, value: unknown): void => {
    if (section === null) object.set(key, value);
    else sections.set(section, (sections.get(section) ?? new Map()).set(key, value));
  };
  for (const key of node.keys) if (isSection(node, key)) sections.set(key, new Map());
  for (const row of kind.attributes) {
    if (!node.attributes.has(row.name)) continue;
    const value = node.get(row.name);
    for (const { section, key, as } of row.places) {
      if (section === 'nvbraid' || node.keys.has(section ?? key)) put(section, key, jsonValue(value, as));
    }
  }
  for (const [section, values] of node.unknown) {
    for (const [key, value] of values) put(section === '' ? null : section, key, value);
  }
  for (const [section, values] of sections) object.set(section, Object.fromEntries(values));
  return Object.fromEntries(object);
}

function entryOf(child: ConfigNode, group: Group): Fields {
  return { ...jsonOf(child), [group.key]: group.numeric ? Number(child.name) : child.name };
}

/** Whether a key of the object is a section: something with attributes in it. */
function isSection(node: ConfigNode, key: string): boolean {
  const { groups, links, only, attributes } = node.kind;
  if (Object.hasOwn(groups, key) || Object.hasOwn(links, key) || Object.hasOwn(only, key)) return false;
  return !attributes.some(({ places }) => places.some((place) => place.section === null && place.key === key));
}

/** Group 1 of a port, when the file does not name it and nobody has changed it, is not written. */
function isWritten(node: ConfigNode): boolean {
  return (
    node.kind.name !== 'ana-group' || node.name !== DEFAULT_ANA_GROUP || node.keys.size > 0 || node.unknown.size > 0
  );
}

function jsonValue(value: string, as: Place['as']): unknown {
  if (as === 'number') return value === '' ? '' : Number(value);
  if (as === 'flag') return value === '1';
  if (as === 'json') return value === '' ? null : JSON.parse(value);
  return value;
}
