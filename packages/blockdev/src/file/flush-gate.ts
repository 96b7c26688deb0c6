import type { Io, IoOwner } from '../block-device.ts';
import type { PoolCall, PoolLine } from './pool-line.ts';

/**
 * Whose calls all fdatasyncs are: one serves many hosts, and must not wait behind those of one. A device has at most one
 * in line.
 */
const SYNCS: IoOwner = { weight: 1 };

/**
 * Makes one fdatasync serve many: those that wait for one share it. Who arrives while one is running needs the next
 * one, since the running one may have passed over his blocks already.
 */
export class FlushGate implements PoolCall {
  readonly owner = SYNCS;
  readonly bytes = 0;
  readonly revoked = false;
  next: PoolCall | null = null;
  readonly #sync: (done: (failed: boolean) => void) => void;
  readonly #finish: (io: Io, failed: boolean) => void;
  readonly #line: PoolLine | null;
  #waiting: Io[] = [];
  #covered: Io[] = [];
  /** One is running, or in line. */
  #asked = false;

  /**
   * @param sync starts one fdatasync; must not call back before it has returned
   * @param finish ends an operation that was added
   * @param line where it waits for a place; null when `sync` needs none
   */
  constructor(
    sync: (done: (failed: boolean) => void) => void,
    finish: (io: Io, failed: boolean) => void,
    line: PoolLine | null = null,
  ) {
    this.#sync = sync;
    this.#finish = finish;
    this.#line = line;
  }

  /** Everything that was written before this call is on stable storage when `finish` is called for `io`. */
  add(io: Io): void {
    this.#waiting.push(io);
    if (!this.#asked) this.#ask();
  }

  #ask(): void {
    this.#asked = true;
    if (this.#line === null) this.turn();
    else this.#line.enter(this);
  }

  turn(): void {
    const next = this.#waiting;
    this.#waiting = this.#covered;
    this.#covered = next;
    this.#sync(this.#done);
  }

  readonly #done = (failed: boolean): void => {
    const served = this.#covered;
    this.#covered = [];
    this.#asked = false;
    this.#line?.leave();
    if (this.#waiting.length > 0 && !this.#asked) this.#ask();
    for (let i = 0; i < served.length; i++) this.#finish(served[i]!, failed);
  };
}
