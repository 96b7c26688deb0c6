import { createConnection, type Socket } from 'node:net';
import { NvbraidError } from '@nvbraid/base';
import { limits } from './limits.ts';
import { LineReader } from './line-reader.ts';
import { errorFrom, isObject, type Params } from './protocol.ts';

interface Pending {
  readonly id: number;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: NvbraidError) => void;
}

export interface CallOptions {
  /** Milliseconds until the call fails with ETIMEDOUT. Default `limits.callTimeoutMs`. */
  readonly timeoutMs?: number;
}

/** A connection to the control socket of a running process. One call at a time. */
export class ControlClient {
  readonly path: string;
  readonly #socket: Socket;
  readonly #reader = new LineReader(limits.lineBytes);
  #pending: Pending | null = null;
  #error: NvbraidError | null = null;
  #nextId = 1;

  private constructor(path: string, socket: Socket) {
    this.path = path;
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#received(chunk));
    socket.on('error', () => {});
    socket.on('close', () => this.#fail(new NvbraidError('ECONNRESET', `the process behind ${path} went away`)));
  }

  /** @throws NvbraidError ENOENT, ECONNREFUSED (nobody behind the file), EACCES, ETIMEDOUT */
  static connect(path: string, options: CallOptions = {}): Promise<ControlClient> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(path);
      const timer = setTimeout(() => {
        socket.destroy();
        reject(new NvbraidError('ETIMEDOUT', `the process behind ${path} does not answer`));
      }, options.timeoutMs ?? limits.probeTimeoutMs);
      socket.once('connect', () => {
        clearTimeout(timer);
        socket.removeAllListeners('error');
        resolve(new ControlClient(path, socket));
      });
      socket.once('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(timer);
        reject(explain(error, path));
      });
    });
  }

  /** @throws the error of the response; NvbraidError ECONNRESET, ETIMEDOUT, EPROTO, EBUSY */
  call(method: string, params: Params = {}, options: CallOptions = {}): Promise<unknown> {
    if (this.#error !== null) return Promise.reject(this.#error);
    if (this.#pending !== null) return Promise.reject(new NvbraidError('EBUSY', 'a call is under way'));
    const id = this.#nextId++;
    const timeoutMs = options.timeoutMs ?? limits.callTimeoutMs;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#fail(new NvbraidError('ETIMEDOUT', `${method}: no answer from ${this.path} within ${timeoutMs} ms`));
      }, timeoutMs);
      const settle = (act: () => void): void => {
        clearTimeout(timer);
        this.#pending = null;
        act();
      };
      this.#pending = {
        id,
        resolve: (result) => settle(() => resolve(result)),
        reject: (error) => settle(() => reject(error)),
      };
      this.#socket.write(`${JSON.stringify({ id, method, params })}\n`);
    });
  }

  close(): void {
    this.#error ??= new NvbraidError('ESHUTDOWN', 'the client was closed');
    this.#socket.destroy();
  }

  #received(chunk: Buffer): void {
    for (const text of this.#reader.push(chunk)) this.#answered(text);
    if (this.#reader.overflow) this.#fail(new NvbraidError('EPROTO', `an endless line came from ${this.path}`));
  }

  #answered(text: string): void {
    const response = parse(text);
    if (response === null) {
      this.#fail(new NvbraidError('EPROTO', `what came from ${this.path} is not a response`));
      return;
    }
    const pending = this.#pending;
    if (pending !== null && response.id === pending.id) {
      if (response.error !== undefined) pending.reject(errorFrom(response.error));
      else pending.resolve(response.result);
    } else if (response.id === null && response.error !== undefined) {
      this.#fail(errorFrom(response.error));
    }
  }

  #fail(error: NvbraidError): void {
    this.#error ??= error;
    this.#pending?.reject(this.#error);
    this.#socket.destroy();
  }
}

/** One call on a connection of its own. */
export async function call(
  path: string,
  method: string,
  params: Params = {},
  options: CallOptions = {},
): Promise<unknown> {
  const client = await ControlClient.connect(path);
  try {
    return await client.call(method, params, options);
  } finally {
    client.close();
  }
}

function parse(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

function explain(error: NodeJS.ErrnoException, path: string): NvbraidError {
  if (error.code === 'ENOENT')
    return new NvbraidError('ENOENT', `there is no control socket ${path}`, { cause: error });
  if (error.code === 'ECONNREFUSED') {
    return new NvbraidError('ECONNREFUSED', `no process is behind the control socket ${path}`, { cause: error });
  }
  if (error.code === 'EACCES' || error.code === 'EPERM') {
    return new NvbraidError('EACCES', `no permission to use the control socket ${path}`, { cause: error });
  }
  if (error.code === 'ENOTSOCK') return new NvbraidError('EINVAL', `${path} is not a socket`, { cause: error });
  return new NvbraidError('EIO', `cannot reach the control socket ${path}: ${error.message}`, { cause: error });
}
