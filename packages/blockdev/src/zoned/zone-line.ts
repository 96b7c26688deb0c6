import { Ring } from '@nvbraid/base';
import type { Io } from '../block-device.ts';
import { WAIT_RETRIES, WAIT_RETRY_MS, ZONE_PATIENCE } from '../limits.ts';
import type { ZoneTable } from './zone-table.ts';

interface Waiting {
  readonly ios: Ring<Io>;
  /** Looks at the zone since its first has come to the front. */
  looks: number;
}

/**
 * Operations of one thread that found their zone taken: zone by zone, in the order they came. They hold nothing while
 * they wait. Other threads do not tell when they give a zone back, so that it is looked at every millisecond.
 */
export class ZoneLine {
  /** True when other threads take zones, too. */
  readonly shared: boolean;
  readonly #zones = new Map<number, Waiting>();
  readonly #table: ZoneTable;
  readonly #enter: (io: Io, impatient: boolean) => boolean;
  readonly #abandon: (io: Io) => void;
  /** Zones whose line is being served further up the stack. */
  readonly #serving = new Set<number>();
  #timer: NodeJS.Timeout | null = null;

  /**
   * @param enter tries to take the zone for an operation, and runs it; impatiently when it has waited for long enough
   * to let another thread be first
   * @param abandon ends an operation that has waited longer than anything that lives takes
   */
  constructor(
    table: ZoneTable,
    shared: boolean,
    enter: (io: Io, impatient: boolean) => boolean,
    abandon: (io: Io) => void,
  ) {
    this.#table = table;
    this.shared = shared;
    this.#enter = enter;
    this.#abandon = abandon;
  }

  /** Whether a new operation must get in line behind one that is there. */
  blocks(zone: number): boolean {
    return this.#zones.size > 0 && this.#zones.has(zone);
  }

  add(zone: number, io: Io): void {
    let waiting = this.#zones.get(zone);
    if (waiting === undefined) {
      waiting = { ios: new Ring<Io>(), looks: 0 };
      this.#zones.set(zone, waiting);
      this.#table.want(zone, true);
    }
    waiting.ios.push(io);
    if (this.shared) this.#lookLater();
  }

  /** This thread has given a zone back. */
  given(zone: number): void {
    if (this.#zones.size > 0) this.#serve(zone);
  }

  /** In a loop, not by recursion: each that is done at once gives the zone back, too. */
  #serve(zone: number): void {
    if (this.#serving.has(zone)) return;
    const waiting = this.#zones.get(zone);
    if (waiting === undefined) return;
    this.#serving.add(zone);
    for (let io = waiting.ios.shift(); io !== undefined; io = waiting.ios.shift()) {
      if (!this.#enter(io, waiting.looks > ZONE_PATIENCE)) {
        waiting.ios.unshift(io);
        break;
      }
      waiting.looks = 0;
    }
    this.#serving.delete(zone);
    this.#leave(zone, waiting);
  }

  #leave(zone: number, waiting: Waiting): void {
    if (waiting.ios.length > 0 || !this.#zones.delete(zone)) return;
    this.#table.want(zone, false);
  }

  #lookLater(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      for (const [zone, waiting] of [...this.#zones]) {
        this.#serve(zone);
        if (waiting.ios.length === 0 || ++waiting.looks <= WAIT_RETRIES) continue;
        waiting.looks = 0;
        this.#abandon(waiting.ios.shift()!);
        this.#leave(zone, waiting);
      }
      if (this.#zones.size > 0) this.#lookLater();
    }, WAIT_RETRY_MS);
  }
}
