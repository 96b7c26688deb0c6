import { WARNING_BURST, WARNING_INTERVAL_MS } from './limits.ts';

/** Lets the first `WARNING_BURST` warnings of an interval through and counts the rest. */
export class RateLimit {
  #beginMs = Number.NEGATIVE_INFINITY;
  #printed = 0;
  /** Warnings kept back since the last one that was let through. */
  missed = 0;

  allow(nowMs: number): boolean {
    if (nowMs - this.#beginMs >= WARNING_INTERVAL_MS) {
      this.#beginMs = nowMs;
      this.#printed = 0;
    }
    if (this.#printed >= WARNING_BURST) {
      this.missed++;
      return false;
    }
    this.#printed++;
    return true;
  }

  /** How many were kept back since it was last asked. */
  takeMissed(): number {
    const missed = this.missed;
    this.missed = 0;
    return missed;
  }
}
