import { NvbraidError } from '@nvbraid/base';
import { AnaState, Treq } from '@nvbraid/wire';
import { AnaGroups } from './ana-groups.ts';
import { MIN_QUEUE_SIZE } from './limits.ts';
import { IN_CAPSULE_BYTES, MAX_IN_CAPSULE_BYTES, MAX_MDTS, MAX_QUEUE_SIZE } from './queue-limits.ts';
import { Referrals } from './referrals.ts';
import type { Subsystem } from './subsystem.ts';
import type { Target } from './target.ts';
import { type AddressOptions, addressOf } from './transport-address.ts';

/** What a port offers to the queues that come in by it. */
export interface PortParameters {
  /** Bytes of in-capsule data of I/O queues, a multiple of 16 up to MAX_IN_CAPSULE_BYTES: IOCCSZ. Default 8192. */
  readonly inCapsuleBytes?: number;
  /** Entries of a queue, 16 … 1024: MQES. Default 1024. */
  readonly maxQueueSize?: number;
  /** Largest data transfer of a command as a power of two of 4 KiB pages, 1 … 8: MDTS. Default 8, which is 1 MiB. */
  readonly mdts?: number;
}

export interface PortOptions extends AddressOptions, PortParameters {
  /** 0 … 65535; the lowest from 1 on that is free when absent. */
  readonly portId?: number;
  /** Transport requirements of the discovery log entry. Default: nothing asked, SQ flow control may be disabled. */
  readonly treq?: number;
  /** TSAS byte 0 with TCP: `Sectype`. */
  readonly sectype?: number;
  /** State of ANA groups that nobody has made on this port, other than group 1. Default optimized; Linux: inaccessible. */
  readonly defaultAnaState?: AnaState;
  /** Whether hosts can connect. The address of an enabled port cannot be changed. Default true. */
  readonly enabled?: boolean;
}

/** What can be changed while a port is disabled. */
export type PortChanges = Partial<Omit<PortOptions, 'portId' | 'enabled' | 'defaultAnaState'>>;

/** Where hosts reach subsystems: one listening address. Access states belong to a port and a group. */
export class Port {
  readonly target: Target;
  readonly portId: number;
  // Changed by `configure` only.
  trtype!: number;
  adrfam!: number;
  traddr!: string;
  trsvcid!: string;
  treq!: number;
  sectype!: number;
  inCapsuleBytes!: number;
  maxQueueSize!: number;
  mdts!: number;
  /** Changed by the target only. */
  enabled: boolean;
  /** Changed by the target only. */
  readonly subsystems = new Set<Subsystem>();
  readonly anaGroups: AnaGroups;
  readonly referrals: Referrals;
  #options: PortOptions;

  /** Made by `Target.addPort`. @throws NvbraidError EINVAL */
  constructor(target: Target, portId: number, options: PortOptions) {
    this.target = target;
    this.portId = portId;
    this.enabled = options.enabled ?? true;
    this.anaGroups = new AnaGroups(options.defaultAnaState ?? AnaState.Optimized);
    this.referrals = new Referrals(() => target.discoveryChanged(this));
    this.#options = options;
    this.#take(options);
  }

  /** Changes address or parameters. @throws NvbraidError EACCES while the port is enabled, EINVAL */
  configure(changes: PortChanges): void {
    if (this.enabled) {
      throw new NvbraidError('EACCES', `port ${this.portId} is enabled: unlink its subsystems before you change it`);
    }
    const options = { ...this.#options, ...changes };
    this.#take(options);
    this.#options = options;
  }

  /** Nothing is taken over when anything is wrong. */
  #take(options: PortOptions): void {
    const address = addressOf(options);
    const inCapsuleBytes = options.inCapsuleBytes ?? IN_CAPSULE_BYTES;
    const maxQueueSize = options.maxQueueSize ?? MAX_QUEUE_SIZE;
    const mdts = options.mdts ?? MAX_MDTS;
    within('in-capsule data size', inCapsuleBytes, 0, MAX_IN_CAPSULE_BYTES);
    if (inCapsuleBytes % 16 !== 0) {
      throw new NvbraidError('EINVAL', `in-capsule data size is a multiple of 16 bytes: ${inCapsuleBytes}`);
    }
    within('queue size', maxQueueSize, MIN_QUEUE_SIZE, MAX_QUEUE_SIZE);
    within('mdts', mdts, 1, MAX_MDTS);
    Object.assign(this, address);
    this.treq = options.treq ?? Treq.DisableSqflow;
    this.sectype = options.sectype ?? 0;
    this.inCapsuleBytes = inCapsuleBytes;
    this.maxQueueSize = maxQueueSize;
    this.mdts = mdts;
  }

  /** State of a group on this port; a group that nobody has set has the port's default state. */
  anaState(grpid: number): AnaState {
    return this.anaGroups.state(grpid);
  }

  /** Tells the controllers on this port and the runtime; makes the group if need be. @throws NvbraidError EINVAL */
  setAnaState(grpid: number, state: AnaState): void {
    if (this.anaGroups.set(grpid, state, this.target.nowMs())) this.#anaChanged();
  }

  /** Makes a group, which the log then lists even while it is empty. @throws NvbraidError EINVAL, EBUSY */
  addAnaGroup(grpid: number, state: AnaState = this.anaGroups.defaultState): void {
    this.anaGroups.add(grpid, state, this.target.nowMs());
    this.#anaChanged();
  }

  /** Namespaces in the group are in the default state from here on. @throws NvbraidError EINVAL for group 1, ENOENT */
  removeAnaGroup(grpid: number): void {
    this.anaGroups.remove(grpid, this.target.nowMs());
    this.#anaChanged();
  }

  #anaChanged(): void {
    for (const subsystem of this.subsystems) subsystem.anaChanged(this);
    this.target.deadlineSet(this.anaGroups.deadlineMs());
  }

  /** Called by the target's `tick`. */
  tick(nowMs: number): void {
    for (const grpid of this.anaGroups.overdue(nowMs)) this.target.hooks.anaChangeOverdue?.(this, grpid);
  }
}

function within(what: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new NvbraidError('EINVAL', `${what} is ${min} to ${max}: ${value}`);
}
