import { type ErrorCode, Memory } from '@nvbraid/base';
import { addressOf, libc } from '../libc.ts';
import type { SubflowReport } from '../subflow.ts';
import type { SocketOptions } from '../transport.ts';
import {
  IP_TOS,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPPROTO_TCP,
  IPV6_TCLASS,
  SO_COOKIE,
  SO_LINGER,
  SO_PRIORITY,
  SO_REUSEADDR,
  SOL_SOCKET,
  TCP_NODELAY,
  TCP_SYNCNT,
} from './constants.ts';

/**
 * The socket operations that differ between TCP and Multipath TCP: one constant table per protocol, and nothing else of
 * a row differs. Each operation answers 0 or the number of the system's error. An option is a property of the
 * connection: a protocol of several subflows applies it to present and future ones.
 */
export interface SocketOps {
  /** Name of the row made from this table, and its transport type by the word of addr_trtype. */
  readonly name: string;
  readonly trtype: string;
  /** Protocol number given to `socket`. */
  readonly protocol: number;
  /** What it means when the system refuses to make a socket of this protocol: see `systemError`. */
  readonly refusals: {
    readonly words: Readonly<Record<string, string>>;
    readonly codes: Readonly<Record<string, ErrorCode>>;
  };
  /** Lets a listener take a port whose earlier connections have not timed out yet. */
  setReuseaddr(fd: number): number;
  /** Sends small segments at once. */
  setNodelay(fd: number): number;
  /** @param priority SO_PRIORITY: 0-6 without privileges */
  setPriority(fd: number, priority: number): number;
  /** Makes `close` reset the connection and throw away what is unsent. */
  noLinger(fd: number): number;
  /** @param tos IP type of service or IPv6 traffic class, 0-255 */
  setTos(fd: number, tos: number): number;
  /** @param count how often the first segment is sent again, 1-127 */
  setSyncnt(fd: number, count: number): number;
  /** What a connection is made of, for protocols with several subflows. */
  subflows?(fd: number, backup: boolean): SubflowReport | null;
}

export const tcpOps: SocketOps = {
  name: 'tcp',
  trtype: 'tcp',
  protocol: IPPROTO_TCP,
  refusals: { words: {}, codes: {} },
  setReuseaddr: (fd) => setInt(fd, SOL_SOCKET, SO_REUSEADDR, 1),
  setNodelay: (fd) => setInt(fd, IPPROTO_TCP, TCP_NODELAY, 1),
  setPriority: (fd, priority) => setInt(fd, SOL_SOCKET, SO_PRIORITY, priority),
  noLinger: (fd) => setLinger(fd, true),
  setTos: (fd, tos) => {
    // An IPv6 socket may carry IPv4 as well, so it gets both; an IPv4 socket refuses the second.
    const ipv4 = setInt(fd, IPPROTO_IP, IP_TOS, tos);
    const ipv6 = setInt(fd, IPPROTO_IPV6, IPV6_TCLASS, tos);
    return ipv4 === 0 || ipv6 === 0 ? 0 : ipv4;
  },
  setSyncnt: (fd, count) => setInt(fd, IPPROTO_TCP, TCP_SYNCNT, count),
};

const value = Memory.alloc(8);
const valueLength = Memory.alloc(4);

/**
 * Applies what the caller asked for; `failed` gets the error number and the name of what was refused. Setting the type of
 * service makes Linux derive a priority from it, so the one asked for is set once more.
 */
export function applyOptions(
  ops: SocketOps,
  fd: number,
  { priority, tos }: SocketOptions,
  failed: (errno: number, what: string) => void,
): void {
  const setPriority = (): void => {
    const errno = priority === undefined ? 0 : ops.setPriority(fd, priority);
    if (errno !== 0) failed(errno, 'its priority');
  };
  setPriority();
  if (tos === undefined) return;
  const errno = ops.setTos(fd, tos);
  if (errno !== 0) failed(errno, 'its type of service');
  setPriority();
}

/** @param reset true: `close` resets and throws away what is unsent; false: it ends the stream in order */
export function setLinger(fd: number, reset: boolean): number {
  return setPair(fd, SOL_SOCKET, SO_LINGER, reset ? 1 : 0, 0);
}

/** Sets an option whose value is an int. */
export function setInt(fd: number, level: number, name: number, option: number): number {
  value.view.setInt32(0, option, true);
  return set(fd, level, name, 4);
}

function setPair(fd: number, level: number, name: number, first: number, second: number): number {
  value.view.setInt32(0, first, true);
  value.view.setInt32(4, second, true);
  return set(fd, level, name, 8);
}

function set(fd: number, level: number, name: number, length: number): number {
  const c = libc();
  return c.setsockopt(fd, level, name, addressOf(value), length) < 0 ? c.errno() : 0;
}

/** Reads an option whose value is an int; null when the system refuses. */
export function getInt(fd: number, level: number, name: number): number | null {
  valueLength.view.setUint32(0, 4, true);
  const result = libc().getsockopt(fd, level, name, addressOf(value), addressOf(valueLength));
  return result < 0 ? null : value.view.getInt32(0, true);
}

/** The number that the kernel gives to each socket once, as text; empty for what is no open socket. */
export function socketCookie(fd: number): string {
  valueLength.view.setUint32(0, 8, true);
  const result = libc().getsockopt(fd, SOL_SOCKET, SO_COOKIE, addressOf(value), addressOf(valueLength));
  return result < 0 ? '' : value.view.getBigUint64(0, true).toString(16);
}

/** Sets an option whose value is text. */
export function setText(fd: number, level: number, name: number, text: string): number {
  const bytes = Memory.alloc(text.length + 1);
  for (let i = 0; i < text.length; i++) bytes.view.setUint8(i, text.charCodeAt(i));
  const c = libc();
  return c.setsockopt(fd, level, name, addressOf(bytes), bytes.length) < 0 ? c.errno() : 0;
}
