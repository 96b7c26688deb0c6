import { assert } from './assert.ts';
import { Memory } from './memory.ts';

/** Payload memory on loan from a `SlabPool`. */
export class Slab extends Memory {
  readonly sizeClass: number;
  /** True while somebody holds it: giving a slab back twice is caught. */
  taken = false;

  constructor(length: number, sizeClass: number) {
    super(new ArrayBuffer(length));
    this.sizeClass = sizeClass;
  }
}

const SMALLEST_SHIFT = 12;

/**
 * Payload buffers of one thread, in powers of two from 4 KiB. `limitBytes` bounds what may be on loan together, which
 * is the bound on the payload memory of all queues of the thread: `take` answers null beyond it and the command waits.
 */
export class SlabPool {
  readonly limitBytes: number;
  #loanedBytes = 0;
  #pooledBytes = 0;
  readonly #free: Slab[][] = [];

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get loanedBytes(): number {
    return this.#loanedBytes;
  }

  /** Memory that the pool keeps for the next loan. */
  get pooledBytes(): number {
    return this.#pooledBytes;
  }

  /** A slab of at least `length` bytes, contents undefined; null when the limit is reached. */
  take(length: number): Slab | null {
    return this.#take(length, false);
  }

  /** As `take`, but beyond the limit if need be: for bytes that have already arrived and must go somewhere. */
  takeOverLimit(length: number): Slab {
    return this.#take(length, true)!;
  }

  give(slab: Slab): void {
    assert(slab.taken, 'slab given back twice');
    slab.taken = false;
    this.#loanedBytes -= slab.length;
    if (this.#loanedBytes + this.#pooledBytes + slab.length > this.limitBytes) return;
    this.#pooledBytes += slab.length;
    this.#free[slab.sizeClass]!.push(slab);
  }

  #take(length: number, overLimit: boolean): Slab | null {
    const sizeClass = length <= 1 << SMALLEST_SHIFT ? SMALLEST_SHIFT : 32 - Math.clz32(length - 1);
    const size = 2 ** sizeClass;
    if (!overLimit && this.#loanedBytes + size > this.limitBytes) return null;
    const list = (this.#free[sizeClass] ??= []);
    let slab = list.pop();
    if (slab === undefined) {
      if (this.#loanedBytes + this.#pooledBytes + size > this.limitBytes) this.#dropPooled();
      slab = new Slab(size, sizeClass);
    } else {
      this.#pooledBytes -= size;
    }
    slab.taken = true;
    this.#loanedBytes += size;
    return slab;
  }

  #dropPooled(): void {
    for (const list of this.#free) if (list !== undefined) list.length = 0;
    this.#pooledBytes = 0;
  }
}
