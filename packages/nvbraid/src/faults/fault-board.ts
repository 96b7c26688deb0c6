import { type BackgroundWork, systemTimers } from '@nvbraid/blockdev';
import { concerns, PduTap, type PublishedFault, type QueueIdentity, type QueuePair } from '@nvbraid/target';
import type { QueueDriver } from '../queue-driver.ts';

interface Attached {
  readonly identity: QueueIdentity;
  /** 0 before Connect. */
  readonly association: number;
  tap: PduTap | null;
}

export interface FaultBoardOptions {
  readonly thread: number;
  readonly background: BackgroundWork;
  killController(association: number): void;
  log(message: string): void;
}

/**
 * The protocol faults in force in one thread. A queue that a fault concerns gets a tap between its core and its
 * connection; all others have none, and pay nothing but the look whether they have one.
 */
export class FaultBoard {
  readonly #options: FaultBoardOptions;
  readonly #queues = new Map<QueueDriver, Attached>();
  #faults: readonly PublishedFault[] = [];

  constructor(options: FaultBoardOptions) {
    this.#options = options;
  }

  /** Replaces all faults; in force for the next PDU of every queue. */
  update(faults: readonly PublishedFault[]): void {
    this.#faults = faults;
    for (const [driver, attached] of this.#queues) this.#look(driver, attached);
  }

  /** A queue of this thread, or one that is known better now. */
  attach(driver: QueueDriver, identity: QueueIdentity, association: number): void {
    const attached = { identity, association, tap: this.#queues.get(driver)?.tap ?? null };
    this.#queues.set(driver, attached);
    if (this.#faults.length > 0) this.#look(driver, attached);
  }

  detach(driver: QueueDriver): void {
    this.#queues.delete(driver);
  }

  #look(driver: QueueDriver, attached: Attached): void {
    const faults = this.#faults.filter(({ settings }) => concerns(settings, attached.identity));
    if (faults.length > 0) {
      if (driver.tap === null) {
        attached.tap = this.#makeTap(driver, attached.identity);
        driver.tap = attached.tap;
      }
      attached.tap!.update(faults, attached.identity);
      return;
    }
    if (driver.tap === null) return;
    attached.tap!.drain();
    driver.schedule();
  }

  #makeTap(driver: QueueDriver, identity: QueueIdentity): PduTap {
    const { thread, background, log } = this.#options;
    return new PduTap(driver.core as QueuePair, identity, {
      timers: systemTimers,
      thread,
      moved: () => driver.flush(),
      kill: (after) => (after ? driver.endAfterSend() : driver.kill()),
      killController: () => {
        const association = this.#queues.get(driver)?.association ?? 0;
        if (association !== 0) this.#options.killController(association);
      },
      waiting: (yes) => (yes ? background.started() : background.finished()),
      log,
    });
  }
}
