import { DNR, Status } from '@nvbraid/wire';
import { type Slot, SlotState } from './slot.ts';

/** FUSE: which half of a fused operation a command is (Base 2.1, 3.4.2). */
export const Fuse = { None: 0, First: 1, Second: 2 } as const;

/**
 * Brings the two commands of a fused operation together: the second must be the one that arrives next after the first.
 * Their data comes when it comes; a half that is ready, or has failed, is parked until its partner is. So neither runs
 * alone, and their completions follow each other.
 */
export class FusedPairs {
  /** The command that arrived last, when it was a first half. */
  #open: Slot | null = null;

  /** True when the next command, whatever it is, concerns `arrived`. */
  get open(): boolean {
    return this.#open !== null;
  }

  /**
   * For every command with FUSE, and the one after a first half, in the order of their arrival.
   * @param supported whether the queue runs fused operations at all
   */
  arrived(slot: Slot, supported: boolean): void {
    const first = this.#open;
    this.#open = null;
    if (slot.fuse === Fuse.Second && first !== null) {
      first.partner = slot;
      slot.partner = first;
      return;
    }
    if (first !== null) this.#lost(first);
    if (slot.fuse === Fuse.None) return;
    if (slot.fuse === Fuse.First && supported) {
      this.#open = slot;
      return;
    }
    const status = slot.fuse === Fuse.Second && supported ? Status.MissingFusedCommand : Status.InvalidField;
    if (slot.earlyStatus === 0) slot.earlyStatus = status | DNR;
    slot.fuse = Fuse.None; // it ends by itself
  }

  /**
   * A half has its data (`status` 0), or has failed.
   * @returns the first half when both are ready to be run; its partner is the second
   */
  park(slot: Slot, status: number): Slot | null {
    if (slot.fusedStatus === 0) slot.fusedStatus = status;
    const { partner } = slot;
    if (partner === null && this.#open !== slot) {
      slot.complete(slot.fusedStatus); // lost meanwhile
      return null;
    }
    slot.state = SlotState.Parked;
    if (partner === null || partner.state !== SlotState.Parked) {
      slot.keepParked();
      return null;
    }
    const [first, second] = slot.fuse === Fuse.First ? [slot, partner] : [partner, slot];
    if (first.fusedStatus === 0 && second.fusedStatus === 0) return first;
    // A retry of the pair makes sense when one of the half that failed does.
    const failed = Status.FailedFusedCommand | ((first.fusedStatus || second.fusedStatus) & DNR);
    first.complete(first.fusedStatus || failed);
    second.complete(first.fusedStatus === 0 ? second.fusedStatus : failed);
    return null;
  }

  /** Nothing may come between the two. */
  #lost(first: Slot): void {
    if (first.fusedStatus === 0) first.fusedStatus = Status.MissingFusedCommand | DNR;
    if (first.state === SlotState.Parked) first.complete(first.fusedStatus);
  }

  /** The queue is gone. */
  clear(): void {
    this.#open = null;
  }
}
