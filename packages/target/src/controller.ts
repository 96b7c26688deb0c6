import { NEVER } from '@nvbraid/base';
import { Csi, type ReservationNotification, Shst } from '@nvbraid/wire';
import { AsyncEvents, EVENTS } from './async-events.ts';
import type { ControllerKind } from './controller-kind.ts';
import { CONTROLLER_STATES, type ControllerEvent, type ControllerState } from './controller-states.ts';
import { CrossControllerResets } from './cross-controller-resets.ts';
import { ErrorLog } from './error-log.ts';
import { FeatureValues } from './feature-values.ts';
import type { GoneReason } from './hooks.ts';
import { LbaStatusReports } from './lba-status-reports.ts';
import { DISCOVERY_IDLE_MS, KEEP_ALIVE_GRANULARITY, OVERDUE_REPEAT_MS } from './limits.ts';
import type { Namespace } from './namespace.ts';
import type { Port } from './port.ts';
import { CSS_ALL, ccFields, ccIsSupported, cstsValue } from './properties.ts';
import type { CommandQueue } from './request.ts';
import { ReservationLog } from './reservations/reservation-log.ts';
import type { Subsystem } from './subsystem.ts';
import { VERSION } from './subsystem-identity.ts';
import type { Target } from './target.ts';
import { ZoneChanges } from './zone-changes.ts';

/** Where a connection came in, as its socket tells: wildcard listen addresses are replaced by it in discovery logs. */
export interface LocalAddress {
  readonly traddr: string;
  readonly trsvcid: string;
}

export interface ControllerIdentity {
  readonly kind: ControllerKind;
  readonly target: Target;
  /** Null for discovery controllers. */
  readonly subsystem: Subsystem | null;
  readonly subnqn: string;
  readonly port: Port;
  readonly local: LocalAddress | null;
  readonly hostnqn: string;
  /** UUID text; empty when it is nil. */
  readonly hostid: string;
  readonly cntlid: number;
  readonly adminQueue: CommandQueue;
}

/** The association with one host: state machine, timers, events and which queues belong to it. */
export class Controller {
  readonly kind: ControllerKind;
  readonly target: Target;
  readonly subsystem: Subsystem | null;
  readonly subnqn: string;
  readonly port: Port;
  readonly local: LocalAddress | null;
  readonly hostnqn: string;
  readonly hostid: string;
  readonly cntlid: number;
  readonly adminQueue: CommandQueue;
  readonly events = new AsyncEvents();
  /** Cross-Controller Resets that this controller was asked for. */
  readonly resets = new CrossControllerResets(this);
  readonly errors: ErrorLog;
  readonly features = new FeatureValues();
  readonly createdMs: number;
  readonly reservationLog = new ReservationLog();
  /** Namespaces that changed since their log page was read: never more than the page holds. */
  readonly changedNamespaces = new Set<number>();
  readonly zoneChanges = new ZoneChanges();
  readonly lbaStatus = new LbaStatusReports(this);
  /**
   * One word, in memory that reactors share: not 0 when something has arrived on any queue of the controller since it was
   * last looked at. That counts as a Keep Alive (Traffic Based Keep Alive Support; Base 2.1, 3.9.4).
   */
  readonly traffic = new Int32Array(new SharedArrayBuffer(4));
  /** When `tick` has to look at this controller. */
  deadlineMs = NEVER;
  #state: ControllerState = CONTROLLER_STATES.initial;
  #cc = 0;
  #rdy = false;
  #everEnabled = false;
  #keepAliveMs = 0;
  #ciu: number;
  #cirn: bigint;
  /** When the association ended. */
  #goneMs = 0;
  readonly #whenQuiet: (() => void)[] = [];
  /** Tells the answer of an old flush from that of the present one. */
  #flushes = 0;
  readonly #ioQueues = new Map<number, CommandQueue>();

  constructor(identity: ControllerIdentity, keepAliveMs: number) {
    this.kind = identity.kind;
    this.target = identity.target;
    this.subsystem = identity.subsystem;
    this.subnqn = identity.subnqn;
    this.port = identity.port;
    this.local = identity.local;
    this.hostnqn = identity.hostnqn;
    this.hostid = identity.hostid;
    this.cntlid = identity.cntlid;
    this.adminQueue = identity.adminQueue;
    this.errors = new ErrorLog(identity.port.trtype);
    this.createdMs = this.target.nowMs();
    this.features.reset(this.createdMs);
    this.#cirn = this.target.random64();
    this.#ciu = 1 + Number(this.target.random64() % 255n);
    this.setKeepAlive(keepAliveMs);
  }

  get state(): ControllerState {
    return this.#state;
  }

  /** Controller instance uniquifier, 1 … 255, and random number: others each time that CSTS.RDY rises. */
  get ciu(): number {
    return this.#ciu;
  }

  get cirn(): bigint {
    return this.#cirn;
  }

  /** As VS and VER tell it. */
  get version(): number {
    return this.subsystem?.identity.version ?? VERSION;
  }

  // ---------------------------------------------------------------- what the host sees

  /** Namespaces that are active for this host, nsid ascending. */
  get namespaces(): Namespace[] {
    return (this.subsystem?.namespaces ?? []).filter((namespace) => this.#sees(namespace));
  }

  /** Namespaces that this host may see, nsid ascending, those that are disabled included. */
  get allocated(): Namespace[] {
    return (this.subsystem?.allocated ?? []).filter((namespace) => this.#sees(namespace));
  }

  /** Null when it is not active for this host. */
  namespace(nsid: number): Namespace | null {
    const namespace = this.subsystem?.namespace(nsid);
    return namespace?.enabled === true && this.#sees(namespace) ? namespace : null;
  }

  /** The host asked for the NVM command set alone (CC.CSS 000b): namespaces of others are not there for it. */
  get nvmOnly(): boolean {
    return ccFields(this.#cc).css !== CSS_ALL;
  }

  #sees(namespace: Namespace): boolean {
    return namespace.visibleTo(this.hostnqn) && (namespace.csi === Csi.Nvm || !this.nvmOnly);
  }

  // ---------------------------------------------------------------- properties

  get cc(): number {
    return this.#cc;
  }

  get csts(): number {
    const shst =
      this.#state === 'shutdown-processing'
        ? Shst.Occurring
        : this.#state === 'shutdown-complete'
          ? Shst.Complete
          : Shst.Normal;
    return cstsValue(this.#rdy, this.#state === 'fatal', shst);
  }

  /** CC.EN and CSTS.RDY are both 1: admin commands run. */
  get enabled(): boolean {
    return this.#rdy && this.#state !== 'disabling';
  }

  /** Property Set of CC (Base 2.1, 3.1.4.5). */
  writeCc(value: number): void {
    if (this.#state === 'gone') return;
    const before = ccFields(this.#cc);
    const after = ccFields(value);
    this.#cc = value;
    this.touch();
    if (before.en === 1 && after.en === 0) {
      this.#disable();
      return;
    }
    if (before.en === 0 && after.en === 1) this.#tryEnable();
    if (before.shn === 0 && after.shn !== 0) this.#shutdown();
  }

  #go(event: ControllerEvent): void {
    this.#state = CONTROLLER_STATES.next(this.#state, event);
  }

  #tryEnable(): void {
    // While a reset is under way the enable waits for its end.
    if (!CONTROLLER_STATES.may(this.#state, 'enable')) return;
    const supported = ccIsSupported(ccFields(this.#cc), this.kind.name === 'io');
    this.#go(supported ? 'enable' : 'refuse');
    this.#rdy = supported;
    this.#everEnabled ||= supported;
    if (supported) {
      this.#ciu = (this.#ciu % 255) + 1;
      this.#cirn = this.target.random64();
    }
    this.restartTimer();
  }

  /** Controller reset: I/O queues go, features and events start afresh. */
  #disable(): void {
    if (!CONTROLLER_STATES.may(this.#state, 'disable')) return;
    this.#flushes++;
    this.#go('disable');
    this.restartTimer();
    this.events.reset();
    this.resets.reset();
    this.features.reset(this.target.nowMs());
    this.subsystem?.writeCacheChanged();
    this.changedNamespaces.clear();
    this.zoneChanges.clear();
    this.lbaStatus.reset();
    this.reservationLog.reset();
    this.#closeIoQueues();
    this.#finishDisable();
  }

  #finishDisable(): void {
    if (this.#state !== 'disabling' || this.#ioQueues.size > 0) return;
    this.#go('queuesClosed');
    this.#rdy = false;
    if (ccFields(this.#cc).en === 1) this.#tryEnable();
  }

  #shutdown(): void {
    if (!CONTROLLER_STATES.may(this.#state, 'shutdown')) return;
    this.#go('shutdown');
    this.restartTimer();
    const flush = ++this.#flushes;
    const done = (): void => {
      if (flush === this.#flushes && this.#state === 'shutdown-processing') this.#go('flushed');
    };
    const hook = this.target.hooks.flush;
    if (this.subsystem === null || hook === undefined) done();
    else hook.call(this.target.hooks, this.subsystem, done);
  }

  // ---------------------------------------------------------------- queues

  /** Number of I/O queues that are connected. */
  get ioQueueCount(): number {
    return this.#ioQueues.size;
  }

  /** I/O queues that the host may connect: what Number of Queues granted, or all while it was not asked. */
  get ioQueuesGranted(): number {
    const most = this.subsystem?.maxIoQueues ?? 0;
    return this.features.ioQueuesGranted === 0 ? most : Math.min(most, this.features.ioQueuesGranted);
  }

  hasIoQueue(qid: number): boolean {
    return this.#ioQueues.has(qid);
  }

  /** True while I/O queues can be connected. */
  get takesIoQueues(): boolean {
    return this.#state === 'ready';
  }

  addIoQueue(qid: number, queue: CommandQueue): void {
    this.#ioQueues.set(qid, queue);
    this.target.hosts.queueAdded(this);
  }

  /**
   * The runtime's word that an I/O queue is gone and none of its commands can change a block any more. The queue
   * identifier is free again.
   */
  ioQueueClosed(qid: number): void {
    if (!this.#ioQueues.delete(qid)) return;
    this.target.hosts.queueGone(this);
    this.#finishDisable();
    this.#finishRemove();
  }

  #closeIoQueues(): void {
    for (const [qid, queue] of [...this.#ioQueues]) {
      const hook = this.target.hooks.closeQueue;
      if (hook !== undefined) {
        hook.call(this.target.hooks, queue, this, qid);
      } else {
        queue.close();
        this.#ioQueues.delete(qid);
        this.target.hosts.queueGone(this);
      }
    }
  }

  // ---------------------------------------------------------------- time

  /** Keep Alive Timeout in ms; 0 when it is disabled. */
  get keepAliveMs(): number {
    return this.#keepAliveMs;
  }

  /** Rounds up to the granularity that Identify tells and starts the timer anew. */
  setKeepAlive(ms: number): void {
    const unit = KEEP_ALIVE_GRANULARITY * 100;
    this.#keepAliveMs = Math.ceil(ms / unit) * unit;
    this.restartTimer();
  }

  /** A Keep Alive command, or a change of state that starts the counting anew. */
  restartTimer(): void {
    this.traffic[0] = 0;
    const ms = this.#timeoutMs();
    // The time for the first enable runs from the start: whatever a host says meanwhile, it cannot stay for ever.
    const fromMs = this.#everEnabled ? this.target.nowMs() : this.createdMs;
    this.deadlineMs = ms === 0 ? NEVER : fromMs + ms;
    this.target.deadlineSet(this.deadlineMs);
    this.target.hooks.leaseChanged?.(this);
  }

  /**
   * When its host is gone for certain unless it says something, or NEVER. One timeout later than `tick` looks, which may
   * then find that there was traffic.
   */
  get leaseMs(): number {
    return this.#state === 'ready' && this.#keepAliveMs > 0 ? this.deadlineMs + this.#keepAliveMs : NEVER;
  }

  /** An admin command has arrived: it counts as traffic, and restarts every timer but that of Keep Alive. */
  touch(): void {
    // Found in the socket after this process stood still: the host has given the association up long ago.
    if (this.target.nowMs() >= this.leaseMs) return this.remove('keep alive timeout');
    this.traffic[0] = 1;
    if (this.#state !== 'ready' || this.#keepAliveMs === 0) this.restartTimer();
  }

  /**
   * Keep Alive counts only while the controller is enabled and not shut down (Base 2.1, 3.9). A host that connects and
   * then neither enables nor leaves, and one that uses discovery without Keep Alive, have a time of their own.
   */
  #timeoutMs(): number {
    if (this.#state === 'gone') return 0;
    const { enableTimeoutMs } = this.target.hosts.limits;
    if (!this.#everEnabled) return enableTimeoutMs;
    if (this.#state !== 'ready') return Math.max(enableTimeoutMs, this.#keepAliveMs);
    if (this.#keepAliveMs > 0) return this.#keepAliveMs;
    return this.kind.name === 'discovery' ? DISCOVERY_IDLE_MS : 0;
  }

  /** When `tick` has to be called at the latest. */
  get nextDeadlineMs(): number {
    return Math.min(this.deadlineMs, this.resets.deadlineMs, this.lbaStatus.deadlineMs);
  }

  /** Called by the target's `tick`. */
  tick(nowMs: number): void {
    this.resets.tick(nowMs);
    this.lbaStatus.tick(nowMs);
    if (nowMs < this.deadlineMs) return;
    if (this.#state === 'gone') return this.#overdue(nowMs);
    const keepAlive = this.#state === 'ready' && this.#keepAliveMs > 0;
    // As the specification wants it the host is given up between one and two timeouts after it has fallen silent.
    const traffic = Atomics.exchange(this.traffic, 0, 0) !== 0;
    if (keepAlive && traffic && nowMs < this.leaseMs) return this.restartTimer();
    this.remove(keepAlive ? 'keep alive timeout' : this.#everEnabled ? 'idle timeout' : 'enable timeout');
  }

  // ---------------------------------------------------------------- what the host is told

  namespaceChanged(nsid: number): void {
    this.changedNamespaces.add(nsid);
    this.events.raise(EVENTS.namespaceAttribute);
  }

  zoneChanged(nsid: number, zslba: number): void {
    this.zoneChanges.changed(nsid, zslba, this.events);
  }

  anaChanged(): void {
    this.events.raise(EVENTS.anaChange);
  }

  /** Another host has taken something from this one, or given something up that it waits for. */
  reservationNotice(namespace: Namespace, what: ReservationNotification): void {
    if (this.reservationLog.add(namespace, what)) this.events.raise(EVENTS.reservation);
  }

  discoveryChanged(): void {
    this.events.raise(EVENTS.discoveryChange);
  }

  // ---------------------------------------------------------------- the end

  /** Ends the association: all its queues are closed, nothing that the host sends has any effect any more. */
  remove(reason: GoneReason): void {
    if (this.#state === 'gone') return;
    this.#go('remove');
    this.#rdy = false;
    this.deadlineMs = NEVER;
    this.events.drop();
    this.lbaStatus.reset();
    this.resets.drop();
    this.#goneMs = this.target.nowMs();
    this.target.controllerGone(this);
    this.#closeIoQueues();
    this.adminQueue.close();
    this.target.hooks.controllerGone?.(this, reason);
    if (this.#finishRemove()) return;
    this.deadlineMs = this.#goneMs + this.subsystem!.cqtMs;
    this.target.deadlineSet(this.deadlineMs);
  }

  /** True when it is gone and none of its commands can change a block any more. */
  get quiet(): boolean {
    return this.#state === 'gone' && this.#ioQueues.size === 0;
  }

  /** Calls back once when the controller is quiet. */
  whenQuiet(callback: () => void): void {
    if (this.quiet) callback();
    else this.#whenQuiet.push(callback);
  }

  #finishRemove(): boolean {
    if (!this.quiet) return false;
    this.deadlineMs = NEVER;
    this.target.controllerQuiet(this, this.target.nowMs() - this.#goneMs);
    for (const callback of this.#whenQuiet.splice(0)) callback();
    return true;
  }

  /** CQT was a promise. Nobody is told that the controller is quiet; somebody should look at the device. */
  #overdue(nowMs: number): void {
    this.deadlineMs = nowMs + OVERDUE_REPEAT_MS;
    this.target.hooks.overdue?.(this, nowMs - this.#goneMs);
  }
}
