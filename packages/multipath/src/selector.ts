import { NvbraidError } from '@nvbraid/base';
import type { Head } from './head.ts';
import { MAX_NAME } from './limits.ts';
import type { Path } from './path.ts';

/**
 * A policy that selects paths. One object serves all heads: what it must remember stands in the head's slots
 * (`head.currentPath[node]`) and in the paths.
 */
export interface Selector {
  /** What a user writes to choose it. */
  readonly name: string;
  /** While it is active each request is counted in its path's `nrActive`. */
  readonly countsActive: boolean;
  /** While it is active the library keeps `latencyMs` and `inflightBytes` of each path. */
  readonly measures: boolean;
  /** Filling an empty slot prefers the path whose node is near. */
  readonly byDistance: boolean;
  /**
   * Answers the path for a request of `bytes` bytes from `node`, or null. It must take only paths that `head.usable`
   * accepts, allocate nothing and call nothing that changes the head but `head.setCurrentPath`.
   */
  readonly select: (head: Head, node: number, bytes: number) => Path | null;
}

/** A policy, checked; flags that are left out are false. All policies have one shape, which keeps the call to them fast. */
export function defineSelector(
  given: Pick<Selector, 'name' | 'select'> & Partial<Omit<Selector, 'name' | 'select'>>,
): Selector {
  const { name, select, countsActive = false, measures = false, byDistance = false } = given;
  if (!/^[a-z][a-z0-9-]*$/.test(name) || name.length > MAX_NAME) {
    throw new NvbraidError('EINVAL', `'${name}' is no name for a policy: small letters, digits and dashes`);
  }
  return { name, countsActive, measures, byDistance, select };
}
