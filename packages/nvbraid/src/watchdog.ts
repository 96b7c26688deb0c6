import type { QueuePair } from '@nvbraid/target';
import { MAX_LOOK_MS, MIN_LOOK_MS } from './limits.ts';
import type { QueueDriver } from './queue-driver.ts';
import type { TargetLimits } from './target-limits.ts';

/** The times that a watchdog keeps. */
export type WatchLimits = Pick<TargetLimits, 'pduTimeoutMs' | 'sendTimeoutMs' | 'r2tTimeoutMs'>;

/** What is said of a peer that a limit has ended. */
const REASONS: Readonly<Record<keyof WatchLimits, string>> = {
  pduTimeoutMs: 'it has begun a PDU and not ended it',
  sendTimeoutMs: 'it does not receive what is sent to it',
  r2tTimeoutMs: 'it has not sent the data that an R2T asked for',
};

/** Something that was not finished when the watchdog looked, and when it looked first. */
interface Suspicion {
  pdu: number;
  pduSinceMs: number;
  drains: number;
  sendSinceMs: number;
}

const NOT = -1;

/**
 * Looks at the queues of a thread now and then, for peers that have stopped in the middle of something. Costs nothing
 * per command, and a queue at rest costs one look; so what is too late is found up to one interval later.
 */
export class Watchdog {
  readonly #limits: WatchLimits;
  readonly #overdue: (driver: QueueDriver, limit: keyof WatchLimits, sentence: string) => void;
  readonly #suspicions = new Map<QueueDriver, Suspicion>();

  /** @param overdue closes the connection and says why */
  constructor(limits: WatchLimits, overdue: (driver: QueueDriver, limit: keyof WatchLimits, sentence: string) => void) {
    this.#limits = limits;
    this.#overdue = overdue;
  }

  /** How often `look` should be called, in ms. */
  get intervalMs(): number {
    const { pduTimeoutMs, sendTimeoutMs, r2tTimeoutMs } = this.#limits;
    const quarter = Math.floor(Math.min(pduTimeoutMs, sendTimeoutMs, r2tTimeoutMs) / 4);
    return Math.max(MIN_LOOK_MS, Math.min(MAX_LOOK_MS, quarter));
  }

  /** @param drivers those of target queues */
  look(drivers: Iterable<QueueDriver>, nowMs: number): void {
    const late: [QueueDriver, keyof WatchLimits][] = [];
    for (const driver of drivers) {
      const limit = this.#judge(driver, driver.core as QueuePair, nowMs);
      if (limit !== null) late.push([driver, limit]);
    }
    for (const driver of this.#suspicions.keys()) if (driver.gone) this.#suspicions.delete(driver);
    for (const [driver, limit] of late) {
      this.#suspicions.delete(driver);
      this.#overdue(driver, limit, `${REASONS[limit]} for ${this.#limits[limit]} ms`);
    }
  }

  #judge(driver: QueueDriver, queue: QueuePair, nowMs: number): keyof WatchLimits | null {
    // While we do not read it is not the peer that is late.
    const reading = !driver.paused;
    const pdu = reading ? queue.pduUnderWay : NOT;
    const sending = driver.connection.backlogBytes > 0;
    const r2tSinceMs = queue.oldestR2t(nowMs, !reading);
    if (nowMs - r2tSinceMs >= this.#limits.r2tTimeoutMs) return 'r2tTimeoutMs';
    if (pdu === NOT && !sending) {
      this.#suspicions.delete(driver);
      return null;
    }
    let suspicion = this.#suspicions.get(driver);
    if (suspicion === undefined) {
      suspicion = { pdu: NOT, pduSinceMs: nowMs, drains: NOT, sendSinceMs: nowMs };
      this.#suspicions.set(driver, suspicion);
    }
    if (suspicion.pdu !== pdu) {
      suspicion.pdu = pdu;
      suspicion.pduSinceMs = nowMs;
    }
    const drains = sending ? driver.drains : NOT;
    if (suspicion.drains !== drains) {
      suspicion.drains = drains;
      suspicion.sendSinceMs = nowMs;
    }
    if (pdu !== NOT && nowMs - suspicion.pduSinceMs >= this.#limits.pduTimeoutMs) return 'pduTimeoutMs';
    if (sending && nowMs - suspicion.sendSinceMs >= this.#limits.sendTimeoutMs) return 'sendTimeoutMs';
    return null;
  }
}
