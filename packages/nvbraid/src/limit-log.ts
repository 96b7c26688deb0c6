import type { Clock } from '@nvbraid/base';
import { LIMIT_LOG_MS } from './limits.ts';

/** Counts how often each limit was met, and says so: whoever keeps running into one must not flood the log. */
export class LimitLog {
  readonly #clock: Clock;
  readonly #log: (message: string) => void;
  readonly #word: string;
  readonly #counts = new Map<string, { count: number; unsaid: number; saidMs: number }>();

  /** @param word what it counts, for the log */
  constructor(clock: Clock, log: (message: string) => void, word = 'limit') {
    this.#clock = clock;
    this.#log = log;
    this.#word = word;
  }

  /** @param sentence who met it and what happened then; of one limit the log gets one a second */
  met(limit: string, sentence: string): void {
    const nowMs = this.#clock.nowMs();
    let entry = this.#counts.get(limit);
    if (entry === undefined) {
      entry = { count: 0, unsaid: 0, saidMs: Number.NEGATIVE_INFINITY };
      this.#counts.set(limit, entry);
    }
    entry.count++;
    if (nowMs - entry.saidMs < LIMIT_LOG_MS) {
      entry.unsaid++;
      return;
    }
    const more = entry.unsaid === 0 ? '' : `, and ${entry.unsaid} more before`;
    entry.saidMs = nowMs;
    entry.unsaid = 0;
    this.#log(`${sentence} (${this.#word} ${limit}${more})`);
  }

  count(limit: string): number {
    return this.#counts.get(limit)?.count ?? 0;
  }

  get total(): number {
    let total = 0;
    for (const { count } of this.#counts.values()) total += count;
    return total;
  }

  /** How often each limit was met; those that were not are left out. */
  counts(): Record<string, number> {
    return Object.fromEntries([...this.#counts].map(([limit, { count }]) => [limit, count]));
  }
}
