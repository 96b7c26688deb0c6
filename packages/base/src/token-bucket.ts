/** Words of a bucket's memory. */
export const TOKEN_BUCKET_WORDS = 2;

const TOKENS = 0;
/** Low 32 bits of the millisecond up to which tokens have been added. */
const FILLED = 1;

/** Debt beyond which nothing more is taken, whatever is due: words have 32 bits. */
const MOST_DEBT = -(2 ** 30);
const MOST_TOKENS = 2 ** 30;

/**
 * A token bucket: `rate` tokens come in per millisecond until `burst` are there, and who takes waits until there is
 * what it costs. Something larger than the bucket waits until the bucket is full and leaves a debt, for which the next one
 * waits. So the long-term rate is exact, whatever the sizes.
 *
 * The state lies in two words that several threads may share: threads take from one bucket without a lock. Time is
 * handed in; threads that share a bucket must use the same clock.
 */
export class TokenBucket {
  readonly #words: Int32Array;
  #rate = 0;
  #burst = 1;

  /** @param words TOKEN_BUCKET_WORDS zeroes for a new bucket, in shared memory when threads share it */
  constructor(words: Int32Array = new Int32Array(TOKEN_BUCKET_WORDS)) {
    this.#words = words;
  }

  /**
   * What comes in per millisecond and what the bucket holds, in whole tokens from 1 to 2^30. Call it in every thread.
   * A rate of 0 is no limit.
   */
  limit(ratePerMs: number, burst: number): void {
    this.#rate = Math.min(MOST_TOKENS, Math.max(0, Math.round(ratePerMs)));
    this.#burst = Math.min(MOST_TOKENS, Math.max(1, Math.round(burst)));
  }

  get limited(): boolean {
    return this.#rate > 0;
  }

  /** Makes the bucket full, as for one that starts. */
  fill(nowMs: number): void {
    Atomics.store(this.#words, FILLED, Math.floor(nowMs) | 0);
    Atomics.store(this.#words, TOKENS, this.#burst);
  }

  /** Milliseconds until `cost` tokens may be taken; 0: now. */
  waitMs(cost: number, nowMs: number): number {
    if (this.#rate === 0) return 0;
    const missing = Math.min(Math.round(cost), this.#burst) - this.#refill(nowMs);
    return missing <= 0 ? 0 : Math.ceil(missing / this.#rate);
  }

  /** Takes `cost` tokens, whether they are there or not: ask `waitMs` first. */
  spend(cost: number): void {
    if (this.#rate === 0) return;
    const left = Math.max(0, Atomics.load(this.#words, TOKENS) - MOST_DEBT);
    Atomics.sub(this.#words, TOKENS, Math.min(Math.round(cost), left));
  }

  /** Takes `cost` tokens when they are there. @returns 0, or the milliseconds to wait, nothing taken */
  take(cost: number, nowMs: number): number {
    const wait = this.waitMs(cost, nowMs);
    if (wait === 0) this.spend(cost);
    return wait;
  }

  /** One thread adds what has come in since the last time. @returns the tokens that are there */
  #refill(nowMs: number): number {
    const words = this.#words;
    const now = Math.floor(nowMs) | 0;
    const filled = Atomics.load(words, FILLED);
    const passed = (now - filled) | 0;
    // A clock of another thread may be read a moment earlier than ours: never count time twice.
    if (passed > 0 && Atomics.compareExchange(words, FILLED, filled, now) === filled) {
      const tokens = Atomics.load(words, TOKENS);
      const add = Math.min(passed * this.#rate, this.#burst - tokens);
      if (add > 0) Atomics.add(words, TOKENS, add);
      else if (tokens > this.#burst) Atomics.store(words, TOKENS, this.#burst);
    } else if (passed < -MOST_BACKWARDS_MS) {
      // Not touched for weeks: the difference does not fit.
      Atomics.store(words, FILLED, now);
      Atomics.store(words, TOKENS, this.#burst);
    }
    return Atomics.load(words, TOKENS);
  }
}

/** A minute: what two readings of one clock never differ by. */
const MOST_BACKWARDS_MS = 60_000;
