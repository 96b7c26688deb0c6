import { randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { NvbraidError } from '@nvbraid/base';
import {
  ANA_TRANSITION_SECONDS,
  type CommandQueue,
  type Controller,
  type GoneReason,
  type Port,
  runForwarded,
  type Subsystem,
  type SubsystemOptions,
  type SubsystemSnapshot,
  Target as TargetCore,
  type TargetHooks,
} from '@nvbraid/target';
import { installNativeCrc32c } from '@nvbraid/transport';
import { DataPlane, type Forward, type QueueOwner } from './data-plane.ts';
import { type NamespaceFilters, namespaceFilters } from './faults/namespace-filters.ts';
import { TargetFaults } from './faults/target-faults.ts';
import { lbaRanges } from './lba-ranges.ts';
import { Lease } from './lease.ts';
import { LimitLog } from './limit-log.ts';
import { DRAIN_MS, GOODBYE_MS, MAX_REACTORS, POOL_BYTES, REACTOR_RESTART_MS } from './limits.ts';
import { ProtectionService } from './protection-service.ts';
import { overdueText, quietText } from './quiesce-texts.ts';
import { Reactor } from './reactor.ts';
import { refuseUntilHandedOff } from './refuse-commands.ts';
import { ReservationService } from './reservation-service.ts';
import { SharedFiles } from './shared-files.ts';
import { StateWrites } from './state-writes.ts';
import { SubflowWatch } from './subflow-watch.ts';
import { sharedClock, systemClock } from './system-clock.ts';
import type { AddPortOptions, ListenConfig, NamespaceConfig, TargetOptions, TargetPort } from './target-config.ts';
import { identityOf, type TargetConnection } from './target-connection.ts';
import { TargetConnections } from './target-connections.ts';
import { TargetCounters } from './target-counters.ts';
import { TargetHosts } from './target-hosts.ts';
import { type TargetLimits, targetLimits } from './target-limits.ts';
import { TargetNamespaces } from './target-namespaces.ts';
import { type PortListening, TargetPorts } from './target-ports.ts';
import type { TargetStats } from './target-stats.ts';
import { type TargetQueueSubflows, targetSubflows } from './target-subflows.ts';
import { failZoneOf } from './target-zones.ts';
import { usableRow } from './transport-row.ts';

export type { AddPortOptions, ListenConfig, NamespaceConfig, TargetOptions, TargetPort } from './target-config.ts';

interface TargetEventMap {
  'controller-created': [controller: Controller];
  'controller-gone': [controller: Controller, reason: GoneReason];
  /** A sentence for the log. */
  log: [message: string];
}

/** @throws NvbraidError EINVAL, ENOTSUP */
export async function createTarget(options: TargetOptions = {}): Promise<Target> {
  const target = new Target(options);
  await target.start();
  return target;
}

/**
 * A running target: joins the control plane to transports, hands I/O queues to reactors, publishes what reactors must
 * know. The main thread keeps the listeners and the admin queues.
 */
export class Target extends EventEmitter<TargetEventMap> {
  /** The control plane. Its configuration calls may be used directly; they take effect at once. */
  readonly core: TargetCore;
  readonly reactorCount: number;
  /** Protocol faults: see docs/faults.md. */
  readonly faults: TargetFaults;
  readonly limits: TargetLimits;
  readonly #limitLog: LimitLog;
  /** The hosts that have a controller, and what each may have and do. */
  readonly hosts: TargetHosts;
  /** Tells what becomes of the subflows of all its queues. */
  readonly subflowWatch = new SubflowWatch<TargetQueueSubflows>(() => this.subflows(false));
  readonly #poolBytes: number;
  readonly #plane: DataPlane;
  #reactors: Reactor[] = [];
  readonly #ports: TargetPorts;
  readonly #namespaces: TargetNamespaces;
  readonly #connections: TargetConnections;
  readonly #sharedFiles: SharedFiles;
  readonly #stateWrites = new StateWrites();
  readonly #reservations: ReservationService;
  readonly #protection: ProtectionService;
  /** Associations by number, for what reactors report. */
  readonly #associations = new Map<number, Controller>();
  readonly #associationOf = new WeakMap<Controller, number>();
  readonly #leases = new WeakMap<Controller, Lease>();
  #nextId = 1;
  readonly #counters: TargetCounters;
  #fatalErrors = 0;
  #timer: NodeJS.Timeout | null = null;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #watch: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(options: TargetOptions = {}) {
    super();
    this.reactorCount = options.reactors ?? 1;
    if (!(Number.isInteger(this.reactorCount) && this.reactorCount >= 0 && this.reactorCount <= MAX_REACTORS)) {
      throw new NvbraidError('EINVAL', `reactors is 0 to ${MAX_REACTORS}: ${this.reactorCount}`);
    }
    this.#poolBytes = options.poolBytes ?? POOL_BYTES;
    this.limits = targetLimits(options.limits ?? {}, this.#poolBytes);
    this.#limitLog = new LimitLog(systemClock, (message) => this.emit('log', message));
    const log = (message: string): boolean => this.emit('log', message);
    this.#sharedFiles = new SharedFiles({ stateDirectory: options.stateDirectory ?? null, log });
    this.#reservations = new ReservationService(options.stateDirectory ?? null, this.#stateWrites, log);
    this.#protection = new ProtectionService(options.stateDirectory ?? null, this.#stateWrites, log);
    this.#counters = new TargetCounters(Math.max(1, this.reactorCount));
    // Rows of the reactors, and one of the main thread.
    this.hosts = new TargetHosts(this.limits, this.reactorCount + 1, options);
    this.core = new TargetCore(systemClock, this.#hooks(), this.limits);
    this.hosts.attach(this.core.hosts);
    this.faults = new TargetFaults(this.core, (faults) => {
      this.#plane.faults.update(faults);
      for (const reactor of this.#reactors) reactor.publish({ kind: 'faults', faults });
    });
    this.#plane = new DataPlane({
      commandFailed: (association, error) => this.#associations.get(association)?.errors.record(error),
      killController: (association) => this.#killController(association),
      poolBytes: this.#poolBytes,
      threads: Math.max(1, this.reactorCount),
      row: this.reactorCount,
      clock: sharedClock,
      nextTurn: (delayMs) => this.#nextTurn(delayMs),
      limits: this.limits,
      limitMet: (limit, sentence) => this.#limitLog.met(limit, sentence),
      queueGone: (association, qid, _error, fatalFes) => this.#queueGone(association, qid, fatalFes),
      log: (message) => this.emit('log', message),
      // A device object cannot be opened again when its subsystem gets another port.
      unlinked: (instance) => this.#inService(instance),
      forward: this.#forward,
    });
    this.#connections = new TargetConnections({
      core: this.core,
      plane: this.#plane,
      limits: this.limits,
      limitLog: this.#limitLog,
      elsewhere: () => this.#reactors.reduce((sum, reactor) => sum + reactor.queueCount, 0),
      handOff: (entry, owner) => this.#handOff(entry, owner),
      ioQueueClosed: (controller, qid) => this.#ioQueueClosed(this.#associationOf.get(controller)!, qid),
      fatal: () => this.#fatalErrors++,
      armTimer: (atMs) => this.#armTimer(atMs),
      log: (message) => this.emit('log', message),
    });
    this.#namespaces = new TargetNamespaces({
      core: this.core,
      reactorCount: this.reactorCount,
      sharedFiles: this.#sharedFiles,
      reservations: this.#reservations,
      protection: this.#protection,
      settled: () => this.#settled(),
    });
    this.#ports = new TargetPorts({
      core: this.core,
      reactorCount: this.reactorCount,
      accept: (port, transportName, connection) => this.#connections.accept(port, transportName, connection),
      refused: (error) => this.#connections.refused(error),
      otherProtocol: (port, remote, taken) => this.#connections.otherProtocol(port, remote, taken),
      closed: (port) => {
        for (const entry of this.#connections.values()) if (entry.port === port) this.#connections.dismiss(entry);
      },
    });
  }

  readonly #forward: Forward = (association, ...rest) => runForwarded(this.#associations.get(association), ...rest);

  #nextTurn(delayMs: number): void {
    const { scheduler } = this.#plane;
    if (delayMs === 0) setImmediate(() => scheduler.endTurn());
    else setTimeout(() => scheduler.woken(), delayMs).unref();
  }

  #inService(instance: number): boolean {
    for (const subsystem of this.core.subsystems) {
      for (const namespace of subsystem.allocated) if (namespace.instance === instance) return true;
    }
    return false;
  }

  /** Called by `createTarget`. */
  async start(): Promise<void> {
    installNativeCrc32c();
    if (this.reactorCount > 0) usableRow('tcp'); // reactors live on raw sockets: says why when there are none
    this.#reactors = Array.from({ length: this.reactorCount }, (_, index) => this.#startReactor(index));
    await Promise.all(this.#reactors.map((reactor) => reactor.ready));
    this.#watch = setInterval(() => this.#plane.look(systemClock.nowMs()), this.#plane.lookMs).unref();
  }

  // ---------------------------------------------------------------- configuration

  /** @throws NvbraidError EINVAL, EBUSY */
  addSubsystem(options: SubsystemOptions): void {
    this.core.addSubsystem(options);
  }

  /**
   * Opens or creates the device and puts it into service.
   * @returns the nsid
   * @throws NvbraidError ENOENT, EACCES, EINVAL, EBUSY
   */
  addNamespace(nqn: string, config: NamespaceConfig): Promise<number> {
    return this.#namespaces.add(nqn, config);
  }

  /** The filters of a namespace, to look at and to change while it is in service. @throws NvbraidError ENOENT */
  filters(nqn: string, nsid: number): NamespaceFilters {
    return namespaceFilters(this.core, this.#namespaces.prepared, nqn, nsid);
  }

  /**
   * Makes a zone of a zoned namespace read only or offline, as if it had failed by itself; there is no way back. Hosts
   * that asked for it are told.
   * @param slba any block of the zone
   * @throws NvbraidError ENOENT, EINVAL, EIO
   */
  async failZone(nqn: string, nsid: number, slba: number, to: 'read-only' | 'offline'): Promise<void> {
    const namespace = this.core.subsystem(nqn)?.namespace(nsid);
    if (namespace === undefined) throw new NvbraidError('ENOENT', `${nqn} has no namespace ${nsid}`);
    const zslba = await failZoneOf(namespace, slba, to);
    if (zslba !== null) this.core.subsystem(nqn)?.zoneChanged(nsid, zslba);
  }

  /** Takes a namespace out of service. Fulfilled when no thread uses its device any more. @throws NvbraidError ENOENT */
  removeNamespace(nqn: string, nsid: number): Promise<void> {
    return this.#namespaces.remove(nqn, nsid);
  }

  /** Keeps a namespace but shows it to nobody, or shows it again as what it was. @throws NvbraidError ENOENT */
  setNamespaceEnabled(nqn: string, nsid: number, enabled: boolean): Promise<void> {
    return this.#namespaces.setEnabled(nqn, nsid, enabled);
  }

  /**
   * Looks at the size of a namespace's file or block device again, after it has grown or shrunk; hosts are told.
   * @returns its blocks
   * @throws NvbraidError ENOENT, EINVAL when the size is not a whole number of blocks, EIO
   */
  revalidateNamespace(nqn: string, nsid: number): Promise<number> {
    return this.#namespaces.revalidate(nqn, nsid);
  }

  /**
   * Takes a subsystem with its namespaces and controllers out of service. Fulfilled when no thread uses its devices any
   * more. @throws NvbraidError ENOENT
   */
  async removeSubsystem(nqn: string): Promise<void> {
    const nsids = this.core.subsystem(nqn)?.allocated.map(({ nsid }) => nsid) ?? [];
    this.core.removeSubsystem(nqn);
    await this.#namespaces.release(nqn, nsids);
    if (this.core.subsystem(nqn) === undefined) this.#counters.retire(nqn); // it may have come back meanwhile
  }

  /** Fulfilled when no thread uses a device that is out of service any more, and no state of one is being written. */
  #settled(): Promise<unknown> {
    this.#plane.closeUnused(); // nothing is published of a subsystem without ports
    const reactors = this.#reactors.map((reactor) => reactor.barrier());
    return Promise.all([this.#stateWrites.settled(), this.#plane.settled(), ...reactors]);
  }

  /** Adds a port that listens, and links subsystems. @throws NvbraidError EADDRINUSE, EACCES, EINVAL, ENOTSUP, ENOENT */
  listen(config: ListenConfig): Promise<TargetPort> {
    return this.#ports.listen(config);
  }

  /** A port that does not listen before it is enabled, or its first subsystem linked. @throws NvbraidError EINVAL, EBUSY */
  addPort(options: AddPortOptions, transportName = options.trtype): Port {
    return this.#ports.add(options, transportName);
  }

  /** By which row of the transport table a port listens, and whom it takes. @throws NvbraidError ENOENT */
  listeningOf(portid: number): PortListening {
    return this.#ports.listeningOf(portid);
  }

  /** Listens, also without a subsystem: for discovery. @throws NvbraidError ENOENT, EADDRINUSE, EACCES, EINVAL */
  enablePort(portid: number): Promise<void> {
    return this.#ports.enable(portid);
  }

  /** Takes no connections any more; links and controllers of the port are gone. @throws NvbraidError ENOENT */
  disablePort(portid: number): Promise<void> {
    return this.#ports.disable(portid);
  }

  /** @throws NvbraidError ENOENT */
  removePort(portid: number): Promise<void> {
    return this.#ports.remove(portid);
  }

  /** Makes a subsystem reachable by a port, which the first one enables. @throws NvbraidError ENOENT, EADDRINUSE, EACCES */
  link(portid: number, nqn: string): Promise<void> {
    return this.#ports.link(portid, nqn);
  }

  /** Takes the way away again; the last one that goes disables the port. @throws NvbraidError ENOENT */
  unlink(portid: number, nqn: string): Promise<void> {
    return this.#ports.unlink(portid, nqn);
  }

  stats(): TargetStats {
    const queuesElsewhere = this.#reactors.reduce((sum, reactor) => sum + reactor.queueCount, 0);
    let queues = queuesElsewhere;
    for (const entry of this.#connections.values()) if (entry.qid > 0) queues++;
    return {
      ...this.#counters.sum(),
      controllers: this.core.controllerCount,
      queues,
      connections: this.#connections.size + queuesElsewhere,
      fatalErrors: this.#fatalErrors,
      limitsMet: this.#limitLog.total,
      ...this.#connections.fallbacks,
    };
  }

  /**
   * What the connections of all queues are made of, as the kernel says it now; without those whose transport has no
   * subflows.
   * @param backup whether to find out which of them are backups, which takes longer
   */
  subflows(backup = true): Promise<TargetQueueSubflows[]> {
    const controllerOf = (association: number): Controller | undefined => this.#associations.get(association);
    return targetSubflows({ connections: this.#connections, reactors: this.#reactors, controllerOf }, backup);
  }

  /** How often each limit was met; those that were not are left out. */
  limitsMet(): Record<string, number> {
    return this.#limitLog.counts();
  }

  /**
   * Before `close`: takes no connections and no commands any more, answers the commands that have arrived, and closes
   * the I/O queues in order, so that hosts know of every command whether it was done. What hosts sent later is not
   * answered: they send it again when they are connected again. A host of several queues that gives all of them up when it
   * sees the first one close does the same with answers that it has not read.
   * @param deadlineMs how long commands, and hosts that do not hang up, are waited for
   * @returns false when it took longer
   */
  async drain(deadlineMs: number = DRAIN_MS): Promise<boolean> {
    await this.#ports.close();
    const drained = Promise.all([this.#plane.drainQueues(), ...this.#reactors.map((reactor) => reactor.drainQueues())]);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), deadlineMs);
    });
    const inTime = await Promise.race([drained.then(() => true), late]);
    clearTimeout(timer);
    return inTime;
  }

  /** Ends all associations, makes everything written stable, closes devices and threads. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.subflowWatch.close();
    this.faults.close();
    this.#connections.close();
    if (this.#watch !== null) clearInterval(this.#watch);
    await this.#ports.close();
    this.core.close();
    for (const entry of this.#connections.values()) this.#connections.dismiss(entry);
    const nqns = [...this.core.subsystems].map((subsystem) => subsystem.nqn);
    await Promise.all(nqns.map((nqn) => this.#flush(nqn)));
    await Promise.all(this.#reactors.map((reactor) => reactor.stop()));
    // Hosts that hang up when they are told to are not reset.
    await Promise.race([
      this.#connections.emptied(),
      new Promise((resolve) => setTimeout(resolve, GOODBYE_MS).unref()),
    ]);
    for (const entry of this.#connections.values()) entry.connection.destroy(null);
    await this.#connections.emptied();
    await Promise.all([this.#plane.close(), this.#stateWrites.settled()]);
    await this.#namespaces.close();
    await this.#sharedFiles.close();
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  // ---------------------------------------------------------------- what the control plane asks for

  #hooks(): TargetHooks {
    return {
      ioCommands: (queue, controller) => {
        if (this.reactorCount > 0) return refuseUntilHandedOff;
        return this.#plane.commands(this.#ownerOf(controller, this.#connections.get(queue)!));
      },
      queueBound: (queue, controller, qid) => this.#queueBound(queue, controller, qid),
      closeQueue: (queue, controller, qid) => this.#closeQueue(queue, controller, qid),
      flush: (subsystem, done) => void this.#flush(subsystem.nqn).then(done, done),
      controllerCreated: (controller) => {
        const association = this.#nextId++;
        this.#associations.set(association, controller);
        this.#associationOf.set(controller, association);
        this.#leases.set(controller, new Lease());
        const entry = this.#connections.get(controller.adminQueue);
        if (entry !== undefined) {
          this.#connections.bound(entry, controller, 0);
          const { id, block } = this.hosts.record(controller.hostnqn)!;
          this.#plane.join(entry.queue, entry.driver, id, block.buffer, false);
          this.#showToFaults(entry, controller);
        }
        this.emit('controller-created', controller);
      },
      controllerGone: (controller, reason) => {
        this.#leases.get(controller)!.end();
        // The number stays known until the last queue is reported gone; the entry is cheap and bounded by them.
        if (controller.ioQueueCount === 0) this.#associations.delete(this.#associationOf.get(controller)!);
        this.emit('controller-gone', controller, reason);
      },
      leaseChanged: (controller) => this.#leases.get(controller)?.extend(controller.leaseMs),
      endElsewhere: (...ask) => this.#sharedFiles.endElsewhere(...ask),
      random64: () => randomBytes(8).readBigUInt64LE(),
      overdue: (controller, lateMs) => this.emit('log', overdueText(controller, lateMs)),
      quiet: (controller, tookMs) => {
        if (tookMs > controller.subsystem!.cqtMs) this.emit('log', quietText(controller, tookMs));
      },
      saveReservations: (namespace, state, done) => this.#reservations.save(namespace, state, done),
      saveProtection: (namespace, writeProtected, done) => this.#protection.save(namespace, writeProtected, done),
      drain: (namespace, done) => void this.drainNamespace(namespace.instance).then(done),
      namespacesChanged: (subsystem) => this.#publish(subsystem),
      ...this.hosts.hooks(this.#limitLog),
      unlinked: (snapshot) => this.#publishSnapshot(snapshot),
      anaChangeOverdue: (port, grpid) =>
        this.emit(
          'log',
          `ANA group ${grpid} of port ${port.portId} has been in the change state for more than ANATT, ${ANA_TRANSITION_SECONDS} s: hosts may have given the path up`,
        ),
      lbaRanges,
      ioTotals: (subsystem) => this.#counters.totals(subsystem.nqn),
    };
  }

  #ownerOf(controller: Controller, entry: TargetConnection): QueueOwner {
    const nqn = controller.subsystem!.nqn;
    const thread = this.reactorCount > 0 ? this.#leastBusyReactor() : 0;
    const counters = this.#counters.of(nqn, thread);
    const { id, block } = this.hosts.record(controller.hostnqn)!;
    const owner: QueueOwner = {
      association: this.#associationOf.get(controller)!,
      nqn,
      portId: entry.port.portId,
      traffic: controller.traffic.buffer as SharedArrayBuffer,
      counters: counters.words.buffer as SharedArrayBuffer,
      lease: this.#leases.get(controller)!.buffer,
      host: {
        hostnqn: controller.hostnqn,
        hostid: controller.hostid,
        cntlid: controller.cntlid,
        nvmOnly: controller.nvmOnly,
      },
      block: block.buffer,
      blockId: id,
    };
    this.#threadOf.set(owner, thread);
    return owner;
  }

  readonly #threadOf = new WeakMap<QueueOwner, number>();

  #leastBusyReactor(): number {
    let best = 0;
    for (const reactor of this.#reactors) {
      if (reactor.load < this.#reactors[best]!.load) best = reactor.index;
    }
    return best;
  }

  #queueBound(queue: CommandQueue, controller: Controller, qid: number): void {
    const entry = this.#connections.get(queue)!;
    this.#connections.bound(entry, controller, qid);
    this.#showToFaults(entry, controller);
    const owner = this.#ownerOf(controller, entry);
    if (this.reactorCount > 0) entry.owner = owner;
    else this.#plane.own(entry.queue, entry.driver, owner);
  }

  #showToFaults(entry: TargetConnection, controller: Controller): void {
    this.#plane.faults.attach(entry.driver, identityOf(entry), this.#associationOf.get(controller)!);
  }

  #killController(association: number): void {
    // Later: it may have been asked for in the middle of one of its queues.
    setImmediate(() => this.#associations.get(association)?.remove('fault'));
  }

  #closeQueue(queue: CommandQueue, controller: Controller, qid: number): void {
    const entry = this.#connections.get(queue);
    if (entry !== undefined) {
      entry.connection.destroy(null);
      this.#connections.closed(entry, null);
      return;
    }
    if (this.reactorCount === 0) return; // its connection is gone, a device still works for it: `#queueGone` follows
    const association = this.#associationOf.get(controller)!;
    const reactor = this.#reactors.find((candidate) => candidate.has(association, qid));
    if (reactor === undefined) controller.ioQueueClosed(qid);
    else reactor.publish({ kind: 'close-queue', association, qid });
  }

  #flush(nqn: string): Promise<unknown> {
    if (this.reactorCount === 0) return this.#plane.flush(nqn);
    // One thread is enough: a device's Flush covers what all threads have written.
    const reactor = this.#reactors.find((candidate) => !candidate.gone);
    return reactor?.flush(nqn) ?? Promise.resolve();
  }

  /** Fulfilled when all threads know what was published, and what was executing on the namespace instance has ended. */
  drainNamespace(instance: number): Promise<unknown> {
    return Promise.all([this.#plane, ...this.#reactors].map((thread) => thread.drain(instance)));
  }

  #publish(subsystem: Subsystem): void {
    for (const port of subsystem.ports) this.#publishSnapshot(subsystem.snapshot(port.portId));
  }

  #publishSnapshot(snapshot: SubsystemSnapshot): void {
    if (this.reactorCount === 0) this.#plane.update(snapshot);
    for (const reactor of this.#reactors) reactor.publish({ kind: 'subsystem', snapshot });
  }

  // ---------------------------------------------------------------- queues

  #handOff(entry: TargetConnection, owner: QueueOwner): void {
    const reactor = this.#reactors[this.#threadOf.get(owner)!]!;
    const handoff = entry.queue.handoff();
    this.#connections.release(entry);
    reactor.adopt(entry.transport.name, entry.connection.detach(), handoff, owner);
  }

  /** An I/O queue is gone, in whichever thread it was. */
  #queueGone(association: number, qid: number, fatalFes: number): void {
    if (fatalFes !== 0) this.#fatalErrors++;
    this.#ioQueueClosed(association, qid);
  }

  #ioQueueClosed(association: number, qid: number): void {
    const controller = this.#associations.get(association);
    if (controller === undefined) return;
    controller.ioQueueClosed(qid);
    if (controller.state === 'gone' && controller.ioQueueCount === 0) this.#associations.delete(association);
    this.#armTimer(this.core.nextDeadlineMs());
  }

  // ---------------------------------------------------------------- threads and time

  #startReactor(index: number): Reactor {
    return new Reactor({
      index,
      poolBytes: this.#poolBytes,
      threads: this.reactorCount,
      limits: this.limits,
      limitMet: (limit, sentence) => this.#limitLog.met(limit, sentence),
      queueGone: (association, qid, _error, fatalFes) => this.#queueGone(association, qid, fatalFes),
      forwarded: this.#forward,
      log: (message) => this.emit('log', message),
      commandFailed: (association, error) => this.#associations.get(association)?.errors.record(error),
      killController: (association) => this.#killController(association),
      failed: (reactor, error) => {
        this.emit('log', `reactor ${reactor.index} failed and is started again: ${error.stack ?? error.message}`);
        // At once the first time; one that dies again and again must not take the machine with it.
        const soon = systemClock.nowMs() - reactor.startedMs < REACTOR_RESTART_MS;
        setTimeout(() => this.#restartReactor(reactor.index), soon ? REACTOR_RESTART_MS : 0).unref();
      },
    });
  }

  #restartReactor(index: number): void {
    if (this.#closed) return;
    this.#reactors[index] = this.#startReactor(index);
    for (const subsystem of this.core.subsystems) this.#publish(subsystem);
    this.#reactors[index].publish({ kind: 'faults', faults: this.faults.published });
  }

  /** One timer serves all deadlines. */
  #armTimer(atMs: number): void {
    if (atMs >= this.#timerAtMs || this.#closed) return;
    this.#timerAtMs = atMs;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tick(), Math.max(1, Math.ceil(atMs - systemClock.nowMs())));
    this.#timer.unref();
  }

  #tick(): void {
    this.#timer = null;
    this.#timerAtMs = Number.POSITIVE_INFINITY;
    const nowMs = systemClock.nowMs();
    this.core.tick(nowMs);
    this.#armTimer(this.#connections.tick(nowMs));
    this.#armTimer(this.core.nextDeadlineMs());
  }
}
