import { isIP } from 'node:net';
import { errorName, systemError } from '../errors.ts';
import { libc } from '../libc.ts';
import { AF_INET, AF_INET6, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from './constants.ts';
import type { SocketOps } from './socket-ops.ts';

const TYPE = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

/**
 * A socket of the row's protocol for a numeric address.
 * @throws NvbraidError ENOTSUP where the system does not have the protocol, EBUSY
 */
export function createSocket(ops: SocketOps, address: string, doing: string): number {
  const c = libc();
  const fd = c.socket(isIP(address) === 6 ? AF_INET6 : AF_INET, TYPE, ops.protocol);
  if (fd >= 0) return fd;
  throw systemError(c.errno(), doing, ops.refusals);
}

/** Protocols that have worked in this process: asked once, since a row is looked up for every connection. */
const working = new Set<number>();

/** Null when sockets of the row's protocol can be made here, as of now; otherwise a sentence that says why not. */
export function protocolUnsupported(ops: SocketOps): string | null {
  if (working.has(ops.protocol)) return null;
  const c = libc();
  let errno = 0;
  for (const family of [AF_INET, AF_INET6]) {
    const fd = c.socket(family, TYPE, ops.protocol);
    if (fd >= 0) {
      c.close(fd);
      working.add(ops.protocol);
      return null;
    }
    errno ||= c.errno();
  }
  // What passes by itself (too many open files) is told by the call that needs a socket.
  return ops.refusals.words[errorName(errno)] ?? null;
}
