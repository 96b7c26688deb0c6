import { NEVER, type NvbraidError } from '@nvbraid/base';
import { type CommandQueue, type Controller, type Port, QueuePair, type Target as TargetCore } from '@nvbraid/target';
import { type Connection, type Endpoint, transports } from '@nvbraid/transport';
import { TRTYPE_NAMES } from '@nvbraid/wire';
import type { DataPlane, QueueOwner } from './data-plane.ts';
import { HalfOpen } from './half-open.ts';
import { LimitLog } from './limit-log.ts';
import { CLOSE_DEADLINE_MS } from './limits.ts';
import { QueueDriver } from './queue-driver.ts';
import { systemClock } from './system-clock.ts';
import { identityOf, sayEndpoint, type TargetConnection } from './target-connection.ts';
import type { TargetLimits } from './target-limits.ts';

export interface ConnectionsOptions {
  readonly core: TargetCore;
  readonly plane: DataPlane;
  readonly limits: TargetLimits;
  readonly limitLog: LimitLog;
  /** Connections of I/O queues that are in reactors. */
  elsewhere(): number;
  /** An I/O queue whose Connect has been answered and that has an owner: goes to the owner's reactor. */
  handOff(entry: TargetConnection, owner: QueueOwner): void;
  /** The connection of an I/O queue is gone, and the queue with it. */
  ioQueueClosed(controller: Controller, qid: number): void;
  /** The connection of a queue broke the protocol. */
  fatal(): void;
  /** Something has happened that may have set a deadline. */
  armTimer(atMs: number): void;
  log(message: string): void;
}

/** The connections of the main thread: all those that have not been answered a Connect yet, and the admin queues. */
export class TargetConnections {
  readonly #options: ConnectionsOptions;
  readonly #entries = new Map<CommandQueue, TargetConnection>();
  readonly #halfOpen: HalfOpen;
  readonly #fallbacks: LimitLog;
  readonly #whenEmpty: (() => void)[] = [];
  #nextId = 1;
  #closed = false;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
    this.#fallbacks = new LimitLog(systemClock, options.log, 'counter');
    this.#halfOpen = new HalfOpen(options.limits.halfOpen, options.limits.halfOpenPerAddress);
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Connections by plain TCP to ports of Multipath TCP. */
  get fallbacks(): { readonly fallbackRefused: number; readonly fallbackTaken: number } {
    const of = (name: string): number => this.#fallbacks.count(name);
    return { fallbackRefused: of('fallbackRefused'), fallbackTaken: of('fallbackTaken') };
  }

  get(queue: CommandQueue): TargetConnection | undefined {
    return this.#entries.get(queue);
  }

  values(): TargetConnection[] {
    return [...this.#entries.values()];
  }

  accept(port: Port, transportName: string, connection: Connection): void {
    const { core, limits, plane } = this.#options;
    const { address } = connection.remote;
    const full = this.#entries.size + this.#options.elsewhere() >= limits.connections;
    const limit = this.#closed ? null : full ? 'connections' : this.#halfOpen.add(address);
    if (this.#closed || limit !== null) {
      connection.start({ received() {}, drained() {}, closed() {} });
      connection.destroy(null);
      if (limit !== null) this.#met(limit, connection, `refused, since ${limits[limit]} are open`);
      return;
    }
    const { environment } = plane;
    const local = { traddr: connection.local.address, trsvcid: String(connection.local.port) };
    const offered = { inCapsuleBytes: port.inCapsuleBytes, maxDataBytes: 4096 << port.mdts };
    const queue = new QueuePair(environment, (made) => core.acceptQueue(made, port, local), offered);
    const driver = new QueueDriver(queue, connection, {
      turns: plane.scheduler,
      beforeReceive: () => plane.checkLease(queue), // of an I/O queue that stays here
      afterFlush: () => this.#afterFlush(entry),
      paused: (paused) => environment.paused(paused),
      closed: (_driver, error) => this.closed(entry, error),
    });
    const acceptedMs = systemClock.nowMs();
    const base = { id: this.#nextId++, port, transport: transports[transportName]!, connection, queue, driver };
    const entry: TargetConnection = { ...base, acceptedMs, controller: null, qid: -1, owner: null };
    this.#entries.set(queue, entry);
    environment.add(queue, driver);
    plane.faults.attach(driver, identityOf(entry), 0);
    driver.start();
    this.#options.armTimer(acceptedMs + limits.connectTimeoutMs);
  }

  /** The system has nothing left for another connection. */
  refused(error: NvbraidError): void {
    const { connections } = this.#options.limits;
    const wayOut = `raise its limit of open files (ulimit -n, LimitNOFILE) or lower limits.connections (${connections})`;
    this.#options.limitLog.met('openFiles', `${error.message}; ${wayOut}`);
  }

  /** A peer came by plain TCP to a port of Multipath TCP, and was reset unless the port allows it. */
  otherProtocol(port: Port, remote: Endpoint, taken: boolean): void {
    const trtype = TRTYPE_NAMES[port.trtype];
    const what = taken
      ? 'taken, although it has a single path'
      : `refused: connect with -t ${trtype}, or let the port take both (allow_fallback)`;
    const sentence = `connection from ${sayEndpoint(remote)} to port ${port.portId} (${trtype}) came by plain TCP and was ${what}`;
    this.#fallbacks.met(taken ? 'fallbackTaken' : 'fallbackRefused', sentence);
  }

  /** Its Connect has been answered. */
  bound(entry: TargetConnection, controller: Controller, qid: number): void {
    if (entry.qid < 0) this.#halfOpen.remove(entry.connection.remote.address);
    entry.controller = controller;
    entry.qid = qid;
  }

  #afterFlush(entry: TargetConnection): void {
    const { core, plane } = this.#options;
    plane.environment.retryStarved();
    this.#options.armTimer(core.nextDeadlineMs());
    if (entry.owner === null || !entry.queue.canHandOff || !entry.connection.canDetach) return;
    if (entry.driver.tap?.quiet === false) return;
    this.#options.handOff(entry, entry.owner);
  }

  /** Takes the connection out, for another thread: nothing is called for it any more. */
  release(entry: TargetConnection): void {
    this.#options.plane.environment.remove(entry.queue);
    this.#options.plane.faults.detach(entry.driver);
    entry.driver.release();
    this.#entries.delete(entry.queue);
  }

  closed(entry: TargetConnection, error: NvbraidError | null): void {
    const { queue } = entry;
    const { plane } = this.#options;
    if (!this.#entries.delete(queue)) return; // closed by us first
    plane.faults.detach(entry.driver);
    entry.driver.release();
    if (entry.qid < 0) this.#halfOpen.remove(entry.connection.remote.address);
    if (this.#entries.size === 0) for (const resolve of this.#whenEmpty.splice(0)) resolve();
    if (plane.owns(queue)) {
      plane.queueClosed(queue, error); // reports the queue gone when its devices have finished
    } else {
      if (queue.fatal) this.#options.fatal();
      plane.leave(entry.driver);
      queue.closed();
      plane.environment.remove(queue);
      if (entry.qid > 0) this.#options.ioQueueClosed(entry.controller!, entry.qid);
    }
    plane.environment.retryStarved();
    if (queue.fatal) {
      const what = `fatal error status ${queue.fatalFes}, queue ${entry.qid}`;
      this.#options.log(`${sayEndpoint(entry.connection.remote)} broke the protocol: ${what}`);
    } else if (error !== null) this.#options.log(error.message);
  }

  /** Lets the connection say what it has to say, but not for long. */
  dismiss(entry: TargetConnection): void {
    entry.queue.close();
    entry.driver.flush();
    setTimeout(() => entry.connection.destroy(null), CLOSE_DEADLINE_MS).unref();
  }

  /** Ends what has not been answered a Connect in time. @returns when to call it again, at the latest */
  tick(nowMs: number): number {
    const { connectTimeoutMs } = this.#options.limits;
    let nextMs = NEVER;
    for (const entry of this.#entries.values()) {
      if (entry.qid >= 0) continue;
      const dueMs = entry.acceptedMs + connectTimeoutMs;
      if (nowMs < dueMs) nextMs = Math.min(nextMs, dueMs);
      else {
        const step = entry.queue.state === 'ic' ? 'ICReq' : 'Connect';
        this.#met(
          'connectTimeoutMs',
          entry.connection,
          `closed, since it has sent no ${step} for ${connectTimeoutMs} ms`,
        );
        entry.connection.destroy(null);
      }
    }
    return nextMs;
  }

  #met(limit: keyof TargetLimits, connection: Connection, what: string): void {
    this.#options.limitLog.met(limit, `connection from ${sayEndpoint(connection.remote)} ${what}`);
  }

  /** Takes no new ones. */
  close(): void {
    this.#closed = true;
  }

  /** Fulfilled when no connection is left. */
  emptied(): Promise<void> {
    if (this.#entries.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenEmpty.push(resolve));
  }
}
