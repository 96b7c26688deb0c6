import { assert, type Clock, Memory, type NvbraidError, SlabPool } from '@nvbraid/base';
import {
  type BackgroundWork,
  type BlockDevice,
  type Io,
  IoOp,
  IoResult,
  openDevice,
  type PreparedDevice,
} from '@nvbraid/blockdev';
import {
  Access,
  type CommandError,
  type ForwardedCommand,
  type ForwardedDone,
  IoCommands,
  IoCounters,
  type IoHost,
  type NamespaceSnapshot,
  NamespaceTable,
  Pieces,
  type QueueEnvironment,
  type QueueHandoff,
  QueuePair,
  retractReplies,
  type SubsystemSnapshot,
} from '@nvbraid/target';
import type { Connection, SubflowReport } from '@nvbraid/transport';
import { DNR, Status } from '@nvbraid/wire';
import { FaultBoard } from './faults/fault-board.ts';
import { HostBlock } from './host-block.ts';
import { HostScheduler } from './host-scheduler.ts';
import { HostShare } from './host-share.ts';
import { Lease } from './lease.ts';
import { type DriverHooks, QueueDriver } from './queue-driver.ts';
import { sayEndpoint } from './target-connection.ts';
import type { TargetLimits } from './target-limits.ts';
import { Watchdog } from './watchdog.ts';

/** Which controller's queue it is; `association` is unique within a target process. */
export interface QueueOwner {
  readonly association: number;
  readonly nqn: string;
  readonly portId: number;
  /** One word that is set whenever something arrives on the queue: see `Controller.traffic`. */
  readonly traffic: SharedArrayBuffer;
  /** Where the commands of this subsystem in this thread are counted. */
  readonly counters: SharedArrayBuffer;
  readonly host: IoHost;
  /** What the threads share about that host, a `HostBlock`. */
  readonly block: SharedArrayBuffer;
  /** Tells this host from others, and from itself when it comes back after it had left for good. */
  readonly blockId: number;
  /** Until when the host counts as alive: a `Lease`. Absent: without end. */
  readonly lease?: SharedArrayBuffer;
}

/** Has the control plane run a command of a queue that belongs to the association. */
export type Forward = (
  association: number,
  nsid: number,
  instance: number,
  command: ForwardedCommand,
  done: ForwardedDone,
) => void;

export interface DataPlaneOptions {
  /** Payload memory of the thread, in bytes. */
  poolBytes: number;
  /** Threads that use the devices together. */
  threads: number;
  /** Which row of the hosts' counters is this thread's. */
  row: number;
  clock: Clock;
  /** See `HostScheduler`. */
  nextTurn: ((delayMs: number) => void) | null;
  limits: TargetLimits;
  /** A peer has met a limit; the sentence says who, and what was done. */
  limitMet(limit: string, sentence: string): void;
  /** Which of them this is. Default 0. */
  thread?: number;
  /** A fault wants the whole controller gone. */
  killController?(association: number): void;
  /** A command has failed: for the error log of its controller. */
  commandFailed?(association: number, error: CommandError): void;
  /** An I/O queue is gone and none of its commands can change a block any more. */
  queueGone(association: number, qid: number, error: NvbraidError | null, fatalFes: number): void;
  /** What an operator must know of a device. */
  log(message: string): void;
  /** Whether a namespace that no port leads to is still there: its device stays open. Default: it is not. */
  unlinked?(instance: number): boolean;
  /** Has the control plane run a command of a queue; `done` is called once. Absent: such commands are refused. */
  readonly forward?: Forward;
  /** Before received bytes are looked at: the place to apply what the control plane has published. */
  beforeReceive?(): void;
}

interface OwnedQueue {
  readonly owner: QueueOwner;
  readonly lease: Lease;
  readonly driver: QueueDriver;
  /** Why its connection ended. */
  error: NvbraidError | null;
}

class BackgroundCounter implements BackgroundWork {
  count = 0;

  started(): void {
    this.count++;
  }

  finished(): void {
    this.count--;
  }
}

const NO_MEMORY = Memory.alloc(0);

/** The environment of the queues of one thread: payload memory, and who waits for it. */
export class ThreadEnvironment implements QueueEnvironment {
  readonly pool: SlabPool;
  readonly #drivers = new Map<QueuePair, QueueDriver>();
  readonly #starved = new Set<QueuePair>();
  readonly #paused = new Set<QueueDriver>();
  #retrying = false;
  readonly #beforeRun: () => void;
  readonly idle: (queue: QueuePair) => void;

  /** @param beforeRun applies what the control plane has published, before commands are run again */
  constructor(poolBytes: number, idle: (queue: QueuePair) => void, beforeRun: () => void = () => {}) {
    this.pool = new SlabPool(poolBytes);
    this.idle = idle;
    this.#beforeRun = beforeRun;
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

  /** Those of all queues of the thread. */
  drivers(): IterableIterator<QueueDriver> {
    return this.#drivers.values();
  }

  paused(driver: QueueDriver): void {
    this.#paused.add(driver);
  }

  /** Payload memory may have come back: those who wait try again, first come, first served. */
  retryStarved(): void {
    if (this.#paused.size > 0) {
      for (const driver of this.#paused) if (driver.resume()) this.#paused.delete(driver);
    }
    if (this.#starved.size === 0 || this.#retrying) return;
    this.#retrying = true;
    this.#beforeRun();
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
  /** Device operations that end through Node's event loop. */
  readonly background = new BackgroundCounter();
  /** Protocol faults of the queues of this thread. */
  readonly faults: FaultBoard;
  readonly #options: DataPlaneOptions;
  readonly #tables = new Map<string, NamespaceTable>();
  /** Open devices by namespace instance, with the number of tables that name them. */
  readonly #devices = new Map<number, BlockDevice>();
  readonly #queues = new Map<QueuePair, OwnedQueue>();
  /** What commands of this thread move data through. */
  readonly #pieces = new Pieces();
  readonly #closing = new Set<Promise<void>>();
  readonly #whenDrained: (() => void)[] = [];
  readonly #watchdog: Watchdog;
  readonly scheduler: HostScheduler;
  readonly #shares = new Map<number, HostShare>();

  constructor(options: DataPlaneOptions) {
    this.#options = options;
    this.scheduler = new HostScheduler(options.clock, options.nextTurn);
    this.#watchdog = new Watchdog(options.limits, (driver, limit, reason) => this.#overdue(driver, limit, reason));
    this.faults = new FaultBoard({
      thread: options.thread ?? 0,
      background: this.background,
      killController: (association) => options.killController?.(association),
      log: options.log,
    });
    this.environment = new ThreadEnvironment(options.poolBytes, (queue) => this.#idle(queue), options.beforeReceive);
  }

  get queueCount(): number {
    return this.#queues.size;
  }

  /** How often `look` should be called, in ms. */
  get lookMs(): number {
    return this.#watchdog.intervalMs;
  }

  /** Ends the connections of peers that have stopped in the middle of something. */
  look(nowMs: number): void {
    this.#watchdog.look(this.environment.drivers(), nowMs);
  }

  #overdue(driver: QueueDriver, limit: string, reason: string): void {
    const { connection } = driver;
    const { qid } = driver.core as QueuePair;
    const queue = qid < 0 ? 'before Connect' : `queue ${qid}`;
    this.#options.limitMet(
      limit,
      `connection from ${sayEndpoint(connection.remote)} (${queue}) closed, since ${reason}`,
    );
    connection.destroy(null);
  }

  owns(queue: QueuePair): boolean {
    return this.#queues.has(queue);
  }

  /** Replaces what is known of a subsystem behind a port; devices that nobody names any more are closed. */
  update(snapshot: SubsystemSnapshot): void {
    this.table(snapshot.nqn, snapshot.portId).update(snapshot);
    this.closeUnused();
    this.#forgetTable(snapshot.nqn, snapshot.portId);
  }

  /** Closes the devices of namespaces that are gone. */
  closeUnused(): void {
    const named = new Set<number>();
    for (const table of this.#tables.values()) {
      for (const entry of table.entries()) named.add(entry.snapshot.instance);
    }
    for (const [instance, device] of this.#devices) {
      if (named.has(instance) || this.#options.unlinked?.(instance) === true) continue;
      this.#devices.delete(instance);
      this.#closeDevice(device);
    }
  }

  /** An empty table stays as long as queues hold it: what is published later must reach them. */
  #forgetTable(nqn: string, portId: number): void {
    const key = tableKey(nqn, portId);
    const table = this.#tables.get(key);
    if (table === undefined || !table.empty) return;
    for (const { owner } of this.#queues.values()) if (owner.nqn === nqn && owner.portId === portId) return;
    this.#tables.delete(key);
  }

  #closeDevice(device: BlockDevice): void {
    const closing = device
      .close()
      .catch((error: unknown) => this.#options.log(`closing a device failed: ${String(error)}`))
      .finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  /** Fulfilled when no device that was taken out of service is used any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#closing);
  }

  /** The namespaces behind a port; empty until the first snapshot. */
  table(nqn: string, portId: number): NamespaceTable {
    const key = tableKey(nqn, portId);
    let table = this.#tables.get(key);
    if (table === undefined) {
      table = new NamespaceTable((namespace) => this.#device(namespace));
      this.#tables.set(key, table);
    }
    return table;
  }

  commands(owner: QueueOwner): IoCommands {
    const table = this.table(owner.nqn, owner.portId);
    const lease = new Lease(owner.lease);
    const { forward } = this.#options;
    return new IoCommands(table, new IoCounters(owner.counters), {
      host: owner.host,
      pieces: this.#pieces,
      hostIsGone: () => lease.over,
      failed: (error: CommandError) => this.#options.commandFailed?.(owner.association, error),
      ...(forward === undefined
        ? {}
        : {
            forward: ({ nsid, snapshot }, command, done) =>
              forward(owner.association, nsid, snapshot.instance, command, done),
          }),
    });
  }

  /** Goes on with a queue that the control plane has connected. */
  adopt(connection: Connection, handoff: QueueHandoff, owner: QueueOwner): void {
    const queue = QueuePair.resume(this.environment, this.commands(owner), handoff);
    const driver = new QueueDriver(queue, connection, this.driverHooks(queue));
    this.own(queue, driver, owner);
    const { host, nqn: subnqn, portId } = owner;
    this.faults.attach(driver, { hostnqn: host.hostnqn, subnqn, portId, qid: handoff.qid }, owner.association);
    driver.start();
  }

  /** Registers a queue whose connection this thread drives. */
  own(queue: QueuePair, driver: QueueDriver, owner: QueueOwner): void {
    driver.traffic = new Int32Array(owner.traffic);
    this.environment.add(queue, driver);
    this.#queues.set(queue, { owner, lease: new Lease(owner.lease), driver, error: null });
    this.join(queue, driver, owner.blockId, owner.block, true);
  }

  /**
   * The queue takes part in what its host has in this thread.
   * @param metered see `HostScheduler.add`
   */
  join(queue: QueuePair, driver: QueueDriver, hostId: number, host: SharedArrayBuffer, metered: boolean): void {
    let share = this.#shares.get(hostId);
    if (share === undefined) {
      share = new HostShare(hostId, new HostBlock(host), this.#options.row);
      this.#shares.set(hostId, share);
    }
    if (metered) {
      queue.memory.share = share;
      if (queue.commands instanceof IoCommands) queue.commands.owner = share;
    }
    this.scheduler.add(driver, share, metered);
  }

  /** The connection of a queue that has joined is gone. */
  leave(driver: QueueDriver): void {
    const { share } = driver;
    if (share === null) return;
    this.scheduler.remove(driver);
    if (share.queues === 0) this.#shares.delete(share.hostId);
  }

  /** Closes the queue if its host's time is over: what has been received is not run. */
  checkLease(queue: QueuePair): void {
    const owned = this.#queues.get(queue);
    if (owned?.lease.over === true) this.#stop(queue, owned);
  }

  driverHooks(queue: QueuePair): DriverHooks {
    const publish = this.#options.beforeReceive;
    return {
      turns: this.scheduler,
      beforeReceive: () => {
        publish?.();
        this.checkLease(queue);
      },
      afterFlush: () => this.environment.retryStarved(),
      paused: (driver) => this.environment.paused(driver),
      closed: (driver, error) => this.queueClosed(driver.core as QueuePair, error),
    };
  }

  /** The connection of a queue is gone; devices may still work for it. */
  queueClosed(queue: QueuePair, error: NvbraidError | null): void {
    const owned = this.#queues.get(queue);
    if (owned === undefined) return;
    owned.error = error;
    this.faults.detach(owned.driver);
    this.leave(owned.driver);
    queue.closed();
    this.environment.remove(queue);
    this.environment.retryStarved();
    if (queue.outstanding === 0) this.#idle(queue);
  }

  #idle(queue: QueuePair): void {
    const owned = this.#queues.get(queue);
    if (owned === undefined) return;
    this.#queues.delete(queue);
    if (this.#queues.size === 0) for (const resolve of this.#whenDrained.splice(0)) resolve();
    this.#forgetTable(owned.owner.nqn, owned.owner.portId);
    this.environment.retryStarved();
    this.#options.queueGone(owned.owner.association, queue.qid, owned.error, queue.fatal ? queue.fatalFes : 0);
  }

  /**
   * Takes no commands any more: those that have arrived are answered, then their connections are closed in order.
   * Fulfilled when the last queue is gone, which is up to its host.
   */
  drainQueues(): Promise<void> {
    for (const { driver } of this.#queues.values()) (driver.core as QueuePair).drain();
    if (this.#queues.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenDrained.push(resolve));
  }

  /** What the connection of a queue is made of; null when it is gone, or its transport has no subflows. */
  subflows(association: number, qid: number, backup: boolean): SubflowReport | null {
    for (const [queue, { owner, driver }] of this.#queues) {
      if (owner.association === association && queue.qid === qid) return driver.connection.subflows?.(backup) ?? null;
    }
    return null;
  }

  /** Closes a queue at once: not even a command that has been received runs any more. */
  closeQueue(association: number, qid: number): void {
    for (const [queue, owned] of [...this.#queues]) {
      if (owned.owner.association === association && queue.qid === qid) this.#stop(queue, owned);
    }
  }

  #stop(queue: QueuePair, owned: OwnedQueue): void {
    owned.driver.connection.destroy(null);
    this.queueClosed(queue, null);
  }

  /**
   * Fulfilled when the commands have ended that are executing on a namespace now. Those that start later meet what has
   * been published until now.
   */
  drain(instance: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    let left = 1;
    const ended = (): void => {
      if (--left === 0) resolve();
    };
    for (const queue of this.#queues.keys()) {
      if (queue.commands instanceof IoCommands) left += drainQueue(queue, queue.commands, instance, ended);
    }
    ended();
    return promise;
  }

  /** Makes what was written to a subsystem's namespaces stable; fulfilled also when a device fails. */
  async flush(nqn: string): Promise<void> {
    const devices = new Set<BlockDevice>();
    for (const [key, table] of this.#tables) {
      if (key.endsWith(` ${nqn}`)) for (const entry of table.entries()) devices.add(entry.device);
    }
    await Promise.all([...devices].map((device) => this.#flushDevice(device)));
  }

  #flushDevice(device: BlockDevice): Promise<void> {
    return new Promise((resolve) => {
      const io: Io = {
        op: IoOp.Flush,
        offset: 0,
        length: 0,
        memory: NO_MEMORY,
        memoryOffset: 0,
        fua: false,
        deallocate: false,
        result: IoResult.Ok,
        done: () => resolve(),
      };
      if (device.submit(io)) resolve();
    });
  }

  /** Closes all queues, waits for the devices to finish what is under way, and closes them. */
  async close(): Promise<void> {
    for (const [queue, owned] of [...this.#queues]) this.#stop(queue, owned);
    for (const table of this.#tables.values()) table.clear();
    const devices = [...this.#devices.values()];
    this.#devices.clear();
    this.#tables.clear();
    for (const device of devices) this.#closeDevice(device);
    await this.settled();
  }

  #device(namespace: NamespaceSnapshot): BlockDevice {
    let device = this.#devices.get(namespace.instance);
    if (device === undefined) {
      device = this.#open(namespace);
      assert(device.blockSize === namespace.blockSize, 'device and namespace differ in their block size');
      this.#devices.set(namespace.instance, device);
    }
    return device;
  }

  /** A device that cannot be opened fails its own commands, not the thread. */
  #open(namespace: NamespaceSnapshot): BlockDevice {
    try {
      return isOpenDevice(namespace.device)
        ? namespace.device
        : openDevice(namespace.device as PreparedDevice, {
            threads: this.#options.threads,
            thread: this.#options.thread ?? 0,
            background: this.background,
            log: this.#options.log,
          });
    } catch (error) {
      this.#options.log(`namespace ${namespace.nsid} cannot be opened: ${(error as Error).message}`);
      return new UnusableDevice(namespace);
    }
  }
}

/** Targets without reactors may be given a device object instead of a spec. */
export function isOpenDevice(device: unknown): device is BlockDevice {
  return typeof (device as BlockDevice).submit === 'function';
}

/**
 * @param ended called for each command that is executing on the namespace, when it has ended
 * @returns how many there are
 */
function drainQueue(queue: QueuePair, commands: IoCommands, instance: number, ended: () => void): number {
  for (const entry of commands.table.entries()) {
    if (entry.snapshot.instance !== instance || entry.device.memory === null) continue;
    // Such reads are done, but their data is taken when it is sent: it would be newer than the reservation.
    if (commands.conflicts(entry, Access.Read)) {
      retractReplies(queue.slots, entry.device.memory, Status.ReservationConflict | DNR);
    }
  }
  return commands.whenEnded(instance, ended);
}

function tableKey(nqn: string, portId: number): string {
  return `${portId} ${nqn}`;
}

/** Stands where a device could not be opened: every operation fails. */
class UnusableDevice implements BlockDevice {
  readonly blockSize: number;
  readonly blockCount: number;
  readonly readOnly = false;
  readonly volatileWriteCache = false;
  readonly thin = false;
  readonly memory = null;

  constructor(namespace: NamespaceSnapshot) {
    this.blockSize = namespace.blockSize;
    this.blockCount = namespace.blockCount;
  }

  submit(io: Io): boolean {
    io.result = IoResult.Failed;
    return true;
  }

  async close(): Promise<void> {}
}
