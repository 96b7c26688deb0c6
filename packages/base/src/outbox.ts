import { assert } from './assert.ts';
import { Memory } from './memory.ts';
import type { Slab, SlabPool } from './slab-pool.ts';

/**
 * What one `writev` will send: a list of segments, filled by a core and emptied by a transport. One outbox serves all
 * connections of a thread, since a transport always takes everything: what the kernel refuses it copies out before the
 * next command runs, so that no later command can change bytes that were promised to the wire.
 *
 * Headers and small payload are written into `arena` (`reserve`), large payload is referenced where it lies (`append`).
 */
export class Outbox {
  readonly arena: Memory;
  /** Bytes of the arena in use. */
  used = 0;
  /** Number of segments. */
  count = 0;
  /** Sum of the segments' lengths. */
  bytes = 0;
  readonly maxSegments: number;
  readonly memories: Memory[];
  readonly offsets: Float64Array;
  readonly lengths: Float64Array;
  readonly #slabs: Slab[] = [];
  readonly #pools: SlabPool[] = [];

  constructor(arenaBytes = 256 * 1024, maxSegments = 1024) {
    this.arena = Memory.alloc(arenaBytes);
    this.maxSegments = maxSegments;
    this.memories = new Array(maxSegments).fill(this.arena);
    this.offsets = new Float64Array(maxSegments);
    this.lengths = new Float64Array(maxSegments);
  }

  /** True when `segments` more segments and `arenaBytes` more bytes of arena fit. */
  room(segments: number, arenaBytes: number): boolean {
    return this.count + segments <= this.maxSegments && this.used + arenaBytes <= this.arena.length;
  }

  /** Takes `length` bytes of the arena as the next bytes on the wire and answers their offset in it. */
  reserve(length: number): number {
    const offset = this.used;
    assert(offset + length <= this.arena.length, 'outbox arena is full');
    this.used = offset + length;
    this.bytes += length;
    const last = this.count - 1;
    if (last >= 0 && this.memories[last] === this.arena && this.offsets[last]! + this.lengths[last]! === offset) {
      this.lengths[last]! += length;
    } else {
      this.#segment(this.arena, offset, length);
    }
    return offset;
  }

  /** References bytes where they lie. They must not change before the transport has taken the outbox. */
  append(memory: Memory, offset: number, length: number): void {
    this.bytes += length;
    this.#segment(memory, offset, length);
  }

  /** Gives the slab back to its pool once the transport has taken everything. */
  releaseAfterSend(slab: Slab, pool: SlabPool): void {
    this.#slabs.push(slab);
    this.#pools.push(pool);
  }

  /** Called by the transport when every byte is sent or copied. */
  reset(): void {
    this.used = 0;
    this.count = 0;
    this.bytes = 0;
    while (this.#slabs.length > 0) this.#pools.pop()!.give(this.#slabs.pop()!);
  }

  /** Everything as one array: for tests and for transports that cannot gather. */
  toBytes(): Uint8Array {
    const all = new Uint8Array(this.bytes);
    let at = 0;
    for (let i = 0; i < this.count; i++) {
      const from = this.offsets[i]!;
      const length = this.lengths[i]!;
      all.set(this.memories[i]!.bytes.subarray(from, from + length), at);
      at += length;
    }
    return all;
  }

  #segment(memory: Memory, offset: number, length: number): void {
    const i = this.count;
    assert(i < this.maxSegments, 'outbox has no segment left');
    this.memories[i] = memory;
    this.offsets[i] = offset;
    this.lengths[i] = length;
    this.count = i + 1;
  }
}
