import { Ring } from '@nvbraid/base';
import { type Io, IoResult } from './block-device.ts';
import { ZERO_SLICE_BYTES, ZERO_TURN_BYTES } from './limits.ts';

/** A device whose zeroing is work for the processor. */
export interface ZeroLineOwner {
  /** Zeroes `length` bytes of the operation's range, from `at` bytes inside it. */
  zero(io: Io, at: number, length: number): IoResult;
  /** The operation is over and `io.result` is set. */
  zeroed(io: Io): void;
}

/**
 * What one thread zeroes in memory, over all of its devices: ZERO_TURN_BYTES in a turn of the event loop. A command may
 * name a whole device, and many times over, and nothing else happens in the thread meanwhile. So the bound is on the
 * turn, not on the operation; what exceeds it waits here and goes on in later turns, slice by slice in a circle, so
 * that a short operation does not wait for a long one to end.
 */
export class ZeroLine {
  readonly #waiting = new Ring<ZeroTask>();
  readonly #free: ZeroTask[] = [];
  readonly #turnBytes: number;
  readonly #sliceBytes: number;
  /** Bytes that may still be zeroed in this turn; negative after a last slice that was larger than the rest. */
  #left: number;
  #scheduled = false;

  /** @param sliceBytes a multiple of the block size of every device, so that no block is zeroed in two turns */
  constructor(turnBytes = ZERO_TURN_BYTES, sliceBytes = ZERO_SLICE_BYTES) {
    this.#turnBytes = turnBytes;
    this.#sliceBytes = sliceBytes;
    this.#left = turnBytes;
  }

  /** Whether so many bytes may be zeroed at once; they count for this turn if so. */
  take(length: number): boolean {
    // Who could go at once lets those that wait go first.
    if (length > this.#left || this.#waiting.length > 0) return false;
    this.#left -= length;
    if (this.#low) this.#schedule();
    return true;
  }

  /** Zeroes the range of the operation in the turns to come. */
  add(owner: ZeroLineOwner, io: Io): void {
    const task = this.#free.pop() ?? new ZeroTask();
    task.owner = owner;
    task.io = io;
    task.at = 0;
    this.#waiting.push(task);
    this.#schedule();
  }

  /** Not before it matters: a few blocks now and then should not cost a callback each time. */
  get #low(): boolean {
    return this.#left < this.#turnBytes / 2;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    this.#scheduled = false;
    this.#left = this.#turnBytes;
    while (this.#left > 0) {
      const task = this.#waiting.shift();
      if (task === undefined) break;
      this.#slice(task);
    }
    if (this.#waiting.length > 0 || this.#low) this.#schedule();
  };

  #slice(task: ZeroTask): void {
    const owner = task.owner!;
    const io = task.io!;
    const length = Math.min(io.length - task.at, this.#sliceBytes);
    this.#left -= length;
    const result = io.revoked === true ? IoResult.Failed : owner.zero(io, task.at, length);
    task.at += length;
    if (result === IoResult.Ok && task.at < io.length) {
      this.#waiting.push(task);
      return;
    }
    task.owner = null;
    task.io = null;
    this.#free.push(task);
    io.result = result;
    owner.zeroed(io);
  }
}

/** An operation in line; used again and again. */
class ZeroTask {
  owner: ZeroLineOwner | null = null;
  io: Io | null = null;
  /** Bytes done. */
  at = 0;
}

/** That of this thread: modules are loaded once in each. */
export const zeroLine = new ZeroLine();
