import type { LatencyHistogram } from 'nvbraid';
import { formatCount, formatMicroseconds } from '../size.ts';
import { describeFailover, type FailoverResult, tooLong } from './paths.ts';
import type { Verifier } from './verifier.ts';
import type { Direction, Workload } from './workload.ts';

export interface DirectionResult {
  readonly ios: number;
  readonly iops: number;
  readonly bytes: number;
  readonly mb_per_s: number;
  readonly errors: number;
  readonly latency_us: {
    readonly mean: number;
    readonly p50: number;
    readonly p99: number;
    readonly p99_9: number;
    readonly max: number;
  };
}

export interface BenchResult {
  readonly seconds: number;
  readonly read: DirectionResult;
  readonly write: DirectionResult;
  readonly total: Omit<DirectionResult, 'latency_us'>;
  /** The longest time in which no operation ended, of the whole run. */
  readonly longest_gap_ms: number;
  /** Bytes of each stretch of time since the workload began, where they were asked for. */
  readonly samples: { readonly start: string; readonly every_ms: number; readonly bytes: readonly number[] } | null;
  readonly verify: {
    readonly mode: string;
    readonly checked_blocks: number;
    readonly violation: { readonly kind: string; readonly message: string; readonly history: readonly string[] } | null;
  };
  /** Null where there is one path. */
  readonly failover: FailoverResult | null;
  readonly error: string | null;
}

export function benchResult(
  workload: Workload,
  verifier: Verifier,
  seconds: number,
  failover: FailoverResult | null = null,
  sampleMs = 0,
): BenchResult {
  const read = directionResult(workload.read, seconds);
  const write = directionResult(workload.write, seconds);
  const { violation } = verifier;
  const { timeline } = workload;
  const start = new Date(performance.timeOrigin + timeline.startMs).toISOString();
  return {
    seconds: round(seconds, 3),
    read,
    write,
    total: {
      ios: read.ios + write.ios,
      iops: round(read.iops + write.iops, 1),
      bytes: read.bytes + write.bytes,
      mb_per_s: round(read.mb_per_s + write.mb_per_s, 2),
      errors: read.errors + write.errors,
    },
    longest_gap_ms: round(timeline.longestGapMs, 1),
    samples: sampleMs === 0 ? null : { start, every_ms: sampleMs, bytes: timeline.bytes },
    verify: {
      mode: verifier.mode,
      checked_blocks: verifier.checkedBlocks,
      violation:
        violation === null ? null : { kind: violation.kind, message: violation.message, history: violation.history },
    },
    failover,
    error: workload.error?.message ?? (failover === null ? null : tooLong(failover)),
  };
}

function directionResult(direction: Direction, seconds: number): DirectionResult {
  const { ios, bytes, errors, latency } = direction;
  const { meanUs, p50Us, p99Us, p999Us, maxUs } = latency.summary();
  return {
    ios,
    iops: round(ios / seconds, 1),
    bytes,
    mb_per_s: round(bytes / 1e6 / seconds, 2),
    errors,
    latency_us: {
      mean: round(meanUs, 1),
      p50: round(p50Us, 1),
      p99: round(p99Us, 1),
      p99_9: round(p999Us, 1),
      max: round(maxUs, 1),
    },
  };
}

/** Lines for people. */
export function describeResult(result: BenchResult): string[] {
  const lines: string[] = [];
  for (const name of ['read', 'write'] as const) {
    const { ios, iops, mb_per_s, errors, latency_us } = result[name];
    if (ios === 0 && errors === 0) continue;
    const times = (['p50', 'p99', 'p99_9', 'max'] as const).map(
      (key) => `${key.replace('_', '.')} ${formatMicroseconds(latency_us[key])}`,
    );
    lines.push(
      `${`${name}:`.padEnd(7)}${formatCount(iops)} IOPS, ${mb_per_s.toFixed(1)} MB/s, ${times.join(', ')}, ${errors} errors`,
    );
  }
  if (result.failover !== null) lines.push(...describeFailover(result.failover));
  const { mode, checked_blocks, violation } = result.verify;
  if (mode !== 'none') {
    const verdict = violation === null ? 'all of them as they must be' : `WRONG: ${violation.message}`;
    lines.push(`verify (${mode}): ${checked_blocks} blocks checked, ${verdict}`);
    for (const line of violation?.history ?? []) lines.push(`  ${line}`);
  }
  return lines;
}

/** What changes from one progress line to the next. */
export class Progress {
  readonly #workload: Workload;
  #lastMs = performance.now();
  #lastIos = 0;
  #lastBytes = 0;

  constructor(workload: Workload) {
    this.#workload = workload;
  }

  /** The counts of the workload begin anew. */
  restart(): void {
    this.#lastMs = performance.now();
    this.#lastIos = 0;
    this.#lastBytes = 0;
  }

  /** `45.1k IOPS  185 MB/s  p50 83 us  p99 240 us`, since the call before. */
  text(): string {
    const { read, write } = this.#workload;
    const now = performance.now();
    const seconds = (now - this.#lastMs) / 1000;
    const ios = read.ios + write.ios;
    const bytes = read.bytes + write.bytes;
    const iops = formatCount((ios - this.#lastIos) / seconds);
    const rate = ((bytes - this.#lastBytes) / 1e6 / seconds).toFixed(1);
    this.#lastMs = now;
    this.#lastIos = ios;
    this.#lastBytes = bytes;
    return `${iops} IOPS  ${rate} MB/s  ${percentiles([read.recent, write.recent])}`;
  }
}

/** Of several histograms together; empties them. */
function percentiles(histograms: readonly LatencyHistogram[]): string {
  const [first, ...others] = histograms as [LatencyHistogram, ...LatencyHistogram[]];
  for (const other of others) first.add(other);
  const text = `p50 ${formatMicroseconds(first.percentileUs(0.5))}  p99 ${formatMicroseconds(first.percentileUs(0.99))}`;
  for (const histogram of histograms) histogram.clear();
  return text;
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
