import { EventEmitter } from 'node:events';
import { NvbraidError } from '@nvbraid/base';
import type { AsyncEvent, HostControllerState } from '@nvbraid/host';
import {
  AsyncEventNotice,
  AsyncEventType,
  DISCOVERY_NQN,
  DISCOVERY_TCP_PORT,
  type DiscoveryEntry,
} from '@nvbraid/wire';
import { connectController } from '../connect.ts';
import { type DiscoverOptions, readDiscoveryLog } from '../discover.ts';
import type { HostController } from '../host-controller.ts';
import { DISCOVERY_KEEP_ALIVE_SECS, DISCOVERY_RETRY_MS } from '../host-limits.ts';
import { recordKey } from './service-address.ts';

export interface DiscoveryChange {
  readonly genctr: number;
  readonly added: readonly DiscoveryEntry[];
  readonly removed: readonly DiscoveryEntry[];
}

interface DiscoveryConnectionEvents {
  /** The log leads to other places than before. Its counter alone is no change. */
  changed: [change: DiscoveryChange];
  state: [state: HostControllerState, error: NvbraidError | null];
  /** A sentence for the log: the log page could not be read, and will be read again. */
  log: [message: string];
  /** It is given up. `error` is null after `disconnect`. */
  closed: [error: NvbraidError | null];
}

/** A controller as far as a connection to a discovery service needs it. */
export type DiscoveryController = Pick<HostController, 'getLogPage' | 'disconnect' | 'state'> &
  Pick<HostController, 'on' | 'once' | 'off'>;

/**
 * Stays connected to a discovery controller, and knows what it tells: the log is read again when the controller says that
 * it has changed, and after every new connection, since changes meanwhile are told to nobody. Made by `connectDiscovery`.
 */
export class DiscoveryConnection extends EventEmitter<DiscoveryConnectionEvents> {
  readonly controller: DiscoveryController;
  genctr = 0;
  records: readonly DiscoveryEntry[] = [];
  #reading = false;
  #again = false;
  #timer: NodeJS.Timeout | null = null;

  constructor(controller: DiscoveryController) {
    super();
    this.controller = controller;
  }

  /** Reads the log for the first time; for `connectDiscovery` only. @throws as `readDiscoveryLog` */
  async start(signal?: AbortSignal): Promise<void> {
    const { controller } = this;
    controller.on('aen', (event) => this.#event(event));
    controller.on('state', (state, error) => {
      if (state === 'live') this.#readSoon();
      this.emit('state', state, error);
    });
    controller.once('closed', (error) => {
      this.#stopTimer();
      this.emit('closed', error);
    });
    this.#reading = true;
    try {
      const { genctr, records } = await readDiscoveryLog(controller, signal === undefined ? {} : { signal });
      this.genctr = genctr;
      this.records = records;
    } finally {
      this.#reading = false;
    }
    if (this.#again) this.#readSoon();
  }

  get state(): HostControllerState {
    return this.controller.state;
  }

  async disconnect(): Promise<void> {
    this.#stopTimer();
    await this.controller.disconnect();
  }

  #event({ type, info }: AsyncEvent): void {
    if (type === AsyncEventType.Notice && info === AsyncEventNotice.DiscoveryLogPageChange) this.#readSoon();
  }

  /** One reading at a time; what is told meanwhile leads to one more. */
  #readSoon(): void {
    this.#stopTimer();
    this.#again = true;
    if (!this.#reading) void this.#read();
  }

  async #read(): Promise<void> {
    this.#reading = true;
    while (this.#again && this.controller.state === 'live') {
      this.#again = false;
      try {
        const { genctr, records } = await readDiscoveryLog(this.controller);
        this.#took(genctr, records);
      } catch (error) {
        // After a lost connection the next one reads. Otherwise nobody will tell of this change once more.
        if (this.controller.state !== 'live') break;
        this.emit('log', `the discovery log could not be read: ${(error as Error).message}`);
        this.#timer = setTimeout(() => this.#readSoon(), DISCOVERY_RETRY_MS);
        break;
      }
    }
    this.#reading = false;
  }

  #took(genctr: number, records: readonly DiscoveryEntry[]): void {
    const before = new Map(this.records.map((record) => [recordKey(record), record]));
    const after = new Map(records.map((record) => [recordKey(record), record]));
    const added = [...after].filter(([key]) => !before.has(key)).map(([, record]) => record);
    const removed = [...before].filter(([key]) => !after.has(key)).map(([, record]) => record);
    this.genctr = genctr;
    this.records = records;
    if (added.length + removed.length > 0) process.nextTick(() => this.emit('changed', { genctr, added, removed }));
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

/**
 * Connects to a discovery controller and stays connected, with Keep Alive. Fulfilled when its log has been read. It is
 * connected to again without end unless `ctrlLossTmo` says otherwise.
 * @throws NvbraidError, NvmeError as `discover`
 */
export async function connectDiscovery(options: DiscoverOptions): Promise<DiscoveryConnection> {
  const { signal } = options;
  const controller = await connectController({
    ctrlLossTmo: -1,
    ...options,
    trsvcid: options.trsvcid ?? DISCOVERY_TCP_PORT,
    nqn: options.nqn ?? DISCOVERY_NQN,
    nrIoQueues: 0,
    keepAliveTmo: options.keepAliveTmo ?? DISCOVERY_KEEP_ALIVE_SECS,
  });
  const connection = new DiscoveryConnection(controller);
  try {
    await connection.start(signal);
  } catch (error) {
    await controller.disconnect();
    throw error instanceof NvbraidError && signal?.aborted
      ? new NvbraidError('EABORTED', `connecting to discovery at ${options.traddr} was aborted`, {
          cause: signal.reason,
        })
      : error;
  }
  return connection;
}
