/**
 * Writes of state files that are under way. Those of one place go one after the other, in the order in which they were
 * asked for: what is read when all are settled is what was asked for last.
 */
export class StateWrites {
  readonly #last = new Map<string, Promise<void>>();

  /**
   * @param write makes the new state stable; rejected when the old one is still there
   * @param failed is told why, before `done(false)`
   */
  add(
    place: string,
    write: () => Promise<void>,
    failed: (message: string) => void,
    done: (saved: boolean) => void,
  ): void {
    const before = this.#last.get(place) ?? Promise.resolve();
    const writing = before
      .then(write)
      .then(
        () => true,
        (error: unknown) => {
          failed((error as Error).message);
          return false;
        },
      )
      .then((saved) => {
        if (this.#last.get(place) === writing) this.#last.delete(place);
        done(saved);
      });
    this.#last.set(place, writing);
  }

  /** Fulfilled when no file is being written. */
  async settled(): Promise<void> {
    while (this.#last.size > 0) await Promise.all(this.#last.values());
  }
}
