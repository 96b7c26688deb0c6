import { NvbraidError } from '@nvbraid/base';
import { accessStateName } from './access-state.ts';
import type { Head } from './head.ts';
import { NO_NODE, type Path } from './path.ts';

/** One value, as text that a person can read and write. */
export interface Attribute {
  readonly name: string;
  show(): string;
  /** Absent: read only. Throws EINVAL for what it does not take. */
  store?(text: string): void;
}

export interface AttributeGroup {
  readonly name: string;
  readonly attributes: readonly Attribute[];
  readonly groups?: readonly AttributeGroup[];
}

/** Everything about a head that can be read or set, as a tree that follows the kernel's files in names and contents. */
export function headAttributes(head: Head): AttributeGroup {
  const groups: AttributeGroup[] = [
    {
      name: 'multipath',
      attributes: [],
      groups: head.paths.filter((path) => path.linked).map((path) => pathGroup(head, path)),
    },
    {
      name: 'diag',
      attributes: [
        number('io_requeue_no_usable_path_count', () => head.requeueNoUsablePathCount),
        number('io_fail_no_available_path_count', () => head.failNoAvailablePathCount),
        number('io_queued_count', () => head.queued().length),
      ],
    },
  ];
  if (head.template.deviceAttributes !== undefined) groups.push(head.template.deviceAttributes(head));
  if (head.disk?.attributes) groups.push(head.disk.attributes);
  return {
    name: head.disk?.name ?? head.name,
    attributes: [
      {
        name: 'iopolicy',
        show: () => head.iopolicy.show(),
        store: (text) => {
          if (head.iopolicy.store(text)) return;
          throw new NvbraidError('EINVAL', `unknown iopolicy '${text}': ${head.iopolicy.names().join(', ')}`);
        },
      },
      {
        name: 'delayed_removal_secs',
        show: () => head.removal.show(),
        store: (text) => head.removal.store(text, head.clock.nowMs()),
      },
    ],
    groups,
  };
}

/** The nodes whose requests take this path, as a list like `0-2,5`. Empty under policies that do not go by distance. */
export function numaNodesShow(head: Head, path: Path): string {
  if (!head.iopolicy.selector.byDistance) return '';
  const { currentPath } = head;
  const ranges: string[] = [];
  for (let node = 0; node < currentPath.length; node++) {
    if (currentPath[node] !== path) continue;
    const first = node;
    while (currentPath[node + 1] === path) node++;
    ranges.push(first === node ? String(first) : `${first}-${node}`);
  }
  return ranges.join(',');
}

/** Requests under way on what the path shares with others. Empty under policies that do not count. */
export function queueDepthShow(head: Head, path: Path): string {
  return head.iopolicy.selector.countsActive ? String(path.nrActive.value) : '';
}

function number(name: string, value: () => number): Attribute {
  return { name, show: () => String(value()) };
}

function pathGroup(head: Head, path: Path): AttributeGroup {
  const ofDriver = head.template.pathAttributes?.(path);
  return {
    name: path.name,
    attributes: [
      { name: 'access_state', show: () => accessStateName(path.accessState) },
      { name: 'numa_node', show: () => (path.numaNode === NO_NODE ? '' : String(path.numaNode)) },
      { name: 'numa_nodes', show: () => numaNodesShow(head, path) },
      { name: 'queue_depth', show: () => queueDepthShow(head, path) },
      { name: 'latency_ms', show: () => (Number.isFinite(path.latencyMs) ? path.latencyMs.toFixed(3) : '') },
      { name: 'marginal', show: () => (path.marginal ? 'yes' : 'no') },
    ],
    groups: [
      {
        name: 'diag',
        attributes: [
          number('command_count', () => path.ioCount),
          number('command_error_count', () => path.errorCount),
          number('command_retry_count', () => path.retryCount),
          number('multipath_failover_count', () => path.failoverCount),
        ],
      },
      ...(ofDriver === undefined ? [] : [ofDriver]),
    ],
  };
}

/** Every attribute as a pair of its place, like `multipath/path0/numa_nodes`, and its value. */
export function listAttributes(group: AttributeGroup): Map<string, string> {
  const all = new Map<string, string>();
  walk(group, '', (place, attribute) => all.set(place, attribute.show()));
  return all;
}

/** ENOENT when there is no such attribute. */
export function showAttribute(group: AttributeGroup, place: string): string {
  return find(group, place).show();
}

/** ENOENT when there is no such attribute, EACCES when it is read only, EINVAL when it does not take the value. */
export function storeAttribute(group: AttributeGroup, place: string, text: string): void {
  const attribute = find(group, place);
  if (attribute.store === undefined) throw new NvbraidError('EACCES', `${place} is read only`);
  attribute.store(text);
}

function find(group: AttributeGroup, place: string): Attribute {
  let found: Attribute | undefined;
  walk(group, '', (at, attribute) => {
    if (at === place) found = attribute;
  });
  if (found === undefined) throw new NvbraidError('ENOENT', `there is no attribute ${place}`);
  return found;
}

function walk(group: AttributeGroup, prefix: string, visit: (place: string, attribute: Attribute) => void): void {
  for (const attribute of group.attributes) visit(prefix + attribute.name, attribute);
  for (const inner of group.groups ?? []) walk(inner, `${prefix}${inner.name}/`, visit);
}
