import { IoResult } from '../block-device.ts';
import { MAX_LOGGED_FAILURES } from '../limits.ts';
import { describe, resultOf } from './file-errors.ts';

/** Tells an operator of the failures of one file, each kind once. */
export class FailureLog {
  readonly #path: string;
  readonly #log: (message: string) => void;
  readonly #logged = new Set<string>();

  constructor(path: string, log: (message: string) => void) {
    this.#path = path;
    this.#log = log;
  }

  say(message: string): void {
    if (this.#logged.has(message) || this.#logged.size >= MAX_LOGGED_FAILURES) return;
    this.#logged.add(message);
    this.tell(message);
  }

  /** However often. */
  tell(message: string): void {
    this.#log(`${this.#path}: ${message}`);
  }

  /** @param error negative error number; 0 when the system did nothing and said nothing */
  failure(what: string, error: number): IoResult {
    const result = resultOf(error);
    if (result === IoResult.MediaError || result === IoResult.Failed) {
      this.say(`${what} failed (${error === 0 ? 'nothing done' : describe({ errno: error })})`);
    }
    return result;
  }
}
