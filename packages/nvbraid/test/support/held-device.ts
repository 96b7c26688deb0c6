import { strict as assert } from 'node:assert';
import type { BlockDevice, Io } from '@nvbraid/blockdev';
import { IoResult } from '@nvbraid/blockdev';

/** A device on which every operation stays under way until the test ends it. */
export class HeldDevice implements BlockDevice {
  readonly blockSize = 4096;
  readonly blockCount = 65536;
  readonly readOnly = false;
  readonly volatileWriteCache = true;
  readonly thin = true;
  readonly memory = null;
  readonly held: Io[] = [];
  /** Operations ever started. */
  submitted = 0;
  closed = false;
  readonly #waiting: { count: number; resolve: () => void }[] = [];
  #drained: (() => void) | null = null;

  submit(io: Io): boolean {
    assert.equal(this.closed, false, 'an operation on a closed device');
    this.held.push(io);
    this.submitted++;
    for (const waiter of this.#waiting) if (this.submitted >= waiter.count) waiter.resolve();
    return false;
  }

  /** Fulfilled when so many operations have been started since the beginning. */
  started(count: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.submitted >= count) resolve();
      else this.#waiting.push({ count, resolve });
    });
  }

  finish(count = this.held.length): void {
    for (const io of this.held.splice(0, count)) {
      io.result = IoResult.Ok;
      io.done(io);
    }
    if (this.held.length === 0) this.#drained?.();
  }

  /** As the interface says: fulfilled when nothing is under way any more. */
  async close(): Promise<void> {
    this.closed = true;
    if (this.held.length > 0) await new Promise<void>((resolve) => (this.#drained = resolve));
  }
}
