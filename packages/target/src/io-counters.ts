/**
 * Counters of the data plane of one thread, in memory that other threads may read: one writer, any number of readers,
 * each counter a double that only grows.
 */
export class IoCounters {
  readonly words: Float64Array;

  constructor(buffer: ArrayBufferLike = new SharedArrayBuffer(IoCounters.BYTES)) {
    this.words = new Float64Array(buffer);
  }

  static readonly NAMES = [
    'readCommands',
    'writeCommands',
    'otherCommands',
    'readBytes',
    'writtenBytes',
    'errors',
    'queues',
    'fatalErrors',
  ] as const;
  static readonly BYTES = IoCounters.NAMES.length * 8;

  read(): Record<(typeof IoCounters.NAMES)[number], number> {
    const values = {} as Record<(typeof IoCounters.NAMES)[number], number>;
    IoCounters.NAMES.forEach((name, i) => {
      values[name] = this.words[i]!;
    });
    return values;
  }
}

export const Counter = {
  readCommands: 0,
  writeCommands: 1,
  otherCommands: 2,
  readBytes: 3,
  writtenBytes: 4,
  errors: 5,
  queues: 6,
  fatalErrors: 7,
} as const;
