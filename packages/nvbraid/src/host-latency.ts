/** Latencies are counted in units of an eighth of a microsecond. */
const UNITS_PER_US = 8;
/** Values below this many units have a bucket each; above, every power of two has half as many. */
const FINE = 64;
const HALF = FINE / 2;
const FINE_SHIFT = 6;
const BUCKETS = FINE + (31 - FINE_SHIFT) * HALF;

/** How many values were less than `belowUs` microseconds, a power of two, and not less than the half of it. */
export interface LatencyBucket {
  readonly belowUs: number;
  readonly count: number;
}

export interface LatencySummary {
  readonly count: number;
  readonly meanUs: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  readonly maxUs: number;
}

/** A histogram with buckets at most 3 % wide, of fixed size: recording allocates nothing. */
export class LatencyHistogram {
  readonly #counts = new Uint32Array(BUCKETS);
  #count = 0;
  #sumMs = 0;
  #maxMs = 0;

  get count(): number {
    return this.#count;
  }

  record(ms: number): void {
    const units = Math.min(0x7fffffff, ms * (1000 * UNITS_PER_US)) | 0;
    this.#counts[units < FINE ? Math.max(0, units) : bucket(units)]!++;
    this.#count++;
    this.#sumMs += ms;
    if (ms > this.#maxMs) this.#maxMs = ms;
  }

  /** The latency in microseconds that `fraction` of all values do not exceed; 0 without values. */
  percentileUs(fraction: number): number {
    const rank = Math.max(1, Math.ceil(this.#count * fraction));
    let seen = 0;
    for (let i = 0; i < BUCKETS; i++) {
      seen += this.#counts[i]!;
      if (seen >= rank) return Math.min(upperUnits(i) / UNITS_PER_US, this.#maxMs * 1000);
    }
    return 0;
  }

  summary(): LatencySummary {
    return {
      count: this.#count,
      meanUs: this.#count === 0 ? 0 : (this.#sumMs / this.#count) * 1000,
      p50Us: this.percentileUs(0.5),
      p99Us: this.percentileUs(0.99),
      p999Us: this.percentileUs(0.999),
      maxUs: this.#maxMs * 1000,
    };
  }

  /** Buckets that have something in them, by powers of two: few enough to be shown. */
  buckets(): LatencyBucket[] {
    const counts = new Map<number, number>();
    for (let i = 0; i < BUCKETS; i++) {
      if (this.#counts[i] === 0) continue;
      const belowUs = Math.max(1, 2 ** Math.ceil(Math.log2(upperUnits(i) / UNITS_PER_US)));
      counts.set(belowUs, (counts.get(belowUs) ?? 0) + this.#counts[i]!);
    }
    return [...counts].map(([belowUs, count]) => ({ belowUs, count }));
  }

  /** Adds what another histogram has counted. */
  add(other: LatencyHistogram): void {
    for (let i = 0; i < BUCKETS; i++) this.#counts[i]! += other.#counts[i]!;
    this.#count += other.#count;
    this.#sumMs += other.#sumMs;
    if (other.#maxMs > this.#maxMs) this.#maxMs = other.#maxMs;
  }

  clear(): void {
    this.#counts.fill(0);
    this.#count = 0;
    this.#sumMs = 0;
    this.#maxMs = 0;
  }
}

function bucket(units: number): number {
  const shift = 31 - Math.clz32(units) - (FINE_SHIFT - 1);
  return FINE + (shift - 1) * HALF + ((units >>> shift) - HALF);
}

/** The first value that is too large for the bucket. */
function upperUnits(index: number): number {
  if (index < FINE) return index + 1;
  const shift = Math.floor((index - FINE) / HALF) + 1;
  return (((index - FINE) % HALF) + HALF + 1) * 2 ** shift;
}
