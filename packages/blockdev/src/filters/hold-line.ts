import type { Timers } from '@nvbraid/base';
import type { BackgroundWork, OpenOptions } from '../block-device.ts';
import { HELD_LOOK_MS } from '../limits.ts';
import { systemTimers } from '../timers.ts';

interface Waiting<T> {
  item: T;
  /** Infinity: until it is let go. */
  untilMs: number;
  /** For `release`. */
  mark: number;
}

/**
 * What a filter holds up in one thread: each until its time, or until it is let go. While something waits, the line
 * looks about every few milliseconds, so that what the main thread changes in shared memory is seen without a message.
 */
export class HoldLine<T> {
  readonly #timers: Timers;
  readonly #background: BackgroundWork | null;
  readonly #go: (item: T) => void;
  readonly #look: () => void;
  #waiting: Waiting<T>[] = [];
  #cancel: (() => void) | null = null;
  #armedMs = 0;

  /**
   * @param go called for each item that has waited long enough, never inside `add`
   * @param look called before each look: may `release`
   */
  constructor(options: OpenOptions, go: (item: T) => void, look: () => void) {
    this.#timers = options.timers ?? systemTimers;
    this.#background = options.background ?? null;
    this.#go = go;
    this.#look = look;
  }

  get length(): number {
    return this.#waiting.length;
  }

  /** @param ms how long, Infinity for until it is released */
  add(item: T, ms: number, mark = 0): void {
    this.#waiting.push({ item, untilMs: this.#timers.nowMs() + ms, mark });
    this.#background?.started();
    this.#arm(ms);
  }

  /** Lets all go that `which` says, in the order they came. */
  release(which: (untilMs: number, mark: number) => boolean): void {
    const free: Waiting<T>[] = [];
    const kept: Waiting<T>[] = [];
    for (const waiting of this.#waiting) (which(waiting.untilMs, waiting.mark) ? free : kept).push(waiting);
    if (free.length === 0) return;
    this.#waiting = kept;
    for (const waiting of free) {
      this.#background?.finished();
      this.#go(waiting.item);
    }
  }

  #arm(ms: number): void {
    const soon = Math.min(ms, HELD_LOOK_MS);
    const atMs = this.#timers.nowMs() + soon;
    if (this.#cancel !== null) {
      if (atMs >= this.#armedMs) return;
      this.#cancel();
    }
    this.#armedMs = atMs;
    this.#cancel = this.#timers.after(soon, () => this.#tick());
  }

  #tick(): void {
    this.#cancel = null;
    this.#look();
    const now = this.#timers.nowMs();
    this.release((untilMs) => untilMs <= now);
    if (this.#waiting.length === 0) return;
    let first = Number.POSITIVE_INFINITY;
    for (const { untilMs } of this.#waiting) first = Math.min(first, untilMs);
    this.#arm(Math.max(0, first - now));
  }
}
