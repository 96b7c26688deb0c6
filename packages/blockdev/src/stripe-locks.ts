import { MAX_STRIPES, STRIPE_BYTES } from './limits.ts';

/** What `begin` answers when a writer is in the range. Not a 32-bit integer, so no sum equals it. */
export const BUSY = 2 ** 40;

/**
 * Sequence locks over the bytes of a device, in words of shared memory: each word guards the stripes whose number is
 * equal modulo the size of the table. Even: nobody writes. Odd: one writer. Writers take every word of their range or
 * none (`tryLock`), so nobody waits while holding one and there is no deadlock. Readers take nothing: they read between
 * `begin` and `unchanged`, and repeat when a writer came in between.
 *
 * A locked range is at most `words - 1` stripes long, or the table has a word for every stripe of the device: a range
 * that met a word twice would lock itself out. The limits see to that (MAX_TRANSFER_BYTES, ZERO_STEP_BYTES).
 *
 * A block never spans two stripes, so a range that passed is made of blocks that are each all old or all new.
 */
export class StripeLocks {
  readonly #words: Int32Array;
  readonly #mask: number;
  readonly #perByte: number;
  /** Words of this thread only, for `#fence`. */
  readonly #own = new Int32Array(2);
  /** Bytes under one word. */
  readonly stripeBytes: number;

  /** @param words a table of `StripeLocks.words(…)` words, all zero at first, the same one in all threads */
  constructor(words: Int32Array, blockSize: number) {
    this.#words = words;
    this.#mask = words.length - 1;
    this.stripeBytes = Math.max(blockSize, STRIPE_BYTES);
    this.#perByte = 1 / this.stripeBytes;
  }

  /** Size of the table for a device: a word per stripe, up to a bound. A power of two. */
  static words(deviceBytes: number, blockSize: number): number {
    const stripes = deviceBytes / Math.max(blockSize, STRIPE_BYTES);
    let words = 1;
    while (words < stripes && words < MAX_STRIPES) words *= 2;
    return words;
  }

  /** The sum of the sequence numbers of a range before it is read; BUSY while a writer is inside. */
  begin(offset: number, length: number): number {
    const words = this.#words;
    const mask = this.#mask;
    const first = this.#first(offset);
    const count = this.#count(offset, length);
    let sum = 0;
    for (let n = 0; n < count; n++) {
      const word = Atomics.load(words, (first + n) & mask);
      if ((word & 1) !== 0) return BUSY;
      sum = (sum + word) | 0;
    }
    return sum;
  }

  /** True when no writer was in the range since `begin` answered `sum`: what was read since then is whole. */
  unchanged(offset: number, length: number, sum: number): boolean {
    // The reads of the data must not be delayed past the second look at the numbers, which a load alone allows.
    this.#fence();
    return this.begin(offset, length) === sum;
  }

  /** Takes the range for writing, or nothing at all. */
  tryLock(offset: number, length: number): boolean {
    const words = this.#words;
    const mask = this.#mask;
    const first = this.#first(offset);
    const count = this.#count(offset, length);
    for (let n = 0; n < count; n++) {
      const at = (first + n) & mask;
      const word = Atomics.load(words, at);
      if ((word & 1) === 0 && Atomics.compareExchange(words, at, word, (word + 1) | 0) === word) continue;
      // Nothing was written: the old number comes back and readers need not repeat.
      while (--n >= 0) Atomics.sub(words, (first + n) & mask, 1);
      return false;
    }
    // No byte may be written before the odd numbers can be seen.
    this.#fence();
    return true;
  }

  unlock(offset: number, length: number): void {
    const first = this.#first(offset);
    const count = this.#count(offset, length);
    for (let n = 0; n < count; n++) Atomics.add(this.#words, (first + n) & this.#mask, 1);
  }

  /**
   * Sleeps up to 1 ms while the stripe of `offset` is locked: its holder is another thread, which lost its processor.
   * Only for holders that never wait for this thread.
   */
  sleep(offset: number): void {
    const at = this.#first(offset);
    const word = Atomics.load(this.#words, at);
    if ((word & 1) !== 0) Atomics.wait(this.#words, at, word, 1);
  }

  #first(offset: number): number {
    return (offset * this.#perByte) & this.#mask;
  }

  #count(offset: number, length: number): number {
    return Math.floor((offset + length - 1) * this.#perByte) - Math.floor(offset * this.#perByte) + 1;
  }

  /** A full barrier: a sequentially consistent store, then a load of another word, which the machine keeps in order. */
  #fence(): void {
    Atomics.store(this.#own, 0, 0);
    Atomics.load(this.#own, 1);
  }
}
