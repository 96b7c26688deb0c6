import { closeSync, openSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { InstanceFate } from '@nvbraid/target';
import { MAX_PEER_CONNECTIONS, MAX_PEER_LINE_BYTES, PEER_LINE_MS } from './limits.ts';
import { type EndRequest, endRequestLine, fateLine, parseEndRequest, parseFate } from './peer-messages.ts';

/**
 * The address of a socket in a directory. By way of the open directory, since an address has 107 bytes at most and a
 * directory may have a longer name.
 */
function address(directoryFd: number, id: string): string {
  return `/proc/self/fd/${directoryFd}/${id}.sock`;
}

/** Where other processes that share a file ask this one to end a controller. */
export class PeerServer {
  readonly #server: Server;
  readonly #directoryFd: number;
  readonly #sockets = new Set<Socket>();

  private constructor(directoryFd: number, end: (request: EndRequest, done: (fate: InstanceFate) => void) => void) {
    this.#directoryFd = directoryFd;
    this.#server = createServer((socket) => this.#accepted(socket, end));
    this.#server.maxConnections = MAX_PEER_CONNECTIONS;
  }

  /** @throws the system's error */
  static async listen(
    directory: string,
    id: string,
    end: (request: EndRequest, done: (fate: InstanceFate) => void) => void,
  ): Promise<PeerServer> {
    const directoryFd = openSync(directory, 'r');
    const peer = new PeerServer(directoryFd, end);
    try {
      await new Promise<void>((resolve, reject) => {
        peer.#server.once('error', reject);
        peer.#server.listen(address(directoryFd, id), resolve);
      });
    } catch (error) {
      closeSync(directoryFd);
      throw error;
    }
    peer.#server.on('error', () => {}); // an accept that failed: whoever asks comes again
    peer.#server.unref();
    return peer;
  }

  #accepted(socket: Socket, end: (request: EndRequest, done: (fate: InstanceFate) => void) => void): void {
    this.#sockets.add(socket);
    socket.unref();
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    const impatience = setTimeout(() => socket.destroy(), PEER_LINE_MS).unref();
    readLine(socket, (line) => {
      clearTimeout(impatience);
      const request = line === null ? null : parseEndRequest(line);
      if (request === null) socket.destroy();
      else end(request, (fate) => socket.destroyed || socket.end(fateLine(fate)));
    });
  }

  /** Whoever waits for an answer finds the connection closed, and then the lock free. */
  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    closeSync(this.#directoryFd);
  }
}

/**
 * Asks another process to end a controller.
 * @param answered called once: with null when there is no answer, because the process is gone, or busy, or stopped and
 * then killed
 * @returns ends the attempt; `answered` is not called any more
 */
export function askPeer(
  directory: string,
  id: string,
  request: EndRequest,
  answered: (fate: InstanceFate | null) => void,
): () => void {
  let over = false;
  const finish = (fate: InstanceFate | null): void => {
    if (over) return;
    over = true;
    socket?.destroy();
    closeSync(directoryFd);
    answered(fate);
  };
  let directoryFd: number;
  let socket: Socket | null = null;
  try {
    directoryFd = openSync(directory, 'r');
  } catch {
    const late = setImmediate(() => answered(null));
    return () => clearImmediate(late);
  }
  socket = connect(address(directoryFd, id));
  socket.on('error', () => finish(null));
  socket.on('close', () => finish(null));
  readLine(socket, (line) => finish(line === null ? null : parseFate(line)));
  socket.write(endRequestLine(request));
  return () => {
    answered = () => {};
    finish(null);
  };
}

/** Calls back with the first line, or with null when the stream ends or becomes too long before there is one. */
function readLine(socket: Socket, done: (line: string | null) => void): void {
  let text = '';
  let over = false;
  const end = (line: string | null): void => {
    if (!over) done(line);
    over = true;
  };
  socket.setEncoding('utf8');
  socket.on('data', (piece: string) => {
    if (over) return;
    text += piece;
    const newline = text.indexOf('\n');
    if (newline >= 0) end(text.slice(0, newline));
    else if (text.length > MAX_PEER_LINE_BYTES) end(null);
  });
  socket.on('end', () => end(null));
}
