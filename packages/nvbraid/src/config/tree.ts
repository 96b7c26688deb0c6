import { NvbraidError } from '@nvbraid/base';
import type { AttributeRow } from './attributes.ts';
import { attributeOf, DEFAULT_ANA_GROUP, KINDS, type Kind, type KindName } from './kinds.ts';

/** An object of the tree: its attributes as text, what lies in its directories, and what a file said beyond that. */
export class ConfigNode {
  readonly kind: Kind;
  /** Names on the path of objects from the root, its own last: `[NQN, nsid]`. */
  readonly names: readonly string[];
  /** Values that were set, or stood in a file; others have their defaults. */
  readonly attributes = new Map<string, string>();
  readonly groups: ReadonlyMap<string, Map<string, ConfigNode>>;
  readonly links: ReadonlyMap<string, Set<string>>;
  readonly only = new Map<string, ConfigNode>();
  /** Keys of the object in the file that are written back even when there is nothing in them. */
  readonly keys = new Set<string>();
  /** What a file has that nobody here knows, by section (`''`: the object itself): written back as it was. */
  readonly unknown = new Map<string, Map<string, unknown>>();

  constructor(kind: KindName, names: readonly string[]) {
    this.kind = KINDS[kind];
    this.names = names;
    this.groups = new Map(Object.keys(this.kind.groups).map((name) => [name, new Map()]));
    this.links = new Map(Object.keys(this.kind.links).map((name) => [name, new Set()]));
  }

  get name(): string {
    return this.names.at(-1) ?? '';
  }

  /** The value of an attribute, or its default; empty while it has none. */
  get(attribute: string): string {
    const row = attributeOf(this.kind.name, attribute)!;
    return this.has(row) ? (this.attributes.get(attribute) ?? this.defaultOf(row)) : '';
  }

  /** Whether an attribute has a value: some have one beside certain values of another alone. */
  has({ only }: AttributeRow): boolean {
    return only === null || only.values.includes(this.get(only.attribute));
  }

  defaultOf(row: AttributeRow): string {
    return typeof row.default === 'string' ? row.default : row.default(this.names);
  }

  /** Sets a value in its one spelling; whoever calls has checked it. */
  put(row: AttributeRow, value: string): void {
    // What nvmetcli does not have is saved only where it differs from the default.
    const foreign = row.places[0]?.section === 'nvbraid';
    if (foreign && value === this.defaultOf(row)) this.attributes.delete(row.name);
    else this.attributes.set(row.name, value);
    if (!foreign && row.places.length > 0 && !row.places.some(({ section, key }) => this.keys.has(section ?? key))) {
      for (const { section, key } of row.places) this.keys.add(section ?? key);
    }
  }

  group(name: string): Map<string, ConfigNode> {
    return this.groups.get(name)!;
  }

  linked(name: string): Set<string> {
    return this.links.get(name)!;
  }

  /** Enabled as nvmet means it: attributes that configure it cannot change. */
  get enabled(): boolean {
    if (this.kind.name === 'port') return this.linked('subsystems').size > 0 || this.get('nvbraid_listen') === '1';
    return attributeOf(this.kind.name, 'enable') !== undefined && this.get('enable') === '1';
  }

  clone(): ConfigNode {
    const copy = new ConfigNode(this.kind.name, this.names);
    for (const [name, value] of this.attributes) copy.attributes.set(name, value);
    for (const [name, group] of this.groups) {
      for (const [key, child] of group) copy.group(name).set(key, child.clone());
    }
    for (const [name, links] of this.links) for (const link of links) copy.linked(name).add(link);
    for (const [name, child] of this.only) copy.only.set(name, child.clone());
    for (const key of this.keys) copy.keys.add(key);
    for (const [section, values] of this.unknown) copy.unknown.set(section, new Map(values));
    return copy;
  }
}

/** An object as it is when it was just made: everything that nvmetcli would save has its default. */
export function madeNode(kind: KindName, names: readonly string[]): ConfigNode {
  const node = new ConfigNode(kind, names);
  for (const section of node.kind.sections) node.keys.add(section);
  for (const row of node.kind.attributes) {
    if (row.places.length === 0 || row.places[0]!.section === 'nvbraid') continue;
    for (const { section, key } of row.places) node.keys.add(section ?? key);
    node.attributes.set(row.name, node.defaultOf(row));
  }
  if (kind === 'port') {
    node.group('ana_groups').set(DEFAULT_ANA_GROUP, madeNode('ana-group', [...names, DEFAULT_ANA_GROUP]));
  }
  return node;
}

/** The tree of a target that was just started. */
export function emptyTree(): ConfigNode {
  return madeNode('root', []);
}

/** What a path leads to. */
export type Found =
  | { readonly what: 'object'; readonly node: ConfigNode; readonly parent: ConfigNode | null; readonly group: string }
  | { readonly what: 'group'; readonly parent: ConfigNode; readonly group: string }
  | { readonly what: 'links'; readonly parent: ConfigNode; readonly group: string }
  /** An entry of a group or of a directory of links, which may not exist yet. */
  | { readonly what: 'nothing' | 'link'; readonly parent: ConfigNode; readonly group: string; readonly name: string };

/** `/ports/1/ana_groups` as pieces; also without the first slash, and below configfs' own directory. */
export function pathPieces(path: string): string[] {
  return path
    .replace(/^\/sys\/kernel\/config\/nvmet(?=\/|$)/, '')
    .split('/')
    .filter((piece) => piece !== '' && piece !== '.');
}

export function pathOf(...pieces: readonly string[]): string {
  return `/${pieces.join('/')}`;
}

/**
 * Finds what a path leads to; the last piece may be missing in its directory.
 * @throws NvbraidError ENOENT when a piece before the last one is missing
 */
export function find(root: ConfigNode, path: string): Found {
  const pieces = pathPieces(path);
  let node = root;
  let parent: ConfigNode | null = null;
  let group = '';
  for (let i = 0; i < pieces.length; i++) {
    group = pieces[i]!;
    const single: ConfigNode | undefined = node.only.get(group);
    if (single !== undefined) {
      parent = node;
      node = single;
      continue;
    }
    const entries = node.groups.get(group);
    const links = node.links.get(group);
    if (entries === undefined && links === undefined) throw missing(pathOf(...pieces.slice(0, i + 1)));
    const name = pieces[++i];
    if (name === undefined) return { what: entries === undefined ? 'links' : 'group', parent: node, group };
    if (links !== undefined) {
      if (i + 1 < pieces.length) throw missing(pathOf(...pieces));
      return { what: links.has(name) ? 'link' : 'nothing', parent: node, group, name };
    }
    const child = entries!.get(name);
    if (child === undefined) {
      if (i + 1 < pieces.length) throw missing(pathOf(...pieces.slice(0, i + 1)));
      return { what: 'nothing', parent: node, group, name };
    }
    parent = node;
    node = child;
  }
  return { what: 'object', node, parent, group };
}

/** @throws NvbraidError ENOENT, EINVAL when the path leads to something else */
export function findObject(root: ConfigNode, path: string): ConfigNode {
  const found = find(root, path);
  if (found.what === 'object') return found.node;
  if (found.what === 'nothing') throw missing(path);
  throw new NvbraidError(
    'EINVAL',
    `${path} is a ${found.what === 'link' ? 'link' : 'directory'}: it has no attributes`,
  );
}

export function missing(path: string): NvbraidError {
  return new NvbraidError('ENOENT', `there is no ${path}`, { context: { path } });
}

/** The path of an object, from the root. */
export function nodePath(node: ConfigNode): string {
  const { names } = node;
  switch (node.kind.name) {
    case 'root':
      return '/';
    case 'host':
      return pathOf('hosts', names[0]!);
    case 'subsystem':
      return pathOf('subsystems', names[0]!);
    case 'namespace':
      return pathOf('subsystems', names[0]!, 'namespaces', names[1]!);
    case 'passthru':
      return pathOf('subsystems', names[0]!, 'passthru');
    case 'port':
      return pathOf('ports', names[0]!);
    case 'referral':
      return pathOf('ports', names[0]!, 'referrals', names[1]!);
    case 'ana-group':
      return pathOf('ports', names[0]!, 'ana_groups', names[1]!);
  }
}

/** Every object below (and with) this one, parents first. */
export function* nodesOf(node: ConfigNode): Generator<ConfigNode> {
  yield node;
  for (const child of node.only.values()) yield* nodesOf(child);
  for (const group of node.groups.values()) for (const child of group.values()) yield* nodesOf(child);
}
