import { assert } from '@nvbraid/base';
import type { Controller } from './controller.ts';

/**
 * The controllers of one subsystem by cntlid. Identifiers are handed out in turn, so that one comes back only when all
 * others have been used: a host that still talks about a dead controller does not meet its successor.
 */
export class ControllerTable {
  #min: number;
  #max: number;
  /** Controllers at a time. */
  limit: number;
  readonly #controllers = new Map<number, Controller>();
  /** Controllers that are gone while devices still work for their commands. */
  readonly #leaving = new Map<number, Controller>();
  #next: number;

  constructor(min: number, max: number, limit: number) {
    assert(min >= 1 && min <= max, 'cntlid range');
    this.#min = min;
    this.#max = max;
    this.limit = limit;
    this.#next = min;
  }

  get min(): number {
    return this.#min;
  }

  get max(): number {
    return this.#max;
  }

  /** Holds for identifiers that are handed out from now on. */
  setRange(min: number, max: number): void {
    assert(min >= 1 && min <= max, 'cntlid range');
    this.#min = min;
    this.#max = max;
    if (this.#next < min || this.#next > max) this.#next = min;
  }

  get size(): number {
    return this.#controllers.size;
  }

  get(cntlid: number): Controller | undefined {
    return this.#controllers.get(cntlid);
  }

  /** The controller that had this identifier, is gone and not quiet yet. */
  leaving(cntlid: number): Controller | undefined {
    return this.#leaving.get(cntlid);
  }

  leavers(): IterableIterator<Controller> {
    return this.#leaving.values();
  }

  values(): IterableIterator<Controller> {
    return this.#controllers.values();
  }

  /** What stands against another controller, or null. */
  get full(): 'subsystemControllers' | 'cntlid' | null {
    if (this.#controllers.size + this.#leaving.size >= this.limit) return 'subsystemControllers';
    const range = this.#max - this.#min;
    if (this.#controllers.size + this.#leaving.size <= range) return null;
    // Some may have their identifiers from a range that held before.
    let taken = 0;
    for (const table of [this.#controllers, this.#leaving]) {
      for (const cntlid of table.keys()) if (cntlid >= this.#min && cntlid <= this.#max) taken++;
    }
    return taken > range ? 'cntlid' : null;
  }

  /** An identifier that is free, or 0 when there is none. */
  allocate(): number {
    const range = this.#max - this.#min + 1;
    for (let tried = 0; tried < range; tried++) {
      const cntlid = this.#next;
      this.#next = cntlid === this.#max ? this.#min : cntlid + 1;
      if (!this.#controllers.has(cntlid) && !this.#leaving.has(cntlid)) return cntlid;
    }
    return 0;
  }

  add(controller: Controller): void {
    assert(!this.#controllers.has(controller.cntlid), 'cntlid is taken');
    this.#controllers.set(controller.cntlid, controller);
  }

  /** Its association is over; its identifier stays taken until `quiet`. */
  delete(controller: Controller): void {
    if (this.#controllers.get(controller.cntlid) !== controller) return;
    this.#controllers.delete(controller.cntlid);
    this.#leaving.set(controller.cntlid, controller);
  }

  /** None of its commands is under way any more. */
  quiet(controller: Controller): void {
    this.#leaving.delete(controller.cntlid);
  }
}
