import { constants } from 'node:os';
import { EAGAIN, formatAddress, systemError } from '../errors.ts';
import { currentEventLoop, EPOLLIN, type EventLoop, type FdHandler } from '../event-loop.ts';
import { ACCEPT_MAX, ACCEPT_RETRY_MS } from '../limits.ts';
import type { Connection, Endpoint, Listener, ListenOptions } from '../transport.ts';
import { SO_PROTOCOL, SOCK_CLOEXEC, SOCK_NONBLOCK, SOL_SOCKET } from './constants.ts';
import { localEndpoint, socketAddress } from './sockaddr.ts';
import { SocketConnection } from './socket-connection.ts';
import { applyOptions, getInt, type SocketOps } from './socket-ops.ts';

const { errno: E } = constants;

/** Errors of one connection that failed while it waited (accept(2)): the next one may be fine. */
const OF_ONE_CONNECTION = new Set([
  E.EINTR,
  E.ECONNABORTED,
  E.EPERM, // a firewall's word
  E.EPROTO,
  E.ENOPROTOOPT,
  E.EOPNOTSUPP,
  E.ENETDOWN,
  E.ENETUNREACH,
  E.EHOSTUNREACH,
]);

/** A listening socket. */
export class SocketListener implements Listener, FdHandler {
  readonly local: Endpoint;
  readonly #fd: number;
  readonly #ops: SocketOps;
  readonly #options: ListenOptions;
  readonly #loop: EventLoop;
  readonly #onConnection: (connection: Connection) => void;
  #retry: NodeJS.Timeout | null = null;
  #refusing = false;
  #closed = false;

  constructor(fd: number, ops: SocketOps, options: ListenOptions, onConnection: (connection: Connection) => void) {
    this.#fd = fd;
    this.#ops = ops;
    this.#options = options;
    this.#onConnection = onConnection;
    this.#loop = currentEventLoop();
    this.local = localEndpoint(fd);
    this.#loop.add(fd, EPOLLIN, this);
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      if (this.#retry !== null) clearTimeout(this.#retry);
      this.#loop.remove(this.#fd);
      this.#loop.libc.close(this.#fd);
    }
    return Promise.resolve();
  }

  ready(): void {
    for (let i = 0; i < ACCEPT_MAX && !this.#closed; i++) {
      if (!this.#accept()) return;
    }
  }

  /** Takes one connection; false when there is none for now. */
  #accept(): boolean {
    const { libc } = this.#loop;
    socketAddress.prepare();
    const fd = libc.accept4(this.#fd, socketAddress.address, socketAddress.lengthAddress, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return this.#acceptFailed(libc.errno());
    this.#refusing = false;
    const remote = socketAddress.unpack();
    this.#ops.noLinger(fd);
    if (getInt(fd, SOL_SOCKET, SO_PROTOCOL) !== this.#ops.protocol && !this.#takeOther(fd, remote)) return true;
    this.#ops.setNodelay(fd);
    // The listener has taken them already; a peer that is gone by now is noticed at the first receive.
    applyOptions(this.#ops, fd, this.#options, () => {});
    this.#onConnection(new SocketConnection(fd, this.#ops, localEndpoint(fd), remote));
    return true;
  }

  /** Answers whether a connection of another protocol is kept; the owner is told after that. */
  #takeOther(fd: number, remote: Endpoint): boolean {
    const taken = this.#options.allowFallback === true;
    if (!taken) this.#loop.libc.close(fd);
    this.#options.otherProtocol?.(remote, taken);
    return taken;
  }

  /** Answers whether another connection may be waiting. */
  #acceptFailed(errno: number): boolean {
    if (errno === EAGAIN) return false;
    if (OF_ONE_CONNECTION.has(errno)) return true;
    // The system has nothing left for a new connection: trying again at once would be a busy loop.
    this.#loop.modify(this.#fd, 0);
    this.#retry = setTimeout(this.#acceptAgain, ACCEPT_RETRY_MS);
    if (!this.#refusing) {
      this.#refusing = true;
      const where = formatAddress(this.local.address, this.local.port);
      this.#options.refused?.(systemError(errno, `cannot accept connections on ${where}`));
    }
    return false;
  }

  readonly #acceptAgain = (): void => {
    this.#retry = null;
    if (!this.#closed) this.#loop.modify(this.#fd, EPOLLIN);
  };
}

/** Why a listener could not be made, as a sentence. */
export function listenError(errno: number, where: string, port: number) {
  const words = port < 1024 ? { EACCES: 'ports below 1024 need privileges' } : {};
  return systemError(errno, `cannot listen on ${where}`, { words });
}
