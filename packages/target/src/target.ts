import { assert, type Clock, NEVER, NvbraidError } from '@nvbraid/base';
import { DISCOVERY_NQN } from '@nvbraid/wire';
import { ConnectCommands } from './connect-commands.ts';
import { CONTROL_LIMITS, type ControlLimits, type LimitName } from './control-limits.ts';
import type { Controller, LocalAddress } from './controller.ts';
import { ControllerTable } from './controller-table.ts';
import type { GoneReason, TargetHooks } from './hooks.ts';
import { HostTable } from './host-table.ts';
import { MAX_CNTLID, MAX_CONTROLLERS, MAX_LINKS, MAX_PORTS, MAX_SUBSYSTEMS, MIN_CNTLID } from './limits.ts';
import { checkNqn } from './nqn.ts';
import { Port, type PortOptions } from './port.ts';
import type { CommandQueue, CommandSet } from './request.ts';
import { Subsystem, type SubsystemOptions } from './subsystem.ts';

/**
 * all: every port with every subsystem that the host may use. port: what the port leads to that was asked, as in Linux.
 */
export type DiscoveryScope = 'all' | 'port';

/**
 * The root of the control plane: subsystems by NQN, ports by identifier, and the discovery subsystem that every port
 * answers for. Without I/O: queues are handed in by `acceptQueue`, time by a clock and `tick`, and what happens is told by
 * hooks.
 */
export class Target {
  readonly hooks: TargetHooks;
  readonly hosts: HostTable;
  /** Controllers of the discovery subsystem. */
  readonly discoveryControllers = new ControllerTable(MIN_CNTLID, MAX_CNTLID, MAX_CONTROLLERS);
  readonly startedMs: number;
  readonly #clock: Clock;
  readonly #subsystems = new Map<string, Subsystem>();
  readonly #ports = new Map<number, Port>();
  #discoveryNqn: string = DISCOVERY_NQN;
  #discoveryScope: DiscoveryScope = 'all';
  #generation = 1;
  #instances = 0;
  #versions = 0;
  #randoms = 0n;
  #controllers = 0;
  /** No deadline of a controller is earlier: lowered at once, raised only by `tick`. */
  #deadlineMs = NEVER;
  #closed = false;

  constructor(clock: Clock, hooks: TargetHooks, limits: Partial<ControlLimits> = {}) {
    this.#clock = clock;
    this.hooks = hooks;
    this.hosts = new HostTable({ ...CONTROL_LIMITS, ...limits }, hooks);
    this.startedMs = clock.nowMs();
  }

  nowMs(): number {
    return this.#clock.nowMs();
  }

  // ---------------------------------------------------------------- configuration

  get subsystems(): IterableIterator<Subsystem> {
    return this.#subsystems.values();
  }

  subsystem(nqn: string): Subsystem | undefined {
    return this.#subsystems.get(nqn);
  }

  get ports(): IterableIterator<Port> {
    return this.#ports.values();
  }

  port(portId: number): Port | undefined {
    return this.#ports.get(portId);
  }

  /** Changes whenever a discovery log changes for some host: its generation counter. */
  get generation(): number {
    return this.#generation;
  }

  /** Controllers that exist, discovery controllers included. */
  get controllerCount(): number {
    return this.#controllers;
  }

  /** @throws NvbraidError EINVAL, or EBUSY when the name is taken */
  addSubsystem(options: SubsystemOptions): Subsystem {
    checkNqn(options.nqn, 'subsystem NQN');
    if (this.isDiscovery(options.nqn)) {
      throw new NvbraidError('EINVAL', `${options.nqn} is the discovery subsystem, which every port has`);
    }
    if (this.#subsystems.has(options.nqn)) {
      throw new NvbraidError('EBUSY', `subsystem ${options.nqn} exists`, { retryable: false });
    }
    if (this.#subsystems.size >= MAX_SUBSYSTEMS) {
      throw new NvbraidError('EINVAL', `a target has at most ${MAX_SUBSYSTEMS} subsystems`);
    }
    const subsystem = new Subsystem(this, options);
    this.#subsystems.set(options.nqn, subsystem);
    return subsystem;
  }

  /** The name of the discovery subsystem: the well-known one, or one of its own by which hosts tell targets apart. */
  get discoveryNqn(): string {
    return this.#discoveryNqn;
  }

  /** Hosts reach discovery by its own name and by the well-known one. */
  isDiscovery(nqn: string): boolean {
    return nqn === DISCOVERY_NQN || nqn === this.#discoveryNqn;
  }

  /** @throws NvbraidError EINVAL, or EBUSY when a subsystem has the name */
  setDiscoveryNqn(nqn: string): void {
    checkNqn(nqn, 'discovery NQN');
    if (this.#subsystems.has(nqn)) throw new NvbraidError('EBUSY', `subsystem ${nqn} exists`, { retryable: false });
    if (nqn === this.#discoveryNqn) return;
    this.#discoveryNqn = nqn;
    this.discoveryChanged();
  }

  /** Which ports a discovery log tells of. */
  get discoveryScope(): DiscoveryScope {
    return this.#discoveryScope;
  }

  setDiscoveryScope(scope: DiscoveryScope): void {
    if (scope === this.#discoveryScope) return;
    this.#discoveryScope = scope;
    this.discoveryChanged();
  }

  /** Its controllers are gone, its ports do not lead to it any more. @throws NvbraidError ENOENT */
  removeSubsystem(nqn: string): void {
    const subsystem = this.#existing(nqn);
    const ports = [...subsystem.ports];
    for (const port of ports) port.subsystems.delete(subsystem);
    const listed = subsystem.ports.size > 0;
    subsystem.ports.clear();
    this.#subsystems.delete(nqn);
    for (const { reservations } of subsystem.allocated) reservations?.removed();
    for (const controller of [...subsystem.controllers.values()]) controller.remove('subsystem removed');
    for (const port of ports) this.#unlinked(port, subsystem);
    if (listed) this.discoveryChanged();
  }

  /** A listening address. It leads to the discovery subsystem at once, to others once linked. @throws NvbraidError */
  addPort(options: PortOptions): Port {
    const portId = options.portId ?? this.#freePortId();
    if (!(Number.isInteger(portId) && portId >= 0 && portId <= 0xffff)) {
      throw new NvbraidError('EINVAL', `port identifier is 0 to 65535: ${portId}`);
    }
    if (this.#ports.has(portId)) throw new NvbraidError('EBUSY', `port ${portId} exists`, { retryable: false });
    if (this.#ports.size >= MAX_PORTS) throw new NvbraidError('EINVAL', `a target has at most ${MAX_PORTS} ports`);
    const port = new Port(this, portId, options);
    this.#ports.set(portId, port);
    return port;
  }

  /** Controllers that came in by the port are gone. @throws NvbraidError ENOENT */
  removePort(portId: number): void {
    this.disablePort(portId);
    this.#ports.delete(portId);
  }

  /** The port listens: hosts can connect, subsystems can be linked, its address is fixed. @throws NvbraidError ENOENT */
  enablePort(portId: number): void {
    this.#existingPort(portId).enabled = true;
  }

  /** Links and controllers of the port are gone; its address can be changed. @throws NvbraidError ENOENT */
  disablePort(portId: number): void {
    const port = this.#existingPort(portId);
    const listed = port.subsystems.size > 0;
    port.enabled = false;
    for (const subsystem of port.subsystems) {
      subsystem.ports.delete(port);
      for (const controller of subsystem.controllersOn(port)) controller.remove('port unlinked');
      this.#unlinked(port, subsystem);
    }
    port.subsystems.clear();
    for (const controller of [...this.discoveryControllers.values()]) {
      if (controller.port === port) controller.remove('port unlinked');
    }
    if (listed) this.discoveryChanged();
  }

  /** Makes a subsystem reachable by a port. @throws NvbraidError ENOENT, EINVAL, EACCES when the port is disabled */
  link(portId: number, nqn: string): void {
    const port = this.#existingPort(portId);
    const subsystem = this.#existing(nqn);
    if (port.subsystems.has(subsystem)) return;
    if (!port.enabled)
      throw new NvbraidError('EACCES', `port ${portId} is disabled: enable it before you link subsystems`);
    let links = 0;
    for (const other of this.#ports.values()) links += other.subsystems.size;
    if (links >= MAX_LINKS) throw new NvbraidError('EINVAL', `ports lead to at most ${MAX_LINKS} subsystems together`);
    port.subsystems.add(subsystem);
    subsystem.ports.add(port);
    this.hooks.namespacesChanged?.(subsystem);
    this.discoveryChanged();
  }

  /** Takes the way away again, together with the controllers that came in by it. @throws NvbraidError ENOENT */
  unlink(portId: number, nqn: string): void {
    const port = this.#existingPort(portId);
    const subsystem = this.#existing(nqn);
    if (!port.subsystems.delete(subsystem)) return;
    subsystem.ports.delete(port);
    for (const controller of subsystem.controllersOn(port)) controller.remove('port unlinked');
    this.#unlinked(port, subsystem);
    this.discoveryChanged();
  }

  #existing(nqn: string): Subsystem {
    const subsystem = this.#subsystems.get(nqn);
    if (subsystem === undefined) throw new NvbraidError('ENOENT', `there is no subsystem ${nqn}`);
    return subsystem;
  }

  #existingPort(portId: number): Port {
    const port = this.#ports.get(portId);
    if (port === undefined) throw new NvbraidError('ENOENT', `there is no port ${portId}`);
    return port;
  }

  #freePortId(): number {
    let portId = 1;
    while (this.#ports.has(portId)) portId++;
    return portId;
  }

  // ---------------------------------------------------------------- queues and controllers

  /**
   * What a connection that has just been accepted can do: Connect.
   * @param local the address that the host reached, for discovery logs; null where the transport has none
   */
  acceptQueue(queue: CommandQueue, port: Port, local: LocalAddress | null = null): CommandSet {
    return new ConnectCommands(this, queue, port, local);
  }

  /** Nobody is let in any more. */
  get closed(): boolean {
    return this.#closed;
  }

  /** What stands against another controller of the host in a table, or null. */
  refusesController(hostnqn: string, table: ControllerTable): LimitName | null {
    const limit = this.hosts.refusesController(hostnqn);
    if (limit !== null) return limit;
    const met = this.#controllers >= this.hosts.limits.controllers ? 'controllers' : table.full;
    if (met !== null) this.hosts.tellMet(hostnqn, met);
    return met;
  }

  /** Called by Connect with a controller that is bound to its admin queue. */
  controllerCreated(controller: Controller): void {
    this.#tableOf(controller).add(controller);
    this.#controllers++;
    this.hosts.controllerCreated(controller);
    this.hooks.controllerCreated?.(controller);
  }

  /** Called by a controller that is gone, when none of its commands is under way any more. */
  controllerQuiet(controller: Controller, tookMs: number): void {
    this.#tableOf(controller).quiet(controller);
    this.#leavers.delete(controller);
    if (controller.subsystem !== null) this.hooks.quiet?.(controller, tookMs);
  }

  /** Called by a controller that is going. */
  controllerGone(controller: Controller): void {
    this.#tableOf(controller).delete(controller);
    this.#leavers.add(controller);
    this.#controllers--;
    controller.subsystem?.writeCacheChanged();
    assert(this.#controllers >= 0, 'more controllers gone than created');
    this.hosts.controllerGone(controller);
  }

  #tableOf(controller: Controller): ControllerTable {
    return controller.subsystem?.controllers ?? this.discoveryControllers;
  }

  *#allControllers(): Generator<Controller> {
    for (const subsystem of this.#subsystems.values()) yield* subsystem.controllers.values();
    yield* this.discoveryControllers.values();
  }

  /** Those that are gone and not quiet yet, also of subsystems that are removed. */
  readonly #leavers = new Set<Controller>();

  get controllers(): Controller[] {
    return [...this.#allControllers()];
  }

  /** Greater than every version handed out before, of whichever subsystem: one may come back under an old name. */
  nextVersion(): number {
    return ++this.#versions;
  }

  #unlinked(port: Port, subsystem: Subsystem): void {
    const { portId } = port;
    this.hooks.unlinked?.({ nqn: subsystem.nqn, portId, version: this.nextVersion(), namespaces: [] });
  }

  /** See the hook. */
  random64(): bigint {
    const next = (this.#randoms = BigInt.asUintN(64, this.#randoms + 0x9e37_79b9_7f4a_7c15n));
    return this.hooks.random64?.() ?? next;
  }

  /** A number that no namespace has had yet. */
  nextInstance(): number {
    return ++this.#instances;
  }

  /** A discovery log has changed for some host. @param port the one whose log it is; by default it may be any */
  discoveryChanged(port: Port | null = null): void {
    this.#generation++;
    for (const controller of this.discoveryControllers.values()) {
      if (port === null || controller.port === port) controller.discoveryChanged();
    }
  }

  // ---------------------------------------------------------------- time

  /** When `tick` has to be called at the latest; may be earlier than need be. */
  nextDeadlineMs(): number {
    return this.#deadlineMs;
  }

  /** Called by controllers and ports whenever they set a deadline. */
  deadlineSet(ms: number): void {
    if (ms < this.#deadlineMs) this.#deadlineMs = ms;
  }

  /** Ends the associations whose time is over. */
  tick(nowMs = this.nowMs()): void {
    if (nowMs < this.#deadlineMs) return;
    for (const controller of [...this.controllers, ...this.#leavers]) controller.tick(nowMs);
    for (const port of this.#ports.values()) port.tick(nowMs);
    this.#deadlineMs = NEVER;
    for (const port of this.#ports.values()) this.deadlineSet(port.anaGroups.deadlineMs());
    for (const controller of this.#allControllers()) this.deadlineSet(controller.nextDeadlineMs);
    for (const controller of this.#leavers) this.deadlineSet(controller.nextDeadlineMs);
  }

  /** Ends all associations and takes no new ones. */
  close(reason: GoneReason = 'target closed'): void {
    this.#closed = true;
    for (const controller of this.controllers) controller.remove(reason);
  }
}
