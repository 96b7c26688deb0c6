const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
/** One Ctrl-C may come twice, from the terminal and passed on by npm; this much later it is a second one. */
const SAME_MS = 400;

/**
 * Turns Ctrl-C, SIGTERM and SIGHUP into an AbortSignal. A second one ends the process at once.
 */
export class StopSignal {
  readonly #controller = new AbortController();
  readonly #onFirst: () => void;
  readonly #onHangup: (() => void) | null;
  readonly #listener = (signal: (typeof SIGNALS)[number]): void => this.#received(signal);
  #firstAtMs = 0;

  /**
   * @param onFirst called at the first signal: says that the process is stopping
   * @param onHangup called at SIGHUP, which then does not stop the process
   */
  constructor(onFirst: () => void = () => {}, onHangup: (() => void) | null = null) {
    this.#onFirst = onFirst;
    this.#onHangup = onHangup;
    for (const signal of SIGNALS) process.on(signal, this.#listener);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get stopped(): boolean {
    return this.signal.aborted;
  }

  /** Fulfilled when it is time to stop. */
  wait(): Promise<void> {
    return new Promise((resolve) => {
      if (this.stopped) resolve();
      else this.signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  /** Stops as the first signal does, without its words. */
  stop(): void {
    this.#controller.abort();
  }

  [Symbol.dispose](): void {
    for (const signal of SIGNALS) process.off(signal, this.#listener);
  }

  #received(signal: (typeof SIGNALS)[number]): void {
    if (signal === 'SIGHUP' && this.#onHangup !== null) {
      this.#onHangup();
      return;
    }
    const now = performance.now();
    if (this.#firstAtMs === 0) {
      this.#firstAtMs = now;
      this.#onFirst();
      this.stop();
    } else if (now - this.#firstAtMs > SAME_MS) {
      process.exit(EXIT_CODES[signal]);
    }
  }
}
