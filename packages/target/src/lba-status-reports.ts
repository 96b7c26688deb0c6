import { NEVER } from '@nvbraid/base';
import {
  AsyncEventBit,
  LBA_RANGE_BLOCKS_MAX,
  LbaStatusAction,
  type LbaStatusElement,
  lbaStatusLog,
} from '@nvbraid/wire';
import { EVENTS } from './async-events.ts';
import type { Controller } from './controller.ts';
import { LBA_STATUS_LOG_RANGES, LBA_STATUS_LOOK_MS, LBA_STATUS_REPORT_MS } from './limits.ts';
import type { Namespace } from './namespace.ts';

type Ranges = LbaStatusElement['ranges'];

/**
 * What the host of one controller is told of blocks that cannot be read (NVM 1.1, 5.2.1): the LBA Status Information log
 * page, and the alert that there is something in it. The marks of Write Uncorrectable are all that is known of such
 * blocks, so that they are the tracked ones.
 */
export class LbaStatusReports {
  /** When `tick` has to look. */
  deadlineMs = NEVER;
  #reportMs = LBA_STATUS_REPORT_MS;
  /** The page that the host has begun to read with RAE: it must not change until it reads without. */
  #held: Uint8Array | null = null;
  /** What the last page had in it, by namespace. */
  #told = new Map<number, Ranges>();
  /** Of this association: a dynamic controller has no life beyond it. */
  #lsgc = 0;
  readonly #controller: Controller;

  constructor(controller: Controller) {
    this.#controller = controller;
  }

  /** LSIRI, in units of 100 ms. */
  get reportInterval(): number {
    return this.#reportMs / 100;
  }

  set reportInterval(units: number) {
    this.#reportMs = units * 100;
    this.restart();
  }

  /** The page to answer with. @param retain the host reads with RAE */
  page(retain: boolean): Uint8Array {
    if (retain && this.#held !== null) return this.#held;
    const elements = this.#elements();
    if (elements.some(({ nsid, ranges }) => !contains(this.#told.get(nsid), ranges))) {
      this.#lsgc = (this.#lsgc + 1) & 0xffff;
    }
    this.#told = new Map(elements.map(({ nsid, ranges }) => [nsid, ranges]));
    const page = lbaStatusLog(elements, this.#lsgc, LbaStatusAction.Tracked);
    if (retain) this.#held = page;
    return page;
  }

  /** The host has read without RAE. */
  read(): void {
    this.#held = null;
    this.restart();
  }

  /** The report interval begins now, if the host wants alerts. */
  restart(): void {
    const { events, target } = this.#controller;
    const wanted = (events.configuration & AsyncEventBit.LbaStatus) !== 0;
    this.deadlineMs = wanted ? target.nowMs() + Math.max(this.#reportMs, LBA_STATUS_LOOK_MS) : NEVER;
    target.deadlineSet(this.deadlineMs);
  }

  tick(nowMs: number): void {
    if (nowMs < this.deadlineMs) return;
    if (!this.#controller.namespaces.some((namespace) => this.#ranges(namespace, 1).length > 0)) return this.restart();
    this.deadlineMs = NEVER; // until the page is read
    this.#controller.events.raise(EVENTS.lbaStatus);
  }

  /** Controller reset, or its end. */
  reset(): void {
    this.deadlineMs = NEVER;
    this.#reportMs = LBA_STATUS_REPORT_MS;
    this.#held = null;
    this.#told.clear();
  }

  #elements(): LbaStatusElement[] {
    const elements: LbaStatusElement[] = [];
    let room = LBA_STATUS_LOG_RANGES;
    for (const namespace of this.#controller.namespaces) {
      const ranges = this.#ranges(namespace, room + 1);
      if (ranges.length === 0) continue;
      const all = ranges.length > room || ranges.some(([, blocks]) => blocks > LBA_RANGE_BLOCKS_MAX);
      elements.push({ nsid: namespace.nsid, ranges: all ? 'all' : ranges });
      if (!all) room -= ranges.length;
    }
    return elements;
  }

  #ranges(namespace: Namespace, limit: number): (readonly [slba: number, blocks: number])[] {
    const { lbaRanges } = this.#controller.target.hooks;
    return lbaRanges?.(namespace, 'unrecoverable', 0, namespace.blockCount, limit) ?? [];
  }
}

/** Every block of `ranges` lies in `known`; both ascend, and neighbours are joined. */
function contains(known: Ranges | undefined, ranges: Ranges): boolean {
  if (known === 'all') return true;
  if (known === undefined || ranges === 'all') return false;
  let k = 0;
  return ranges.every(([slba, blocks]) => {
    while (k < known.length && known[k]![0] + known[k]![1] < slba + blocks) k++;
    return k < known.length && known[k]![0] <= slba;
  });
}
