/**
 * The asynchronous read sections of a head: operations that were handed a path and are not over. Synchronous ones need
 * no bookkeeping, since nothing else runs while they do.
 */
export class ReadSections {
  readonly #open = new Set<Promise<unknown>>();

  /** Runs `operation`, which may be asynchronous, as one section. */
  async run<T>(operation: () => T | Promise<T>): Promise<T> {
    let leave!: () => void;
    const section = new Promise<void>((resolve) => {
      leave = resolve;
    });
    this.#open.add(section);
    try {
      return await operation();
    } finally {
      this.#open.delete(section);
      leave();
    }
  }

  /** Resolves when all sections that are open now are over. Later ones are not waited for. */
  async synchronize(): Promise<void> {
    await Promise.all([...this.#open]);
  }
}
