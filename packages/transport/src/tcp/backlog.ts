import { Memory, Ring } from '@nvbraid/base';
import { addressOf, libc } from '../libc.ts';
import { CHUNK_BYTES, CHUNKS_KEPT, IOV_MAX } from '../limits.ts';
import type { IoVector } from './io-vector.ts';

const freeChunks: Memory[] = [];

/** Bytes of one connection that the kernel has not taken, in chunks that are shared by the connections of a thread. */
export class Backlog {
  readonly #chunks = new Ring<Memory>(4);
  /** First byte of the first chunk that is still to be sent. */
  #head = 0;
  /** End of the bytes in the last chunk. */
  #tail = CHUNK_BYTES;
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  append(memory: Memory, offset: number, length: number): void {
    const copy = libc().memcpy;
    const from = addressOf(memory);
    let done = 0;
    while (done < length) {
      if (this.#tail === CHUNK_BYTES) {
        this.#chunks.push(freeChunks.pop() ?? Memory.alloc(CHUNK_BYTES));
        this.#tail = 0;
      }
      const chunk = this.#chunks.at(this.#chunks.length - 1)!;
      const n = Math.min(length - done, CHUNK_BYTES - this.#tail);
      copy(addressOf(chunk) + this.#tail, from + offset + done, n);
      this.#tail += n;
      done += n;
    }
    this.#bytes += length;
  }

  /** Points `vector` at as much as one call can send; answers the number of bytes. */
  gather(vector: IoVector): number {
    const count = Math.min(this.#chunks.length, IOV_MAX);
    let bytes = 0;
    for (let i = 0; i < count; i++) {
      const start = i === 0 ? this.#head : 0;
      const end = i === this.#chunks.length - 1 ? this.#tail : CHUNK_BYTES;
      vector.set(i, addressOf(this.#chunks.at(i)!) + start, end - start);
      bytes += end - start;
    }
    vector.count = count;
    return bytes;
  }

  /** Forgets the first `length` bytes. */
  consume(length: number): void {
    this.#bytes -= length;
    let at = this.#head + length;
    while (at >= CHUNK_BYTES) {
      at -= CHUNK_BYTES;
      release(this.#chunks.shift()!);
    }
    this.#head = at;
    if (this.#bytes === 0) this.clear();
  }

  clear(): void {
    for (let chunk = this.#chunks.shift(); chunk !== undefined; chunk = this.#chunks.shift()) release(chunk);
    this.#head = 0;
    this.#tail = CHUNK_BYTES;
    this.#bytes = 0;
  }
}

function release(chunk: Memory): void {
  if (freeChunks.length < CHUNKS_KEPT) freeChunks.push(chunk);
}
