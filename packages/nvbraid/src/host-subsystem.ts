import { EventEmitter } from 'node:events';
import { NEVER, NvbraidError } from '@nvbraid/base';
import {
  type HostController as ControllerCore,
  HostSubsystem as Core,
  keptKeepAliveMs,
  type NamespaceHead,
  NamespaceRegistry,
  type NvmePath,
  quiesceMs,
} from '@nvbraid/host';
import { AccessState } from '@nvbraid/multipath';
import { ANA_STATE_NAMES, AnaState, Ctratt } from '@nvbraid/wire';
import { type ControllerOptions, controllerParts } from './connect-options.ts';
import { HeadSink } from './head-sink.ts';
import { HostController, type HostStats } from './host-controller.ts';
import { HostHead } from './host-head.ts';
import type { HostIo } from './host-io.ts';
import { type LatencyBucket, LatencyHistogram, type LatencySummary } from './host-latency.ts';
import { DISCONNECT_DRAIN_MS, TIMER_MS_MAX } from './host-limits.ts';
import type { IoOptions } from './host-namespace.ts';
import { type QueueSubflows, SubflowWatch } from './subflow-watch.ts';
import { systemClock } from './system-clock.ts';
import type { ZonedNamespace } from './zoned-namespace.ts';

/** Options that all paths of a subsystem share. */
export interface SubsystemOptions {
  /** numa (default), round-robin, queue-depth or service-time. */
  readonly iopolicy?: string;
  /**
   * Whether a command that changes blocks, and of which nobody knows whether it was executed, is sent by another path only
   * when its old association is over for certain. Default true. False is what Linux does: faster, and a delayed old write
   * may then replace a newer one.
   */
  readonly safeFailover?: boolean;
  /** How long a namespace outlives its last path, in seconds: calls wait meanwhile. Default 0. */
  readonly delayedRemovalSecs?: number;
  /** Numbers of its controllers in names: the first, and from one to the next. Default 1 and 1. */
  readonly controllerNumbers?: { readonly first: number; readonly step: number };
}

/** How one path stands, for people and monitoring. */
export interface PathStatus {
  /** e.g. nvme0c1n1 */
  readonly name: string;
  readonly controller: string;
  readonly transport: string;
  readonly traddr: string;
  readonly trsvcid: string;
  readonly state: string;
  /** Null where the controller reports none. */
  readonly anaState: string | null;
  readonly anaGroup: number;
  /** Chosen by the policy if all others are equal. */
  readonly usable: boolean;
  readonly depth: number;
  readonly commands: number;
  readonly failovers: number;
  readonly retries: number;
  readonly errors: number;
  readonly resets: number;
  readonly reconnects: number;
  /** Moving average in microseconds; null while no policy measures it. */
  readonly latencyUs: number | null;
}

export interface HeadStatus {
  readonly name: string;
  readonly nsid: number;
  readonly paths: readonly PathStatus[];
  /** Calls that had to wait for a path; calls that failed because there was none. */
  readonly requeues: number;
  readonly failures: number;
  /** Commands that wait for a path now. */
  readonly queued: number;
  /** From the first failure of a command to its end by another path. */
  readonly failoverLatency: LatencySummary & { readonly buckets: readonly LatencyBucket[] };
  /** What its users have done. */
  readonly stats: IoStats;
}

/** A queue of one of its controllers, with its subflows. */
export interface HostQueueSubflows extends QueueSubflows {
  /** As in names of paths: nvme1. */
  readonly controller: string;
}

interface HostSubsystemEventMap {
  'head-added': [head: HostHead];
  'head-removed': [head: HostHead];
  /** A sentence for the log. */
  log: [message: string];
  /** Its last controller is gone. @param error null after `disconnect` */
  closed: [error: NvbraidError | null];
}

/** What was asked of a namespace, and how long it took. */
export type IoStats = Omit<HostStats, 'resets' | 'reconnects'>;

const NOTHING_DONE = {
  readCommands: 0,
  writeCommands: 0,
  otherCommands: 0,
  readBytes: 0,
  writtenBytes: 0,
  errors: 0,
  retries: 0,
  inFlight: 0,
};

function ioStats(io: HostIo | undefined): IoStats {
  if (io === undefined) return { ...NOTHING_DONE, latency: new LatencyHistogram().summary() };
  return { ...io.counters, inFlight: io.inFlight, latency: io.latency.summary() };
}

const registry = new NamespaceRegistry();
let instances = 0;

/** How long a write may wait because its path was lost. */
export interface StallBound {
  /** Null when there is no bound. */
  readonly ms: number | null;
  /** How it is made up, or why there is none. */
  readonly formula: string;
}

/**
 * A subsystem that this process uses, with all its controllers: the root of native multipath. Made by `connectSubsystem`.
 */
export class HostSubsystem extends EventEmitter<HostSubsystemEventMap> {
  readonly core: Core;
  /** By nsid; kept up to date. */
  readonly heads = new Map<number, HostHead>();
  /** Tells what becomes of the subflows of all its controllers. */
  readonly subflowWatch = new SubflowWatch<HostQueueSubflows>(async () => this.subflows(false));
  readonly #controllers = new Map<ControllerCore, HostController>();
  readonly #sinks = new Map<NamespaceHead, HeadSink>();
  #timer: NodeJS.Timeout | null = null;
  #armedMs = NEVER;
  #ticking = false;
  #removing = false;
  #lastError: NvbraidError | null = null;
  readonly #noted = new Set<string>();

  constructor(nqn: string, options: SubsystemOptions = {}) {
    super();
    this.core = new Core(
      {
        nqn,
        instance: instances++,
        ...(options.iopolicy === undefined ? {} : { iopolicy: options.iopolicy }),
        ...(options.safeFailover === undefined ? {} : { safeFailover: options.safeFailover }),
        ...(options.delayedRemovalSecs === undefined ? {} : { delayedRemovalSecs: options.delayedRemovalSecs }),
        ...(options.controllerNumbers === undefined ? {} : { controllerNumbers: options.controllerNumbers }),
      },
      systemClock,
      {
        headAdded: (head) => this.#headAdded(head),
        headRemoved: (head) => this.#headRemoved(head),
        headChanged: (head) => this.#headOf(head)?.update(head.info),
        pathState: (head, path) => this.#pathState(head, path),
        anaChange: (path, before) => this.#anaChange(path, before),
        failover: (head, path, status) => this.#later(head, (one) => one.emit('failover', path.name, status)),
        log: (message) => process.nextTick(() => this.emit('log', message)),
        wake: () => this.#arm(),
      },
      registry,
    );
  }

  get nqn(): string {
    return this.core.nqn;
  }

  get name(): string {
    return `nvme-subsys${this.core.instance}`;
  }

  get iopolicy(): string {
    return this.core.iopolicy.show();
  }

  get controllers(): HostController[] {
    return [...this.#controllers.values()];
  }

  /** @throws NvbraidError EINVAL for a name that is no policy */
  setIopolicy(name: string): void {
    if (this.core.iopolicy.store(name)) return this.#arm();
    const known = this.core.iopolicy.names().join(', ');
    throw new NvbraidError('EINVAL', `unknown iopolicy '${name}': use one of ${known}`);
  }

  /** @throws NvbraidError ENOENT */
  head(nsid: number): HostHead {
    const head = this.heads.get(nsid);
    if (head === undefined)
      throw new NvbraidError('ENOENT', this.core.refused.get(nsid) ?? `${this.nqn} has no namespace ${nsid}`);
    return head;
  }

  /** The same, by the name that controllers have for it: code that takes either can be given a subsystem. */
  namespace(nsid: number): HostHead {
    return this.head(nsid);
  }

  /**
   * The controller that answers admin commands: one that is live, by a path that is good if there is one.
   * @throws NvbraidError EWOULDBLOCK while none is live
   */
  get admin(): HostController {
    const live = this.controllers.filter(({ state }) => state === 'live');
    const good = live.find(({ core }) =>
      [...this.core.heads.values()].every(({ paths }) =>
        paths.every(
          (path) => path.controller !== core || path.anaState === null || path.anaState <= AnaState.NonOptimized,
        ),
      ),
    );
    const found = good ?? live[0];
    if (found !== undefined) return found;
    throw new NvbraidError('EWOULDBLOCK', `no controller of ${this.nqn} is live now: try again when a path is back`, {
      ...(this.#lastError === null ? {} : { cause: this.#lastError }),
    });
  }

  /** As in names of paths: nvme1. */
  controllerName(controller: HostController): string {
    return `nvme${this.core.indexOf(controller.core)}`;
  }

  /** @throws NvbraidError ENOENT */
  controllerNamed(name: string): HostController {
    const found = this.controllers.find((controller) => this.controllerName(controller) === name);
    if (found !== undefined) return found;
    const names = this.controllers.map((controller) => this.controllerName(controller)).join(', ');
    throw new NvbraidError('ENOENT', `${this.nqn} has no controller ${name}: it has ${names || 'none'}`);
  }

  /** The zones of a namespace, over all its paths. @throws as `HostController.zoned` */
  zoned(nsid: number, options: IoOptions = {}): Promise<ZonedNamespace> {
    const head = this.head(nsid);
    return this.admin.zoned(nsid, options, { io: head.io, namespace: () => head });
  }

  /**
   * Connects one more controller. Fulfilled when it is live, and its namespaces have joined the heads.
   * @throws NvbraidError, NvmeError as `connectController`; EBUSY when there is such a path already, ESHUTDOWN after
   *   `disconnect`
   */
  async addPath(options: Omit<ControllerOptions, 'nqn'>): Promise<HostController> {
    const parts = controllerParts({ ...options, nqn: this.nqn });
    if (this.#removing) throw new NvbraidError('ESHUTDOWN', `${this.nqn} is being disconnected`);
    const twin = options.duplicateConnect === true ? undefined : this.#twin(parts.place);
    if (twin !== undefined) {
      throw new NvbraidError('EBUSY', `${this.nqn} is connected by this path already (duplicate-connect allows it)`, {
        retryable: false,
      });
    }
    const controller = new HostController(parts.options, parts.runtime, parts.maxRetries, (events) =>
      this.core.addController(parts.options, parts.runtime, events),
    );
    controller.place = parts.place;
    controller.drainMs = DISCONNECT_DRAIN_MS;
    this.#controllers.set(controller.core, controller);
    controller.once('closed', (error) => this.#closed(controller, error));
    controller.on('state', () => this.#arm());
    await controller.start();
    this.#arm();
    this.#note(parts.runtime.notes);
    return controller;
  }

  /** What is the same for all paths is said once. */
  #note(sentences: ReadonlySet<string>): void {
    for (const sentence of sentences) {
      if (this.#noted.has(sentence)) continue;
      this.#noted.add(sentence);
      this.emit('log', sentence);
    }
  }

  #twin(place: HostController['place']): HostController | undefined {
    return this.controllers.find((one) => JSON.stringify(one.place) === JSON.stringify(place) && one.state !== 'dead');
  }

  /**
   * The longest time that a write waits because its path was lost, in ms, and how it is made up: detection by Keep Alive,
   * then the proof that the old association is over.
   */
  stallBound(): StallBound {
    let bound = { ms: 0, formula: 'no controller is connected' };
    for (const core of this.#controllers.keys()) {
      if (core.identify === null) continue;
      const { ctratt, cqt, kas } = core.identify;
      const kato = keptKeepAliveMs(core.options.keepAliveMs, kas);
      if (kato === 0) return { ms: null, formula: 'only Keep Alive notices a silent path, and keep-alive-tmo is 0' };
      const traffic = (ctratt & Ctratt.Tbkas) !== 0;
      // Keep Alive goes out every half of it; where traffic counts, a half with traffic is left out.
      const times = traffic ? 2 : 1.5;
      const safe = this.core.fences.enabled;
      const ms = times * kato + (safe ? quiesceMs(kato, cqt, traffic) : 0);
      if (ms < bound.ms) continue;
      const proof = safe ? ` + ${traffic ? 3 : 2} x keep-alive-tmo + CQT ${cqt} ms` : '';
      bound = { ms, formula: `${times} x keep-alive-tmo${proof} (keep-alive-tmo ${kato} ms) = ${ms} ms` };
    }
    return bound;
  }

  status(): HeadStatus[] {
    return [...this.#sinks].map(([head, sink]) => ({
      name: head.name,
      nsid: head.nsid,
      paths: head.paths.map((path) => this.#pathStatus(head, path)),
      requeues: head.requeueNoUsablePathCount,
      failures: head.failNoAvailablePathCount,
      queued: head.queued().length,
      failoverLatency: { ...sink.histogram.summary(), buckets: sink.histogram.buckets() },
      stats: ioStats(this.#headOf(head)?.io),
    }));
  }

  #pathStatus(head: NamespaceHead, path: NvmePath): PathStatus {
    const { controller } = path;
    const place = this.#controllers.get(controller)?.place;
    return {
      name: path.name,
      controller: `nvme${this.core.indexOf(controller)}`,
      transport: place?.transport ?? '',
      traddr: place?.traddr ?? '',
      trsvcid: String(place?.trsvcid ?? ''),
      state: controller.state,
      anaState: path.anaState === null ? null : (ANA_STATE_NAMES[path.anaState] ?? ''),
      anaGroup: path.anaGroupId,
      usable: head.usable(path) && path.accessState !== AccessState.Other,
      depth: controller.outstandingIo,
      commands: path.ioCount,
      failovers: path.failoverCount,
      retries: path.retryCount,
      errors: path.errorCount,
      resets: controller.resets,
      reconnects: controller.reconnects,
      latencyUs: Number.isFinite(path.latencyMs) ? path.latencyMs * 1000 : null,
    };
  }

  /** What the connections of its controllers are made of: see `HostController.subflows`. */
  subflows(backup = true): HostQueueSubflows[] {
    return this.controllers.flatMap((one) => {
      const controller = this.controllerName(one);
      return one.subflows(backup).map((queue) => ({ controller, ...queue }));
    });
  }

  /** What the users of all namespaces have done; resets and reconnects are those of the controllers that are here. */
  stats(): HostStats {
    const latency = new LatencyHistogram();
    const sums = { ...NOTHING_DONE };
    for (const { io } of this.heads.values()) {
      latency.add(io.latency);
      const { latency: _summary, ...counters } = ioStats(io);
      for (const name of Object.keys(sums) as (keyof typeof sums)[]) sums[name] += counters[name];
    }
    let resets = 0;
    let reconnects = 0;
    for (const core of this.#controllers.keys()) {
      resets += core.resets;
      reconnects += core.reconnects;
    }
    return { ...sums, resets, reconnects, latency: latency.summary() };
  }

  /**
   * Takes no new calls, lets those that were made end, by whatever path, then tells the controllers that the host goes,
   * and closes. Can be called again, and then with less patience.
   * @param drainMs how long calls may take to end; those that have not ended then are rejected with ESHUTDOWN, and whether
   * they were executed is not known. Default 5 s
   */
  async disconnect(drainMs = DISCONNECT_DRAIN_MS): Promise<void> {
    this.#removing = true;
    const untilMs = systemClock.nowMs() + drainMs;
    const heads = [...this.heads.values()];
    for (const { io } of heads) io.close(this.#closedError());
    await Promise.all(heads.map(({ io }) => io.idle(drainMs)));
    const left = heads.reduce((sum, { io }) => sum + io.inFlight, 0);
    if (left > 0) {
      const calls = left === 1 ? '1 call' : `${left} calls`;
      const message = `${calls} did not end in ${drainMs} ms before disconnecting: whether they were executed is not known`;
      process.nextTick(() => this.emit('log', message));
    }
    const leftMs = Math.max(0, untilMs - systemClock.nowMs());
    const gone = this.controllers.map((controller) => controller.disconnect(leftMs));
    this.#arm();
    await Promise.all(gone);
    for (const head of [...this.core.heads.values()]) head.removal.store('0', systemClock.nowMs());
    this.#arm();
  }

  #closedError(): NvbraidError {
    return new NvbraidError('ESHUTDOWN', `${this.nqn} is disconnected`);
  }

  // ---------------------------------------------------------------- what the core tells

  #headAdded(head: NamespaceHead): void {
    const sink = new HeadSink(head);
    this.#sinks.set(head, sink);
    const one = new HostHead(this, head, sink);
    this.heads.set(head.nsid, one);
    if (this.#removing) one.io.close(this.#closedError());
    process.nextTick(() => this.emit('head-added', one));
  }

  #headRemoved(head: NamespaceHead): void {
    const one = this.#headOf(head);
    this.#sinks.delete(head);
    if (one === undefined) return;
    this.heads.delete(head.nsid);
    const lost = new NvbraidError('ENOENT', `namespace ${head.nsid} of ${this.nqn} has no path any more`);
    one.abandon(this.#removing ? this.#closedError() : lost);
    process.nextTick(() => this.emit('head-removed', one));
  }

  #headOf(head: NamespaceHead): HostHead | undefined {
    const one = this.heads.get(head.nsid);
    return one?.core === head ? one : undefined;
  }

  #pathState(head: NamespaceHead, path: NvmePath): void {
    this.#sinks.get(head)?.pathChanged();
    const { state } = path.controller;
    this.#later(head, (one) => one.emit('path-state', path.name, state));
  }

  #anaChange(path: NvmePath, before: number | null): void {
    const name = (state: number | null): string => (state === null ? 'unknown' : (ANA_STATE_NAMES[state] ?? 'unknown'));
    const after = path.anaState;
    this.#later(path.namespaceHead, (one) => one.emit('ana-change', path.name, name(before), name(after)));
  }

  /** Outside the core: what a listener throws is its own. */
  #later(head: NamespaceHead, tell: (one: HostHead) => void): void {
    const one = this.#headOf(head);
    if (one !== undefined) process.nextTick(() => tell(one));
  }

  #closed(controller: HostController, error: NvbraidError | null): void {
    if (error !== null) this.#lastError = error;
    this.#controllers.delete(controller.core);
    this.#arm();
    if (this.#controllers.size > 0) return;
    this.subflowWatch.close();
    this.emit('closed', this.#removing ? null : this.#lastError);
  }

  // ---------------------------------------------------------------- time

  #arm(): void {
    if (this.#ticking) return;
    const atMs = this.core.nextDeadlineMs;
    if (atMs >= this.#armedMs || atMs === NEVER) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#armedMs = atMs;
    const waitMs = Math.min(Math.max(0, Math.ceil(atMs - systemClock.nowMs())), TIMER_MS_MAX);
    if (waitMs === 0) {
      this.#timer = null;
      process.nextTick(this.#tick);
    } else this.#timer = setTimeout(this.#tick, waitMs);
  }

  readonly #tick = (): void => {
    this.#timer = null;
    this.#armedMs = NEVER;
    this.#ticking = true;
    this.core.tick(systemClock.nowMs());
    this.#ticking = false;
    for (const controller of this.#controllers.values()) controller.arm();
    this.#arm();
  };
}
