import { constants } from 'node:os';
import { type ErrorCode, NvbraidError } from '@nvbraid/base';

const { errno } = constants;

export const EINTR = errno.EINTR;
export const EAGAIN = errno.EAGAIN;
export const EINPROGRESS = errno.EINPROGRESS;
export const ENOTCONN = errno.ENOTCONN;
export const ETIMEDOUT = errno.ETIMEDOUT;
export const ECONNRESET = errno.ECONNRESET;

/** System error -> our code and what it means in words. */
const MEANINGS: Readonly<Record<string, readonly [code: ErrorCode, words: string]>> = {
  EADDRINUSE: ['EADDRINUSE', 'the port is in use'],
  ENOENT: ['ENOENT', 'there is no such file or directory'],
  ENOTDIR: ['ENOENT', 'the path leads through a file that is no directory'],
  EADDRNOTAVAIL: ['EINVAL', 'the address is not one of this machine'],
  EACCES: ['EACCES', 'permission denied'],
  EPERM: ['EACCES', 'permission denied'],
  ECONNREFUSED: ['ECONNREFUSED', 'connection refused'],
  EHOSTUNREACH: ['EHOSTUNREACH', 'the host cannot be reached'],
  EHOSTDOWN: ['EHOSTUNREACH', 'the host is down'],
  ENETUNREACH: ['EHOSTUNREACH', 'the network cannot be reached'],
  ENETDOWN: ['EHOSTUNREACH', 'the network is down'],
  ETIMEDOUT: ['ETIMEDOUT', 'the peer does not answer'],
  ECONNRESET: ['ECONNRESET', 'the peer reset the connection'],
  EPIPE: ['ECONNRESET', 'the peer has closed the connection'],
  ECONNABORTED: ['ECONNRESET', 'the connection was aborted'],
  ENOTCONN: ['ECONNRESET', 'the connection is gone'],
  EMFILE: ['EBUSY', 'this process has too many open files'],
  ENFILE: ['EBUSY', 'the system has too many open files'],
  ENOBUFS: ['EBUSY', 'the system has no memory for sockets'],
  ENOMEM: ['EBUSY', 'the system has no memory for sockets'],
  EAFNOSUPPORT: ['ENOTSUP', 'the address family is not supported here'],
  EPROTONOSUPPORT: ['ENOTSUP', 'the protocol is not supported here'],
  ENOPROTOOPT: ['ENOTSUP', 'the socket option is not supported here'],
  EINVAL: ['EINVAL', 'an argument is wrong'],
  ENODEV: ['EINVAL', 'no such network device'],
  ENOTFOUND: ['EINVAL', 'the name is not known'],
  EAI_AGAIN: ['EHOSTUNREACH', 'the name cannot be resolved now'],
  ERR_SOCKET_BAD_PORT: ['EINVAL', 'a port is a number from 0 to 65535'],
};

const NAMES = new Map<number, string>(Object.entries(errno).map(([name, value]) => [value, name]));

export interface SystemErrorOptions {
  cause?: unknown;
  context?: Readonly<Record<string, string | number | boolean>>;
  /** Words that are truer here than those of the table. */
  words?: Readonly<Record<string, string>>;
  /** Codes that are truer here than those of the table. */
  codes?: Readonly<Record<string, ErrorCode>>;
}

/**
 * Turns a failed system call into a sentence: `cannot listen on 127.0.0.1:4420: the port is in use`.
 * @param error a number as in errno.h, or the name that Node gives
 * @param doing what could not be done, without a full stop
 */
export function systemError(error: number | string, doing: string, options: SystemErrorOptions = {}): NvbraidError {
  const name = typeof error === 'number' ? errorName(error) : error;
  const [code, words] = MEANINGS[name] ?? ['EIO', name];
  return new NvbraidError(options.codes?.[name] ?? code, `${doing}: ${options.words?.[name] ?? words}`, {
    cause: options.cause,
    context: { errno: name, ...options.context },
  });
}

/** The name of a number as in errno.h. */
export function errorName(errno: number): string {
  return NAMES.get(errno) ?? `error ${errno}`;
}

/** The `code` of an error made by Node; `EIO` when it has none. */
export function nodeErrorCode(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : 'EIO';
}

/** `127.0.0.1:4420`, `[::1]:4420`. */
export function formatAddress(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
