import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { createServer, connect as netConnect, type Server } from 'node:net';
import { NvbraidError } from '@nvbraid/base';
import { nodeErrorCode, systemError } from '../errors.ts';
import { BACKLOG_DEFAULT } from '../limits.ts';
import type { Connection, Listener } from '../transport.ts';
import { acceptedSocket } from './accepted-socket.ts';
import { NetConnection } from './net-connection.ts';

/**
 * Listens on a unix socket, for clients of this machine: not a row of the table, since NVMe has no such transport. A
 * socket that a dead process has left is replaced; `close` removes the file.
 * @param options.mode permission bits of the file, default 0600: its owner alone
 * @throws NvbraidError EADDRINUSE when somebody answers there, EINVAL when the file is something else, EACCES, ENOENT
 */
export async function listenUnix(
  options: { readonly path: string; readonly mode?: number },
  onConnection: (connection: Connection) => void,
): Promise<Listener> {
  const { path, mode = 0o600 } = options;
  const doing = `cannot listen on ${path}`;
  await clearStale(path, doing);
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (accepted) => {
    const { socket, receiver } = acceptedSocket(accepted);
    onConnection(new NetConnection(socket, receiver));
  });
  await listen(server, path, doing);
  chmodSync(path, mode);
  const remove = (): void => unlinkQuietly(path);
  process.once('exit', remove);
  return {
    local: { address: path, port: 0, family: 'unix' },
    close: () => {
      process.off('exit', remove);
      server.close();
      unlinkQuietly(path);
      return new Promise((resolve) => {
        setImmediate(resolve);
      });
    },
  };
}

/** The file gets its mode from the umask when it is made: there is no moment at which others could connect. */
function listen(server: Server, path: string, doing: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => reject(systemError(nodeErrorCode(cause), doing, { cause })));
    const umask = process.umask(0o177);
    try {
      server.listen({ path, backlog: BACKLOG_DEFAULT }, () => {
        server.removeAllListeners('error');
        server.on('error', () => {});
        resolve();
      });
    } finally {
      process.umask(umask);
    }
  });
}

async function clearStale(path: string, doing: string): Promise<void> {
  let isSocket: boolean;
  try {
    isSocket = lstatSync(path).isSocket();
  } catch {
    return;
  }
  if (!isSocket) throw new NvbraidError('EINVAL', `${doing}: there is a file of this name that is no socket`);
  if (await answers(path)) throw new NvbraidError('EADDRINUSE', `${doing}: another process listens there`);
  unlinkQuietly(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = netConnect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function unlinkQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Gone already: libuv removes it too.
  }
}
