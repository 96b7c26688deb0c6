import { assert, NvbraidError } from '@nvbraid/base';
import { AccessState } from './access-state.ts';
import type { Head } from './head.ts';
import { MAX_NAME } from './limits.ts';
import type { PathDisk } from './path-disk.ts';

/** `numaNode` of a path that is equally far from every node. */
export const NO_NODE = -1;

/**
 * Requests under way, counted while the policy asks for it. Paths that share what limits them (a link, an
 * adapter) share the counter. A driver sets it to 0 when it has reset what is behind it.
 */
export class ActiveCounter {
  value = 0;
}

export interface PathOptions {
  /** Unique within the head. */
  name: string;
  /** The hidden disk of this path; a driver may also set it later, before it is used. */
  disk?: PathDisk | null;
  numaNode?: number;
  nrActive?: ActiveCounter;
  accessState?: AccessState;
}

/** One way to the disk. Drivers extend it by what they know about the way. */
export class Path {
  readonly name: string;
  /** Set from `addPath` until `deletePath`. */
  head: Head | null = null;
  disk: PathDisk | null;
  readonly numaNode: number;
  readonly nrActive: ActiveCounter;
  /** Written by the driver, which then calls `setLive` or `clearCurrentPath`. */
  accessState: AccessState;
  /** Place in `head.paths`. */
  index = -1;
  /** In quarantine: selected only when there is nothing else. */
  marginal = false;
  /** A link to this path stands in the head's attribute tree. */
  linked = false;

  /** Requests and operations that use this path now. Zero after `deletePath`: its memory may go. */
  refs = 0;
  #idle: (() => void)[] | null = null;

  /** Moving average of the time that requests take, infinite while unknown. Kept while a policy or quarantine measures. */
  latencyMs = Number.POSITIVE_INFINITY;
  /** When `latencyMs` was last fed. */
  sampledMs = Number.NEGATIVE_INFINITY;
  /** Bytes of the requests under way, kept while somebody measures. */
  inflightBytes = 0;

  /** Completions of every kind; those that were errors; failovers away from here; second tries here. */
  ioCount = 0;
  errorCount = 0;
  failoverCount = 0;
  retryCount = 0;

  /** The present window of the quarantine's bookkeeping. */
  windowStartMs = Number.NEGATIVE_INFINITY;
  windowCount = 0;
  windowErrors = 0;
  windowSlow = 0;
  /** In quarantine: when the next probe is due, when the present one began (NEVER: none), good ones in a row. */
  probeDueMs = Number.POSITIVE_INFINITY;
  probeStartedMs = Number.POSITIVE_INFINITY;
  goodProbes = 0;

  constructor(options: PathOptions) {
    const { name, disk = null, numaNode = NO_NODE, nrActive = new ActiveCounter() } = options;
    if (name.length === 0 || name.length > MAX_NAME) {
      throw new NvbraidError('EINVAL', `the name of a path has 1 to ${MAX_NAME} characters`);
    }
    if (!Number.isInteger(numaNode) || numaNode < NO_NODE) {
      throw new NvbraidError('EINVAL', `path ${name}: NUMA node ${numaNode} is neither a node nor ${NO_NODE}`);
    }
    this.name = name;
    this.disk = disk;
    this.numaNode = numaNode;
    this.nrActive = nrActive;
    this.accessState = options.accessState ?? AccessState.Other;
  }

  /** Keeps the path from going idle until `put`. For drivers that carry it across an asynchronous operation. */
  get(): void {
    this.refs++;
  }

  put(): void {
    assert(this.refs > 0, 'a path was put more often than it was taken');
    if (--this.refs === 0 && this.#idle !== null) this.#wake();
  }

  /** Resolves as soon as nobody uses the path. After `deletePath` that is for ever: then what is behind it may go. */
  idle(): Promise<void> {
    if (this.refs === 0) return Promise.resolve();
    return new Promise((resolve) => {
      (this.#idle ??= []).push(resolve);
    });
  }

  #wake(): void {
    const waiting = this.#idle!;
    this.#idle = null;
    for (const resolve of waiting) resolve();
  }
}
