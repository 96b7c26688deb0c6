import type { OnReadOpts, Socket } from 'node:net';
import { assert, copyBytes, Memory, type NvbraidError, type Outbox } from '@nvbraid/base';
import { formatAddress, nodeErrorCode, systemError } from '../errors.ts';
import { END_TIMEOUT_MS, NET_SEND_BYTES, RECEIVE_BYTES } from '../limits.ts';
import type { Connection, ConnectionHandler, Endpoint } from '../transport.ts';

/**
 * A buffer that Node reads into may serve all sockets of a thread where a read is a call that returns; Windows hands
 * buffers to the system for as long as a read takes.
 */
const SHARED = process.platform === 'win32' ? null : Memory.alloc(RECEIVE_BYTES);
const OWN_BYTES = 64 * 1024;

/** What is about to be written; replaced when a write could not finish at once and so still needs it. */
let sendBuffer = Memory.alloc(NET_SEND_BYTES);

/** Receives into a fixed buffer, before there is a connection to give the bytes to. */
export class NetReceiver {
  readonly memory = SHARED ?? Memory.alloc(OWN_BYTES);
  connection: NetConnection | null = null;

  /** For the `onread` option of a socket. */
  get options(): OnReadOpts {
    return { buffer: this.memory.bytes, callback: (length) => this.connection!.readInto(this.memory, length) };
  }
}

/** A connection on a socket of Node. */
export class NetConnection implements Connection {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly #socket: Socket;
  /** Null when the socket cannot read into a fixed buffer, but only hands out one of its own per read. */
  readonly #receiver: NetReceiver | null;
  #handler: ConnectionHandler | null = null;
  #started = false;
  #open = true;
  #paused = false;
  #ending = false;
  #peerEnded = false;
  #kept = false;
  /** What Node still delivered after a pause or before the start, at most a buffer or two. */
  readonly #held: Memory[] = [];
  #error: NvbraidError | null = null;
  #endTimer: NodeJS.Timeout | null = null;

  /** @param socket connected, with half-open connections allowed, and paused */
  constructor(socket: Socket, receiver: NetReceiver | null) {
    this.#socket = socket;
    this.#receiver = receiver;
    this.local = endpoint(socket.localAddress, socket.localPort, socket.localFamily);
    this.remote = endpoint(socket.remoteAddress, socket.remotePort, socket.remoteFamily);
    socket.setNoDelay(true);
    if (receiver !== null) receiver.connection = this;
    socket.on('end', () => this.#onEnd());
    socket.on('error', (error) => this.#onError(error));
    socket.on('close', () => this.#onClose());
  }

  get backlogBytes(): number {
    return this.#open ? this.#socket.writableLength : 0;
  }

  start(handler: ConnectionHandler): void {
    assert(!this.#started, 'connection started twice');
    this.#started = true;
    this.#handler = handler;
    if (!this.#open) {
      setImmediate(() => this.#tellClosed());
      return;
    }
    if (this.#receiver === null) this.#socket.on('data', (chunk: Buffer) => this.#copyIn(chunk));
    this.#read();
  }

  send(out: Outbox): void {
    if (this.#open && !this.#ending && out.bytes > 0) this.#send(out);
    out.reset();
  }

  pause(): void {
    this.#paused = true;
    if (this.#open && this.#started && !this.#ending) this.#socket.pause();
  }

  resume(): void {
    this.#paused = false;
    if (this.#open && this.#started) this.#read();
  }

  end(): void {
    if (!this.#open || this.#ending) return;
    this.#beginEnd();
    this.#socket.end();
  }

  destroy(error: NvbraidError | null): void {
    if (!this.#open) return;
    this.#shut(error);
    // A unix socket has no reset: its peer sees the end at once.
    if (this.#socket.remoteFamily === undefined) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
  }

  readonly canDetach = false;

  detach(): number {
    assert(false, 'a net connection cannot hand off its descriptor');
  }

  /** Called for every read; answers whether to read on. */
  readInto(memory: Memory, length: number): boolean {
    if (!this.#open || this.#ending) return this.#open;
    const asks = this.#handler !== null && !this.#paused && this.#held.length === 0;
    const refused = asks && this.#handler!.mayReceive?.() === false;
    if (refused) setImmediate(this.#deliverHeld);
    if (!asks || refused) {
      const copy = Memory.alloc(length);
      copyBytes(memory, 0, copy, 0, length);
      this.#held.push(copy);
      return false;
    }
    this.#handler!.received(memory, 0, length);
    return this.#open && (this.#ending || !this.#paused);
  }

  /** A socket begins to read when it is resumed, also one with a buffer of ours. */
  #read(): void {
    if (this.#held.length > 0 && !this.#ending) process.nextTick(this.#deliverHeld);
    else this.#socket.resume();
  }

  readonly #deliverHeld = (): void => {
    while (this.#held.length > 0) {
      if (!this.#open || this.#paused || this.#ending) return;
      if (this.#handler?.mayReceive?.() === false) {
        setImmediate(this.#deliverHeld);
        return;
      }
      const memory = this.#held.shift()!;
      this.#handler?.received(memory, 0, memory.length);
    }
    if (this.#open && !this.#paused) this.#socket.resume();
  };

  #copyIn(chunk: Buffer): void {
    const memory = Memory.over(chunk);
    if (this.#held.length > 0 || this.#handler?.mayReceive?.() === false) {
      this.#held.push(memory);
      this.#socket.pause();
      setImmediate(this.#deliverHeld);
      return;
    }
    if (this.#open && !this.#ending) this.#handler?.received(memory, 0, chunk.length);
  }

  /** One write for all. Node may hold on to what it writes, so the bytes are copied together first. */
  #send(out: Outbox): void {
    const length = out.bytes;
    const socket = this.#socket;
    if (length > sendBuffer.length) {
      socket.write(gather(out, Memory.alloc(length)).bytes, this.#written);
    } else {
      const buffer = gather(out, sendBuffer);
      socket.write(buffer.bytes.subarray(0, length), this.#written);
      if (socket.writableLength > 0) sendBuffer = Memory.alloc(NET_SEND_BYTES);
    }
    if (socket.writableLength > 0) this.#kept = true;
  }

  readonly #written = (): void => {
    if (!this.#kept || !this.#open || this.#socket.writableLength > 0) return;
    this.#kept = false;
    if (!this.#ending) this.#handler?.drained();
  };

  #beginEnd(): void {
    this.#ending = true;
    this.#endTimer ??= setTimeout(() => this.#endTimedOut(), END_TIMEOUT_MS);
    if (!this.#peerEnded) this.#read();
  }

  #onEnd(): void {
    this.#peerEnded = true;
    if (!this.#open) return;
    if (!this.#ending) {
      this.#beginEnd();
      this.#socket.end();
    }
  }

  #endTimedOut(): void {
    this.#endTimer = null;
    if (!this.#open) return;
    if (this.#socket.writableFinished) this.#socket.destroy();
    else this.destroy(systemError('ETIMEDOUT', `cannot end the connection with ${this.#peer()}`));
  }

  #onError(error: Error): void {
    if (this.#open) this.#shut(systemError(nodeErrorCode(error), `lost the connection with ${this.#peer()}`));
  }

  #onClose(): void {
    if (this.#open) this.#shut(null);
    this.#tellClosed();
  }

  #shut(error: NvbraidError | null): void {
    this.#open = false;
    this.#error = error;
    if (this.#endTimer !== null) clearTimeout(this.#endTimer);
    this.#endTimer = null;
  }

  #tellClosed(): void {
    const handler = this.#handler;
    this.#handler = null;
    handler?.closed(this.#error);
  }

  #peer(): string {
    return formatAddress(this.remote.address, this.remote.port);
  }
}

function gather(out: Outbox, into: Memory): Memory {
  let at = 0;
  for (let i = 0; i < out.count; i++) {
    copyBytes(out.memories[i]!, out.offsets[i]!, into, at, out.lengths[i]!);
    at += out.lengths[i]!;
  }
  return into;
}

function endpoint(address = '', port = 0, family = 'IPv4'): Endpoint {
  return { address, port, family: family === 'IPv6' ? 'ipv6' : 'ipv4' };
}
