import { NEVER } from '@nvbraid/base';

/** Something that is to happen once at a time. */
export interface Timer {
  readonly atMs: number;
  readonly fire: () => void;
}

/** The few timers of a controller. */
export class Timers {
  readonly #timers: Timer[] = [];

  get nextDeadlineMs(): number {
    let next = NEVER;
    for (const timer of this.#timers) if (timer.atMs < next) next = timer.atMs;
    return next;
  }

  set(atMs: number, fire: () => void): Timer {
    const timer = { atMs, fire };
    this.#timers.push(timer);
    return timer;
  }

  cancel(timer: Timer | null): void {
    const index = timer === null ? -1 : this.#timers.indexOf(timer);
    if (index >= 0) this.#timers.splice(index, 1);
  }

  clear(): void {
    this.#timers.length = 0;
  }

  /** Fires what is due, earliest first. What is set meanwhile waits for the next call. */
  tick(nowMs: number): void {
    const due = this.#timers.filter((timer) => timer.atMs <= nowMs).sort((a, b) => a.atMs - b.atMs);
    for (const timer of due) {
      if (!this.#timers.includes(timer)) continue;
      this.cancel(timer);
      timer.fire();
    }
  }
}
