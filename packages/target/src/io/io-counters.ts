/**
 * Counters of the I/O commands of one subsystem in one thread, in memory that other threads may read: one writer, any
 * number of readers, each counter a double that only grows.
 */
export class IoCounters {
  readonly words: Float64Array;

  constructor(buffer: ArrayBufferLike = new SharedArrayBuffer(IoCounters.BYTES)) {
    this.words = new Float64Array(buffer);
  }

  /** Adds what others have counted; for the thread that writes. */
  add(other: IoCounters): void {
    for (let i = 0; i < this.words.length; i++) this.words[i]! += other.words[i]!;
  }

  static readonly NAMES = [
    'readCommands',
    'writeCommands',
    'otherCommands',
    'readBytes',
    'writtenBytes',
    'errors',
    'mediaErrors',
  ] as const;
  static readonly BYTES = IoCounters.NAMES.length * 8;

  /** The sums over several threads. */
  static sum(counters: Iterable<IoCounters>): Record<(typeof IoCounters.NAMES)[number], number> {
    const sums = new Float64Array(IoCounters.NAMES.length);
    for (const { words } of counters) for (let i = 0; i < sums.length; i++) sums[i]! += words[i]!;
    return Object.fromEntries(IoCounters.NAMES.map((name, i) => [name, sums[i]!])) as ReturnType<typeof IoCounters.sum>;
  }
}

export const Counter = {
  readCommands: 0,
  writeCommands: 1,
  otherCommands: 2,
  readBytes: 3,
  writtenBytes: 4,
  errors: 5,
  mediaErrors: 6,
} as const;
