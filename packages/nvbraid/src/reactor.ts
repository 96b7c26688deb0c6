import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { CommandError, QueueHandoff } from '@nvbraid/target';
import { closeWakeFd, createWakeFd, type SubflowReport, transports, wake } from '@nvbraid/transport';
import type { Forward, QueueOwner } from './data-plane.ts';
import type { FromReactor, ReactorData, ToReactor } from './reactor-messages.ts';
import { systemClock } from './system-clock.ts';
import type { TargetLimits } from './target-limits.ts';

export interface ReactorOptions {
  readonly index: number;
  /** Payload memory of each reactor, in bytes. */
  readonly poolBytes: number;
  /** Threads that share the devices. */
  readonly threads: number;
  readonly limits: TargetLimits;
  limitMet(limit: string, sentence: string): void;
  queueGone(association: number, qid: number, error: string | null, fatalFes: number): void;
  /** Runs a command that a queue of this reactor has forwarded; `done` is called once. */
  readonly forwarded: Forward;
  log(message: string): void;
  /** For the error log of a controller. */
  commandFailed?(association: number, error: CommandError): void;
  /** A fault wants this controller gone. */
  killController?(association: number): void;
  /** The thread died of an error of ours; its queues have been closed and reported. */
  failed(reactor: Reactor, error: Error): void;
}

interface HandedQueue {
  readonly owner: QueueOwner;
  readonly qid: number;
  readonly transport: string;
  readonly fd: number;
  /** Tells the socket from another one that has got the same number. */
  readonly identity: string;
}

/** The main thread's view of one reactor thread. */
export class Reactor {
  readonly index: number;
  readonly startedMs = systemClock.nowMs();
  readonly #options: ReactorOptions;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #wakeFd: number;
  readonly #version = new Int32Array(new SharedArrayBuffer(4));
  readonly #failuresHeard = new Int32Array(new SharedArrayBuffer(4));
  readonly #queues = new Map<string, HandedQueue>();
  /** Questions that the thread has not answered; null is the answer when it is gone. */
  readonly #asked = new Map<number, (answer: SubflowReport | null) => void>();
  #nextId = 1;
  #state: 'starting' | 'running' | 'stopping' | 'gone' = 'starting';
  readonly #ready = Promise.withResolvers<void>();
  readonly #stopped = Promise.withResolvers<void>();

  constructor(options: ReactorOptions) {
    this.index = options.index;
    this.#options = options;
    this.#wakeFd = createWakeFd();
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const data: ReactorData = {
      port: port2,
      wakeFd: this.#wakeFd,
      version: this.#version.buffer as SharedArrayBuffer,
      failuresHeard: this.#failuresHeard.buffer as SharedArrayBuffer,
      poolBytes: options.poolBytes,
      threads: options.threads,
      limits: options.limits,
      thread: options.index,
    };
    const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
    this.#worker = new Worker(new URL(`./reactor-worker${extension}`, import.meta.url), {
      workerData: data,
      transferList: [port2],
      name: `nvbraid-reactor-${options.index}`,
    });
    this.#port.on('message', (message: FromReactor) => this.#heard(message));
    let reason = new Error('the reactor thread ended');
    this.#worker.on('error', (error) => {
      reason = error as Error;
    });
    // Not before the end: until then native work of the thread may still use descriptors.
    this.#worker.on('exit', () => this.#died(reason));
  }

  get queueCount(): number {
    return this.#queues.size;
  }

  /** The thread has ended. */
  get gone(): boolean {
    return this.#state === 'gone';
  }

  /** For whoever chooses a reactor: one that is gone would only hang up. */
  get load(): number {
    return this.#state === 'gone' ? Number.POSITIVE_INFINITY : this.#queues.size;
  }

  has(association: number, qid: number): boolean {
    return this.#queues.has(key(association, qid));
  }

  /** Fulfilled when the thread runs. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Counts for everything that the reactor receives after this call. */
  publish(message: ToReactor): void {
    if (this.#state === 'gone') return;
    this.#port.postMessage(message);
    Atomics.add(this.#version, 0, 1);
    wake(this.#wakeFd);
  }

  /** Hands over a queue; from here on the reactor owns the descriptor. */
  adopt(transportName: string, fd: number, handoff: QueueHandoff, owner: QueueOwner): void {
    const identity = transports[transportName]!.identify(fd);
    const handed = { owner, qid: handoff.qid, transport: transportName, fd, identity };
    this.#queues.set(key(owner.association, handoff.qid), handed);
    if (this.#state === 'gone') this.#abandon(handed);
    else this.publish({ kind: 'queue', transport: transportName, fd, handoff, owner });
  }

  /** Fulfilled when everything published so far is in force. */
  barrier(): Promise<unknown> {
    return this.#ask((id) => ({ kind: 'barrier', id }));
  }

  /** Fulfilled when what was written to the subsystem's namespaces is stable. */
  flush(nqn: string): Promise<unknown> {
    return this.#ask((id) => ({ kind: 'flush', nqn, id }));
  }

  /** Answers what has arrived and takes no more; fulfilled when all queues are gone. */
  drainQueues(): Promise<unknown> {
    return this.#ask((id) => ({ kind: 'drain-queues', id }));
  }

  /** Fulfilled when everything published so far is in force, and what was executing on the namespace has ended. */
  drain(instance: number): Promise<unknown> {
    return this.#ask((id) => ({ kind: 'drain', instance, id }));
  }

  /** Its queues whose connections may have several subflows. */
  queuesWithSubflows(): HandedQueue[] {
    return [...this.#queues.values()].filter((handed) => transports[handed.transport]!.hasSubflows === true);
  }

  /** What the connection of a queue is made of; null when it is gone. */
  subflows(association: number, qid: number, backup: boolean): Promise<SubflowReport | null> {
    return this.#ask((id) => ({ kind: 'subflows', id, association, qid, backup }));
  }

  #ask(message: (id: number) => ToReactor): Promise<SubflowReport | null> {
    if (this.#state === 'gone') return Promise.resolve(null);
    return new Promise((resolve) => {
      const id = this.#nextId++;
      this.#asked.set(id, resolve);
      this.publish(message(id));
    });
  }

  #answered(id: number, answer: SubflowReport | null): void {
    this.#asked.get(id)?.(answer);
    this.#asked.delete(id);
  }

  /** Closes the reactor's queues and devices and ends the thread. */
  async stop(): Promise<void> {
    // One that dies while it starts is gone: nothing to stop.
    await this.#ready.promise.catch(() => {});
    if (this.gone) return;
    this.#state = 'stopping';
    this.publish({ kind: 'stop' });
    await this.#stopped.promise;
    await this.#worker.terminate();
    this.#close();
  }

  #heard(message: FromReactor): void {
    switch (message.kind) {
      case 'ready':
        if (this.#state === 'starting') this.#state = 'running';
        this.#ready.resolve();
        break;
      case 'queue-gone':
        this.#queues.delete(key(message.association, message.qid));
        this.#options.queueGone(message.association, message.qid, message.error, message.fatalFes);
        break;
      case 'barrier':
        this.#answered(message.id, null);
        break;
      case 'subflows':
        this.#answered(message.id, message.report);
        break;
      case 'forward': {
        const { id, association, nsid, instance, command } = message;
        this.#options.forwarded(association, nsid, instance, command, (status, data) =>
          this.publish({ kind: 'forwarded', id, status, data }),
        );
        break;
      }
      case 'log':
        this.#options.log(message.message);
        break;
      case 'limit-met':
        this.#options.limitMet(message.limit, message.sentence);
        break;
      case 'command-failed':
        Atomics.add(this.#failuresHeard, 0, 1);
        this.#options.commandFailed?.(message.association, message.error);
        break;
      case 'kill-controller':
        this.#options.killController?.(message.association);
        break;
      case 'stopped':
        this.#stopped.resolve();
        break;
    }
  }

  #died(error: Error): void {
    if (this.#state === 'gone') return;
    const expected = this.#state === 'stopping';
    this.#ready.reject(error);
    this.#ready.promise.catch(() => {}); // whoever waits sees it; nobody waiting is no second failure
    this.#stopped.resolve();
    this.#close();
    if (expected) return;
    for (const handed of [...this.#queues.values()]) this.#abandon(handed);
    this.#options.failed(this, error);
  }

  /** The thread is gone, its descriptor is not. */
  #abandon(handed: HandedQueue): void {
    this.#queues.delete(key(handed.owner.association, handed.qid));
    const row = transports[handed.transport]!;
    // Unless the reactor had closed it already; the number may be somebody else's by now.
    if (handed.identity !== '' && row.identify(handed.fd) === handed.identity) {
      const connection = row.adopt(handed.fd);
      connection.start({ received() {}, drained() {}, closed() {} });
      connection.destroy(null);
    }
    this.#options.queueGone(handed.owner.association, handed.qid, 'its reactor failed', 0);
  }

  #close(): void {
    if (this.#state === 'gone') return;
    this.#state = 'gone';
    this.#port.close();
    closeWakeFd(this.#wakeFd);
    for (const resolve of this.#asked.values()) resolve(null);
    this.#asked.clear();
  }
}

function key(association: number, qid: number): string {
  return `${association}/${qid}`;
}
