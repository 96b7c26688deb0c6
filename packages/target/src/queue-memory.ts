import type { Outbox, SlabPool } from '@nvbraid/base';
import { QUEUE_SLAB_BYTES } from './queue-limits.ts';
import type { Slot } from './slot.ts';

/** What all queues of one host in a thread hold together. */
export interface PayloadShare {
  heldBytes: number;
  readonly limitBytes: number;
}

/**
 * The payload memory that the commands of one queue hold. A queue that holds nothing gets its slab nearly in any
 * case, so that every queue gets on; beyond that it has a share, its host has one, and the pool of the thread has a limit.
 */
export class QueueMemory {
  readonly #pool: SlabPool;
  /** Set once, before anything is held; null before Connect. */
  share: PayloadShare | null = null;
  #heldBytes = 0;
  /** Data of in-capsule writes that devices are still working on. */
  #keptBytes = 0;

  constructor(pool: SlabPool) {
    this.#pool = pool;
  }

  /** Data of arrived writes waits for devices, and the payload limit of the thread is exceeded. */
  get overLimit(): boolean {
    if (this.#keptBytes === 0) return false;
    const { share } = this;
    if (share !== null && share.heldBytes > share.limitBytes) return true;
    return this.#pool.loanedBytes > this.#pool.limitBytes;
  }

  /**
   * Whether a queue that holds nothing gets memory beyond the limits: up to twice what they say, and in any case when
   * its host holds nothing at all. Thousands of queues of one host do not get more.
   */
  #mayExceed(length: number): boolean {
    const { share } = this;
    if (share === null || share.heldBytes === 0) return true;
    if (share.heldBytes + length > 2 * share.limitBytes) return false;
    return this.#pool.loanedBytes + length <= 2 * this.#pool.limitBytes;
  }

  /** A slab for `slot.dataLength` bytes; false when there is none now. */
  take(slot: Slot): boolean {
    if (this.#heldBytes === 0 && this.#mayExceed(slot.dataLength)) {
      this.takeAnyway(slot, slot.dataLength);
      return true;
    }
    if (this.#heldBytes + slot.dataLength > QUEUE_SLAB_BYTES) return false;
    const { share } = this;
    if (share !== null && share.heldBytes + slot.dataLength > share.limitBytes) return false;
    const slab = this.#pool.take(slot.dataLength);
    if (slab === null) return false;
    slot.slab = slab;
    this.#hold(slab.length);
    return true;
  }

  /** For bytes that have already arrived, or are there already. */
  takeAnyway(slot: Slot, length: number): void {
    slot.slab = this.#pool.takeOverLimit(length);
    this.#hold(slot.slab.length);
  }

  #hold(length: number): void {
    this.#heldBytes += length;
    if (this.share !== null) this.share.heldBytes += length;
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
    this.#hold(-slot.slab!.length);
    if (slot.kept) this.#keptBytes -= slot.slab!.length;
    slot.kept = false;
    slot.slab = null;
  }
}
