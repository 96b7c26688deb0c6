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
