import { type Memory, type NvbraidError, Outbox } from '@nvbraid/base';
import type { Connection, ConnectionHandler } from '@nvbraid/transport';

/** A protocol core without I/O, target's or host's: what a driver needs to see of it. */
export interface StreamCore {
  /** Takes all bytes. */
  receive(memory: Memory, start: number, end: number): void;
  /** Fills the outbox; true when there is more. */
  transmit(out: Outbox): boolean;
  /** Everything is said: the connection should be closed. */
  readonly finished: boolean;
  /** Nothing should be received for now: the core holds more than it should. */
  readonly congested?: boolean;
  readonly directLength: number;
  readonly directMemory: Memory;
  readonly directOffset: number;
  directReceived(length: number): void;
}

let outbox: Outbox | null = null;
/** The outbox of this thread: one serves all connections, since `send` always empties it. */
export function threadOutbox(): Outbox {
  outbox ??= new Outbox();
  return outbox;
}

const dirty: QueueDriver[] = [];

/**
 * Sends what has been scheduled in this turn. Runs by itself once the promises of the turn have settled, so that callers
 * at any depth of promises share a send; a loop that stays within one task calls it after each batch.
 */
export function flushScheduled(): void {
  for (let i = 0; i < dirty.length; i++) {
    const driver = dirty[i]!;
    driver.scheduled = false;
    driver.flush();
  }
  if (dirty.length > 0) dirty.length = 0; // setting it is a call into the engine, made after every batch
}

export interface DriverHooks {
  /** Before bytes just received are handed to the core, which then may run commands. */
  beforeReceive?(): void;
  /** After each turn of receiving and sending. */
  afterFlush?(driver: QueueDriver): void;
  /** The driver has stopped to receive: somebody must call `resume` when memory has come back. */
  paused?(driver: QueueDriver): void;
  closed(driver: QueueDriver, error: NvbraidError | null): void;
}

/** Joins one core to one connection: received bytes in, what the core wants to say out, one `send` per batch. */
export class QueueDriver implements ConnectionHandler {
  readonly core: StreamCore;
  readonly connection: Connection;
  readonly #hooks: DriverHooks;
  readonly #out: Outbox;
  #ending = false;
  #gone = false;
  #busy = false;
  #paused = false;
  /** How often everything that waited to be sent has gone out. */
  drains = 0;
  /** In the list of those that will be flushed at the end of this turn. */
  scheduled = false;

  constructor(core: StreamCore, connection: Connection, hooks: DriverHooks) {
    this.core = core;
    this.connection = connection;
    this.#hooks = hooks;
    this.#out = threadOutbox();
  }

  /** The connection is closed, or has another owner. */
  get gone(): boolean {
    return this.#gone;
  }

  /** Nothing is received for now. */
  get paused(): boolean {
    return this.#paused;
  }

  start(): void {
    this.connection.start(this);
    this.flush();
  }

  /** The core has something to say: everything said in this turn goes out together. */
  schedule(): void {
    if (this.scheduled || this.#gone) return;
    this.scheduled = true;
    dirty.push(this);
    if (dirty.length === 1) process.nextTick(flushScheduled);
  }

  received(memory: Memory, start: number, end: number): void {
    this.#hooks.beforeReceive?.();
    if (this.#gone) return;
    this.core.receive(memory, start, end);
    this.flush();
  }

  directLength(): number {
    return this.core.directLength;
  }

  directMemory(): Memory {
    return this.core.directMemory;
  }

  directOffset(): number {
    return this.core.directOffset;
  }

  directReceived(length: number): void {
    this.#hooks.beforeReceive?.();
    if (this.#gone) return;
    this.core.directReceived(length);
    if (this.core.directLength === 0) this.flush();
  }

  drained(): void {
    this.drains++;
    this.flush();
  }

  closed(error: NvbraidError | null): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#hooks.closed(this, error);
  }

  /** No callback comes any more; the connection has another owner. */
  release(): void {
    this.#gone = true;
  }

  /** Sends as long as the kernel takes everything at once. */
  flush(): void {
    if (this.#gone || this.#busy) return;
    this.#busy = true;
    const { core, connection } = this;
    const out = this.#out;
    let more = true;
    while (more && connection.backlogBytes === 0 && !this.#gone) {
      more = core.transmit(out);
      if (out.bytes === 0) break;
      connection.send(out);
    }
    this.#busy = false;
    if (core.finished && !this.#ending && !this.#gone && !more) {
      this.#ending = true;
      connection.end();
    }
    if (core.congested === true) this.#pause();
    this.#hooks.afterFlush?.(this);
  }

  #pause(): void {
    if (this.#paused || this.#gone) return;
    this.#paused = true;
    this.connection.pause();
    this.#hooks.paused?.(this);
  }

  /** Receives again when the core can take it; answers whether it does. */
  resume(): boolean {
    if (this.#gone || !this.#paused) return true;
    if (this.core.congested === true) return false;
    this.#paused = false;
    this.connection.resume();
    return true;
  }
}
