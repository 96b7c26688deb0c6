/** Seeded randomness (sfc32): equal seeds give equal sequences on every machine. Not for secrets. */
export class Rng {
  readonly seed: number;
  #a: number;
  #b: number;
  #c: number;
  #d = 1;

  /** @param seed any 32-bit integer; print it wherever a test uses randomness. */
  constructor(seed: number) {
    this.seed = seed >>> 0;
    this.#a = 0x9e3779b9 ^ this.seed;
    this.#b = 0x243f6a88;
    this.#c = this.seed;
    for (let i = 0; i < 12; i++) this.u32();
  }

  /** 0 … 2^32-1 */
  u32(): number {
    const t = (((this.#a + this.#b) | 0) + this.#d) | 0;
    this.#d = (this.#d + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + t;
    this.#c |= 0;
    return t >>> 0;
  }

  /** 0 … limit-1, limit up to 2^53 */
  below(limit: number): number {
    if (limit <= 0x100000000) return Math.floor((this.u32() / 0x100000000) * limit);
    return Math.floor(((this.u32() * 0x200000 + (this.u32() >>> 11)) / 2 ** 53) * limit);
  }

  /** from … to, both included */
  between(from: number, to: number): number {
    return from + this.below(to - from + 1);
  }

  chance(probability: number): boolean {
    return this.u32() < probability * 0x100000000;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  fill(bytes: Uint8Array, from = 0, to = bytes.length): void {
    for (let i = from; i < to; i++) bytes[i] = this.u32() & 0xff;
  }
}
