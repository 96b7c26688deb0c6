import { NvbraidError, type Plain, type Timers } from '@nvbraid/base';
import { systemTimers } from '@nvbraid/blockdev';
import {
  FaultCounter,
  type FaultRule,
  type FaultSettings,
  faultRule,
  isPduAction,
  MAX_FAULTS,
  type PublishedFault,
  publishFault,
  readFault,
  type Target as TargetCore,
} from '@nvbraid/target';
import { TimedFault } from './timed-fault.ts';

/** A fault as it is listed: plain JSON. */
export interface FaultState {
  readonly id: number;
  /** As short as it can be said; makes the same fault again. */
  readonly rule: Readonly<Record<string, Plain>>;
  readonly settings: FaultSettings;
  /** PDUs that it has hit, or changes that it has made. */
  readonly hits: number;
  /** Hits that are left; null for no end. */
  readonly left: number | null;
}

interface InForce {
  readonly published: PublishedFault;
  readonly timed: TimedFault | null;
}

/**
 * The protocol faults of a target. What is added or removed holds for every PDU that any thread receives afterwards.
 * Rules are tried in the order in which they were added; the first that hits a PDU has its way.
 */
export class TargetFaults {
  readonly #core: TargetCore;
  readonly #publish: (faults: readonly PublishedFault[]) => void;
  readonly #timers: Timers;
  readonly #faults = new Map<number, InForce>();
  #nextId = 1;

  constructor(core: TargetCore, publish: (faults: readonly PublishedFault[]) => void, timers: Timers = systemTimers) {
    this.#core = core;
    this.#publish = publish;
    this.#timers = timers;
  }

  /** For reactors that are started later. */
  get published(): readonly PublishedFault[] {
    return [...this.#faults.values()].map(({ published }) => published);
  }

  /** @throws NvbraidError EINVAL that names the key, EBUSY when there are too many */
  add(rule: FaultRule): FaultState {
    const read = readFault(rule);
    if (this.#faults.size >= MAX_FAULTS) {
      throw new NvbraidError('EBUSY', `there are ${MAX_FAULTS} faults already; remove some`, { retryable: false });
    }
    const settings = isPduAction(read.action) && read.seed === null ? { ...read, seed: newSeed() } : read;
    const published = publishFault(this.#nextId++, settings);
    const timed = isPduAction(settings.action) ? null : new TimedFault(this.#core, published, this.#timers);
    this.#faults.set(published.id, { published, timed });
    if (timed === null) this.#publish(this.published);
    return this.#state(published.id);
  }

  /** What it holds back goes on; what it has changed is changed back. @throws NvbraidError ENOENT */
  remove(id: number): void {
    this.#existing(id).timed?.stop();
    this.#faults.delete(id);
    this.#publish(this.published);
  }

  /** Removes all. @returns how many there were */
  clear(): number {
    const count = this.#faults.size;
    for (const { timed } of this.#faults.values()) timed?.stop();
    this.#faults.clear();
    if (count > 0) this.#publish([]);
    return count;
  }

  list(): FaultState[] {
    return [...this.#faults.keys()].map((id) => this.#state(id));
  }

  /** @throws NvbraidError ENOENT */
  get(id: number): FaultState {
    this.#existing(id);
    return this.#state(id);
  }

  /** Called by the target: no timer is left. */
  close(): void {
    this.clear();
  }

  #existing(id: number): InForce {
    const fault = this.#faults.get(id);
    if (fault !== undefined) return fault;
    const ids = [...this.#faults.keys()];
    const known = ids.length === 0 ? 'there is none' : `there are ${ids.join(', ')}`;
    throw new NvbraidError('ENOENT', `there is no fault ${id}; ${known}`);
  }

  #state(id: number): FaultState {
    const { settings, counters } = this.#faults.get(id)!.published;
    const words = new Int32Array(counters);
    const left = Atomics.load(words, FaultCounter.Left);
    return {
      id,
      rule: faultRule(settings),
      settings,
      hits: Atomics.load(words, FaultCounter.Hits),
      left: left < 0 ? null : left,
    };
  }
}

function newSeed(): number {
  return Math.floor(Math.random() * 2 ** 32);
}
