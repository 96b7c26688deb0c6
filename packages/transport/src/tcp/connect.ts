import { NvbraidError } from '@nvbraid/base';
import { EINPROGRESS, EINTR, formatAddress, systemError } from '../errors.ts';
import { currentEventLoop, EPOLLOUT, type FdHandler } from '../event-loop.ts';
import { libc } from '../libc.ts';
import { SYN_COUNT } from '../limits.ts';
import type { ConnectOptions } from '../transport.ts';
import { SO_BINDTODEVICE, SO_ERROR, SOL_SOCKET } from './constants.ts';
import { createSocket } from './create-socket.ts';
import { socketAddress } from './sockaddr.ts';
import { applyOptions, getInt, type SocketOps, setText } from './socket-ops.ts';

/**
 * Connects to one numeric address; resolves with the descriptor.
 * @throws NvbraidError ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, EINVAL, EACCES, EBUSY, ENOTSUP
 */
export async function connectSocket(
  ops: SocketOps,
  address: string,
  options: ConnectOptions,
  timeoutMs: number,
): Promise<number> {
  const c = libc();
  const doing = `cannot connect to ${formatAddress(address, options.port)}`;
  const fd = createSocket(ops, address, doing);
  try {
    prepare(fd, ops, options, doing);
    if (!socketAddress.pack(address, options.port)) throw systemError('EINVAL', doing);
    if (c.connect(fd, socketAddress.address, socketAddress.length) < 0) {
      const errno = c.errno();
      if (errno !== EINPROGRESS && errno !== EINTR) throw connectError(errno, doing, options);
      await established(fd, doing, options, timeoutMs);
    }
    return fd;
  } catch (error) {
    c.close(fd);
    throw error;
  }
}

/**
 * Options come before everything else, so that they hold for the first segment; in the order of Linux's host. A process
 * that is killed resets its connections, so that what it has left in the system's buffers does not arrive later.
 */
function prepare(fd: number, ops: SocketOps, options: ConnectOptions, doing: string): void {
  if (ops.setSyncnt(fd, SYN_COUNT) !== 0) {
    options.note?.(`this kernel does not limit the attempts to connect by ${ops.name}: only the time limit ends them`);
  }
  ops.setNodelay(fd);
  ops.noLinger(fd);
  applyOptions(ops, fd, options, (errno, what) => {
    throw systemError(errno, `${doing} with ${what}`);
  });
  if (options.hostTraddr !== undefined) bindSource(fd, options.hostTraddr, doing);
  if (options.hostIface !== undefined) {
    const errno = setText(fd, SOL_SOCKET, SO_BINDTODEVICE, options.hostIface);
    if (errno !== 0) throw systemError(errno, `${doing} through ${options.hostIface}`);
  }
}

function bindSource(fd: number, source: string, doing: string): void {
  const c = libc();
  if (!socketAddress.pack(source, 0)) throw new NvbraidError('EINVAL', `${doing}: ${source} is not a numeric address`);
  if (c.bind(fd, socketAddress.address, socketAddress.length) < 0) {
    throw systemError(c.errno(), `${doing} from ${source}`);
  }
}

function connectError(errno: number, doing: string, options: ConnectOptions): NvbraidError {
  if (options.hostTraddr !== undefined) return systemError(errno, `${doing} from ${options.hostTraddr}`);
  return systemError(errno, doing, {
    words: { EADDRNOTAVAIL: 'no local port is free' },
    codes: { EADDRNOTAVAIL: 'EBUSY' },
  });
}

/** Waits until the connection stands, fails, or the time is over. */
function established(fd: number, doing: string, options: ConnectOptions, timeoutMs: number): Promise<void> {
  const loop = currentEventLoop();
  return new Promise((resolve, reject) => {
    const handler: FdHandler = {
      ready: () => {
        clearTimeout(timer);
        loop.remove(fd);
        const errno = getInt(fd, SOL_SOCKET, SO_ERROR) ?? 0;
        if (errno === 0) resolve();
        else reject(connectError(errno, doing, options));
      },
    };
    const timer = setTimeout(() => {
      loop.remove(fd);
      reject(systemError('ETIMEDOUT', doing, { words: { ETIMEDOUT: `no answer within ${timeoutMs} ms` } }));
    }, timeoutMs);
    loop.add(fd, EPOLLOUT, handler);
  });
}
