import { IoCounters, type IoTotals } from '@nvbraid/target';

/** The command counters of a target, by subsystem and thread. */
export class TargetCounters {
  readonly #threads: number;
  readonly #counters = new Map<string, IoCounters[]>();
  readonly #retired = new IoCounters();

  /** @param threads that run I/O queues */
  constructor(threads: number) {
    this.#threads = threads;
  }

  of(nqn: string, thread: number): IoCounters {
    let counters = this.#counters.get(nqn);
    if (counters === undefined) {
      counters = Array.from({ length: this.#threads }, () => new IoCounters());
      this.#counters.set(nqn, counters);
    }
    return counters[thread]!;
  }

  /** Names may come and go for ever: of those that are gone only the sums are kept. */
  retire(nqn: string): void {
    for (const counters of this.#counters.get(nqn) ?? []) this.#retired.add(counters);
    this.#counters.delete(nqn);
  }

  totals(nqn: string): IoTotals {
    return IoCounters.sum(this.#counters.get(nqn) ?? []);
  }

  /** Of all subsystems, those that are gone included. */
  sum(): ReturnType<typeof IoCounters.sum> {
    return IoCounters.sum([...this.#counters.values(), this.#retired].flat());
  }
}
