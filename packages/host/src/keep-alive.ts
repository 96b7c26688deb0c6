import { NvbraidError } from '@nvbraid/base';
import type { AdminChannel } from './admin-channel.ts';
import { keepAliveRequest } from './admin-commands.ts';
import { NvmeError } from './nvme-error.ts';
import type { Timer } from './timers.ts';

/**
 * Sends Keep Alive every half of kato (Base 2.1, 3.9). When the controller counts other commands as well (TBKAS) it is
 * left out in periods in which one was completed.
 */
export class KeepAlive {
  readonly #admin: AdminChannel;
  readonly #katoMs: number;
  /** Counts completed commands; null: only Keep Alive counts. */
  readonly #traffic: (() => number) | null;
  readonly #failed: (error: NvbraidError) => void;
  readonly #request = keepAliveRequest();
  #timer: Timer | null = null;
  #seen = 0;
  #sentMs = 0;
  #stopped = false;

  constructor(
    admin: AdminChannel,
    katoMs: number,
    traffic: (() => number) | null,
    failed: (error: NvbraidError) => void,
  ) {
    this.#admin = admin;
    this.#katoMs = katoMs;
    this.#traffic = traffic;
    this.#failed = failed;
    this.#request.noTimeout = true;
    this.#request.done = () => this.#done();
    this.#seen = traffic?.() ?? 0;
    this.#sleep(admin.clock.nowMs() + katoMs / 2);
  }

  stop(): void {
    this.#stopped = true;
    this.#admin.timers.cancel(this.#timer);
  }

  #sleep(untilMs: number): void {
    this.#timer = this.#admin.timers.set(untilMs, () => this.#due());
  }

  #due(): void {
    const now = this.#admin.clock.nowMs();
    if (this.#traffic !== null) {
      const count = this.#traffic();
      const busy = count !== this.#seen;
      this.#seen = count;
      if (busy) return this.#sleep(now + this.#katoMs / 2);
    }
    this.#sentMs = now;
    this.#timer = this.#admin.timers.set(now + this.#katoMs, () => this.#late());
    this.#admin.queue.submit(this.#request);
  }

  #done(): void {
    if (this.#stopped) return;
    this.#admin.timers.cancel(this.#timer);
    if (this.#request.status !== 0) return this.#failed(new NvmeError('Keep Alive', this.#request.status));
    if (this.#traffic !== null) this.#seen = this.#traffic();
    this.#sleep(this.#sentMs + this.#katoMs / 2);
  }

  #late(): void {
    this.#failed(new NvbraidError('ETIMEDOUT', `no answer to Keep Alive in ${this.#katoMs} ms`));
  }
}
