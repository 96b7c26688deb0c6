import { Memory } from '@nvbraid/base';
import { addressOf, libc } from '../libc.ts';
import { SUBFLOWS_MAX } from '../limits.ts';
import type { Subflow, SubflowReport } from '../subflow.ts';
import { AF_INET, IPPROTO_MPTCP, IPPROTO_TCP, SOCK_CLOEXEC, SOCK_STREAM } from '../tcp/constants.ts';
import { localEndpoint, remoteEndpoint } from '../tcp/sockaddr.ts';
import { socketCookie } from '../tcp/socket-ops.ts';
import {
  FULL_INFO_BYTES,
  INFO_BYTES,
  type ParsedInfo,
  parseFullInfo,
  parseInfo,
  parseTcpInfo,
  parseTwoArrays,
  SUBFLOW_ADDRS_BYTES,
  SUBFLOW_DATA_BYTES,
  SUBFLOW_INFO_BYTES,
  TCP_INFO_BYTES,
} from './parse-info.ts';
import { backupFlags } from './subflow-diag.ts';

export const SOL_MPTCP = 284;
export const MPTCP_INFO = 1;
export const MPTCP_TCPINFO = 2;
export const MPTCP_SUBFLOW_ADDRS = 3;
export const MPTCP_FULL_INFO = 4;
const TCP_INFO = 11;

/** How often two calls are made anew whose answers do not belong together. */
const ATTEMPTS = 3;

/** As getsockopt(2), but answers the length of what was written, or -1. */
export type ReadOption = (fd: number, level: number, name: number, value: Memory, length: number) => number;

/** Asked of the kernel; memory of a thread is made when it first asks. */
class Buffers {
  readonly head = Memory.alloc(FULL_INFO_BYTES);
  readonly subflowInfos = Memory.alloc(SUBFLOWS_MAX * SUBFLOW_INFO_BYTES);
  readonly tcpInfos = Memory.alloc(SUBFLOWS_MAX * TCP_INFO_BYTES);
  readonly addresses = Memory.alloc(SUBFLOW_DATA_BYTES + SUBFLOWS_MAX * SUBFLOW_ADDRS_BYTES);
  readonly tcpArray = Memory.alloc(SUBFLOW_DATA_BYTES + SUBFLOWS_MAX * TCP_INFO_BYTES);
  readonly length = Memory.alloc(4);
}

let made: Buffers | null = null;
function buffers(): Buffers {
  made ??= new Buffers();
  return made;
}

export const readOption: ReadOption = (fd, level, name, value, length) => {
  const { view } = buffers().length;
  view.setUint32(0, length, true);
  const result = libc().getsockopt(fd, level, name, addressOf(value), addressOf(buffers().length));
  return result < 0 ? -1 : view.getUint32(0, true);
};

/**
 * What a connection on an MPTCP socket is made of. To be asked by the thread that owns the descriptor: another one cannot
 * know whether its number has become somebody else's. Costs some 30 µs; with `backup` as much again for each subflow.
 * @param backup whether to find out which subflows are backups
 * @param read stands for the system, in tests
 * @returns null for what is no socket, or no connection yet
 */
export function mptcpSubflows(fd: number, backup: boolean, read: ReadOption = readOption): SubflowReport | null {
  const connection = socketCookie(fd);
  if (connection === '') return null;
  const info = fullInfo(fd, read) ?? infoOfTwoCalls(fd, read);
  if (info !== null && !info.fallback) {
    return { connection, ...info, subflows: backup ? withBackup(info.subflows) : info.subflows };
  }
  // A connection that fell back is looked after by TCP, which does not know the options.
  if (info === null && !kernelKnows(read)) return { connection, fallback: null, count: 0, subflows: [] };
  const subflows = plainSubflow(fd, read);
  return { connection, fallback: true, count: subflows.length, subflows };
}

function fullInfo(fd: number, read: ReadOption): ParsedInfo | null {
  const { head, subflowInfos, tcpInfos } = buffers();
  for (const { bytes } of [head, subflowInfos, tcpInfos]) bytes.fill(0);
  const { view } = head;
  view.setUint32(4, TCP_INFO_BYTES, true);
  view.setUint32(12, SUBFLOW_INFO_BYTES, true);
  view.setUint32(20, SUBFLOWS_MAX, true);
  view.setBigUint64(24, BigInt(addressOf(subflowInfos)), true);
  view.setBigUint64(32, BigInt(addressOf(tcpInfos)), true);
  const length = read(fd, SOL_MPTCP, MPTCP_FULL_INFO, head, FULL_INFO_BYTES);
  return length < 0 ? null : parseFullInfo({ view, length }, subflowInfos.view, tcpInfos.view);
}

/** Of kernels before Linux 6.5. */
function infoOfTwoCalls(fd: number, read: ReadOption): ParsedInfo | null {
  const { head, addresses, tcpArray } = buffers();
  head.bytes.fill(0);
  const length = read(fd, SOL_MPTCP, MPTCP_INFO, head, INFO_BYTES);
  const fallback = length < 0 ? null : parseInfo({ view: head.view, length });
  if (fallback === null) return null;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const a = readArray(fd, MPTCP_SUBFLOW_ADDRS, addresses, SUBFLOW_ADDRS_BYTES, read);
    const t = readArray(fd, MPTCP_TCPINFO, tcpArray, TCP_INFO_BYTES, read);
    const info = parseTwoArrays({ view: addresses.view, length: a }, { view: tcpArray.view, length: t });
    if (info !== null) return { fallback, ...info };
  }
  return { fallback, count: 0, subflows: [] };
}

function readArray(fd: number, name: number, memory: Memory, elementBytes: number, read: ReadOption): number {
  memory.bytes.fill(0);
  memory.view.setUint32(0, SUBFLOW_DATA_BYTES, true);
  memory.view.setUint32(12, elementBytes, true);
  return read(fd, SOL_MPTCP, name, memory, memory.length);
}

function plainSubflow(fd: number, read: ReadOption): Subflow[] {
  const { tcpInfos } = buffers();
  tcpInfos.bytes.fill(0);
  if (read(fd, IPPROTO_TCP, TCP_INFO, tcpInfos, TCP_INFO_BYTES) < 0) return [];
  return [parseTcpInfo(tcpInfos.view, localEndpoint(fd), remoteEndpoint(fd))];
}

function withBackup(subflows: readonly Subflow[]): Subflow[] {
  const flags = backupFlags(subflows);
  return subflows.map((subflow, i) => ({ ...subflow, backup: flags[i] ?? null }));
}

/** Whether the kernel answers MPTCP_INFO at all: a socket that is connected to nothing knows it. */
function kernelKnows(read: ReadOption): boolean {
  const c = libc();
  const fd = c.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
  if (fd < 0) return false;
  const length = read(fd, SOL_MPTCP, MPTCP_INFO, buffers().head, INFO_BYTES);
  c.close(fd);
  return length >= 0;
}
