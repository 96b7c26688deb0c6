import { type Memory, type NvbraidError, Outbox } from '@nvbraid/base';
import type { Connection, ConnectionHandler } from '@nvbraid/transport';
import type { HostShare } from './host-share.ts';

/** A protocol core without I/O, target's or host's: what a driver needs to see of it. */
export interface StreamCore {
  /** Takes all bytes. */
  receive(memory: Memory, start: number, end: number): void;
  /** Fills the outbox, with about `most` bytes where that is given; true when there is more. */
  transmit(out: Outbox, most?: number): boolean;
  /** Everything is said: the connection should be closed. */
  readonly finished: boolean;
  /** Nothing should be received for now: the core holds more than it should. */
  readonly congested?: boolean;
  readonly directLength: number;
  readonly directMemory: Memory;
  readonly directOffset: number;
  directReceived(length: number): void;
}

/** Stands between core and connection and may change, hold back and drop what passes. */
export interface Tap {
  received(memory: Memory, start: number, end: number): void;
  /** Puts what may go now into the outbox in place of what the core has said. */
  transmitted(out: Outbox): void;
  /** More may go than fitted into the outbox. */
  readonly more: boolean;
  /** Nothing is held: the connection may have another owner, or end. */
  readonly quiet: boolean;
  /** It has been told to go, and has let everything go. */
  readonly over: boolean;
  close(): void;
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

/** Who may use the thread now, where several hosts share it. */
export interface Turns {
  /** Asked before each receive: false leaves the bytes where they are, to be offered again in the next turn. */
  mayReceive(driver: QueueDriver): boolean;
  /** Bytes that may be sent now; 0: `later` will call `flush`. */
  sendBytes(driver: QueueDriver): number;
  later(driver: QueueDriver): void;
  /** Bytes have been received or sent. */
  moved(driver: QueueDriver, received: number, sent: number): void;
}

export interface DriverHooks {
  /** Default: nobody to share with. */
  readonly turns?: Turns;
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
  /** A word that is set with each batch that arrives. */
  traffic: Int32Array = new Int32Array(1);
  readonly #hooks: DriverHooks;
  readonly #turns: Turns | null;
  readonly #out: Outbox;
  /** Whose connection it is, and what its host has been charged for; of use to `turns` alone. */
  share: HostShare | null = null;
  metered = true;
  waitsForTurn = false;
  commandsSeen = 0;
  outstandingSeen = 0;
  #ending = false;
  #gone = false;
  #busy = false;
  #paused = false;
  #held = false;
  /** How often everything that waited to be sent has gone out. */
  drains = 0;
  /** Null but for queues that faults concern: one check per batch. */
  tap: Tap | null = null;
  #endAfterSend = false;
  #killed = false;
  /** In the list of those that will be flushed at the end of this turn. */
  scheduled = false;

  constructor(core: StreamCore, connection: Connection, hooks: DriverHooks) {
    this.core = core;
    this.connection = connection;
    this.#hooks = hooks;
    this.#turns = hooks.turns ?? null;
    this.#out = threadOutbox();
  }

  /** The connection is closed, or has another owner. */
  get gone(): boolean {
    return this.#gone;
  }

  /** Nothing is received for now. */
  get paused(): boolean {
    return this.#paused || this.#held;
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

  mayReceive(): boolean {
    return this.#turns === null || this.#turns.mayReceive(this);
  }

  received(memory: Memory, start: number, end: number): void {
    this.traffic[0] = 1; // a plain store: whoever reads it looks seconds later
    this.#hooks.beforeReceive?.();
    if (this.#gone) return;
    if (this.tap === null) this.core.receive(memory, start, end);
    else this.tap.received(memory, start, end);
    this.#turns?.moved(this, end - start, 0);
    this.flush();
  }

  directLength(): number {
    return this.core.directLength; // under a tap, the rest of a PDU that began before it
  }

  directMemory(): Memory {
    return this.core.directMemory;
  }

  directOffset(): number {
    return this.core.directOffset;
  }

  directReceived(length: number): void {
    this.traffic[0] = 1;
    this.#hooks.beforeReceive?.();
    if (this.#gone) return;
    this.core.directReceived(length);
    this.#turns?.moved(this, length, 0);
    if (this.core.directLength === 0) this.flush();
  }

  drained(): void {
    this.drains++;
    this.flush();
  }

  closed(error: NvbraidError | null): void {
    if (this.#gone) return;
    this.#gone = true;
    this.tap?.close();
    this.#hooks.closed(this, error);
  }

  /** No callback comes any more; the connection has another owner. */
  release(): void {
    this.#gone = true;
    this.tap?.close();
  }

  /** Sends as long as the kernel takes everything at once. */
  flush(): void {
    if (this.#gone || this.#busy) return;
    this.#busy = true;
    const { core, connection } = this;
    const out = this.#out;
    const turns = this.#turns;
    let more = true;
    while (more && connection.backlogBytes === 0 && !this.#gone) {
      const most = turns === null ? undefined : turns.sendBytes(this);
      if (most === 0) {
        turns!.later(this);
        break;
      }
      more = core.transmit(out, most);
      if (this.tap !== null) more = this.#passTap(this.tap, out, more);
      if (this.#killed) {
        out.reset();
        break;
      }
      if (out.bytes === 0) {
        if (more) continue; // a tap has kept everything; without one there is nothing more
        break;
      }
      const { bytes } = out;
      connection.send(out);
      turns?.moved(this, 0, bytes);
    }
    this.#busy = false;
    const said = !more && (this.tap === null || this.tap.quiet);
    if ((this.#endAfterSend || (core.finished && said)) && !this.#ending && !this.#gone) {
      this.#ending = true;
      connection.end();
    }
    if (core.congested === true) this.#pause();
    this.#hooks.afterFlush?.(this);
  }

  /** @returns whether there is more to send */
  #passTap(tap: Tap, out: Outbox, more: boolean): boolean {
    tap.transmitted(out);
    if (tap.over) this.tap = null;
    return more || tap.more;
  }

  /** Resets the connection. */
  kill(): void {
    if (this.#gone || this.#killed) return;
    this.#killed = true;
    this.connection.destroy(null);
  }

  /** The connection ends once what the tap has left in the outbox is sent. */
  endAfterSend(): void {
    this.#endAfterSend = true;
  }

  #pause(): void {
    if (this.#paused || this.#gone) return;
    this.#paused = true;
    if (!this.#held) this.connection.pause();
    this.#hooks.paused?.(this);
  }

  /** Receives again when the core can take it; answers whether it does. */
  resume(): boolean {
    if (this.#gone || !this.#paused) return true;
    if (this.core.congested === true) return false;
    this.#paused = false;
    if (!this.#held) this.connection.resume();
    return true;
  }

  /** Nothing is received until `unhold`, whatever the core could take. */
  hold(): void {
    if (this.#held || this.#gone) return;
    this.#held = true;
    if (!this.#paused) this.connection.pause();
  }

  unhold(): void {
    if (!this.#held || this.#gone) return;
    this.#held = false;
    if (!this.#paused) this.connection.resume();
  }
}
