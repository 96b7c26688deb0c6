/** Samples that are kept: a day of one per second. */
const SAMPLES_MAX = 86400;

/** When operations ended: the longest time without any, and the bytes of each stretch of time. */
export class Timeline {
  readonly startMs: number;
  /** The longest time in which no operation ended. */
  longestGapMs = 0;
  readonly #sampleMs: number;
  readonly #bytes: number[] = [];
  #lastMs: number;

  /** @param sampleMs length of a stretch; 0 keeps none */
  constructor(startMs: number, sampleMs = 0) {
    this.startMs = startMs;
    this.#lastMs = startMs;
    this.#sampleMs = sampleMs;
  }

  record(bytes: number, nowMs: number): void {
    this.longestGapMs = Math.max(this.longestGapMs, nowMs - this.#lastMs);
    this.#lastMs = nowMs;
    if (this.#sampleMs === 0) return;
    const index = Math.floor((nowMs - this.startMs) / this.#sampleMs);
    if (index >= SAMPLES_MAX) return;
    while (this.#bytes.length <= index) this.#bytes.push(0);
    this.#bytes[index]! += bytes;
  }

  /** Bytes of each stretch since the start; the last one may be cut short by the end. */
  get bytes(): readonly number[] {
    return this.#bytes;
  }
}
