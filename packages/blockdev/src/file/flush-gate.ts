import type { Io } from '../block-device.ts';

/**
 * Makes one fdatasync serve many: those that wait for one share it. Who arrives while one is running needs the next
 * one, since the running one may have passed over his blocks already.
 */
export class FlushGate {
  readonly #sync: (done: (failed: boolean) => void) => void;
  readonly #finish: (io: Io, failed: boolean) => void;
  #waiting: Io[] = [];
  #covered: Io[] = [];
  #running = false;

  /**
   * @param sync starts one fdatasync; must not call back before it has returned
   * @param finish ends an operation that was added
   */
  constructor(sync: (done: (failed: boolean) => void) => void, finish: (io: Io, failed: boolean) => void) {
    this.#sync = sync;
    this.#finish = finish;
  }

  /** Everything that was written before this call is on stable storage when `finish` is called for `io`. */
  add(io: Io): void {
    this.#waiting.push(io);
    if (!this.#running) this.#start();
  }

  #start(): void {
    this.#running = true;
    const next = this.#waiting;
    this.#waiting = this.#covered;
    this.#covered = next;
    this.#sync(this.#done);
  }

  readonly #done = (failed: boolean): void => {
    const served = this.#covered;
    this.#covered = [];
    if (this.#waiting.length > 0) this.#start();
    else this.#running = false;
    for (let i = 0; i < served.length; i++) this.#finish(served[i]!, failed);
  };
}
