/** Milliseconds that only go forward. Their zero means nothing. Injected wherever time matters. */
export interface Clock {
  nowMs(): number;
}

/** The clock of tests and of the simulator: it stands still until told. */
export class FakeClock implements Clock {
  #now: number;

  constructor(startMs = 0) {
    this.#now = startMs;
  }

  nowMs(): number {
    return this.#now;
  }

  advance(ms: number): void {
    this.#now += ms;
  }
}

/** No deadline: later than every time. */
export const NEVER = Number.POSITIVE_INFINITY;

/** A clock that also calls back. Injected wherever something waits, so that tests decide when time passes. */
export interface Timers extends Clock {
  /**
   * Calls `call` once, `ms` from now or later, never from inside this call.
   * @returns a function that takes the timer back; without effect once it has fired
   */
  after(ms: number, call: () => void): () => void;
}

/** Timers of tests: they fire inside `advance`, in the order of their times. */
export class FakeTimers extends FakeClock implements Timers {
  readonly #waiting = new Map<number, { atMs: number; call: () => void }>();
  #next = 0;

  /** Timers that have neither fired nor been taken back. */
  get pending(): number {
    return this.#waiting.size;
  }

  after(ms: number, call: () => void): () => void {
    const id = this.#next++;
    this.#waiting.set(id, { atMs: this.nowMs() + Math.max(0, ms), call });
    return () => void this.#waiting.delete(id);
  }

  override advance(ms: number): void {
    const endMs = this.nowMs() + ms;
    for (;;) {
      let first: number | null = null;
      for (const [id, { atMs }] of this.#waiting) {
        if (atMs <= endMs && (first === null || atMs < this.#waiting.get(first)!.atMs)) first = id;
      }
      if (first === null) break;
      const { atMs, call } = this.#waiting.get(first)!;
      this.#waiting.delete(first);
      super.advance(Math.max(0, atMs - this.nowMs()));
      call();
    }
    super.advance(endMs - this.nowMs());
  }
}
