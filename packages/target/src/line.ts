/** Runs what takes time one after the other, in the order in which it came. */
export class Line {
  readonly #waiting: ((next: () => void) => void)[] = [];
  #running = false;

  /** @param run calls `next` once when it is over, now or later */
  push(run: (next: () => void) => void): void {
    this.#waiting.push(run);
    if (!this.#running) this.#go();
  }

  #go(): void {
    this.#running = true;
    // A loop, so that what is over at once does not deepen the stack.
    for (let run = this.#waiting.shift(); run !== undefined; run = this.#waiting.shift()) {
      let over = false;
      let returned = false;
      run(() => {
        over = true;
        if (returned) this.#go();
      });
      returned = true;
      if (!over) return;
    }
    this.#running = false;
  }
}
