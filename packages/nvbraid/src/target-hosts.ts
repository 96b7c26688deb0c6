import type { HostHooks, HostTable } from '@nvbraid/target';
import { checkHostOptions, HostBlock, type HostOptions } from './host-block.ts';
import type { LimitLog } from './limit-log.ts';
import type { TargetLimits } from './target-limits.ts';

/** What a host has and has done, as long as it has a controller. */
export interface HostInfo {
  readonly hostnqn: string;
  /** Discovery controllers included. */
  readonly controllers: number;
  /** I/O queues. */
  readonly queues: number;
  /** I/O commands that were answered, and bytes on the wire of I/O queues, since it came. */
  readonly commands: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  readonly commandsUnderWay: number;
  readonly payloadBytes: number;
  /** How often a connection was not read for a while, for what the host had under way, and for its rate. */
  readonly held: number;
  readonly throttled: number;
  /** Connects that a limit refused. */
  readonly refused: number;
}

export interface HostRecord {
  readonly id: number;
  readonly block: HostBlock;
  refused: number;
}

/** The hosts of a target: what it tells its threads about each, and what they tell back. */
export class TargetHosts {
  readonly #limits: TargetLimits;
  readonly #rows: number;
  readonly #records = new Map<string, HostRecord>();
  readonly #options = new Map<string, HostOptions>();
  #defaults: HostOptions;
  /** What holds where no default says otherwise. */
  readonly #perHost: { readonly controllers: number; readonly queues: number };
  #table: HostTable | null = null;
  #nextId = 1;

  /** @param rows threads that count. @throws NvbraidError EINVAL */
  constructor(
    limits: TargetLimits,
    rows: number,
    given: { hostDefaults?: HostOptions; hosts?: Readonly<Record<string, HostOptions>> },
  ) {
    this.#limits = limits;
    this.#perHost = { controllers: limits.controllersPerHost, queues: limits.queuesPerHost };
    this.#rows = rows;
    this.#defaults = checkHostOptions(given.hostDefaults ?? {});
    for (const [hostnqn, options] of Object.entries(given.hosts ?? {})) {
      this.#options.set(hostnqn, checkHostOptions(options));
    }
  }

  /** To be called once, with the hosts of the control plane. */
  attach(table: HostTable): void {
    this.#table = table;
    this.setDefaults(this.#defaults);
  }

  /** What every host may have and do unless it has limits of its own. */
  get defaults(): HostOptions {
    return this.#defaults;
  }

  /** What single hosts may have and do in place of that. */
  get own(): ReadonlyMap<string, HostOptions> {
    return this.#options;
  }

  /** Holds for the next Connect, and the next bytes that arrive. @throws NvbraidError EINVAL */
  setDefaults(options: HostOptions): void {
    this.#defaults = checkHostOptions(options);
    const table = this.#table!;
    table.limits.controllersPerHost = this.#defaults.controllers ?? this.#perHost.controllers;
    table.limits.queuesPerHost = this.#defaults.queues ?? this.#perHost.queues;
    for (const [hostnqn, { block }] of this.#records) block.set(this.options(hostnqn), this.#limits);
    for (const hostnqn of this.#options.keys()) this.#tell(hostnqn);
  }

  hooks(limitLog: LimitLog): HostHooks {
    return {
      hostCreated: ({ hostnqn }) => {
        const block = HostBlock.create(this.#rows);
        block.set(this.options(hostnqn), this.#limits);
        this.#records.set(hostnqn, { id: this.#nextId++, block, refused: 0 });
      },
      hostGone: ({ hostnqn }) => void this.#records.delete(hostnqn),
      limitMet: (hostnqn, limit) => {
        const record = this.#records.get(hostnqn);
        if (record !== undefined) record.refused++;
        limitLog.met(limit, `refused a Connect of ${hostnqn}: it, or all together, have what they may have`);
      },
    };
  }

  record(hostnqn: string): HostRecord | undefined {
    return this.#records.get(hostnqn);
  }

  /**
   * What one host may have and do, in place of the defaults; it holds for the next bytes that arrive from it. Null: as
   * all others. @throws NvbraidError EINVAL
   */
  setOptions(hostnqn: string, options: HostOptions | null): void {
    if (options === null) this.#options.delete(hostnqn);
    else this.#options.set(hostnqn, checkHostOptions(options));
    this.#tell(hostnqn);
  }

  #tell(hostnqn: string): void {
    const all = this.options(hostnqn);
    this.#table!.setOwn(hostnqn, {
      controllersPerHost: all.controllers ?? this.#limits.controllersPerHost,
      queuesPerHost: all.queues ?? this.#limits.queuesPerHost,
    });
    this.#records.get(hostnqn)?.block.set(all, this.#limits);
  }

  /** What holds for a host. */
  options(hostnqn: string): HostOptions {
    return { ...this.#defaults, ...this.#options.get(hostnqn) };
  }

  list(): HostInfo[] {
    const infos: HostInfo[] = [];
    for (const { hostnqn, controllers, queues } of this.#table!.values()) {
      const { block, refused } = this.#records.get(hostnqn)!;
      infos.push({ hostnqn, controllers: controllers.size, queues, ...block.sums(this.#rows), refused });
    }
    return infos;
  }
}
