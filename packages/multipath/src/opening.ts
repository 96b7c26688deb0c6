import type { Head } from './head.ts';

/** One opening of a head's disk or passthrough device: the head stays until it is closed. */
export class Opening {
  readonly #head: Head;
  #open = true;

  /** ENXIO when the head is going away. */
  constructor(head: Head) {
    head.get();
    this.#head = head;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** May be called again; only the first time counts. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#head.put();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
