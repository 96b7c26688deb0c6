import { EventEmitter } from 'node:events';
import { rmSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { NvbraidError } from '@nvbraid/base';
import { NvmeError } from '@nvbraid/host';
import { DescriptorLedger } from '@nvbraid/transport';
import type { ConnectOptions } from './connect.ts';
import {
  type FromHeadWorker,
  type HeadThreadStatus,
  type HeadWorkerData,
  type OfferedHead,
  type PostedError,
  THREAD_STATUS,
  type ToHeadWorker,
} from './head-worker-messages.ts';
import { hostIdentity } from './host-identity.ts';
import { HEAD_RESTART_MS, HEAD_RESTART_MS_MAX, HEAD_THREADS_MAX, HEAD_UNHEARD_MAX } from './host-limits.ts';
import type { StallBound } from './host-subsystem.ts';
import { POOL_BYTES } from './limits.ts';
import type { LocalTarget } from './local-target.ts';
import type { NbdPlace } from './nbd-server.ts';

export type { HeadMethods, HeadThreadStatus, OfferedHead } from './head-worker-messages.ts';
export type { LocalTarget } from './local-target.ts';

export interface NbdHeadsOptions extends ConnectOptions {
  /** Of the first thread. Further ones listen beside it: PATH.1, PATH.2 …, or on the ports that follow (0: on any). */
  readonly place: NbdPlace;
  /** Threads that the namespaces are spread over, default 1. */
  readonly threads?: number;
  /**
   * Serves these namespaces itself instead of connecting to a target, and offers them. Of one thread alone, which is not
   * started again when it dies: what is in memory would be another disk.
   */
  readonly local?: LocalTarget;
  /** URL of a module that exports `headMethods`, a `MakeHeadMethods`: what `call` can do. It is loaded in every thread. */
  readonly methods?: string;
}

/** What threads connect with, as far as it can change while they run. */
export type RememberedOptions = Pick<ConnectOptions, 'paths' | 'iopolicy'>;

/** A namespace that is offered, and where. */
export interface NbdOffer extends OfferedHead {
  readonly thread: number;
  /** Of the server; the name of the export belongs behind the slashes: see `nbdUri`. */
  readonly server: string;
  readonly uri: string;
}

interface HeadThreadsEventMap {
  /** There is another set of exports, or one has changed. */
  changed: [];
  /** @param path e.g. nvme0c1n1 */
  path: [thread: number, path: string, state: string];
  log: [message: string];
  /** All controllers of a thread have been given up. */
  closed: [error: NvbraidError];
}

/**
 * The namespaces of a subsystem, offered by NBD from threads of their own. Each thread connects by all paths for itself,
 * and has some of the namespaces, with all their clients: commands cross no thread. A thread that dies is started again;
 * its clients lose their connections and come back to the same address.
 */
export class NbdHeads extends EventEmitter<HeadThreadsEventMap> {
  readonly #threads: HeadThread[];
  /** What threads said before anybody could listen; null from then on. */
  #unheard: string[] | null = [];

  private constructor(threads: HeadThread[]) {
    super();
    this.#threads = threads;
    const events = this as unknown as EventEmitter<{ newListener: [name: string] }>;
    events.on('newListener', (name) => {
      if (name === 'log') setImmediate(() => this.#catchUp());
    });
  }

  /** A sentence for the log. */
  log(message: string): void {
    if (this.#unheard === null) this.emit('log', message);
    else if (this.#unheard.length < HEAD_UNHEARD_MAX) this.#unheard.push(message);
  }

  #catchUp(): void {
    const unheard = this.#unheard ?? [];
    this.#unheard = null;
    for (const message of unheard) this.emit('log', message);
  }

  /**
   * Fulfilled when all threads listen.
   * @throws NvbraidError, NvmeError as `connectSubsystem` and `NbdServer.listen`; EINVAL, EABORTED
   */
  static async start(options: NbdHeadsOptions): Promise<NbdHeads> {
    const { threads: count = 1, place, local = null, methods = null, signal, ...connect } = options;
    if (local !== null && count !== 1) throw new NvbraidError('EINVAL', 'what is served here is served by one thread');
    if (!Number.isInteger(count) || count < 1 || count > HEAD_THREADS_MAX) {
      throw new NvbraidError('EINVAL', `threads is a whole number from 1 to ${HEAD_THREADS_MAX}: ${count}`);
    }
    // One host, whatever number of threads: a name that is made up is made up here.
    const common = { ...connect, ...hostIdentity(connect) };
    const threads = Array.from(
      { length: count },
      (_, thread) =>
        new HeadThread({
          options: common,
          place: placeOf(place, thread),
          thread,
          threads: count,
          poolBytes: POOL_BYTES,
          local,
          methods,
        }),
    );
    const all = new NbdHeads(threads);
    for (const thread of threads) thread.tell = all;
    const onAbort = (): void => {
      for (const thread of threads) thread.abandon();
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    const starting = threads.map((thread) => thread.start());
    if (signal?.aborted) onAbort();
    const results = await Promise.allSettled(starting);
    signal?.removeEventListener('abort', onAbort);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed === undefined && !signal?.aborted) return all;
    await all.close();
    throw signal?.aborted ? new NvbraidError('EABORTED', `connecting to ${connect.nqn} was aborted`) : failed!.reason;
  }

  /** What is offered now, by nsid; nothing of a thread that is being started again. */
  get offers(): NbdOffer[] {
    return this.#threads
      .flatMap(({ thread, uri, heads }) =>
        heads.map((head) => ({ ...head, thread, server: uri, uri: nbdUri(uri, head.name) })),
      )
      .sort((a, b) => a.nsid - b.nsid);
  }

  /** The longest time that a write waits because its path was lost: see `HostSubsystem.stallBound`. */
  get stallBound(): StallBound {
    return this.#threads[0]!.stallBound;
  }

  get threads(): number {
    return this.#threads.length;
  }

  /** Names of what can be called. */
  get methods(): readonly string[] {
    return this.#threads.find(({ methods }) => methods.length > 0)?.methods ?? [];
  }

  /**
   * Calls a method of the module that was named, in one thread.
   * @throws what the method throws; EWOULDBLOCK while the thread is being started again
   */
  call(thread: number, method: string, params: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    return this.#threads[thread]!.call(method, params);
  }

  /** How the threads stand; those that are being started again are not there. */
  async status(): Promise<HeadThreadStatus[]> {
    const all = await Promise.allSettled(this.#threads.map((thread) => thread.call(THREAD_STATUS, {})));
    return all.flatMap((result) => (result.status === 'fulfilled' ? [result.value as HeadThreadStatus] : []));
  }

  /** What threads connect with that are started again. Those that run are told by `call`. */
  remember(options: RememberedOptions): void {
    for (const thread of this.#threads) thread.remember(options);
  }

  /** Ends a thread as if it had failed: its clients are cut off, and a new one takes its place. */
  async restart(thread: number): Promise<void> {
    await this.#threads[thread]?.kill();
  }

  /**
   * Takes nothing new, answers what is under way, makes it stable, and disconnects.
   * @returns false when not everything is stable; `log` has said why
   */
  async close(): Promise<boolean> {
    const stable = await Promise.all(this.#threads.map((thread) => thread.close()));
    return !stable.includes(false);
  }
}

/** The URI of an export of a server. */
export function nbdUri(server: string, name: string): string {
  const encoded = encodeURIComponent(name).replaceAll('%3A', ':').replaceAll('%2F', '/');
  return server.startsWith('nbd+unix:') ? server.replace('///', `///${encoded}`) : `${server}/${encoded}`;
}

function placeOf(place: NbdPlace, thread: number): NbdPlace {
  if (thread === 0) return place;
  if ('path' in place) return { ...place, path: `${place.path}.${thread}` };
  return { ...place, port: place.port === 0 ? 0 : place.port + thread };
}

type Settings = Omit<HeadWorkerData, 'ledger'>;

/** One thread, and its successors. */
class HeadThread {
  readonly thread: number;
  tell: NbdHeads | null = null;
  uri = '';
  heads: readonly OfferedHead[] = [];
  stallBound: StallBound = { ms: 0, formula: '' };
  #settings: Settings;
  #worker: Worker | null = null;
  /** Fulfilled when the worker has ended and what it left is closed. */
  #ended: Promise<void> = Promise.resolve();
  #closing = false;
  #restart: NodeJS.Timeout | null = null;
  #attempts = 0;
  methods: readonly string[] = [];
  #onStopped: ((stable: boolean) => void) | null = null;
  #nextId = 1;
  readonly #asked = new Map<number, PromiseWithResolvers<unknown>>();

  constructor(settings: Settings) {
    this.thread = settings.thread;
    this.#settings = settings;
  }

  start(): Promise<void> {
    const ledger = new DescriptorLedger();
    const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
    const workerData: HeadWorkerData = { ...this.#settings, ledger: ledger.buffer };
    const worker = new Worker(new URL(`./head-worker${extension}`, import.meta.url), {
      workerData,
      name: `nvbraid-head-${this.thread}`,
    });
    this.#worker = worker;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let reason = new NvbraidError('EIO', `head thread ${this.thread} ended`);
    worker.on('error', (cause) => {
      reason = new NvbraidError('EIO', `head thread ${this.thread} failed: ${(cause as Error).message}`, { cause });
    });
    worker.on('message', (message: FromHeadWorker) => {
      if (message.kind === 'ready') resolve();
      else if (message.kind === 'failed') {
        reason = errorOf(message.error);
        void worker.terminate();
      }
      this.#heard(message);
    });
    this.#ended = new Promise((ended) => {
      worker.on('exit', () => {
        ledger.closeAll();
        reject(reason); // without effect when it was ready
        this.#died(reason);
        ended();
      });
    });
    return promise;
  }

  #heard(message: FromHeadWorker): void {
    switch (message.kind) {
      case 'ready':
        this.#attempts = 0;
        this.uri = message.uri;
        this.heads = message.heads;
        this.stallBound = message.stallBound;
        this.methods = message.methods;
        this.#keepPort();
        this.tell!.emit('changed');
        break;
      case 'heads':
        this.heads = message.heads;
        this.tell!.emit('changed');
        break;
      case 'path':
        this.tell!.emit('path', this.thread, message.path, message.state);
        break;
      case 'log':
        this.tell!.log(message.message);
        break;
      case 'answer':
        this.#asked.get(message.id)?.resolve(message.result);
        this.#asked.delete(message.id);
        break;
      case 'refusal':
        this.#asked.get(message.id)?.reject(errorOf(message.error));
        this.#asked.delete(message.id);
        break;
      case 'closed':
        if (!this.#closing) this.tell!.emit('closed', errorOf(message.error));
        break;
      case 'stopped':
        this.#onStopped?.(message.stable);
        break;
    }
  }

  /** Clients come back to the port that the system has chosen. */
  #keepPort(): void {
    const { place } = this.#settings;
    if ('path' in place || place.port !== 0) return;
    this.#settings = { ...this.#settings, place: { ...place, port: Number(/\d+$/.exec(this.uri)![0]) } };
  }

  #died(reason: NvbraidError): void {
    const wasReady = this.uri !== '';
    const { place } = this.#settings;
    // Clients are to be refused, not to wait at a socket that nobody listens on.
    if (wasReady && 'path' in place) rmSync(place.path, { force: true });
    this.#worker = null;
    this.uri = '';
    this.heads = [];
    for (const { reject } of this.#asked.values()) reject(reason);
    this.#asked.clear();
    // It has not said that all is stable.
    this.#onStopped?.(false);
    // One that never came up is told by the promise of `start`.
    if (this.#closing || (!wasReady && this.#attempts === 0)) return;
    if (this.#settings.local !== null) return void this.tell!.emit('closed', reason);
    const waitMs = Math.min(HEAD_RESTART_MS_MAX, HEAD_RESTART_MS * 2 ** this.#attempts++);
    this.tell!.emit('changed');
    this.tell!.log(`${reason.message}; it is started again in ${waitMs} ms`);
    this.#restart = setTimeout(() => {
      this.#restart = null;
      this.start().catch(() => {}); // `#died` has it
    }, waitMs);
  }

  async call(method: string, params: Readonly<Record<string, unknown>>): Promise<unknown> {
    if (this.uri === '') {
      throw new NvbraidError('EWOULDBLOCK', `head thread ${this.thread} is being started again: try again`);
    }
    const id = this.#nextId++;
    const answer = Promise.withResolvers<unknown>();
    this.#asked.set(id, answer);
    this.#post({ kind: 'call', id, method, params });
    return answer.promise;
  }

  remember(options: RememberedOptions): void {
    this.#settings = { ...this.#settings, options: { ...this.#settings.options, ...options } };
  }

  /** Gives up connecting, which `start` then tells. */
  abandon(): void {
    if (this.#worker !== null) this.#post({ kind: 'stop' });
  }

  async kill(): Promise<void> {
    await this.#worker?.terminate();
    await this.#ended;
  }

  async close(): Promise<boolean> {
    this.#closing = true;
    if (this.#restart !== null) clearTimeout(this.#restart);
    let stable = true;
    if (this.uri !== '') {
      const stopped = new Promise<boolean>((resolve) => {
        this.#onStopped = resolve;
      });
      this.#post({ kind: 'stop' });
      stable = await stopped;
    }
    await this.kill();
    return stable;
  }

  #post(message: ToHeadWorker): void {
    this.#worker!.postMessage(message);
  }
}

function errorOf({ code, message, status, context }: PostedError): NvbraidError {
  if (status === null) return new NvbraidError(code, message, { context });
  const error = new NvmeError('NVMe', status);
  error.message = message;
  return error;
}
