import { chmodSync, existsSync, unlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { NvbraidError } from '@nvbraid/base';
import { limits } from './limits.ts';
import { LineReader } from './line-reader.ts';
import { errorBody, isObject, type Methods, parseRequest, type Response, requestId } from './protocol.ts';
import { clearStaleSocket } from './running.ts';

export interface ControlServerOptions {
  /** Path of the socket. */
  readonly path: string;
  readonly methods: Methods;
  /** Replaces `limits.clientIdleMs`. */
  readonly idleMs?: number;
}

/** Answers requests on a unix socket of mode 0600. No client can make it throw, hang, or hold much memory. */
export class ControlServer {
  readonly path: string;
  readonly #methods: Methods;
  readonly #idleMs: number;
  readonly #server: Server;
  readonly #clients = new Set<Socket>();
  /** Clients beyond the bound, until they have read why they must go. */
  readonly #turnedAway = new Set<Socket>();
  readonly #removeAtExit = (): void => this.#removeFile();

  private constructor(options: ControlServerOptions) {
    this.path = options.path;
    this.#methods = options.methods;
    this.#idleMs = options.idleMs ?? limits.clientIdleMs;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /**
   * Opens the socket. What a dead process left at its path is removed.
   * @throws NvbraidError EADDRINUSE when a living process answers there, EINVAL for a path that is too long or is not
   *   a socket, EACCES, ENOENT
   */
  static async listen(options: ControlServerOptions): Promise<ControlServer> {
    checkPath(options.path);
    await clearStaleSocket(options.path);
    const server = new ControlServer(options);
    await server.#open();
    return server;
  }

  get clients(): number {
    return this.#clients.size;
  }

  async close(): Promise<void> {
    process.off('exit', this.#removeAtExit);
    for (const client of [...this.#clients, ...this.#turnedAway]) client.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#removeFile();
  }

  #open(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) => reject(explain(error, this.path)));
      // The file gets its mode from the umask when it is made: there is no moment at which others could connect.
      const umask = process.umask(0o177);
      try {
        this.#server.listen(this.path, () => {
          this.#server.removeAllListeners('error');
          this.#server.on('error', () => {});
          process.once('exit', this.#removeAtExit);
          resolve();
        });
        chmodSync(this.path, 0o600);
      } catch {
        // `listen` reports its own failure by 'error'; without a file there is no mode to set.
      } finally {
        process.umask(umask);
      }
    });
  }

  #accept(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    if (this.#clients.size >= limits.clients) {
      this.#turnAway(socket);
      return;
    }
    this.#clients.add(socket);
    socket.on('close', () => this.#clients.delete(socket));
    socket.setTimeout(this.#idleMs, () => socket.destroy());
    const reader = new LineReader(limits.lineBytes);
    socket.on('data', (chunk: Buffer) => {
      const lines = reader.push(chunk);
      // One request at a time: the client's next bytes wait in the kernel until this one is answered.
      socket.pause();
      void this.#answerAll(socket, lines, reader.overflow);
    });
  }

  #turnAway(socket: Socket): void {
    if (this.#turnedAway.size >= limits.clients) {
      socket.destroy();
      return;
    }
    this.#turnedAway.add(socket);
    socket.on('close', () => this.#turnedAway.delete(socket));
    socket.setTimeout(limits.probeTimeoutMs, () => socket.destroy());
    socket.resume();
    const message = `${limits.clients} clients are connected already`;
    socket.end(line({ id: null, error: { code: 'EBUSY', message } }));
  }

  async #answerAll(socket: Socket, lines: readonly string[], overflow: boolean): Promise<void> {
    for (const text of lines) {
      socket.setTimeout(0);
      const response = await this.#answer(text);
      socket.setTimeout(this.#idleMs);
      if (socket.destroyed) return;
      if (!socket.write(line(response))) await drained(socket);
      if (socket.destroyed) return;
    }
    if (overflow) {
      const message = `the request is longer than ${limits.lineBytes} bytes`;
      socket.end(line({ id: null, error: { code: 'EINVAL', message } }), () => socket.destroy());
      return;
    }
    socket.resume();
  }

  async #answer(text: string): Promise<Response> {
    let id: number | string | null = null;
    try {
      const request = parseRequest(text);
      id = request.id;
      const method = Object.hasOwn(this.#methods, request.method) ? this.#methods[request.method] : undefined;
      if (method === undefined) {
        const known = Object.keys(this.#methods).sort().join(', ');
        throw new NvbraidError(
          'EINVAL',
          `there is no method ${JSON.stringify(request.method.slice(0, 64))}; there are ${known}`,
        );
      }
      return { id, result: (await method(request.params)) ?? null };
    } catch (error) {
      return { id: id ?? idOf(text), error: errorBody(error) };
    }
  }

  #removeFile(): void {
    try {
      unlinkSync(this.path);
    } catch {
      // Gone already: libuv removes it too.
    }
  }
}

function line(response: Response): string {
  const text = JSON.stringify(response);
  if (text.length <= limits.lineBytes) return `${text}\n`;
  return `${JSON.stringify({ id: response.id, error: { code: 'EINVAL', message: 'the answer is too long for one line' } })}\n`;
}

/** The id of a request that is otherwise wrong. */
function idOf(text: string): number | string | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? requestId(value.id) : null;
  } catch {
    return null;
  }
}

/** Until the client has taken what was written, or is gone (the idle timeout sees to that). */
function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.on('drain', done);
    socket.on('close', done);
  });
}

function checkPath(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes <= limits.pathBytes) return;
  throw new NvbraidError(
    'EINVAL',
    `the path of the control socket has ${bytes} bytes, ${limits.pathBytes} at most are possible: ${path}`,
  );
}

function explain(error: NodeJS.ErrnoException, path: string): NvbraidError {
  // libuv reports a missing directory as EACCES.
  if (!existsSync(dirname(path))) {
    return new NvbraidError('ENOENT', `the directory of the control socket ${path} does not exist`, { cause: error });
  }
  if (error.code === 'EACCES' || error.code === 'EPERM' || error.code === 'EROFS') {
    return new NvbraidError('EACCES', `no permission to make the control socket ${path}`, { cause: error });
  }
  if (error.code === 'EADDRINUSE') {
    return new NvbraidError('EADDRINUSE', `another process has the control socket ${path}`, { cause: error });
  }
  return new NvbraidError('EIO', `cannot make the control socket ${path}: ${error.message}`, { cause: error });
}
