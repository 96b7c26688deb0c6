import { EventEmitter } from 'node:events';
import { NvbraidError } from '@nvbraid/base';
import { DISCOVERY_TCP_PORT, NVME_TCP_PORT, Subtype } from '@nvbraid/wire';
import type { PathOptions } from '../connect.ts';
import type { HostController } from '../host-controller.ts';
import { CONNECT_ALL_AT_ONCE, CONNECT_ALL_PATHS_MAX } from '../host-limits.ts';
import { HostSubsystem, type SubsystemOptions } from '../host-subsystem.ts';
import { discoverAll } from './discover-all.ts';
import { DiscoveryWatch, type ServiceStatus, type ToldRecord } from './discovery-watch.ts';
import { addressKey, type DiscoveryService, type PathDefaults, recordAddress } from './service-address.ts';

/** A subsystem whose paths are known without discovery. */
export interface KnownSubsystem {
  readonly nqn: string;
  readonly paths: readonly PathOptions[];
}

/** Options of `connectAll`. Those of `ControllerOptions` count where a service or a path says nothing else. */
export interface ConnectAllOptions extends PathDefaults, Omit<SubsystemOptions, 'controllerNumbers'> {
  /** One discovery controller; or several by `discovery`. */
  readonly traddr?: string;
  readonly trsvcid?: number | string;
  readonly nqn?: string;
  readonly discovery?: readonly DiscoveryService[];
  readonly subsystems?: readonly KnownSubsystem[];
  /**
   * Stays connected to the discovery controllers, connects what they tell of later, and tries again what has failed or was
   * given up. Default false.
   */
  readonly persistent?: boolean;
  /** Disconnects paths that no discovery controller tells of any more. Default false: they stay while they work. */
  readonly disconnectRemoved?: boolean;
  readonly signal?: AbortSignal;
}

/** One path of one subsystem, and what has become of it. */
export interface PathOutcome {
  readonly nqn: string;
  readonly traddr: string;
  readonly trsvcid: number;
  /** `skipped`: the record leads nowhere this host can go. */
  readonly outcome: 'connected' | 'failed' | 'skipped';
  readonly subsystem: HostSubsystem | null;
  readonly controller: HostController | null;
  readonly error: NvbraidError | null;
}

interface HostConnectionsEvents {
  /** A path was connected, or not; the latter once, however often it is tried. */
  path: [outcome: PathOutcome];
  /** A path that was connected is gone. `error` is null when it was disconnected. */
  'path-closed': [path: PathOutcome, error: NvbraidError | null];
  /** A subsystem has got its first path; it has lost its last. */
  subsystem: [subsystem: HostSubsystem];
  'subsystem-closed': [subsystem: HostSubsystem];
  /** A discovery service answers, or does not. */
  discovery: [service: ServiceStatus];
  log: [message: string];
}

interface Wanted {
  readonly key: string;
  readonly nqn: string;
  readonly options: PathOptions & { readonly trsvcid: number };
}

interface Held {
  readonly wanted: Wanted;
  /** Discovery still leads to it, or it was named. */
  told: boolean;
  outcome: PathOutcome | null;
  connecting: boolean;
}

/** All that discovery leads to, connected: one `HostSubsystem` for each name, with all its paths. */
export class HostConnections extends EventEmitter<HostConnectionsEvents> {
  /** By NQN; those with at least one path. */
  readonly subsystems = new Map<string, HostSubsystem>();
  readonly #options: ConnectAllOptions;
  readonly #roots: readonly DiscoveryService[];
  readonly #paths = new Map<string, Held>();
  /** Those that wait for their first path. */
  readonly #pending = new Map<string, HostSubsystem>();
  readonly #skipped = new Set<string>();
  readonly #queue: Held[] = [];
  readonly #retryMs: number;
  #services: readonly ServiceStatus[] = [];
  #watch: DiscoveryWatch | null = null;
  #known: readonly Wanted[] = [];
  #connecting = 0;
  #idle: (() => void)[] = [];
  #timer: NodeJS.Timeout | null = null;
  #closing = false;

  /** Connects nothing yet: listen first, then `start`. @throws NvbraidError EINVAL */
  constructor(options: ConnectAllOptions) {
    super();
    const { traddr, trsvcid, nqn, discovery = [], subsystems = [] } = options;
    this.#options = options;
    this.#retryMs = (options.reconnectDelay ?? 10) * 1000;
    const first = traddr === undefined ? [] : [{ traddr, trsvcid, nqn }];
    this.#roots = [...first, ...discovery].map((service) => ({ ...this.#defaults(), ...given(service) }));
    this.#known = subsystems.flatMap(({ nqn, paths }) => paths.map((path) => this.#wantedPath(nqn, path)));
    if (this.#roots.length + this.#known.length === 0) {
      throw new NvbraidError('EINVAL', 'nothing to connect: name a discovery controller, or subsystems');
    }
  }

  /** What every path was told, by the last attempt. */
  get paths(): PathOutcome[] {
    return [...this.#paths.values()].flatMap(({ outcome }) => (outcome === null ? [] : [outcome]));
  }

  get services(): readonly ServiceStatus[] {
    return this.#watch?.services ?? this.#services;
  }

  /**
   * Asks, and connects. Fulfilled when every path has been tried once.
   * @throws NvbraidError, NvmeError of the first discovery service or path, when none could be connected at all
   */
  async start(): Promise<void> {
    const { persistent = false, signal } = this.#options;
    const onAbort = (): void => void this.disconnect();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      if (signal?.aborted) throw aborted(signal);
      this.#want(this.#known);
      const told = persistent ? await this.#watchAll() : await this.#askAll();
      if (!this.#closing) this.#told(told);
      await this.#settled();
      if (signal?.aborted) throw aborted(signal);
      const answered = this.services.some(({ error }) => error === null);
      if (!answered && this.subsystems.size === 0) {
        throw this.services[0]?.error ?? this.paths[0]?.error ?? aborted(signal);
      }
      this.#retryLater();
    } catch (error) {
      await this.disconnect();
      throw error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Disconnects everything, discovery controllers first: nothing new is connected. */
  async disconnect(): Promise<void> {
    this.#closing = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    for (const held of this.#queue.splice(0)) held.connecting = false;
    await this.#watch?.close();
    const all = [...this.subsystems.values(), ...this.#pending.values()];
    await Promise.all(all.map((subsystem) => subsystem.disconnect()));
    await this.#settled();
  }

  // ---------------------------------------------------------------- what is told

  async #askAll(): Promise<ToldRecord[]> {
    const told: ToldRecord[] = [];
    const statuses = new Map<string, ServiceStatus>();
    const { signal } = this.#options;
    for (const root of this.#roots) {
      if (this.#closing) break;
      const trsvcid = Number(root.trsvcid ?? DISCOVERY_TCP_PORT);
      if (statuses.get(addressKey({ traddr: root.traddr, trsvcid }))?.error === null) continue;
      try {
        const found = await discoverAll({ ...root, keepAliveTmo: 0, ...(signal === undefined ? {} : { signal }) });
        for (const { records, ...service } of found.services) {
          const key = addressKey(service);
          if (statuses.get(key)?.error === null) continue;
          const state = service.error === null ? 'closed' : 'failed';
          statuses.set(key, { ...service, state, records: records.length });
          told.push(...records.map((record) => ({ record, service: root })));
        }
        if (found.omitted > 0) this.emit('log', `${found.omitted} referrals were not followed: there are too many`);
      } catch (error) {
        if (!(error instanceof NvbraidError)) throw error;
        const status = { traddr: root.traddr, trsvcid, depth: 0, state: 'failed', genctr: 0, records: 0, error };
        statuses.set(addressKey(status), status);
      }
    }
    this.#services = [...statuses.values()];
    for (const service of this.#services) this.emit('discovery', service);
    return told;
  }

  async #watchAll(): Promise<ToldRecord[]> {
    const watch = new DiscoveryWatch(this.#roots, this.#retryMs, {
      changed: () => {
        if (!this.#closing) this.#told(watch.records());
      },
      service: (status) => this.emit('discovery', status),
      log: (message) => this.emit('log', message),
    });
    this.#watch = watch;
    await watch.start();
    return watch.records();
  }

  #told(told: readonly ToldRecord[]): void {
    const wanted = new Map(this.#known.map((one) => [one.key, one]));
    const skipped = new Set<string>();
    for (const { record, service } of told) {
      if (record.subtype !== Subtype.Nvme) continue;
      try {
        const { nqn, ...address } = recordAddress(record, service.transport);
        const one = this.#wantedPath(nqn, { ...service, ...address });
        if (!wanted.has(one.key)) wanted.set(one.key, one);
      } catch (error) {
        const { subnqn: nqn, trtype, traddr, trsvcid } = record;
        const key = JSON.stringify([nqn, trtype, traddr, trsvcid]);
        skipped.add(key);
        if (this.#skipped.has(key)) continue;
        this.#skipped.add(key);
        this.#tell({ nqn, traddr, trsvcid: Number(trsvcid) || 0 }, 'skipped', error as NvbraidError);
      }
    }
    for (const key of this.#skipped) if (!skipped.has(key)) this.#skipped.delete(key);
    this.#forget(wanted);
    this.#want([...wanted.values()]);
  }

  /** What the log leads to no more. */
  #forget(wanted: ReadonlyMap<string, Wanted>): void {
    for (const [key, held] of this.#paths) {
      held.told = wanted.has(key);
      if (held.told) continue;
      const { outcome } = held;
      const connected = outcome?.outcome === 'connected' || held.connecting;
      if (connected && this.#options.disconnectRemoved !== true) continue;
      this.#paths.delete(key);
      void outcome?.controller?.disconnect();
    }
  }

  // ---------------------------------------------------------------- paths

  #wantedPath(nqn: string, path: PathOptions): Wanted {
    const { nqn: _discovery, ...options } = { ...this.#defaults(), ...given(path) } as PathOptions & { nqn?: string };
    const trsvcid = Number(path.trsvcid ?? NVME_TCP_PORT);
    return {
      key: JSON.stringify([nqn, options.transport ?? 'tcp', addressKey({ traddr: path.traddr, trsvcid })]),
      nqn,
      options: { ...options, trsvcid },
    };
  }

  #want(wanted: readonly Wanted[]): void {
    for (const one of wanted) {
      if (this.#paths.has(one.key)) continue;
      if (this.#paths.size >= CONNECT_ALL_PATHS_MAX) {
        this.emit('log', `no more than ${CONNECT_ALL_PATHS_MAX} paths are connected; the others are left out`);
        break;
      }
      const held: Held = { wanted: one, outcome: null, connecting: false, told: true };
      this.#paths.set(one.key, held);
      this.#enqueue(held);
    }
  }

  #enqueue(held: Held): void {
    held.connecting = true;
    this.#queue.push(held);
    this.#next();
  }

  #next(): void {
    while (this.#connecting < CONNECT_ALL_AT_ONCE) {
      const held = this.#queue.shift();
      if (held === undefined) break;
      this.#connecting++;
      void this.#connect(held).finally(() => {
        held.connecting = false;
        this.#connecting--;
        this.#retryLater();
        this.#next();
      });
    }
    if (this.#connecting > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Fulfilled when no path is being connected. */
  #settled(): Promise<void> {
    if (this.#connecting === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  async #connect(held: Held): Promise<void> {
    const { nqn, options } = held.wanted;
    const place = { nqn, traddr: options.traddr, trsvcid: options.trsvcid };
    if (this.#closing || this.#paths.get(held.wanted.key) !== held) return;
    try {
      const subsystem = this.#pending.get(nqn) ?? this.subsystems.get(nqn) ?? this.#newSubsystem(nqn);
      const hostnqn = subsystem.controllers[0]?.hostnqn;
      if (options.hostnqn !== undefined && hostnqn !== undefined && options.hostnqn !== hostnqn) {
        throw new NvbraidError('EINVAL', `${nqn} is connected as host ${hostnqn}: all its paths are of one host`);
      }
      const controller = await subsystem.addPath(options);
      if (this.#closing || this.#paths.get(held.wanted.key) !== held) {
        await controller.disconnect();
        return;
      }
      held.outcome = { ...place, outcome: 'connected', subsystem, controller, error: null };
      controller.once('closed', (error) => this.#pathClosed(held, error));
      if (!this.subsystems.has(nqn)) {
        this.#pending.delete(nqn);
        this.subsystems.set(nqn, subsystem);
        this.emit('subsystem', subsystem);
      }
      this.emit('path', held.outcome);
    } catch (error) {
      if (!(error instanceof NvbraidError)) throw error;
      const news = held.outcome?.error?.message !== error.message;
      held.outcome = { ...place, outcome: 'failed', subsystem: null, controller: null, error };
      if (news && !this.#closing) this.emit('path', held.outcome);
      if (!held.told) this.#paths.delete(held.wanted.key);
    }
  }

  /** Counts from its first path on; a name that nobody could be connected to leaves nothing behind. */
  #newSubsystem(nqn: string): HostSubsystem {
    const { iopolicy, safeFailover, delayedRemovalSecs } = this.#options;
    const subsystem = new HostSubsystem(nqn, given({ iopolicy, safeFailover, delayedRemovalSecs }));
    subsystem.on('log', (message) => this.emit('log', message));
    this.#pending.set(nqn, subsystem);
    subsystem.on('closed', () => {
      if (this.#pending.get(nqn) === subsystem) this.#pending.delete(nqn);
      if (this.subsystems.get(nqn) !== subsystem) return;
      this.subsystems.delete(nqn);
      // After its last path.
      process.nextTick(() => this.emit('subsystem-closed', subsystem));
    });
    return subsystem;
  }

  #pathClosed(held: Held, error: NvbraidError | null): void {
    const { outcome } = held;
    if (outcome === null) return;
    held.outcome = { ...outcome, outcome: 'failed', subsystem: null, controller: null, error };
    this.emit('path-closed', outcome, error);
    if (!held.told) this.#paths.delete(held.wanted.key);
    // What somebody has disconnected on purpose is not connected again.
    else if (error !== null) this.#retryLater();
  }

  /** Tries again what failed, once in the time between two attempts of a lost controller. */
  #retryLater(): void {
    if (this.#options.persistent !== true || this.#closing || this.#timer !== null) return;
    const failed = [...this.#paths.values()].filter(({ outcome, connecting }) => !connecting && outcome?.error != null);
    if (failed.length === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      for (const held of this.#paths.values()) {
        if (!held.connecting && held.outcome?.error != null && held.outcome.outcome === 'failed') this.#enqueue(held);
      }
    }, this.#retryMs);
  }

  #tell(
    place: Pick<PathOutcome, 'nqn' | 'traddr' | 'trsvcid'>,
    outcome: PathOutcome['outcome'],
    error: NvbraidError,
  ): void {
    this.emit('path', { ...place, outcome, subsystem: null, controller: null, error });
  }

  #defaults(): PathDefaults {
    const {
      traddr: _traddr,
      trsvcid: _trsvcid,
      nqn: _nqn,
      discovery: _discovery,
      subsystems: _subsystems,
      persistent: _persistent,
      disconnectRemoved: _disconnectRemoved,
      signal: _signal,
      iopolicy: _iopolicy,
      safeFailover: _safeFailover,
      delayedRemovalSecs: _delayedRemovalSecs,
      ...defaults
    } = this.#options;
    return defaults;
  }
}

/**
 * Connects every subsystem that discovery leads to, by all its paths: `HostConnections.subsystems`. One path that fails does
 * not keep the others from being connected.
 * @throws NvbraidError, NvmeError when nothing could be connected and no discovery controller answers
 */
export async function connectAll(options: ConnectAllOptions): Promise<HostConnections> {
  const connections = new HostConnections(options);
  await connections.start();
  return connections;
}

/** Without what is undefined, which would hide a default. */
function given<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}

function aborted(signal: AbortSignal | undefined): NvbraidError {
  return new NvbraidError('EABORTED', 'connecting was aborted', { cause: signal?.reason });
}
