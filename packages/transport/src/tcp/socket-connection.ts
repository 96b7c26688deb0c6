import { assert, type NvbraidError, type Outbox } from '@nvbraid/base';
import { EAGAIN, ECONNRESET as ECONNRESET_ERRNO, EINTR, formatAddress, systemError } from '../errors.ts';
import {
  currentEventLoop,
  type Deferred,
  EPOLLERR,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  type EventLoop,
  type FdHandler,
} from '../event-loop.ts';
import { addressOf, type Libc } from '../libc.ts';
import { DIRECT_FROM_BYTES, END_TIMEOUT_MS, IO_MAX_BYTES, RECEIVE_BYTES } from '../limits.ts';
import type { SubflowReport } from '../subflow.ts';
import type { Connection, ConnectionHandler, Endpoint } from '../transport.ts';
import { Backlog } from './backlog.ts';
import { MSG_NOSIGNAL, SHUT_WR, SO_ERROR, SOL_SOCKET } from './constants.ts';
import { type IoVector, ioVector } from './io-vector.ts';
import { getInt, type SocketOps, setLinger } from './socket-ops.ts';

/**
 * A connection on a raw socket. One `recv` per readiness event into the thread's receive buffer, one `sendmsg` per
 * outbox. Calls to the handler come from the event loop only, never from inside a call of the owner.
 */
export class SocketConnection implements Connection, FdHandler, Deferred {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly #ops: SocketOps;
  readonly #loop: EventLoop;
  readonly #libc: Libc;
  readonly #vector: IoVector;
  readonly #backlog = new Backlog();
  /** -1 once closed or given away. */
  #fd: number;
  #handler: ConnectionHandler | null = null;
  #takesDirect = false;
  #asks = false;
  #detached = false;
  /** What epoll watches for; -1 while it does not know the descriptor. */
  #watching = -1;
  #paused = false;
  /** `end` was called: what arrives is thrown away. */
  #ending = false;
  /** Our end of the stream has been sent. */
  #shut = false;
  /** The peer's end of the stream has arrived. */
  #peerEnded = false;
  /** Received bytes of the present event that the handler has not been given yet. */
  #undelivered = 0;
  #endTimer: NodeJS.Timeout | null = null;
  #error: NvbraidError | null = null;

  constructor(fd: number, ops: SocketOps, local: Endpoint, remote: Endpoint) {
    this.#fd = fd;
    this.#ops = ops;
    this.local = local;
    this.remote = remote;
    this.#loop = currentEventLoop();
    this.#libc = this.#loop.libc;
    this.#vector = ioVector();
  }

  get backlogBytes(): number {
    return this.#backlog.bytes;
  }

  start(handler: ConnectionHandler): void {
    assert(this.#handler === null && !this.#detached, 'connection started twice');
    this.#handler = handler;
    this.#asks = handler.mayReceive !== undefined;
    this.#takesDirect =
      handler.directLength !== undefined &&
      handler.directMemory !== undefined &&
      handler.directOffset !== undefined &&
      handler.directReceived !== undefined;
    if (this.#fd < 0) this.#loop.defer(this);
    else this.#watch();
  }

  send(out: Outbox): void {
    if (this.#fd >= 0 && !this.#ending && out.bytes > 0) this.#send(out);
    out.reset();
  }

  pause(): void {
    this.#paused = true;
    if (this.#fd >= 0) this.#watch();
  }

  resume(): void {
    this.#paused = false;
    if (this.#fd >= 0) this.#watch();
  }

  end(): void {
    if (this.#fd < 0 || this.#ending) return;
    this.#ending = true;
    this.#endTimer = setTimeout(this.#endTimedOut, END_TIMEOUT_MS);
    this.#continueEnd();
  }

  destroy(error: NvbraidError | null): void {
    if (this.#fd >= 0) this.#close(error);
  }

  subflows(backup: boolean): SubflowReport | null {
    return this.#fd < 0 ? null : (this.#ops.subflows?.(this.#fd, backup) ?? null);
  }

  get canDetach(): boolean {
    return this.#fd >= 0 && !this.#ending && !this.#peerEnded && this.#undelivered === 0 && this.#backlog.bytes === 0;
  }

  detach(): number {
    assert(this.#fd >= 0, 'detach of a closed connection');
    assert(this.#backlog.bytes === 0, 'detach with unsent bytes');
    assert(this.#undelivered === 0, 'detach with received bytes not taken');
    assert(!this.#ending && !this.#peerEnded, 'detach of an ending connection');
    const fd = this.#fd;
    this.#unwatch();
    this.#fd = -1;
    this.#detached = true;
    this.#handler = null;
    return fd;
  }

  ready(events: number): void {
    if ((events & EPOLLOUT) !== 0) {
      this.#flush();
      if (this.#fd < 0) return;
    }
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) === 0) return;
    if ((this.#watching & EPOLLIN) !== 0) this.#receive();
    // Errors are reported even while nothing is asked for; not to act on them would be a busy loop.
    else if ((events & (EPOLLERR | EPOLLHUP)) !== 0) this.#failed(this.#pendingError());
  }

  runDeferred(): void {
    const handler = this.#handler;
    if (handler === null) return;
    this.#handler = null;
    handler.closed(this.#error);
  }

  #receive(): void {
    const handler = this.#handler;
    if (this.#ending || handler === null) return this.#discard();
    // What is not taken now makes the descriptor ready again: epoll is level-triggered.
    if (this.#asks && !handler.mayReceive!()) return;
    if (this.#takesDirect) {
      const length = handler.directLength!();
      if (length >= DIRECT_FROM_BYTES) return this.#receiveDirect(handler, length);
    }
    const loop = this.#loop;
    const n = this.#libc.recv(this.#fd, loop.receiveAddress, RECEIVE_BYTES, 0);
    if (n > 0) handler.received(loop.receiveMemory, 0, n);
    else this.#receivedNothing(n);
  }

  /** Up to `length` bytes go where the handler wants them, what follows into the receive buffer. */
  #receiveDirect(handler: ConnectionHandler, length: number): void {
    const loop = this.#loop;
    const vector = this.#vector;
    const direct = Math.min(length, IO_MAX_BYTES - RECEIVE_BYTES);
    vector.set(0, addressOf(handler.directMemory!()) + handler.directOffset!(), direct);
    vector.set(1, loop.receiveAddress, RECEIVE_BYTES);
    const n = this.#libc.readv(this.#fd, vector.address, 2);
    if (n <= 0) return this.#receivedNothing(n);
    if (n <= direct) return handler.directReceived!(n);
    this.#undelivered = n - direct;
    handler.directReceived!(direct);
    this.#undelivered = 0;
    if (this.#fd >= 0 && !this.#ending) handler.received(loop.receiveMemory, 0, n - direct);
  }

  #discard(): void {
    const n = this.#libc.recv(this.#fd, this.#loop.receiveAddress, RECEIVE_BYTES, 0);
    if (n <= 0) this.#receivedNothing(n);
  }

  #receivedNothing(n: number): void {
    if (n === 0) {
      this.#peerEnded = true;
      if (this.#endTimer === null) this.#endTimer = setTimeout(this.#endTimedOut, END_TIMEOUT_MS);
      this.#ending = true;
      this.#continueEnd();
      return;
    }
    const errno = this.#libc.errno();
    if (errno !== EAGAIN && errno !== EINTR) this.#failed(errno);
  }

  #send(out: Outbox): void {
    const total = out.bytes;
    let segment = 0;
    let skip = 0;
    if (this.#backlog.bytes === 0) {
      const vector = this.#vector;
      let sent = 0;
      while (sent < total) {
        const asked = vector.gather(out, segment, skip);
        vector.finishMessage();
        const n = this.#libc.sendmsg(this.#fd, vector.messageAddress, MSG_NOSIGNAL);
        if (n < 0) {
          const errno = this.#libc.errno();
          if (errno === EINTR) continue;
          if (errno !== EAGAIN) return this.#failed(errno);
          break;
        }
        sent += n;
        let left = n;
        while (segment < out.count && left >= out.lengths[segment]! - skip) {
          left -= out.lengths[segment]! - skip;
          skip = 0;
          segment++;
        }
        skip += left;
        if (n < asked) break;
      }
      if (sent === total) return;
    }
    this.#keep(out, segment, skip);
  }

  /** Copies the segments from `first` on, which the kernel has not taken. */
  #keep(out: Outbox, first: number, skip: number): void {
    for (let i = first, from = skip; i < out.count; i++, from = 0) {
      this.#backlog.append(out.memories[i]!, out.offsets[i]! + from, out.lengths[i]! - from);
    }
    this.#watch();
  }

  #flush(): void {
    const backlog = this.#backlog;
    const vector = this.#vector;
    if (backlog.bytes === 0) return;
    while (backlog.bytes > 0) {
      const asked = backlog.gather(vector);
      vector.finishMessage();
      const n = this.#libc.sendmsg(this.#fd, vector.messageAddress, MSG_NOSIGNAL);
      if (n < 0) {
        const errno = this.#libc.errno();
        if (errno === EINTR) continue;
        if (errno !== EAGAIN) this.#failed(errno);
        return;
      }
      backlog.consume(n);
      if (n < asked) return;
    }
    if (this.#ending) return this.#continueEnd();
    this.#watch();
    this.#handler?.drained();
  }

  /** Takes the next step of an orderly end: send what is kept, say that it is all, wait for the peer to say so. */
  #continueEnd(): void {
    if (this.#backlog.bytes === 0) {
      if (this.#peerEnded) return this.#closeInOrder();
      if (!this.#shut) {
        this.#shut = true;
        this.#libc.shutdown(this.#fd, SHUT_WR);
      }
    }
    this.#watch();
  }

  readonly #endTimedOut = (): void => {
    this.#endTimer = null;
    if (this.#fd < 0) return;
    if (this.#shut) return this.#closeInOrder();
    this.destroy(systemError('ETIMEDOUT', `cannot end the connection with ${this.#peer()}`));
  };

  /** Tells epoll what matters now. */
  #watch(): void {
    const reads = this.#ending ? !this.#peerEnded : !this.#paused;
    const events = (reads ? EPOLLIN : 0) | (this.#backlog.bytes > 0 ? EPOLLOUT : 0);
    if (events === this.#watching) return;
    if (this.#watching < 0) {
      if (this.#handler === null && !this.#ending) return;
      this.#loop.add(this.#fd, events, this);
    } else {
      this.#loop.modify(this.#fd, events);
    }
    this.#watching = events;
  }

  #unwatch(): void {
    if (this.#watching >= 0) this.#loop.remove(this.#fd);
    this.#watching = -1;
  }

  #pendingError(): number {
    return getInt(this.#fd, SOL_SOCKET, SO_ERROR) || ECONNRESET_ERRNO;
  }

  #failed(errno: number): void {
    if (this.#fd < 0) return;
    this.#close(systemError(errno, `lost the connection with ${this.#peer()}`));
  }

  /** What the kernel has not sent yet still goes out. */
  #closeInOrder(): void {
    setLinger(this.#fd, false);
    this.#close(null);
  }

  /** Resets, as every socket was told when it was made, unless its lingering was allowed again. */
  #close(error: NvbraidError | null): void {
    this.#unwatch();
    this.#libc.close(this.#fd);
    this.#fd = -1;
    this.#backlog.clear();
    this.#undelivered = 0;
    if (this.#endTimer !== null) clearTimeout(this.#endTimer);
    this.#endTimer = null;
    this.#error = error;
    if (this.#handler !== null) this.#loop.defer(this);
  }

  #peer(): string {
    return formatAddress(this.remote.address, this.remote.port);
  }
}
