import type { Outbox, SlabPool } from '@nvbraid/base';
import { QUEUE_SLAB_BYTES } from './queue-limits.ts';
import type { Slot } from './slot.ts';

/**
 * The payload memory that the commands of one queue hold. A queue that holds nothing gets its slab in any case, so that
 * every queue always gets on; beyond that it has a share, and the pool of the thread has a limit.
 */
export class QueueMemory {
  readonly #pool: SlabPool;
  #heldBytes = 0;
  /** Data of in-capsule writes that devices are still working on. */
  #keptBytes = 0;

  constructor(pool: SlabPool) {
    this.#pool = pool;
  }

  /** Data of arrived writes waits for devices, and the payload limit of the thread is exceeded. */
  get overLimit(): boolean {
    return this.#keptBytes > 0 && this.#pool.loanedBytes > this.#pool.limitBytes;
  }

  /** A slab for `slot.dataLength` bytes; false when there is none now. */
  take(slot: Slot): boolean {
    if (this.#heldBytes === 0) {
      this.takeAnyway(slot, slot.dataLength);
      return true;
    }
    if (this.#heldBytes + slot.dataLength > QUEUE_SLAB_BYTES) return false;
    const slab = this.#pool.take(slot.dataLength);
    if (slab === null) return false;
    slot.slab = slab;
    this.#heldBytes += slab.length;
    return true;
  }

  /** For bytes that have already arrived, or are there already. */
  takeAnyway(slot: Slot, length: number): void {
    slot.slab = this.#pool.takeOverLimit(length);
    this.#heldBytes += slot.slab.length;
  }

  /** As `takeAnyway`, for in-capsule data. */
  keep(slot: Slot): void {
    this.takeAnyway(slot, slot.dataLength);
    slot.kept = true;
    this.#keptBytes += slot.slab!.length;
  }

  give(slot: Slot): void {
    if (slot.slab === null) return;
    this.#pool.give(slot.slab);
    this.#forget(slot);
  }

  /** Gives the slab back once the outbox has been sent. */
  giveAfterSend(slot: Slot, out: Outbox): void {
    if (slot.slab === null) return;
    out.releaseAfterSend(slot.slab, this.#pool);
    this.#forget(slot);
  }

  #forget(slot: Slot): void {
    this.#heldBytes -= slot.slab!.length;
    if (slot.kept) this.#keptBytes -= slot.slab!.length;
    slot.kept = false;
    slot.slab = null;
  }
}
