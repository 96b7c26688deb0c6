/** One thing to measure: what the load generator is asked to do. */
export interface BenchCase {
  readonly name: string;
  readonly rw: 'randread' | 'randwrite';
  /** Bytes of one command. */
  readonly bs: number;
  /** Commands under way on the one queue. */
  readonly depth: number;
}

export const CASES: readonly BenchCase[] = [
  { name: 'read-4k-qd1', rw: 'randread', bs: 4096, depth: 1 },
  { name: 'read-4k-qd32', rw: 'randread', bs: 4096, depth: 32 },
  { name: 'read-4k-qd128', rw: 'randread', bs: 4096, depth: 128 },
  { name: 'write-4k-qd32', rw: 'randwrite', bs: 4096, depth: 32 },
  { name: 'read-128k-qd8', rw: 'randread', bs: 131072, depth: 8 },
];

/** Of the host; each is measured on the main thread, in a thread of its own, and there as a block device. */
export const HOST_CASES: readonly BenchCase[] = [
  { name: 'host-read-4k-qd1', rw: 'randread', bs: 4096, depth: 1 },
  { name: 'host-read-4k-qd32', rw: 'randread', bs: 4096, depth: 32 },
  { name: 'host-write-4k-qd32', rw: 'randwrite', bs: 4096, depth: 32 },
  { name: 'host-read-128k-qd8', rw: 'randread', bs: 131072, depth: 8 },
];

/** What multipath costs is measured with this one. */
export const MULTIPATH_CASE: BenchCase = { name: 'multipath', rw: 'randread', bs: 4096, depth: 32 };

export const SUBSYSTEM_NQN = 'nqn.2026-01.io.github.nvbraid:bench';
export const ADDRESS = '127.0.0.1';
export const NAMESPACE_MIB = 256;
export const BLOCK_SIZE = 4096;
