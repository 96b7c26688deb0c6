import type { Memory } from '@nvbraid/base';
import { type HostRequest, NO_MEMORY, type Transfer } from './host-request.ts';

/** A command on the wire. A queue has one per command that may be outstanding, and uses them again. */
export class Slot {
  readonly index: number;
  /** Generation and index: a late or repeated completion of the slot's last command does not name the next one. */
  cid: number;
  busy = false;
  /** Null when the submitter has been told already that its command is aborted. */
  request: HostRequest | null = null;
  transfer: Transfer = 0;
  memory: Memory = NO_MEMORY;
  offset = 0;
  length = 0;
  /** FromController: bytes that have arrived. ToController: bytes that R2Ts have asked for. */
  moved = 0;
  /** LAST_PDU has been seen: no C2HData may follow. */
  last = false;
  digestError = false;
  /** The submitter has transferred its memory away: the data has no place any more. */
  lost = false;
  /** All data went out in the capsule: an R2T would be wrong. */
  inCapsule = false;
  /** R2Ts not yet answered in full, oldest first, as a ring of [ttag, next offset, end offset]. */
  readonly r2ts: Float64Array;
  r2tHead = 0;
  r2tCount = 0;
  /** When the command went out, or when it was last given more time. */
  startMs = 0;
  timed = false;
  timeouts = 0;
  older: Slot | null = null;
  newer: Slot | null = null;

  constructor(index: number, maxR2t: number) {
    this.index = index;
    this.cid = index;
    this.r2ts = new Float64Array(maxR2t * 3);
  }

  /** There is room: the caller has seen to it that not more than `maxR2t` are outstanding. */
  pushR2t(ttag: number, from: number, end: number): void {
    const { r2ts } = this;
    const at = (this.r2tHead * 3 + this.r2tCount * 3) % r2ts.length;
    r2ts[at] = ttag;
    r2ts[at + 1] = from;
    r2ts[at + 2] = end;
    this.r2tCount++;
  }

  /** The oldest R2T has been answered in full. */
  shiftR2t(): void {
    this.r2tHead = (this.r2tHead + 1) * 3 === this.r2ts.length ? 0 : this.r2tHead + 1;
    this.r2tCount--;
  }
}

/**
 * The slots of a queue: free ones as a stack, timed ones as a list in the order in which they will time out, and the
 * step from a command identifier to its slot.
 */
export class SlotTable {
  readonly slots: Slot[];
  readonly #free: Slot[];
  readonly #indexMask: number;
  readonly #generationStep: number;
  #oldest: Slot | null = null;
  #newest: Slot | null = null;

  constructor(count: number, maxR2t: number) {
    this.slots = Array.from({ length: count }, (_, i) => new Slot(i, maxR2t));
    this.#free = this.slots.toReversed();
    this.#generationStep = 2 ** (32 - Math.clz32(count - 1));
    this.#indexMask = this.#generationStep - 1;
  }

  get freeCount(): number {
    return this.#free.length;
  }

  get busyCount(): number {
    return this.slots.length - this.#free.length;
  }

  /** The slot that has run out of time first, or will. */
  get oldest(): Slot | null {
    return this.#oldest;
  }

  /** The slot of a command under way; undefined when there is no such command. */
  find(cid: number): Slot | undefined {
    const slot = this.slots[cid & this.#indexMask];
    return slot?.busy && slot.cid === cid ? slot : undefined;
  }

  take(timed: boolean, nowMs: number): Slot {
    const slot = this.#free.pop()!;
    slot.busy = true;
    slot.timed = timed;
    slot.timeouts = 0;
    if (timed) this.#append(slot, nowMs);
    return slot;
  }

  /** Starts the command's time again. */
  restart(slot: Slot, nowMs: number): void {
    this.#unlink(slot);
    this.#append(slot, nowMs);
  }

  give(slot: Slot): void {
    if (slot.timed) this.#unlink(slot);
    slot.busy = false;
    slot.request = null;
    slot.memory = NO_MEMORY;
    slot.cid = (slot.cid + this.#generationStep) & 0xffff;
    // The highest identifier stays unused: some controllers mean "no command" by FFFFh.
    if (slot.cid === 0xffff) slot.cid = slot.index;
    this.#free.push(slot);
  }

  #append(slot: Slot, nowMs: number): void {
    slot.startMs = nowMs;
    slot.older = this.#newest;
    slot.newer = null;
    if (this.#newest === null) this.#oldest = slot;
    else this.#newest.newer = slot;
    this.#newest = slot;
  }

  #unlink(slot: Slot): void {
    if (slot.older === null) this.#oldest = slot.newer;
    else slot.older.newer = slot.newer;
    if (slot.newer === null) this.#newest = slot.older;
    else slot.newer.older = slot.older;
    slot.older = null;
    slot.newer = null;
  }
}
