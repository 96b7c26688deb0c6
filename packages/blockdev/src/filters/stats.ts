import { settingTable } from '@nvbraid/base';
import { type BlockDevice, type DeviceSpec, type Io, IoResult, type OpenOptions } from '../block-device.ts';
import { MAX_FILTER_THREADS } from '../limits.ts';
import { kindOf, OP_KINDS } from './op-kinds.ts';
import {
  ENABLED,
  Passages,
  type PreparedTunable,
  TunableFilter,
  type TunableKind,
  type TunableSpec,
  tunableSpec,
} from './tunable.ts';

const TABLE = settingTable({ enabled: ENABLED });

export type StatsOptions = Partial<{ -readonly [K in keyof typeof TABLE]: unknown }>;

/** Counts operations and how long they take. @throws NvbraidError EINVAL */
export function statsFilter(lower: DeviceSpec, options: StatsOptions = {}): TunableSpec {
  return tunableSpec(STATS, lower, options);
}

/** What there is of one kind of operation. Times in microseconds; percentiles are at most 19 % too high. */
export interface OpStats {
  readonly count: number;
  readonly bytes: number;
  readonly errors: number;
  readonly meanUs: number;
  readonly p50Us: number;
  readonly p90Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  readonly maxUs: number;
}

const COUNT = 0;
const BYTES = 1;
const ERRORS = 2;
const SUM_US = 3;
const BUCKETS = 4;
/** Four for each power of two of microseconds: the last begins at more than an hour. */
const BUCKET_COUNT = 132;
const KIND_WORDS = BUCKETS + BUCKET_COUNT;
const THREAD_WORDS = KIND_WORDS * OP_KINDS.length;

/** Each thread counts in a place of its own; behind them stands what had been counted when it was last reset. */
export const STATS: TunableKind = {
  kind: 'stats',
  summary: 'Counts operations and measures how long they take',
  keepsNothing: true,
  table: TABLE,
  areaBytes: () => (MAX_FILTER_THREADS + 1) * THREAD_WORDS * 8,
  actions: {
    reset: (prepared) => placeOf(prepared.area, MAX_FILTER_THREADS).set(sum(prepared.area)),
  },
  report(prepared) {
    const total = sum(prepared.area);
    const before = placeOf(prepared.area, MAX_FILTER_THREADS);
    for (let i = 0; i < total.length; i++) total[i]! -= before[i]!;
    const kinds = OP_KINDS.map(
      (kind, i) => [kind, opStats(total.subarray(i * KIND_WORDS, (i + 1) * KIND_WORDS))] as const,
    );
    return Object.fromEntries(kinds.filter(([, stats]) => stats.count > 0));
  },
  open: (prepared, lower, options) => new StatsFilter(prepared, lower, options),
};

function placeOf(area: SharedArrayBuffer, thread: number): Float64Array {
  return new Float64Array(area, thread * THREAD_WORDS * 8, THREAD_WORDS);
}

function sum(area: SharedArrayBuffer): Float64Array {
  const total = new Float64Array(THREAD_WORDS);
  for (let thread = 0; thread < MAX_FILTER_THREADS; thread++) {
    const words = placeOf(area, thread);
    for (let i = 0; i < THREAD_WORDS; i++) total[i]! += words[i]!;
  }
  return total;
}

function opStats(words: Float64Array): OpStats {
  const count = words[COUNT]!;
  const percentile = (share: number): number => {
    let left = count * share;
    for (let i = 0; i < BUCKET_COUNT; i++) {
      left -= words[BUCKETS + i]!;
      if (left <= 1e-9) return round(2 ** (i / 4));
    }
    return round(2 ** ((BUCKET_COUNT - 1) / 4));
  };
  return {
    count,
    bytes: words[BYTES]!,
    errors: words[ERRORS]!,
    meanUs: count === 0 ? 0 : round(words[SUM_US]! / count),
    p50Us: percentile(0.5),
    p90Us: percentile(0.9),
    p99Us: percentile(0.99),
    p999Us: percentile(0.999),
    maxUs: percentile(1),
  };
}

function round(us: number): number {
  return us < 100 ? Math.round(us * 10) / 10 : Math.round(us);
}

class StatsFilter extends TunableFilter<typeof TABLE> {
  readonly #words: Float64Array;
  readonly #passages = new Passages((passage, io) => {
    this.#count(io, passage.startedMs);
    return true;
  });

  constructor(prepared: PreparedTunable, lower: BlockDevice, options: OpenOptions) {
    super(prepared, lower, options);
    this.#words = placeOf(prepared.area, Math.min(this.thread, MAX_FILTER_THREADS - 1));
  }

  submit(io: Io): boolean {
    this.look();
    if (!this.settings.enabled) return this.lower.submit(io);
    return this.#passages.submit(io, this.lower, 0, this.timers.nowMs());
  }

  #count(io: Io, startedMs: number): void {
    const us = (this.timers.nowMs() - startedMs) * 1000;
    const words = this.#words;
    const at = kindOf(io.op) * KIND_WORDS;
    words[at + BYTES]! += io.length;
    if (io.result !== IoResult.Ok) words[at + ERRORS]!++;
    words[at + SUM_US]! += us;
    const bucket = us <= 1 ? 0 : Math.min(BUCKET_COUNT - 1, Math.ceil(Math.log2(us) * 4));
    words[at + BUCKETS + bucket]!++;
    words[at + COUNT]!++;
  }
}
