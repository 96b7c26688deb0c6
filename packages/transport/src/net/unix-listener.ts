import { chmodSync, linkSync, lstatSync, mkdtempSync, rmSync, unlinkSync } from 'node:fs';
import { createServer, connect as netConnect, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { NvbraidError } from '@nvbraid/base';
import { nodeErrorCode, systemError } from '../errors.ts';
import { BACKLOG_DEFAULT, UNIX_PATH_BYTES } from '../limits.ts';
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
  // It is made under a short name: nobody else would notice.
  if (Buffer.byteLength(path) > UNIX_PATH_BYTES) {
    throw new NvbraidError('EINVAL', `${doing}: paths of unix sockets have at most ${UNIX_PATH_BYTES} bytes`);
  }
  await clearStale(path, doing);
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (accepted) => {
    const { socket, receiver } = acceptedSocket(accepted);
    onConnection(new NetConnection(socket, receiver));
  });
  await listen(server, path, mode, doing);
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

/**
 * The socket is made in a directory that nobody else can enter, and gets its name once it has its mode: there is no moment
 * at which others could connect. (The umask would do it, but threads other than the main one cannot change it.)
 */
async function listen(server: Server, path: string, mode: number, doing: string): Promise<void> {
  let directory: string;
  try {
    directory = mkdtempSync(join(dirname(path), '.n'));
  } catch (cause) {
    throw systemError(nodeErrorCode(cause), doing, { cause });
  }
  const made = join(directory, 's');
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ path: made, backlog: BACKLOG_DEFAULT }, resolve);
    });
    chmodSync(made, mode);
    linkSync(made, path);
    server.removeAllListeners('error');
    server.on('error', () => {});
  } catch (cause) {
    server.close();
    const code = nodeErrorCode(cause);
    // Somebody was faster.
    const words = { EADDRINUSE: 'another process listens there' };
    throw systemError(code === 'EEXIST' ? 'EADDRINUSE' : code, doing, { cause, words });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
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
