import { assert, type NvbraidError, type Outbox } from '@nvbraid/base';
import { formatAddress, systemError } from '../errors.ts';
import type { Connection, ConnectionHandler, Endpoint } from '../transport.ts';
import { ByteQueue } from './byte-queue.ts';
import type { LoopSettings } from './loop-link.ts';

/** One end of an in-memory link. What it sends lies in the inbox of the other end, at most a window of it. */
export class LoopConnection implements Connection {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly #settings: LoopSettings;
  readonly #inbox = new ByteQueue();
  readonly #backlog = new ByteQueue();
  #peer: LoopConnection | null = null;
  #handler: ConnectionHandler | null = null;
  #started = false;
  #open = true;
  #paused = false;
  #ending = false;
  /** Our end has reached the peer's inbox; the peer's end lies in ours. */
  #finSent = false;
  #finReceived = false;
  /** Bytes had to be kept, so that `drained` is owed; it is due. */
  #kept = false;
  #drainedDue = false;
  #error: NvbraidError | null = null;
  #scheduled = false;

  constructor(settings: LoopSettings, local: Endpoint, remote: Endpoint) {
    this.#settings = settings;
    this.local = local;
    this.remote = remote;
  }

  /** Two ends that talk to each other. */
  static pair(settings: LoopSettings, first: Endpoint, second: Endpoint): [LoopConnection, LoopConnection] {
    const a = new LoopConnection(settings, first, second);
    const b = new LoopConnection(settings, second, first);
    a.#peer = b;
    b.#peer = a;
    return [a, b];
  }

  get backlogBytes(): number {
    return this.#backlog.length;
  }

  start(handler: ConnectionHandler): void {
    assert(!this.#started, 'connection started twice');
    this.#started = true;
    this.#handler = handler;
    this.#schedule();
  }

  send(out: Outbox): void {
    if (this.#open && !this.#ending) {
      for (let i = 0; i < out.count; i++) this.#backlog.push(out.memories[i]!, out.offsets[i]!, out.lengths[i]!);
      this.#fillWindow();
    }
    out.reset();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#schedule();
  }

  end(): void {
    if (!this.#open || this.#ending) return;
    this.#ending = true;
    this.#sendFin();
    this.#schedule();
  }

  destroy(error: NvbraidError | null): void {
    if (!this.#open) return;
    const peer = this.#peer!;
    this.#close(error);
    if (peer.#open) peer.#close(systemError('ECONNRESET', `lost the connection with ${peer.#peerName()}`));
  }

  readonly canDetach = false;

  detach(): number {
    assert(false, 'a loop connection has no descriptor to hand off');
  }

  #close(error: NvbraidError | null): void {
    this.#open = false;
    this.#error = error;
    this.#inbox.clear();
    this.#backlog.clear();
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#handler === null) return;
    this.#scheduled = true;
    this.#settings.schedule(this.#step);
  }

  /** One thing that this end's handler gets to know. */
  readonly #step = (): void => {
    this.#scheduled = false;
    const handler = this.#handler;
    if (handler === null) return;
    if (!this.#open) {
      this.#handler = null;
      handler.closed(this.#error);
      return;
    }
    if (this.#drainedDue) {
      this.#drainedDue = false;
      if (this.#inbox.length > 0 || this.#finReceived) this.#schedule();
      if (!this.#ending) handler.drained();
      return;
    }
    if (this.#paused && !this.#ending) return;
    if (this.#inbox.length > 0) {
      if (!this.#deliver(handler)) return;
    } else if (this.#finReceived) this.#peerEnded();
    // What an ending side waits for is its own backlog, which calls back when it is empty.
    if (this.#inbox.length > 0 || (this.#finReceived && (this.#finSent || !this.#ending))) this.#schedule();
  };

  /** False when the handler does not want it now. */
  #deliver(handler: ConnectionHandler): boolean {
    const { receiveMemory, split } = this.#settings;
    if (!this.#ending && handler.mayReceive?.() === false) {
      if (!this.#paused) setImmediate(() => this.#schedule());
      return false;
    }
    const available = Math.min(this.#inbox.length, receiveMemory.length);
    const direct = this.#settings.direct && !this.#ending ? (handler.directLength?.() ?? 0) : 0;
    const n = split(direct > 0 ? Math.min(available, direct) : available);
    assert(n >= 1 && n <= available, 'split answers with a delivery that is not there');
    if (direct > 0) this.#inbox.shift(handler.directMemory!(), handler.directOffset!(), n);
    else this.#inbox.shift(receiveMemory, 0, n);
    this.#peer!.#fillWindow();
    if (this.#ending) return true;
    if (direct > 0) handler.directReceived!(n);
    else handler.received(receiveMemory, 0, n);
    return true;
  }

  #peerEnded(): void {
    this.#ending = true;
    this.#sendFin();
    if (this.#finSent) this.#close(null);
  }

  /** Moves kept bytes into the peer's inbox as far as the window allows. */
  #fillWindow(): void {
    const peer = this.#peer!;
    if (!this.#open || !peer.#open || this.#backlog.length === 0) return;
    const n = Math.min(this.#backlog.length, this.#settings.windowBytes - peer.#inbox.length);
    if (n > 0) this.#backlog.moveTo(peer.#inbox, n);
    peer.#schedule();
    if (this.#backlog.length > 0) {
      this.#kept = true;
      return;
    }
    if (this.#kept) {
      this.#kept = false;
      this.#drainedDue = true;
      this.#schedule();
    }
    if (this.#ending) this.#sendFin();
  }

  #sendFin(): void {
    if (this.#finSent || this.#backlog.length > 0) return;
    this.#finSent = true;
    const peer = this.#peer!;
    peer.#finReceived = true;
    peer.#schedule();
    if (this.#finReceived) this.#schedule();
  }

  #peerName(): string {
    return formatAddress(this.remote.address, this.remote.port);
  }
}
