import { createServer, connect as netConnect, type Server, type Socket, type TcpNetConnectOpts } from 'node:net';
import { NvbraidError } from '@nvbraid/base';
import { formatAddress, nodeErrorCode, systemError } from '../errors.ts';
import { BACKLOG_DEFAULT, CONNECT_TIMEOUT_MS } from '../limits.ts';
import { checkPort, resolveAddress } from '../resolve.ts';
import type {
  Connection,
  ConnectOptions,
  Endpoint,
  Listener,
  ListenOptions,
  SocketOptions,
  Transport,
} from '../transport.ts';
import { acceptedSocket } from './accepted-socket.ts';
import { NetConnection, NetReceiver } from './net-connection.ts';

/** The sockets of Node, wherever it runs: no native code, no hand-off to reactor threads. */
export const net: Transport = {
  name: 'net',
  trtype: 'tcp',
  canHandOff: false,
  unsupported: () => null,
  listen,
  connect,
  adopt: () => {
    throw new NvbraidError('ENOTSUP', 'a net connection cannot be handed to another thread: use 0 reactors');
  },
  identify: () => '',
};

async function listen(options: ListenOptions, onConnection: (connection: Connection) => void): Promise<Listener> {
  const doing = `cannot listen on ${formatAddress(options.address, options.port)}`;
  refuseSocketOptions(options, doing);
  checkPort(options.port, doing);
  const [host] = await resolveAddress(options.address, doing);
  let refusing = false;
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (accepted) => {
    refusing = false;
    const { socket, receiver } = acceptedSocket(accepted);
    onConnection(new NetConnection(socket, receiver));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const words = options.port < 1024 ? { EACCES: 'ports below 1024 need privileges' } : {};
      reject(systemError(nodeErrorCode(cause), doing, { cause, words }));
    });
    server.listen({ host: host!, port: options.port, backlog: options.backlog ?? BACKLOG_DEFAULT }, resolve);
  });
  server.removeAllListeners('error');
  // A connection that could not be accepted: Node has closed it, or tries again; the listener goes on.
  server.on('error', (cause) => {
    if (refusing) return;
    refusing = true;
    const where = formatAddress(options.address, options.port);
    options.refused?.(systemError(nodeErrorCode(cause), `cannot accept connections on ${where}`, { cause }));
  });
  return { local: localEndpoint(server), close: () => close(server) };
}

function localEndpoint(server: Server): Endpoint {
  const at = server.address();
  if (at === null || typeof at === 'string') throw new NvbraidError('EIO', 'the listener has no address');
  return { address: at.address, port: at.port, family: at.family === 'IPv6' ? 'ipv6' : 'ipv4' };
}

/** Done when the port is free again; connections live on. */
function close(server: Server): Promise<void> {
  server.close();
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

async function connect(options: ConnectOptions): Promise<Connection> {
  const doing = `cannot connect to ${formatAddress(options.address, options.port)}`;
  refuseSocketOptions(options, doing);
  if (options.hostIface !== undefined) throw notHere(doing, 'a source device');
  checkPort(options.port, doing);
  const timeoutMs = options.timeoutMs ?? CONNECT_TIMEOUT_MS;
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (const host of await resolveAddress(options.address, doing)) {
    const target: TcpNetConnectOpts = { host, port: options.port };
    if (options.hostTraddr !== undefined) target.localAddress = options.hostTraddr;
    try {
      return await connectTo(target, Math.max(1, deadline - performance.now()), timeoutMs, options);
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

function connectTo(
  target: TcpNetConnectOpts,
  leftMs: number,
  timeoutMs: number,
  options: ConnectOptions,
): Promise<Connection> {
  const doing = `cannot connect to ${formatAddress(target.host!, target.port)}`;
  const from = options.hostTraddr === undefined ? '' : ` from ${options.hostTraddr}`;
  const receiver = new NetReceiver();
  return new Promise((resolve, reject) => {
    let socket: Socket;
    try {
      socket = netConnect({ ...target, allowHalfOpen: true, noDelay: true, onread: receiver.options });
    } catch (cause) {
      reject(systemError('EINVAL', doing + from, { cause }));
      return;
    }
    const timer = setTimeout(() => {
      socket.removeListener('error', failed);
      socket.on('error', () => {});
      socket.destroy();
      reject(systemError('ETIMEDOUT', doing, { words: { ETIMEDOUT: `no answer within ${timeoutMs} ms` } }));
    }, leftMs);
    const failed = (cause: Error) => {
      clearTimeout(timer);
      reject(systemError(nodeErrorCode(cause), doing + from, { cause }));
    };
    socket.once('error', failed);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.removeListener('error', failed);
      // Nothing may arrive before the connection is started.
      socket.pause();
      resolve(new NetConnection(socket, receiver));
    });
  });
}

/** Node offers no way to set these; to ignore them silently would be a lie. */
function refuseSocketOptions(options: SocketOptions, doing: string): void {
  if (options.tos !== undefined) throw notHere(doing, 'a type of service');
  if (options.priority !== undefined) throw notHere(doing, 'a priority');
}

function notHere(doing: string, what: string): NvbraidError {
  return new NvbraidError('ENOTSUP', `${doing}: the net transport cannot set ${what}`);
}
