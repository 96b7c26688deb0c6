import { LEASE_SLACK_MS } from './limits.ts';

/*
 * Until when the host of an association counts as alive: one word that the main thread writes with every Keep Alive and
 * the threads of its I/O queues read before they run what they have received. A process that was stopped, or a machine
 * that was, finds commands in its sockets when it goes on; the host has long done them by another way, since its own
 * Keep Alive ran out, and the main thread may not have noticed yet.
 */

/** What `performance.now` starts from differs between threads; the machine's monotonic clock does not. */
const [seconds, nanoseconds] = process.hrtime();
const OFFSET_MS = seconds * 1000 + nanoseconds / 1e6 - performance.now();

/** No Keep Alive: no end. */
const ENDLESS = 0;
/** The association is over. */
const OVER = 1;

function wordOf(ms: number): number {
  const word = Math.floor(ms + OFFSET_MS) | 0;
  return word === ENDLESS || word === OVER ? 2 : word;
}

export class Lease {
  /** For the other threads. */
  readonly buffer: SharedArrayBuffer;
  readonly #word: Int32Array;

  constructor(buffer = new SharedArrayBuffer(4)) {
    this.buffer = buffer;
    this.#word = new Int32Array(buffer);
  }

  /** @param untilMs on this thread's `systemClock`; Infinity for no end */
  extend(untilMs: number): void {
    if (Atomics.load(this.#word, 0) === OVER) return;
    Atomics.store(this.#word, 0, untilMs === Number.POSITIVE_INFINITY ? ENDLESS : wordOf(untilMs + LEASE_SLACK_MS));
  }

  /** For good. */
  end(): void {
    Atomics.store(this.#word, 0, OVER);
  }

  /** One load where there is no Keep Alive, and a look at the clock where there is. */
  get over(): boolean {
    const until = Atomics.load(this.#word, 0);
    if (until === ENDLESS) return false;
    // Timeouts are 20 days at most: the difference tells before from after, whatever the clock has come to.
    return until === OVER || ((until - wordOf(performance.now())) | 0) < 0;
  }
}
