import { isIP } from 'node:net';
import { NvbraidError } from '@nvbraid/base';
import { formatAddress, systemError } from '../errors.ts';
import { libc, libcUnsupported } from '../libc.ts';
import { BACKLOG_DEFAULT, CONNECT_TIMEOUT_MS } from '../limits.ts';
import { checkPort, resolveAddress } from '../resolve.ts';
import type { Connection, ConnectOptions, Listener, ListenOptions, Transport } from '../transport.ts';
import { connectSocket } from './connect.ts';
import { createSocket, protocolUnsupported } from './create-socket.ts';
import { localEndpoint, remoteEndpoint, socketAddress } from './sockaddr.ts';
import { SocketConnection } from './socket-connection.ts';
import { listenError, SocketListener } from './socket-listener.ts';
import { applyOptions, type SocketOps, socketCookie, tcpOps } from './socket-ops.ts';

/** Makes a row on raw sockets from the table of its protocol. */
export function socketTransport(ops: SocketOps): Transport {
  return {
    name: ops.name,
    trtype: ops.trtype,
    canHandOff: true,
    hasSubflows: ops.subflows !== undefined,
    unsupported: () => libcUnsupported() ?? protocolUnsupported(ops),
    listen: (options, onConnection) => listen(ops, options, onConnection),
    connect: (options) => connect(ops, options),
    adopt: (fd) => new SocketConnection(fd, ops, localEndpoint(fd), remoteEndpoint(fd)),
    identify: socketCookie,
  };
}

/** Raw TCP sockets, Linux. */
export const tcp: Transport = socketTransport(tcpOps);

async function listen(
  ops: SocketOps,
  options: ListenOptions,
  onConnection: (connection: Connection) => void,
): Promise<Listener> {
  const c = libc();
  const where = formatAddress(options.address, options.port);
  checkPort(options.port, `cannot listen on ${where}`);
  const [address] = await resolveAddress(options.address, `cannot listen on ${where}`);
  const fd = createSocket(ops, address!, `cannot listen on ${where}`);
  try {
    ops.setReuseaddr(fd);
    ops.setNodelay(fd);
    applyOptions(ops, fd, options, (errno, what) => {
      throw systemError(errno, `cannot listen on ${where} with ${what}`);
    });
    if (!socketAddress.pack(address!, options.port)) throw systemError('EADDRNOTAVAIL', `cannot listen on ${where}`);
    if (
      c.bind(fd, socketAddress.address, socketAddress.length) < 0 ||
      c.listen(fd, options.backlog ?? BACKLOG_DEFAULT) < 0
    ) {
      throw listenError(c.errno(), where, options.port);
    }
    return new SocketListener(fd, ops, options, onConnection);
  } catch (error) {
    c.close(fd);
    throw error;
  }
}

async function connect(ops: SocketOps, options: ConnectOptions): Promise<Connection> {
  libc();
  const where = formatAddress(options.address, options.port);
  checkPort(options.port, `cannot connect to ${where}`);
  const deadline = performance.now() + (options.timeoutMs ?? CONNECT_TIMEOUT_MS);
  const addresses = await resolveAddress(options.address, `cannot connect to ${where}`);
  const candidates = sameFamily(addresses, options.hostTraddr);
  if (candidates.length === 0) {
    throw new NvbraidError('EINVAL', `cannot connect to ${where}: ${options.hostTraddr} is of another address family`);
  }
  let last: unknown;
  for (const address of candidates) {
    const leftMs = Math.max(1, Math.ceil(deadline - performance.now()));
    try {
      const fd = await connectSocket(ops, address, options, leftMs);
      return new SocketConnection(fd, ops, localEndpoint(fd), remoteEndpoint(fd));
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

/** Those of `addresses` that can be reached from `source`. */
function sameFamily(addresses: string[], source: string | undefined): string[] {
  if (source === undefined || isIP(source) === 0) return addresses;
  return addresses.filter((address) => isIP(address) === isIP(source));
}
