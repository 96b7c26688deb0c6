import { assert, type NvbraidError, SlabPool } from '@nvbraid/base';
import { type BlockDevice, type DeviceSpec, openDevice } from '@nvbraid/blockdev';
import {
  Counter,
  IoCommands,
  type IoCounters,
  type NamespaceSnapshot,
  NamespaceTable,
  PendingIo,
  type QueueEnvironment,
  type QueueHandoff,
  QueuePair,
  type SubsystemSnapshot,
} from '@nvbraid/target';
import type { Connection } from '@nvbraid/transport';
import { type DriverHooks, QueueDriver } from './queue-driver.ts';

/** Which controller's queue it is; `association` is unique within a target process. */
export interface QueueOwner {
  readonly association: number;
  readonly nqn: string;
  readonly portId: number;
}

export interface DataPlaneOptions {
  /** Payload memory of the thread, in bytes. */
  poolBytes: number;
  counters: IoCounters;
  /** Threads that use the devices together. */
  threads: number;
  /** An I/O queue is gone. */
  queueGone(association: number, qid: number, error: NvbraidError | null, fatalFes: number): void;
  /** Before received bytes are looked at: the place to apply what the control plane has published. */
  beforeReceive?(): void;
}

interface OwnedQueue {
  readonly owner: QueueOwner;
  readonly queue: QueuePair;
  readonly driver: QueueDriver;
}

/** The environment of the queues of one thread: payload memory, and who waits for it. */
export class ThreadEnvironment implements QueueEnvironment {
  readonly pool: SlabPool;
  readonly #drivers = new Map<QueuePair, QueueDriver>();
  readonly #starved = new Set<QueuePair>();
  #retrying = false;

  constructor(poolBytes: number) {
    this.pool = new SlabPool(poolBytes);
  }

  add(queue: QueuePair, driver: QueueDriver): void {
    this.#drivers.set(queue, driver);
  }

  remove(queue: QueuePair): void {
    this.#drivers.delete(queue);
    this.#starved.delete(queue);
  }

  wantTransmit(queue: QueuePair): void {
    this.#drivers.get(queue)?.schedule();
  }

  starved(queue: QueuePair): void {
    this.#starved.add(queue);
  }

  /** Payload memory may have come back: those who wait try again, first come, first served. */
  retryStarved(): void {
    if (this.#starved.size === 0 || this.#retrying) return;
    this.#retrying = true;
    const waiting = [...this.#starved];
    this.#starved.clear();
    for (const queue of waiting) queue.retryStarved();
    this.#retrying = false;
  }
}

/**
 * The I/O queues of one thread, with the namespaces and devices they use. Lives in a reactor, or on the main thread of
 * a target without reactors.
 */
export class DataPlane {
  readonly environment: ThreadEnvironment;
  readonly pendingIo = new PendingIo();
  readonly counters: IoCounters;
  readonly #options: DataPlaneOptions;
  readonly #tables = new Map<string, NamespaceTable>();
  /** Open devices by namespace instance, with the number of tables that name them. */
  readonly #devices = new Map<number, BlockDevice>();
  readonly #queues = new Set<OwnedQueue>();
  readonly #closing: Promise<void>[] = [];

  constructor(options: DataPlaneOptions) {
    this.#options = options;
    this.counters = options.counters;
    this.environment = new ThreadEnvironment(options.poolBytes);
  }

  get queueCount(): number {
    return this.#queues.size;
  }

  /** Replaces what is known of a subsystem behind a port; devices that nobody names any more are closed. */
  update(snapshot: SubsystemSnapshot): void {
    this.table(snapshot.nqn, snapshot.portId).update(snapshot);
    const named = new Set<number>();
    for (const table of this.#tables.values()) {
      for (const entry of table.entries()) named.add(entry.snapshot.instance);
    }
    for (const [instance, device] of this.#devices) {
      if (named.has(instance)) continue;
      this.#devices.delete(instance);
      this.#closing.push(device.close());
    }
  }

  /** The namespaces behind a port; empty until the first snapshot. */
  table(nqn: string, portId: number): NamespaceTable {
    const key = `${portId} ${nqn}`;
    let table = this.#tables.get(key);
    if (table === undefined) {
      table = new NamespaceTable((namespace) => this.#device(namespace));
      this.#tables.set(key, table);
    }
    return table;
  }

  commands(owner: QueueOwner): IoCommands {
    return new IoCommands(this.table(owner.nqn, owner.portId), this.counters, this.pendingIo);
  }

  /** Goes on with a queue that the control plane has connected. */
  adopt(connection: Connection, handoff: QueueHandoff, owner: QueueOwner): void {
    const queue = QueuePair.resume(this.environment, this.commands(owner), handoff);
    const driver = new QueueDriver(queue, connection, this.driverHooks());
    this.own(queue, driver, owner);
    driver.start();
  }

  /** Registers a queue whose connection this thread drives. */
  own(queue: QueuePair, driver: QueueDriver, owner: QueueOwner): void {
    this.environment.add(queue, driver);
    this.#queues.add({ owner, queue, driver });
    this.counters.words[Counter.queues]!++;
  }

  driverHooks(): DriverHooks {
    const hooks: DriverHooks = {
      afterFlush: () => this.environment.retryStarved(),
      closed: (driver, error) => this.queueClosed(driver, error),
    };
    if (this.#options.beforeReceive !== undefined) hooks.beforeReceive = this.#options.beforeReceive;
    return hooks;
  }

  queueClosed(driver: QueueDriver, error: NvbraidError | null): void {
    for (const owned of this.#queues) {
      if (owned.driver !== driver) continue;
      this.#queues.delete(owned);
      const { queue, owner } = owned;
      queue.closed();
      this.environment.remove(queue);
      this.counters.words[Counter.queues]!--;
      if (queue.fatal) this.counters.words[Counter.fatalErrors]!++;
      this.#options.queueGone(owner.association, queue.qid, error, queue.fatal ? queue.fatalFes : 0);
      this.environment.retryStarved();
      return;
    }
  }

  /** The association is gone: its queues close at once. */
  closeAssociation(association: number): void {
    for (const owned of [...this.#queues]) {
      if (owned.owner.association === association) owned.driver.connection.destroy(null);
    }
  }

  /** Closes all queues, waits for the devices to finish what is under way, and closes them. */
  async close(): Promise<void> {
    for (const owned of [...this.#queues]) owned.driver.connection.destroy(null);
    const devices = [...this.#devices.values()];
    this.#devices.clear();
    this.#tables.clear();
    await Promise.all([...this.#closing, ...devices.map((device) => device.close())]);
  }

  #device(namespace: NamespaceSnapshot): BlockDevice {
    let device = this.#devices.get(namespace.instance);
    if (device === undefined) {
      device = isOpenDevice(namespace.device)
        ? namespace.device
        : openDevice(namespace.device as DeviceSpec, { threads: this.#options.threads });
      assert(device.blockSize === namespace.blockSize, 'device and namespace differ in their block size');
      this.#devices.set(namespace.instance, device);
    }
    return device;
  }
}

/** Targets without reactors may be given a device object instead of a spec. */
export function isOpenDevice(device: unknown): device is BlockDevice {
  return typeof (device as BlockDevice).submit === 'function';
}
