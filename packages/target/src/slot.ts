import { assert, copyBytes, type Memory, NEVER, type Slab } from '@nvbraid/base';
import { DNR, FabricsSqe, FabricsType, IoOpcode, RwSqe, SglId, SQE_SIZE, Status } from '@nvbraid/wire';
import type { QueuePair } from './queue-pair.ts';
import type { Request } from './request.ts';

/** Where a command stands. */
export const SlotState = {
  Free: 0,
  /** The capsule, or data that R2Ts asked for, is still arriving. */
  Receiving: 1,
  /** A write that needs payload memory before its R2T can go out. */
  WaitsForSlab: 2,
  Running: 3,
  /** Asked for a reply buffer and got none: will be executed again. */
  Starved: 4,
  /** Completed; its PDUs are not on the wire yet. */
  Done: 5,
  /** Half of a fused operation that waits for the other one. */
  Parked: 6,
} as const;
export type SlotState = (typeof SlotState)[keyof typeof SlotState];

export const Direction = { None: 0, HostToController: 1, ControllerToHost: 2, Both: 3 } as const;

/** Ends commands with a status that are done, but whose data would be taken from this memory when it is sent. */
export function retractReplies(slots: readonly Slot[], memory: Memory, status: number): void {
  for (const slot of slots) {
    if (slot.state !== SlotState.Done || !slot.hasReply || slot.dataMemory !== memory) continue;
    slot.hasReply = false;
    slot.status = status;
  }
}

/** The queue's own view of a request: one object per submission queue entry, used again and again. */
export class Slot implements Request {
  readonly queue: QueuePair;
  readonly index: number;
  /** Where the SQE lies: where it was received until `keepSqe`, then in this slot's own place. */
  sqeView: DataView;
  sqeBase: number;
  readonly #ownView: DataView;
  readonly #ownBase: number;
  state: SlotState = SlotState.Free;
  cid = 0;
  /** False when another command under way has the same identifier. */
  ownsCid = true;
  opcode = 0;
  fabrics = false;
  direction = 0;
  /** SGL identifier byte of the SQE. */
  sglId = 0;
  sglLength = 0;
  /** Offset into the in-capsule data where `sglId` says so. */
  sglOffset = 0;
  dataLength = 0;
  dataMemory: Memory;
  dataOffset = 0;
  slab: Slab | null = null;
  /** `slab` holds in-capsule data that a device works on. */
  kept = false;
  /** In the queue's ring of those that have something to send. */
  queued = false;
  /** Status found while the capsule was being taken apart; ends the command before `admit`. */
  earlyStatus = 0;
  /** Bytes that have arrived for R2Ts, bytes that R2Ts have asked for, and R2Ts that are not filled yet. */
  received = 0;
  requested = 0;
  r2tsOpen = 0;
  /** When the oldest of these was noticed to be open, in ms. */
  r2tSinceMs = NEVER;
  digestFailed = false;
  /** FUSE, the other half of the fused operation once that has arrived, and what this half has failed with. */
  fuse = 0;
  partner: Slot | null = null;
  fusedStatus = 0;
  hasReply = false;
  status = 0;
  dw0 = 0;
  dw1 = 0;

  constructor(queue: QueuePair, index: number, sqes: Memory, sqeBase: number) {
    this.queue = queue;
    this.index = index;
    this.sqeView = sqes.view;
    this.sqeBase = sqeBase;
    this.#ownView = sqes.view;
    this.#ownBase = sqeBase;
    this.dataMemory = sqes;
  }

  /** Starts over with the SQE at `sqe` of `view`, which stays there only until `keepSqe` or the end of `receive`. */
  begin(view: DataView, sqe: number): void {
    this.sqeView = view;
    this.sqeBase = sqe;
    const opc = RwSqe.opc.get(view, sqe);
    this.state = SlotState.Receiving;
    this.cid = RwSqe.cid.get(view, sqe);
    this.ownsCid = true;
    this.fabrics = opc === IoOpcode.Fabrics;
    this.opcode = this.fabrics ? FabricsSqe.fctype.get(view, sqe) : opc;
    this.direction = this.opcode & 3;
    this.fuse = RwSqe.fuse.get(view, sqe);
    this.partner = null;
    this.fusedStatus = 0;
    this.sglId = RwSqe.sglId.get(view, sqe);
    this.sglLength = 0;
    this.sglOffset = 0;
    this.dataLength = 0;
    this.earlyStatus = 0;
    this.received = 0;
    this.requested = 0;
    this.r2tsOpen = 0;
    this.digestFailed = false;
    this.hasReply = false;
  }

  /** Copies the SQE out of the receive buffer: most commands are done before they need that. */
  keepSqe(): void {
    const from = this.sqeView;
    const view = this.#ownView;
    if (from === view) return;
    const sqe = this.sqeBase;
    const base = this.#ownBase;
    for (let i = 0; i < SQE_SIZE; i += 4) view.setUint32(base + i, from.getUint32(sqe + i, true), true);
    this.sqeView = view;
    this.sqeBase = base;
  }

  /** @param inCapsule bytes of data in the capsule */
  parseSgl(inCapsule: number): void {
    const view = this.sqeView;
    const base = this.sqeBase;
    if (this.direction === Direction.None) return;
    const length = RwSqe.sglLength.get(view, base);
    this.sglLength = length;
    this.dataLength = length;
    if (this.sglId === SglId.inCapsule) {
      this.sglOffset = RwSqe.sglAddress.get(view, base);
      if (this.direction !== Direction.HostToController) this.earlyStatus = Status.SglDescriptorTypeInvalid | DNR;
      else if (this.sglOffset + length > inCapsule) this.earlyStatus = Status.SglOffsetInvalid | DNR;
    } else if (this.sglId !== SglId.transport) {
      // A descriptor that is all zero belongs to a command that moves nothing.
      if (length !== 0 || this.sglId !== 0) this.earlyStatus = Status.SglDescriptorTypeInvalid | DNR;
    }
  }

  keepData(): void {
    if (this.slab !== null || this.dataLength === 0) return;
    this.queue.memory.keep(this);
    const slab = this.slab!;
    copyBytes(this.dataMemory, this.dataOffset, slab, 0, this.dataLength);
    this.dataMemory = slab;
    this.dataOffset = 0;
  }

  /** Takes SQE and in-capsule data out of the receive buffer, while the other half of a fused operation is awaited. */
  keepParked(): void {
    this.keepSqe();
    if (this.slab !== null || this.dataLength === 0 || this.fusedStatus !== 0) return;
    // Not `keep`: what waits for the host itself must never stop the queue from being read.
    this.queue.memory.takeAnyway(this, this.dataLength);
    copyBytes(this.dataMemory, this.dataOffset, this.slab!, 0, this.dataLength);
    this.dataMemory = this.slab!;
    this.dataOffset = 0;
  }

  replyBuffer(): Slab | null {
    if (this.slab === null && !this.queue.takeReplySlab(this)) return null;
    this.hasReply = true;
    this.dataMemory = this.slab!;
    this.dataOffset = 0;
    return this.slab;
  }

  replyFrom(memory: Memory, offset: number): void {
    this.hasReply = true;
    this.dataMemory = memory;
    this.dataOffset = offset;
  }

  replyBytes(bytes: Uint8Array, offset = 0): void {
    if (this.dataLength === 0) return;
    if (this.slab === null) this.queue.memory.takeAnyway(this, this.dataLength);
    const slab = this.slab!;
    const available = Math.max(0, Math.min(this.dataLength, bytes.length - offset));
    if (available > 0) slab.bytes.set(bytes.subarray(offset, offset + available));
    slab.bytes.fill(0, available, this.dataLength);
    this.hasReply = true;
    this.dataMemory = slab;
    this.dataOffset = 0;
  }

  get isConnect(): boolean {
    return this.fabrics && this.opcode === FabricsType.Connect;
  }

  /** It has arrived, in part at least, but is not run yet and no device works for it. */
  get waits(): boolean {
    const { state } = this;
    if (state === SlotState.Receiving || state === SlotState.WaitsForSlab) return true;
    return state === SlotState.Starved || state === SlotState.Parked;
  }

  complete(status: number, dw0 = 0, dw1 = 0): void {
    if (this.state === SlotState.Free) return; // the queue is gone
    assert(this.state !== SlotState.Done, 'command completed twice');
    this.status = status;
    this.dw0 = dw0;
    this.dw1 = dw1;
    this.queue.completed(this);
  }
}

/** See `QueuePair.oldestR2t`. A slot in use starts with its age unknown. */
export function oldestR2t(slots: readonly Slot[], nowMs: number, restart: boolean): number {
  let oldestMs = NEVER;
  for (const slot of slots) {
    if (slot.r2tsOpen === 0) slot.r2tSinceMs = NEVER;
    else {
      if (restart || slot.r2tSinceMs === NEVER) slot.r2tSinceMs = nowMs;
      oldestMs = Math.min(oldestMs, slot.r2tSinceMs);
    }
  }
  return oldestMs;
}
