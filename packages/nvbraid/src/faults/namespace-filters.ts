import { NvbraidError, type Plain } from '@nvbraid/base';
import { type FilterHandle, filtersOf, type PreparedDevice } from '@nvbraid/blockdev';
import type { Target as TargetCore } from '@nvbraid/target';

/** A filter as it is listed: plain JSON. */
export interface FilterState {
  readonly name: string;
  readonly kind: string;
  /** All settings in force, the defaults too. */
  readonly settings: Readonly<Record<string, Plain>>;
  /** What can be done with it by `act`. */
  readonly actions: readonly string[];
  /** What there is to see of it: counters, latencies. Null where there is nothing. */
  readonly report: unknown;
}

/** The filters of one namespace. What is changed is in force for every operation that any thread begins afterwards. */
export class NamespaceFilters {
  readonly #handles: readonly FilterHandle[];

  constructor(prepared: PreparedDevice | null) {
    this.#handles = prepared === null ? [] : filtersOf(prepared);
  }

  /** The one nearest to the host first. */
  list(): FilterState[] {
    return this.#handles.map((handle) => stateOf(handle));
  }

  /** What makes the same filters again: `NamespaceConfig.filters`. */
  get config(): Readonly<Record<string, Plain>>[] {
    return this.#handles.map((handle) => handle.config);
  }

  /** @throws NvbraidError ENOENT */
  get(name: string): FilterState {
    return stateOf(this.#find(name));
  }

  /** Changes settings, all or none. @throws NvbraidError ENOENT, EINVAL that names the setting */
  set(name: string, settings: object): FilterState {
    const handle = this.#find(name);
    handle.set(settings);
    return stateOf(handle);
  }

  /** Runs an action, e.g. `release` of a delay. @throws NvbraidError ENOENT, EINVAL when the filter has no such action */
  async act(name: string, action: string): Promise<FilterState> {
    const handle = this.#find(name);
    await handle.act(action);
    return stateOf(handle);
  }

  #find(name: string): FilterHandle {
    const handle = this.#handles.find((candidate) => candidate.name === name);
    if (handle !== undefined) return handle;
    const names = this.#handles.map((candidate) => candidate.name);
    const known = names.length === 0 ? 'it has none' : `it has ${names.join(', ')}`;
    throw new NvbraidError('ENOENT', `the namespace has no filter ${JSON.stringify(name)}; ${known}`);
  }
}

/** @param prepared the devices of the target, by `NQN/NSID` @throws NvbraidError ENOENT */
export function namespaceFilters(
  core: TargetCore,
  prepared: ReadonlyMap<string, PreparedDevice>,
  nqn: string,
  nsid: number,
): NamespaceFilters {
  const subsystem = core.subsystem(nqn);
  if (subsystem === undefined) throw new NvbraidError('ENOENT', `there is no subsystem ${nqn}`);
  if (subsystem.namespace(nsid) === undefined) throw new NvbraidError('ENOENT', `${nqn} has no namespace ${nsid}`);
  return new NamespaceFilters(prepared.get(`${nqn}/${nsid}`) ?? null);
}

function stateOf(handle: FilterHandle): FilterState {
  const { name, kind, settings, actions } = handle;
  return { name, kind, settings, actions, report: handle.report() };
}
