import { EventEmitter } from 'node:events';
import { rmSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { NvbraidError } from '@nvbraid/base';
import { NvmeError } from '@nvbraid/host';
import { DescriptorLedger } from '@nvbraid/transport';
import type { ConnectOptions } from './connect.ts';
import type {
  FromHeadWorker,
  HeadThreadStatus,
  HeadWorkerData,
  OfferedHead,
  PostedError,
  ToHeadWorker,
} from './head-worker-messages.ts';
import { hostIdentity } from './host-identity.ts';
import { HEAD_RESTART_MS, HEAD_RESTART_MS_MAX, HEAD_THREADS_MAX } from './host-limits.ts';
import { POOL_BYTES } from './limits.ts';
import type { NbdPlace } from './nbd-server.ts';

export type { HeadThreadStatus, OfferedHead } from './head-worker-messages.ts';

export interface NbdHeadsOptions extends Omit<ConnectOptions, 'signal'> {
  /** Of the first thread. Further ones listen beside it: PATH.1, PATH.2 …, or on the ports that follow (0: on any). */
  readonly place: NbdPlace;
  /** Threads that the namespaces are spread over, default 1. */
  readonly threads?: number;
}

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

  private constructor(threads: HeadThread[]) {
    super();
    this.#threads = threads;
  }

  /**
   * Fulfilled when all threads listen.
   * @throws NvbraidError, NvmeError as `connectSubsystem` and `NbdServer.listen`; EINVAL
   */
  static async start(options: NbdHeadsOptions): Promise<NbdHeads> {
    const { threads: count = 1, place, ...connect } = options;
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
        }),
    );
    const all = new NbdHeads(threads);
    for (const thread of threads) thread.tell = all;
    const results = await Promise.allSettled(threads.map((thread) => thread.start()));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed === undefined) return all;
    await all.close();
    throw failed.reason;
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
  get stallBound(): { readonly ms: number; readonly formula: string } {
    return this.#threads[0]!.stallBound;
  }

  /** How the threads stand; those that are being started again are not there. */
  async status(): Promise<HeadThreadStatus[]> {
    const all = await Promise.all(this.#threads.map((thread) => thread.status()));
    return all.filter((status) => status !== null);
  }

  /** Ends a thread as if it had failed: its clients are cut off, and a new one takes its place. */
  async restart(thread: number): Promise<void> {
    await this.#threads[thread]?.kill();
  }

  /** Takes nothing new, answers what is under way, makes it stable, and disconnects. */
  async close(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.close()));
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
  stallBound: { readonly ms: number; readonly formula: string } = { ms: 0, formula: '' };
  #settings: Settings;
  #worker: Worker | null = null;
  /** Fulfilled when the worker has ended and what it left is closed. */
  #ended: Promise<void> = Promise.resolve();
  #closing = false;
  #restart: NodeJS.Timeout | null = null;
  #attempts = 0;
  #onStopped: (() => void) | null = null;
  #nextId = 1;
  readonly #asked = new Map<number, (status: HeadThreadStatus | null) => void>();

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
        this.tell!.emit('log', message.message);
        break;
      case 'status':
        this.#asked.get(message.id)?.(message.status);
        this.#asked.delete(message.id);
        break;
      case 'closed':
        if (message.error === null) this.#onStopped?.();
        else if (!this.#closing) this.tell!.emit('closed', errorOf(message.error));
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
    for (const answer of this.#asked.values()) answer(null);
    this.#asked.clear();
    this.#onStopped?.();
    // One that never came up is told by the promise of `start`.
    if (this.#closing || (!wasReady && this.#attempts === 0)) return;
    const waitMs = Math.min(HEAD_RESTART_MS_MAX, HEAD_RESTART_MS * 2 ** this.#attempts++);
    this.tell!.emit('changed');
    this.tell!.emit('log', `${reason.message}; it is started again in ${waitMs} ms`);
    this.#restart = setTimeout(() => {
      this.#restart = null;
      this.start().catch(() => {}); // `#died` has it
    }, waitMs);
  }

  status(): Promise<HeadThreadStatus | null> {
    if (this.uri === '') return Promise.resolve(null);
    return new Promise((resolve) => {
      const id = this.#nextId++;
      this.#asked.set(id, resolve);
      this.#post({ kind: 'status', id });
    });
  }

  async kill(): Promise<void> {
    await this.#worker?.terminate();
    await this.#ended;
  }

  async close(): Promise<void> {
    this.#closing = true;
    if (this.#restart !== null) clearTimeout(this.#restart);
    if (this.uri !== '') {
      const stopped = new Promise<void>((resolve) => {
        this.#onStopped = resolve;
      });
      this.#post({ kind: 'stop' });
      await stopped;
    }
    await this.kill();
  }

  #post(message: ToHeadWorker): void {
    this.#worker!.postMessage(message);
  }
}

function errorOf({ code, message, status }: PostedError): NvbraidError {
  if (status === null) return new NvbraidError(code, message);
  const error = new NvmeError('NVMe', status);
  error.message = message;
  return error;
}
