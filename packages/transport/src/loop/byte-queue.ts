import { assert, copyBytes, Memory } from '@nvbraid/base';

const FIRST_BYTES = 4096;

/** First-in first-out bytes in one circular piece of memory that grows by doubling. */
export class ByteQueue {
  #memory = Memory.alloc(FIRST_BYTES);
  #head = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(memory: Memory, offset: number, length: number): void {
    if (this.#length + length > this.#memory.length) this.#grow(this.#length + length);
    const size = this.#memory.length;
    const tail = (this.#head + this.#length) % size;
    const first = Math.min(length, size - tail);
    copyBytes(memory, offset, this.#memory, tail, first);
    copyBytes(memory, offset + first, this.#memory, 0, length - first);
    this.#length += length;
  }

  /** Moves the first `length` bytes to `offset` of `memory`. */
  shift(memory: Memory, offset: number, length: number): void {
    assert(length <= this.#length, 'byte queue is shorter');
    const size = this.#memory.length;
    const first = Math.min(length, size - this.#head);
    copyBytes(this.#memory, this.#head, memory, offset, first);
    copyBytes(this.#memory, 0, memory, offset + first, length - first);
    this.#head = (this.#head + length) % size;
    this.#length -= length;
  }

  /** Moves the first `length` bytes to the end of `queue`. */
  moveTo(queue: ByteQueue, length: number): void {
    const size = this.#memory.length;
    const first = Math.min(length, size - this.#head);
    queue.push(this.#memory, this.#head, first);
    if (length > first) queue.push(this.#memory, 0, length - first);
    this.#head = (this.#head + length) % size;
    this.#length -= length;
  }

  clear(): void {
    this.#memory = Memory.alloc(FIRST_BYTES);
    this.#head = 0;
    this.#length = 0;
  }

  #grow(atLeast: number): void {
    let size = this.#memory.length;
    while (size < atLeast) size *= 2;
    const larger = Memory.alloc(size);
    const length = this.#length;
    this.shift(larger, 0, length);
    this.#memory = larger;
    this.#head = 0;
    this.#length = length;
  }
}
