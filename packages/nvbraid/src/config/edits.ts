import { type ErrorCode, NvbraidError } from '@nvbraid/base';
import {
  MAX_ALLOWED_HOSTS,
  MAX_LINKS,
  MAX_NAMESPACES,
  MAX_PORTS,
  MAX_REFERRALS,
  MAX_SUBSYSTEMS,
} from '@nvbraid/target';
import { DISCOVERY_NQN } from '@nvbraid/wire';
import { rowNameFor, sayTrtype } from '../transport-row.ts';
import type { AttributeRow } from './attributes.ts';
import { attributeOf, DEFAULT_ANA_GROUP, type KINDS } from './kinds.ts';
import { MAX_HOSTS } from './limits.ts';
import { type ConfigNode, find, findObject, madeNode, missing } from './tree.ts';

/** One change, as one makes it in configfs: mkdir or symlink, rmdir or unlink, a write to a file. */
export type Edit =
  | { readonly op: 'create'; readonly path: string }
  | { readonly op: 'delete'; readonly path: string }
  | { readonly op: 'set'; readonly path: string; readonly attribute: string; readonly value: string };

/** What the rules must know of the running target. */
export interface Facts {
  /** Whether a controller of the subsystem has been made since the subsystem was. */
  discovered(nqn: string): boolean;
  /** Why a port cannot listen on this machine, as a sentence; null when it can. */
  portProblem(port: ConfigNode): string | null;
}

export const NO_FACTS: Facts = { discovered: () => false, portProblem: () => null };

/** `set /ports/1 addr_trtype=tcp` */
export function editText(edit: Edit): string {
  return edit.op === 'set' ? `set ${edit.path} ${edit.attribute}=${edit.value}` : `${edit.op} ${edit.path}`;
}

function refuse(code: ErrorCode, path: string, message: string): NvbraidError {
  return new NvbraidError(code, `${path}: ${message}`, { retryable: false, context: { path } });
}

/**
 * Changes the tree if nvmet would allow the edit.
 * @throws NvbraidError ENOENT, EEXIST, ENOTEMPTY, EBUSY, EACCES, EINVAL, ENOTSUP; the tree is as it was
 */
export function perform(root: ConfigNode, edit: Edit, facts: Facts = NO_FACTS): void {
  if (edit.op === 'create') create(root, edit.path, facts);
  else if (edit.op === 'delete') remove(root, edit.path);
  else setAttribute(root, edit.path, edit.attribute, edit.value, facts);
}

// ---------------------------------------------------------------- attributes

function setAttribute(root: ConfigNode, path: string, attribute: string, text: string, facts: Facts): void {
  const node = findObject(root, path);
  const row = attributeOf(node.kind.name, attribute);
  if (row === undefined) {
    const known = node.kind.attributes.map(({ name }) => name).join(', ') || 'none';
    throw refuse('ENOENT', path, `there is no attribute ${attribute}; there are ${known}`);
  }
  const value = checkValue(row, text, path);
  if (value !== node.get(attribute) || row.writeOnly) checkWhen(node, row, path, facts);
  if (row.only !== null && !node.has(row)) {
    const { attribute: other } = row.only;
    throw refuse('EINVAL', path, `${row.name} has no meaning with ${other}=${node.get(other)}`);
  }
  checkRule(root, node, row, value, path, facts);
  if (!row.writeOnly) node.put(row, value);
}

/** @returns the value in its one spelling. @throws NvbraidError EINVAL, ENOTSUP */
export function checkValue(row: AttributeRow, text: string, path: string): string {
  const value = row.type.parse(text.replace(/\n$/, ''));
  if (value === null) {
    const why = row.type.why?.(text) ?? null;
    throw refuse(
      'EINVAL',
      path,
      `${row.name} is ${row.type.says}, not ${JSON.stringify(text.slice(0, 200))}${why === null ? '' : `: ${why}`}`,
    );
  }
  const reason = row.unsupported(value);
  if (reason !== null) throw refuse('ENOTSUP', path, `${row.name}=${value} cannot be had: ${reason}`);
  return value;
}

function checkWhen(node: ConfigNode, row: AttributeRow, path: string, facts: Facts): void {
  const { when } = row;
  if (when.rule === 'disabled' && node.enabled) {
    const how =
      node.kind.name === 'port'
        ? 'remove the links in its subsystems directory first'
        : `disable it first (set enable=0)${row.name === 'nvbraid_filters' ? ', or change what a filter does with nvbraid filter set' : ''}`;
    throw refuse(when.code, path, `${row.name} cannot change while the ${node.kind.name} is enabled; ${how}`);
  }
  if (when.rule === 'enabled' && !node.enabled) {
    throw refuse('EINVAL', path, `${row.name} works while the ${node.kind.name} is enabled only; enable it first`);
  }
  if (when.rule === 'undiscovered' && facts.discovered(node.name)) {
    throw refuse(
      'EINVAL',
      path,
      `${row.name} is ${JSON.stringify(node.get(row.name))}, and hosts have seen it: it cannot change any more`,
    );
  }
}

/** What nvmet checks beyond the value itself. */
function checkRule(
  root: ConfigNode,
  node: ConfigNode,
  row: AttributeRow,
  value: string,
  path: string,
  facts: Facts,
): void {
  switch (row.name) {
    case 'discovery_nqn':
      if (root.group('subsystems').has(value)) throw refuse('EINVAL', path, `a subsystem is called ${value} already`);
      return;
    case 'attr_allow_any_host':
      if (value === '1' && node.linked('allowed_hosts').size > 0) {
        throw refuse(
          'EINVAL',
          path,
          'allow_any_host cannot be set while hosts are listed in allowed_hosts; remove them first',
        );
      }
      return;
    case 'attr_cntlid_min':
      if (Number(value) > Number(node.get('attr_cntlid_max'))) {
        throw refuse(
          'EINVAL',
          path,
          `attr_cntlid_min ${value} is greater than attr_cntlid_max ${node.get('attr_cntlid_max')}`,
        );
      }
      return;
    case 'attr_cntlid_max':
      if (Number(value) < Number(node.get('attr_cntlid_min'))) {
        throw refuse(
          'EINVAL',
          path,
          `attr_cntlid_max ${value} is less than attr_cntlid_min ${node.get('attr_cntlid_min')}`,
        );
      }
      return;
    case 'enable':
      if (value === '1') checkEnable(root, node, path);
      return;
    case 'nvbraid_listen':
      if (value === '1') checkPort(node, path, facts);
      return;
  }
}

function checkEnable(root: ConfigNode, node: ConfigNode, path: string): void {
  if (node.kind.name === 'referral') {
    if (node.get('addr_trtype') === '' || node.get('addr_traddr') === '') {
      throw refuse('EINVAL', path, 'set addr_trtype and addr_traddr before the referral is enabled');
    }
    return;
  }
  if (node.kind.name !== 'namespace') return;
  const memory = node.get('nvbraid_memory') !== '';
  if (!memory && node.get('device_path') === '') {
    throw refuse('EINVAL', path, 'set device_path before the namespace is enabled, or nvbraid_memory');
  }
  if (memory && node.get('device_path') !== '') {
    throw refuse('EINVAL', path, 'device_path and nvbraid_memory exclude each other');
  }
  if (node.get('nvbraid_create') === '1' && node.get('nvbraid_size') === '') {
    throw refuse('EINVAL', path, 'nvbraid_create needs nvbraid_size');
  }
  const number = Number(node.name);
  if (number > MAX_NAMESPACES) throw refuse('EINVAL', path, `nsid is 1 to ${MAX_NAMESPACES} here`);
  const blockSize = Number(node.get('nvbraid_block_size') || 4096);
  if ((blockSize & (blockSize - 1)) !== 0) throw refuse('EINVAL', path, 'nvbraid_block_size is a power of two');
  const same = [...root.group('subsystems').get(node.names[0]!)!.group('namespaces').values()].filter(
    (other) => other !== node && other.enabled,
  );
  for (const attribute of ['device_uuid', 'device_nguid', 'nvbraid_eui64']) {
    const id = node.get(attribute);
    if (/^[0-]*$/.test(id)) continue;
    const twin = same.find((other) => other.get(attribute) === id);
    if (twin !== undefined) {
      throw refuse(
        'EINVAL',
        path,
        `namespace ${twin.name} has ${attribute} ${id} already: hosts would take both for one`,
      );
    }
  }
}

const BUILT = ['tcp', 'mptcp'];

/** What a port needs before it can listen. @throws NvbraidError EINVAL, ENOTSUP */
function checkPort(node: ConfigNode, path: string, facts: Facts): void {
  const trtype = node.get('addr_trtype');
  if (trtype === '') throw refuse('EINVAL', path, 'set addr_trtype before the port is enabled');
  if (!BUILT.includes(trtype)) throw refuse('ENOTSUP', path, `${sayTrtype(trtype)} not supported: not built`);
  const row = node.get('nvbraid_transport');
  if (row !== '' && rowNameFor(trtype, row) !== row) {
    throw refuse('EINVAL', path, `nvbraid_transport=${row} is no transport of addr_trtype=${trtype}; leave it empty`);
  }
  const problem = facts.portProblem(node);
  if (problem !== null) throw refuse('ENOTSUP', path, problem);
  const adrfam = node.get('addr_adrfam');
  const traddr = node.get('addr_traddr');
  if (adrfam !== 'ipv4' && adrfam !== 'ipv6') {
    throw refuse(
      'EINVAL',
      path,
      `set addr_adrfam to ipv4 or ipv6 before the port is enabled${adrfam === '' ? '' : `, not ${adrfam}`}`,
    );
  }
  const fits =
    adrfam === 'ipv4' ? /^\d{1,3}(\.\d{1,3}){3}$/.test(traddr) : /^[0-9a-f:.]*:[0-9a-f:.]*(%.+)?$/i.test(traddr);
  if (!fits) throw refuse('EINVAL', path, `addr_traddr '${traddr}' is no ${adrfam} address`);
  const trsvcid = node.get('addr_trsvcid');
  if (!/^[0-9]{1,5}$/.test(trsvcid) || Number(trsvcid) > 65535) {
    throw refuse('EINVAL', path, `addr_trsvcid '${trsvcid}' is no port number; the usual one is 4420`);
  }
}

// ---------------------------------------------------------------- objects and links

/** Most entries of a directory, over the whole tree where the bound is one of the target. */
const BOUNDS: Readonly<Record<string, number>> = {
  hosts: MAX_HOSTS,
  subsystems: MAX_SUBSYSTEMS,
  ports: MAX_PORTS,
  namespaces: MAX_NAMESPACES,
  referrals: MAX_REFERRALS,
};

function create(root: ConfigNode, path: string, facts: Facts): void {
  const found = find(root, path);
  if (found.what === 'object' || found.what === 'link') throw refuse('EEXIST', path, 'exists already');
  if (found.what !== 'nothing') throw refuse('EEXIST', path, 'is a directory that is always there; give a name in it');
  const { parent, group, name } = found;
  if (parent.links.has(group)) {
    link(root, parent, group, name, path, facts);
    return;
  }
  const row = parent.kind.groups[group]!;
  const problem = row.problem(name);
  if (problem !== null) throw refuse('EINVAL', path, `'${name}' ${problem}`);
  const isDiscovery = name === DISCOVERY_NQN || name === root.get('discovery_nqn');
  if (group === 'subsystems' && isDiscovery) {
    throw refuse('EINVAL', path, 'is the discovery subsystem, which every port has');
  }
  const entries = parent.group(group);
  const bound = BOUNDS[group];
  if (bound !== undefined && entries.size >= bound) throw refuse('EINVAL', path, `there are ${bound} ${group} already`);
  entries.set(name, madeNode(row.kind, [...parent.names, name]));
}

function link(root: ConfigNode, parent: ConfigNode, group: string, name: string, path: string, facts: Facts): void {
  const target = parent.kind.links[group]!.to;
  if (!root.group(target).has(name)) throw missing(`/${target}/${name}`);
  if (group === 'allowed_hosts') {
    if (parent.get('attr_allow_any_host') === '1') {
      throw refuse(
        'EINVAL',
        path,
        'hosts cannot be listed while allow_any_host is set; set attr_allow_any_host=0 first',
      );
    }
    if (parent.linked(group).size >= MAX_ALLOWED_HOSTS) {
      throw refuse('EINVAL', path, `a subsystem lists at most ${MAX_ALLOWED_HOSTS} hosts`);
    }
  } else {
    checkPort(parent, `/ports/${parent.name}`, facts);
    let links = 0;
    for (const port of root.group('ports').values()) links += port.linked('subsystems').size;
    if (links >= MAX_LINKS) throw refuse('EINVAL', path, `ports lead to at most ${MAX_LINKS} subsystems together`);
  }
  parent.linked(group).add(name);
}

function remove(root: ConfigNode, path: string): void {
  const found = find(root, path);
  if (found.what === 'nothing') throw missing(path);
  if (found.what === 'link') {
    found.parent.linked(found.group).delete(found.name);
    return;
  }
  if (found.what !== 'object' || found.parent === null || found.parent.only.has(found.group)) {
    throw refuse('EACCES', path, 'is always there and cannot be deleted');
  }
  const { node, parent, group } = found;
  if (node.kind.name === 'ana-group' && node.name === DEFAULT_ANA_GROUP) {
    throw refuse('EACCES', path, 'is the default group of its port and cannot be deleted');
  }
  const by = linkedBy(root, node);
  if (by !== null) throw refuse('EBUSY', path, `is linked by ${by}; delete that first`);
  const inside = contentsOf(node);
  if (inside !== null) throw refuse('ENOTEMPTY', path, `is not empty: delete ${inside} first`);
  parent.group(group).delete(node.name);
}

/** The link that leads to an object, or null. */
export function linkedBy(root: ConfigNode, node: ConfigNode): string | null {
  if (node.kind.name === 'subsystem') {
    for (const port of root.group('ports').values()) {
      if (port.linked('subsystems').has(node.name)) return `/ports/${port.name}/subsystems/${node.name}`;
    }
  }
  if (node.kind.name === 'host') {
    for (const subsystem of root.group('subsystems').values()) {
      if (subsystem.linked('allowed_hosts').has(node.name))
        return `/subsystems/${subsystem.name}/allowed_hosts/${node.name}`;
    }
  }
  return null;
}

/** What somebody has made in an object, or null. */
function contentsOf(node: ConfigNode): string | null {
  for (const [group, entries] of node.groups) {
    for (const name of entries.keys()) {
      if (!(group === 'ana_groups' && name === DEFAULT_ANA_GROUP)) return `${group}/${name}`;
    }
  }
  for (const [group, names] of node.links) for (const name of names) return `${group}/${name}`;
  return null;
}

/** The edits that delete an object with all that is in it. */
export function deleteAll(node: ConfigNode, path: string): Edit[] {
  const edits: Edit[] = [];
  for (const [group, names] of node.links) {
    for (const name of names) edits.push({ op: 'delete', path: `${path}/${group}/${name}` });
  }
  for (const [group, entries] of node.groups) {
    for (const child of entries.values()) {
      if (group === 'ana_groups' && child.name === DEFAULT_ANA_GROUP) continue;
      edits.push(...deleteAll(child, `${path}/${group}/${child.name}`));
    }
  }
  edits.push({ op: 'delete', path });
  return edits;
}

/** Every path that a tree can have, for documentation: `/subsystems/NQN/namespaces/NSID`. */
export function pathPatterns(): { path: string; kind: keyof typeof KINDS }[] {
  return [
    { path: '/', kind: 'root' },
    { path: '/hosts/NQN', kind: 'host' },
    { path: '/subsystems/NQN', kind: 'subsystem' },
    { path: '/subsystems/NQN/namespaces/NSID', kind: 'namespace' },
    { path: '/subsystems/NQN/passthru', kind: 'passthru' },
    { path: '/ports/PORTID', kind: 'port' },
    { path: '/ports/PORTID/referrals/NAME', kind: 'referral' },
    { path: '/ports/PORTID/ana_groups/GRPID', kind: 'ana-group' },
  ];
}
