import { type AttributeRow, type ConfigNode, find, NvbraidError } from 'nvbraid';

/** An entry of a directory in configfs. */
export interface Entry {
  readonly path: string;
  readonly kind: 'directory' | 'attribute' | 'link';
  /** Of an attribute that can be read. */
  readonly value?: string;
  /** Of a link. */
  readonly target?: string;
}

/** What a path leads to, with the entries of a directory. @throws NvbraidError ENOENT */
export function listing(tree: ConfigNode, path: string, { recursive }: { recursive: boolean }): Entry[] {
  const [owner, names] = splitAttribute(tree, path, []);
  const found = find(tree, owner);
  const at = `/${owner.split('/').filter(Boolean).join('/')}`;
  const base = at === '/' ? '' : at;
  switch (found.what) {
    case 'object':
      if (names.length > 0)
        return attributeEntries(found.node, base).filter((entry) => entry.path === `${base}/${names[0]}`);
      return objectEntries(found.node, base, recursive);
    case 'group':
      return groupEntries(found.parent, found.group, base, recursive);
    case 'links':
      return linkEntries(found.parent, found.group, base);
    case 'link':
      return linkEntries(found.parent, found.group, base.slice(0, base.lastIndexOf('/'))).filter(
        (entry) => entry.path === base,
      );
    default:
      throw new NvbraidError('ENOENT', `there is no ${path}`);
  }
}

function objectEntries(node: ConfigNode, base: string, recursive: boolean): Entry[] {
  const entries = attributeEntries(node, base);
  for (const name of Object.keys(node.kind.groups)) {
    entries.push({ path: `${base}/${name}`, kind: 'directory' });
    if (recursive) entries.push(...groupEntries(node, name, `${base}/${name}`, true));
  }
  for (const name of Object.keys(node.kind.links)) {
    entries.push({ path: `${base}/${name}`, kind: 'directory' });
    if (recursive) entries.push(...linkEntries(node, name, `${base}/${name}`));
  }
  for (const [name, child] of node.only) {
    entries.push({ path: `${base}/${name}`, kind: 'directory' });
    if (recursive) entries.push(...objectEntries(child, `${base}/${name}`, true));
  }
  return entries;
}

function attributeEntries(node: ConfigNode, base: string): Entry[] {
  return node.kind.attributes.map((row) => ({
    path: `${base}/${row.name}`,
    kind: 'attribute',
    ...(row.writeOnly ? {} : { value: node.get(row.name) }),
  }));
}

function groupEntries(parent: ConfigNode, group: string, base: string, recursive: boolean): Entry[] {
  return [...parent.group(group).values()].flatMap((child): Entry[] => {
    const path = `${base}/${child.name}`;
    return [{ path, kind: 'directory' }, ...(recursive ? objectEntries(child, path, true) : [])];
  });
}

function linkEntries(parent: ConfigNode, group: string, base: string): Entry[] {
  const { to } = parent.kind.links[group]!;
  return [...parent.linked(group)].map((name) => ({ path: `${base}/${name}`, kind: 'link', target: `/${to}/${name}` }));
}

/** As people read it: paths, directories with a slash at the end, links with where they lead. */
export function listingText(entries: readonly Entry[], long: boolean): string[] {
  return entries.map(({ path, kind, value, target }) => {
    if (kind === 'directory') return `${path}/`;
    if (kind === 'link') return `${path} -> ${target}`;
    return long && value !== undefined ? `${path}=${value}` : path;
  });
}

/** `/ports/1/addr_traddr` names an attribute as a file of configfs: the object, and the attribute. */
export function splitAttribute(
  tree: ConfigNode,
  path: string,
  names: readonly string[],
): [path: string, names: readonly string[]] {
  if (names.length > 0) return [path, names];
  const slash = path.replace(/\/+$/, '').lastIndexOf('/');
  const owner = path.slice(0, Math.max(0, slash)) || '/';
  const name = path.slice(slash + 1);
  try {
    const found = find(tree, owner);
    if (found.what === 'object' && found.node.kind.attributes.some((row) => row.name === name)) return [owner, [name]];
  } catch {
    // It is no attribute then.
  }
  return [path, names];
}

/** Names and values of attributes; all that can be read when none are named. @throws NvbraidError ENOENT, EACCES */
export function attributesOf(node: ConfigNode, path: string, names: readonly string[]): [string, string][] {
  const rows = node.kind.attributes;
  if (names.length === 0) return rows.filter((row) => !row.writeOnly).map((row) => [row.name, node.get(row.name)]);
  return names.map((name) => {
    const row: AttributeRow | undefined = rows.find((candidate) => candidate.name === name);
    if (row === undefined) {
      const known = rows.map((candidate) => candidate.name).join(', ');
      throw new NvbraidError('ENOENT', `${path}: there is no attribute ${name}; there are ${known}`);
    }
    if (row.writeOnly) throw new NvbraidError('EACCES', `${path}: ${name} can only be written`);
    return [name, node.get(name)];
  });
}
