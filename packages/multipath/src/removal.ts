import { NEVER, NvbraidError } from '@nvbraid/base';
import type { Head } from './head.ts';
import { MAX_REMOVAL_SECS } from './limits.ts';

/** Keeps a head whose last path is gone for a while: requests wait, and the disk keeps its name and its users. */
export class DelayedRemoval {
  readonly #head: Head;
  /** 0: remove at once. */
  secs = 0;
  /** When the removal happens; NEVER: none is under way. */
  deadlineMs = NEVER;

  constructor(head: Head) {
    this.#head = head;
  }

  get pending(): boolean {
    return this.deadlineMs !== NEVER;
  }

  /** True: the driver removes the head now. False: it will be removed later, unless a path comes back. */
  mayRemoveNow(nowMs: number): boolean {
    if (!this.#head.queueIfNoPath) return true;
    if (!this.pending) {
      const { template } = this.#head;
      if (template.holdDriver !== undefined && !template.holdDriver()) return true;
    }
    // Milliseconds of 32 bits of seconds are far below 2^53: the product is exact.
    this.deadlineMs = nowMs + this.secs * 1000;
    return false;
  }

  cancel(): void {
    if (!this.pending) return;
    this.deadlineMs = NEVER;
    this.#head.template.releaseDriver?.();
  }

  /** Removes the head if it is time and no path has come back. */
  tick(nowMs: number): void {
    if (nowMs < this.deadlineMs) return;
    const head = this.#head;
    this.deadlineMs = NEVER;
    if (head.paths.length === 0) {
      head.queueIfNoPath = false;
      head.removeDisk();
      head.template.removeHead(head);
    }
    head.template.releaseDriver?.();
  }

  show(): string {
    return String(this.secs);
  }

  /**
   * Takes a decimal number of seconds. 0 ends the queueing: a removal under way happens at the next tick, so that what
   * is queued does not wait for a promise that nobody keeps.
   */
  store(text: string, nowMs: number): void {
    const secs = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
    if (!(secs <= MAX_REMOVAL_SECS)) {
      throw new NvbraidError('EINVAL', `delayed_removal_secs '${text}' is not a number from 0 to ${MAX_REMOVAL_SECS}`);
    }
    this.secs = secs;
    this.#head.queueIfNoPath = secs > 0;
    if (secs === 0 && this.pending) {
      this.deadlineMs = nowMs;
      this.#head.wake();
    }
  }
}
