import { NvbraidError, TOKEN_BUCKET_WORDS } from '@nvbraid/base';
import type { TargetLimits } from './target-limits.ts';

/** What one host may have and do, of all hosts; it holds from the next bytes that are received on. */
export interface HostOptions {
  /** Its share of a thread that others want as well, relative to theirs: 1 … 100, default 1. */
  weight?: number;
  /** Commands and bytes of payload (in both directions) per second, over all threads; 0, the default, is no limit. */
  iops?: number;
  bytesPerSecond?: number;
  /** What may be used at once after a rest; default: that of a tenth of a second. */
  iopsBurst?: number;
  bytesBurst?: number;
  /** In place of the limits of all hosts. */
  controllers?: number;
  queues?: number;
  commands?: number;
  payloadBytes?: number;
}

const MAX_RATE = 2 ** 30;

const RANGES: Readonly<Record<keyof HostOptions, readonly [least: number, most: number]>> = {
  weight: [1, 100],
  iops: [0, MAX_RATE],
  bytesPerSecond: [0, Number.MAX_SAFE_INTEGER],
  iopsBurst: [1, MAX_RATE],
  bytesBurst: [1, MAX_RATE],
  controllers: [1, 65535],
  queues: [1, 1 << 20],
  commands: [1, 1 << 20],
  payloadBytes: [1 << 20, Number.MAX_SAFE_INTEGER],
};

/** @throws NvbraidError EINVAL */
export function checkHostOptions(options: HostOptions): HostOptions {
  for (const [name, value] of Object.entries(options)) {
    const range = RANGES[name as keyof HostOptions];
    if (range === undefined) {
      throw new NvbraidError('EINVAL', `a host has no option ${name}: there are ${Object.keys(RANGES).join(', ')}`);
    }
    if (value === undefined) continue;
    const [least, most] = range;
    if (!(Number.isInteger(value) && value >= least && value <= most)) {
      throw new NvbraidError('EINVAL', `${name} of a host is a whole number from ${least} to ${most}: ${value}`);
    }
  }
  return options;
}

/** What a host has done and has, in one thread. */
export const HostCounter = {
  commands: 0,
  receivedBytes: 1,
  sentBytes: 2,
  commandsUnderWay: 3,
  payloadBytes: 4,
  /** How often its connections were not read, since it had as many commands or as much payload as it may. */
  held: 5,
  /** The same, for its rate. */
  throttled: 6,
} as const;

const NAMES = Object.keys(HostCounter) as (keyof typeof HostCounter)[];
const PARAMETERS = ['weight', 'commands', 'payloadBytes', 'iops', 'iopsBurst', 'bytesPerSecond', 'bytesBurst'] as const;
/** Version, padding, then the two buckets. */
const WORDS = 2 + 2 * TOKEN_BUCKET_WORDS;

/**
 * What the threads of a target share about one host: what it may do, the tokens that are left to it, and a row of
 * counters for each thread, which that thread alone writes.
 */
export class HostBlock {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #parameters: Float64Array;

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer, 0, WORDS);
    this.#parameters = new Float64Array(buffer, WORDS * 4, PARAMETERS.length);
  }

  static create(threads: number): HostBlock {
    const bytes = WORDS * 4 + (PARAMETERS.length + NAMES.length * threads) * 8;
    return new HostBlock(new SharedArrayBuffer(bytes));
  }

  /** Changes with every `set`. */
  get version(): number {
    return Atomics.load(this.#words, 0);
  }

  get iopsWords(): Int32Array {
    return this.#words.subarray(2, 2 + TOKEN_BUCKET_WORDS);
  }

  get bytesWords(): Int32Array {
    return this.#words.subarray(2 + TOKEN_BUCKET_WORDS);
  }

  set(options: HostOptions, limits: TargetLimits): void {
    const iops = options.iops ?? 0;
    const bytesPerSecond = options.bytesPerSecond ?? 0;
    const values: Record<(typeof PARAMETERS)[number], number> = {
      weight: options.weight ?? 1,
      commands: options.commands ?? limits.commandsPerHost,
      payloadBytes: options.payloadBytes ?? limits.payloadBytesPerHost,
      iops,
      iopsBurst: options.iopsBurst ?? Math.max(1, Math.floor(iops / 10)),
      bytesPerSecond,
      bytesBurst: Math.min(MAX_RATE, options.bytesBurst ?? Math.max(1 << 20, Math.floor(bytesPerSecond / 10))),
    };
    this.#parameters.set(PARAMETERS.map((name) => values[name]));
    Atomics.add(this.#words, 0, 1);
  }

  parameter(name: (typeof PARAMETERS)[number]): number {
    return this.#parameters[PARAMETERS.indexOf(name)]!;
  }

  /** The row of a thread, by `HostCounter`. */
  counters(thread: number): Float64Array {
    const at = WORDS * 4 + (PARAMETERS.length + NAMES.length * thread) * 8;
    return new Float64Array(this.buffer, at, NAMES.length);
  }

  /** The sums over all threads. */
  sums(threads: number): Record<keyof typeof HostCounter, number> {
    const sums = new Float64Array(NAMES.length);
    for (let thread = 0; thread < threads; thread++) {
      const row = this.counters(thread);
      for (let i = 0; i < sums.length; i++) sums[i]! += row[i]!;
    }
    return Object.fromEntries(NAMES.map((name, i) => [name, sums[i]!])) as Record<keyof typeof HostCounter, number>;
  }
}
