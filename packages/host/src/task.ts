import { NvbraidError } from '@nvbraid/base';

/** Begins something that takes time and calls `resume` when it is over. */
export type Start = (resume: () => void) => void;

/** A sequence of steps, written as a generator: `yield` waits for what it is given. */
export type Steps<T = void> = Generator<Start, T, void>;

/**
 * Runs a sequence without promises, so that a core stays synchronous: it goes on within the call that brought what it
 * waited for. Ends by returning or by throwing an `NvbraidError`.
 */
export class Task {
  readonly #steps: Steps;
  readonly #ended: (error: NvbraidError | null) => void;
  #over = false;

  constructor(steps: Steps, ended: (error: NvbraidError | null) => void) {
    this.#steps = steps;
    this.#ended = ended;
  }

  get over(): boolean {
    return this.#over;
  }

  start(): this {
    this.#advance();
    return this;
  }

  /** Nothing of it runs any more, and its end is not told. */
  cancel(): void {
    this.#over = true;
  }

  #advance(): void {
    while (!this.#over) {
      const begin = this.#next();
      if (begin === null) return;
      let resumed = false;
      let waits = false;
      begin(() => {
        if (resumed || this.#over) return;
        resumed = true;
        if (waits) this.#advance();
      });
      if (!resumed) {
        waits = true;
        return;
      }
    }
  }

  #next(): Start | null {
    let error: NvbraidError | null = null;
    try {
      const step = this.#steps.next();
      if (!step.done) return step.value;
    } catch (thrown) {
      if (!(thrown instanceof NvbraidError)) throw thrown;
      error = thrown;
    }
    if (!this.#over) {
      this.#over = true;
      this.#ended(error);
    }
    return null;
  }
}
