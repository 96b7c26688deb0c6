import { NvbraidError } from '@nvbraid/base';
import { DISCOVERY_TCP_PORT, type DiscoveryEntry } from '@nvbraid/wire';
import { DISCOVERY_KEEP_ALIVE_SECS, DISCOVERY_SERVICES_MAX, REFERRAL_DEPTH_MAX } from '../host-limits.ts';
import { connectDiscovery, type DiscoveryConnection } from './discovery-connection.ts';
import { addressKey, type DiscoveryService, isReferral, recordAddress, recordKey } from './service-address.ts';

/** How a discovery service stands. */
export interface ServiceStatus {
  readonly traddr: string;
  readonly trsvcid: number;
  /** Referrals that lead to it; 0 for those that were named. */
  readonly depth: number;
  /** `live`, `connecting` … as of controllers; `failed` while it waits for the next attempt. */
  readonly state: string;
  readonly genctr: number;
  readonly records: number;
  readonly error: NvbraidError | null;
}

/** A record and the service that told it. */
export interface ToldRecord {
  readonly record: DiscoveryEntry;
  readonly service: DiscoveryService;
}

/** What is told now and was not before, and the other way round. */
export function changedRecords(
  before: readonly ToldRecord[],
  after: readonly ToldRecord[],
): { readonly added: readonly ToldRecord[]; readonly removed: readonly ToldRecord[] } {
  const keyOf = ({ record, service }: ToldRecord): string =>
    JSON.stringify([service.traddr, service.trsvcid, recordKey(record)]);
  const without = (some: readonly ToldRecord[], others: readonly ToldRecord[]): ToldRecord[] => {
    const keys = new Set(others.map(keyOf));
    return some.filter((one) => !keys.has(keyOf(one)));
  };
  return { added: without(after, before), removed: without(before, after) };
}

export interface WatchEvents {
  /** Records or states have changed: look again. */
  changed(): void;
  service(status: ServiceStatus): void;
  log(message: string): void;
}

/**
 * Lasting connections to discovery controllers, and to those they refer to: who is referred to by nobody any more is
 * disconnected, who does not answer is tried again. Every address once, so that circles end.
 */
export class DiscoveryWatch {
  readonly #roots: readonly DiscoveryService[];
  readonly #retryMs: number;
  readonly #events: WatchEvents;
  readonly #depthMax: number;
  readonly #services = new Map<string, Watched>();
  #closing = false;

  /**
   * @param retryMs time between two attempts to reach who does not answer
   * @param depthMax referrals that are followed one behind the other; 0: none
   */
  constructor(
    roots: readonly DiscoveryService[],
    retryMs: number,
    events: WatchEvents,
    depthMax: number = REFERRAL_DEPTH_MAX,
  ) {
    this.#roots = roots;
    this.#retryMs = retryMs;
    this.#events = events;
    this.#depthMax = depthMax;
  }

  /** Fulfilled when every service that was named, and all that they lead to, have answered or failed once. */
  async start(): Promise<void> {
    this.#look();
    for (;;) {
      const waiting = [...this.#services.values()].filter(({ tried }) => !tried);
      if (waiting.length === 0) return;
      await Promise.all(waiting.map(({ first }) => first.promise));
    }
  }

  get services(): ServiceStatus[] {
    return [...this.#services.values()].map((service) => service.status);
  }

  /** What all of them tell, in the order in which one comes to them. */
  records(): ToldRecord[] {
    return [...this.#services.values()].flatMap(({ options, records }) =>
      records.map((record) => ({ record, service: options })),
    );
  }

  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#services.values()].map((service) => service.close()));
  }

  /** Walks from those that were named along the referrals; who is not met goes. */
  #look(): void {
    if (this.#closing) return;
    const met = new Set<string>();
    let level: readonly DiscoveryService[] = this.#roots;
    for (let depth = 0; level.length > 0 && depth <= this.#depthMax; depth++) {
      const next: DiscoveryService[] = [];
      for (const options of level) {
        const key = addressKey({ traddr: options.traddr, trsvcid: options.trsvcid ?? DISCOVERY_TCP_PORT });
        if (met.has(key) || met.size >= DISCOVERY_SERVICES_MAX) continue;
        met.add(key);
        next.push(...this.#watched(key, options, depth).referrals);
      }
      level = next;
    }
    for (const [key, service] of this.#services) {
      if (met.has(key)) continue;
      this.#services.delete(key);
      void service.close();
    }
  }

  #watched(key: string, options: DiscoveryService, depth: number): Watched {
    const known = this.#services.get(key);
    if (known !== undefined) return known;
    const service = new Watched(options, depth, this.#retryMs, {
      changed: () => {
        this.#look();
        this.#events.changed();
      },
      service: (status) => this.#events.service(status),
      log: (message) => this.#events.log(message),
    });
    this.#services.set(key, service);
    service.connect();
    return service;
  }
}

/** One service: connected, or waiting for the next attempt. What it told last stands until it tells something else. */
class Watched {
  readonly options: DiscoveryService;
  readonly first = Promise.withResolvers<void>();
  tried = false;
  records: readonly DiscoveryEntry[] = [];
  readonly #depth: number;
  readonly #retryMs: number;
  readonly #events: WatchEvents;
  readonly #stop = new AbortController();
  #connection: DiscoveryConnection | null = null;
  #error: NvbraidError | null = null;
  #attempt: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | null = null;

  constructor(options: DiscoveryService, depth: number, retryMs: number, events: WatchEvents) {
    this.options = options;
    this.#depth = depth;
    this.#retryMs = retryMs;
    this.#events = events;
  }

  get referrals(): DiscoveryService[] {
    return this.records.filter(isReferral).flatMap((record) => {
      try {
        return [{ ...this.options, ...recordAddress(record, this.options.transport) }];
      } catch {
        return []; // told of when the record was new
      }
    });
  }

  get status(): ServiceStatus {
    return {
      traddr: this.options.traddr,
      trsvcid: Number(this.options.trsvcid ?? DISCOVERY_TCP_PORT),
      depth: this.#depth,
      state: this.#connection?.state ?? (this.#error === null ? 'connecting' : 'failed'),
      genctr: this.#connection?.genctr ?? 0,
      records: this.records.length,
      error: this.#error,
    };
  }

  connect(): void {
    this.#timer = null;
    this.#attempt = this.#connect();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#attempt;
    await this.#connection?.disconnect();
    this.#done();
  }

  async #connect(): Promise<void> {
    try {
      const connection = await connectDiscovery({
        ...this.options,
        keepAliveTmo: this.options.keepAliveTmo || DISCOVERY_KEEP_ALIVE_SECS,
        ctrlLossTmo: -1,
        signal: this.#stop.signal,
      });
      this.#connection = connection;
      this.#error = null;
      connection.on('changed', () => this.#took(connection.records));
      connection.on('log', (message) => this.#events.log(`${this.#where}: ${message}`));
      connection.on('state', (_state, error) => {
        this.#error = error;
        this.#tell();
      });
      connection.once('closed', (error) => this.#closed(error));
      this.#tell();
      this.#took(connection.records);
    } catch (error) {
      if (!(error instanceof NvbraidError)) throw error;
      this.#closed(error);
    }
    this.#done();
  }

  #took(records: readonly DiscoveryEntry[]): void {
    if (this.#stop.signal.aborted) return;
    for (const record of records) if (isReferral(record) && !this.records.includes(record)) this.#doubt(record);
    this.records = records;
    this.#events.changed();
  }

  #doubt(record: DiscoveryEntry): void {
    try {
      recordAddress(record);
    } catch (error) {
      this.#events.log(`${this.#where}: a referral is not followed: ${(error as Error).message}`);
    }
  }

  #closed(error: NvbraidError | null): void {
    this.#connection = null;
    if (this.#stop.signal.aborted || error === null) return;
    // Words once, not with every attempt.
    const news = this.#error?.message !== error.message;
    this.#error = error;
    if (news) this.#tell();
    this.#timer = setTimeout(() => this.connect(), this.#retryMs);
  }

  #done(): void {
    this.tried = true;
    this.first.resolve();
  }

  #tell(): void {
    if (!this.#stop.signal.aborted) this.#events.service(this.status);
  }

  get #where(): string {
    return `discovery at ${this.options.traddr} port ${this.options.trsvcid ?? DISCOVERY_TCP_PORT}`;
  }
}
