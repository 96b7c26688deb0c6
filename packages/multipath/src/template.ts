import { NvbraidError } from '@nvbraid/base';
import type { AttributeGroup } from './attributes.ts';
import type { Bio, Outcome } from './bio.ts';
import type { Head } from './head.ts';
import type { Path } from './path.ts';
import type { IoctlCaller } from './path-disk.ts';

/**
 * What a driver does for its heads. The library calls it synchronously. `isDisabled`, `isOptimized` and `availablePath`
 * only look: they change no path and call no method of the head. All others may call whatever they like.
 */
export interface HeadTemplate<P extends Path = Path, B extends Bio = Bio> {
  /** The path must not be chosen now: it is not connected, not ready, or its state is not known. */
  isDisabled(path: P): boolean;
  /** Live and optimized. */
  isOptimized(path: P): boolean;
  /** It is worth to queue for this path: it can take requests now or may come back. */
  availablePath(path: P): boolean;
  /**
   * Sends the bio down the path. The driver reports its end by `head.endBio`, possibly before this returns. A driver
   * that clones gets the clone.
   */
  submitBio(path: P, bio: B): void;
  /** The delay after the last path's removal is over: forget the head. Its disk has been removed already. */
  removeHead(head: Head<P, B>): void;

  /** A bio is about to go to another path because of an error of this one. The place to disable the path. */
  failover?(path: P, bio: B, outcome: Outcome): void;

  /**
   * Pair. Answers a clone that is sent instead of the bio, so that a failover can send the original in full; null when
   * there is none: the request fails. `freeClone` takes it back. The library copies flags, offset and length.
   */
  cloneBio?(bio: B): B | null;
  freeClone?(clone: B): void;

  /**
   * Pair. Answers a bio for `bytes` bytes of `bio` from `at` on, for requests longer than the head's limit; null when
   * there is none: the rest of the request fails. `freeSplit` takes it back. The library sets offset, length and flags.
   */
  splitBio?(bio: B, at: number, bytes: number): B | null;
  freeSplit?(part: B): void;

  /** Pair. Shows the head disk to its users and hides it. May answer a promise; an error leaves the head unpublished. */
  addDisk?(head: Head<P, B>): void | Promise<void>;
  delDisk?(head: Head<P, B>): void;

  /** Looks for partitions, once, after the disk was shown and never from within `setLive`. */
  scanPartitions?(head: Head<P, B>): void;

  /** Triple. Makes and removes the passthrough device, and runs its control requests. */
  addCdev?(head: Head<P, B>): void;
  delCdev?(head: Head<P, B>): void;
  cdevIoctl?(path: P, command: number, argument: unknown, caller: IoctlCaller): unknown;

  /** Pair. Takes and gives back what must outlive a control request besides the path, which the library holds itself. */
  ioctlBegin?(path: P, command: number): unknown;
  ioctlFinish?(opaque: unknown): void;

  /** Pair. A command of the device's own language, and a look for its end. */
  chrUringCmd?(path: P, command: unknown, flags: number): unknown;
  chrUringCmdIopoll?(path: P, command: unknown): number;

  /** Pair. Keeps the driver in place while a removal is delayed; false when it is going away. */
  holdDriver?(): boolean;
  releaseDriver?(): void;

  /** Sends a harmless command down a path in quarantine; its end is reported by `head.endProbe`. Needed for quarantine. */
  probePath?(path: P): void;

  /** More attributes of the head and of its paths. */
  deviceAttributes?(head: Head<P, B>): AttributeGroup;
  pathAttributes?(path: P): AttributeGroup;

  /** Registrations hold for one way between host and device only (I_T nexus), not for the host: commands warn. */
  readonly reservationsPerNexus?: boolean;
}

const MANDATORY = ['isDisabled', 'isOptimized', 'availablePath', 'submitBio', 'removeHead'] as const;
const TOGETHER = [
  ['cloneBio', 'freeClone'],
  ['splitBio', 'freeSplit'],
  ['addDisk', 'delDisk'],
  ['addCdev', 'delCdev', 'cdevIoctl'],
  ['ioctlBegin', 'ioctlFinish'],
  ['chrUringCmd', 'chrUringCmdIopoll'],
  ['holdDriver', 'releaseDriver'],
] as const;
const ALONE = ['failover', 'scanPartitions', 'probePath', 'deviceAttributes', 'pathAttributes'] as const;

/** Refuses (EINVAL) a template that lacks what is mandatory or has a part of what comes together. */
export function validateTemplate(template: HeadTemplate): void {
  const has = (name: keyof HeadTemplate): boolean => template[name] !== undefined;
  const invalid = (message: string): NvbraidError => new NvbraidError('EINVAL', `multipath template: ${message}`);
  for (const name of [...MANDATORY, ...TOGETHER.flat(), ...ALONE]) {
    if (has(name) && typeof template[name] !== 'function') throw invalid(`${name} is not a function`);
  }
  for (const name of MANDATORY) {
    if (!has(name)) throw invalid(`${name} is missing`);
  }
  for (const names of TOGETHER) {
    const missing = names.filter((name) => !has(name));
    if (missing.length === 0 || missing.length === names.length) continue;
    throw invalid(`${names.join(', ')} come together, but ${missing.join(', ')} is missing`);
  }
}
