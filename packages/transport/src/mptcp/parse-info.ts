import { type Subflow, tcpState } from '../subflow.ts';
import { AF_INET, AF_INET6 } from '../tcp/constants.ts';
import { unpackEndpoint } from '../tcp/sockaddr.ts';

/*
 * struct mptcp_info            subflows u8 | … | flags u32 at 8 | token u32 at 12 | …; kernels append fields
 * struct mptcp_subflow_data    size_subflow_data u32 | num_subflows u32 | size_kernel u32 | size_user u32
 * struct mptcp_subflow_addrs   local 128 | remote 128, each a sockaddr
 * struct mptcp_subflow_info    id u32 | padding 4 | mptcp_subflow_addrs
 * struct mptcp_full_info       size_tcpinfo_kernel u32 | size_tcpinfo_user u32 | size_sfinfo_kernel u32 |
 *                              size_sfinfo_user u32 | num_subflows u32 | size_arrays_user u32 |
 *                              subflow_info u64 | tcp_info u64 | mptcp_info
 *
 * Arrays have the stride that the caller asks for; of each element the kernel fills in what it knows. So all of them are
 * zeroed before they are given to it, and what an older kernel does not have reads as 0.
 */

/** As much of struct mptcp_info as is read. */
export const INFO_BYTES = 16;
const INFO_FLAGS = 8;
const FLAG_FALLBACK = 1;

export const SUBFLOW_DATA_BYTES = 16;
export const SUBFLOW_ADDRS_BYTES = 256;
export const SUBFLOW_INFO_BYTES = 264;
const SUBFLOW_INFO_ADDRS = 8;
const REMOTE = 128;

export const FULL_INFO_HEAD_BYTES = 40;
export const FULL_INFO_BYTES = FULL_INFO_HEAD_BYTES + INFO_BYTES;

/** As much of struct tcp_info as is read (Linux 4.19 and later). */
export const TCP_INFO_BYTES = 216;
const TCPI_STATE = 0;
const TCPI_RETRANSMITS = 2;
const TCPI_PROBES = 3;
const TCPI_RTT = 68;
const TCPI_TOTAL_RETRANS = 100;
const TCPI_BYTES_RECEIVED = 128;
const TCPI_BYTES_SENT = 200;
const TCPI_BYTES_RETRANS = 208;

/** Timeouts in a row after which a subflow counts as stale: the first one is often a lost segment. */
const STALE_TIMEOUTS = 2;

/** What the kernel has answered: `length` of the bytes it was offered. */
export interface Answer {
  readonly view: DataView;
  readonly length: number;
}

export interface ParsedInfo {
  readonly fallback: boolean;
  readonly count: number;
  /** Those that fit. */
  readonly subflows: readonly Subflow[];
}

/** The fallback flag of MPTCP_INFO; null when the answer is too short to hold it. */
export function parseInfo({ view, length }: Answer, base = 0): boolean | null {
  if (Math.min(length, view.byteLength) < base + INFO_FLAGS + 4) return null;
  return (view.getUint32(base + INFO_FLAGS, true) & FLAG_FALLBACK) !== 0;
}

/**
 * MPTCP_FULL_INFO.
 * @param subflowInfos the array of mptcp_subflow_info
 * @param tcpInfos the array of tcp_info
 * @returns null when it is not what was asked for
 */
export function parseFullInfo(head: Answer, subflowInfos: DataView, tcpInfos: DataView): ParsedInfo | null {
  const { view } = head;
  if (Math.min(head.length, view.byteLength) < FULL_INFO_HEAD_BYTES) return null;
  const tcpInfoBytes = view.getUint32(4, true);
  const subflowBytes = view.getUint32(12, true);
  if (tcpInfoBytes < TCP_INFO_BYTES || subflowBytes < SUBFLOW_INFO_BYTES) return null;
  const count = view.getUint32(16, true);
  const there = Math.min(
    count,
    view.getUint32(20, true),
    Math.floor(subflowInfos.byteLength / subflowBytes),
    Math.floor(tcpInfos.byteLength / tcpInfoBytes),
  );
  const subflows: Subflow[] = [];
  for (let i = 0; i < there; i++) {
    const at = i * subflowBytes;
    const subflow = parseSubflow(
      subflowInfos.getUint32(at, true),
      subflowInfos,
      at + SUBFLOW_INFO_ADDRS,
      tcpInfos,
      i * tcpInfoBytes,
    );
    if (subflow !== null) subflows.push(subflow);
  }
  return { fallback: parseInfo(head, FULL_INFO_HEAD_BYTES) ?? false, count, subflows };
}

/**
 * MPTCP_SUBFLOW_ADDRS and MPTCP_TCPINFO of kernels that have no MPTCP_FULL_INFO. They are two calls: null also when the
 * subflows have changed between them, as far as that can be seen.
 */
export function parseTwoArrays(addresses: Answer, tcpInfos: Answer): Omit<ParsedInfo, 'fallback'> | null {
  const a = arrayOf(addresses, SUBFLOW_ADDRS_BYTES);
  const t = arrayOf(tcpInfos, TCP_INFO_BYTES);
  if (a === null || t === null || a.count !== t.count) return null;
  const subflows: Subflow[] = [];
  for (let i = 0; i < Math.min(a.there, t.there); i++) {
    const subflow = parseSubflow(null, a.view, a.start + i * a.stride, t.view, t.start + i * t.stride);
    if (subflow !== null) subflows.push(subflow);
  }
  return { count: a.count, subflows };
}

/** A struct mptcp_subflow_data with the array behind it. */
function arrayOf({ view, length }: Answer, elementBytes: number) {
  const end = Math.min(length, view.byteLength);
  if (end < SUBFLOW_DATA_BYTES) return null;
  const start = view.getUint32(0, true);
  const count = view.getUint32(4, true);
  const stride = view.getUint32(12, true);
  if (start < SUBFLOW_DATA_BYTES || stride < elementBytes) return null;
  return { view, start, count, stride, there: Math.min(count, Math.max(0, Math.floor((end - start) / stride))) };
}

/** The one subflow of a connection that is plain TCP. */
export function parseTcpInfo(view: DataView, local: Subflow['local'], remote: Subflow['remote']): Subflow {
  return { id: null, local, remote, ...tcpFields(view, 0), backup: false };
}

function parseSubflow(
  id: number | null,
  addresses: DataView,
  at: number,
  tcpInfos: DataView,
  tcpAt: number,
): Subflow | null {
  const local = endpointAt(addresses, at);
  const remote = endpointAt(addresses, at + REMOTE);
  if (local === null || remote === null) return null;
  return { id, local, remote, ...tcpFields(tcpInfos, tcpAt), backup: null };
}

/** Null for what is no address: a subflow that is being made or taken apart. */
function endpointAt(view: DataView, at: number): Subflow['local'] | null {
  const family = view.getUint16(at, true);
  return family === AF_INET || family === AF_INET6 ? unpackEndpoint(view, at) : null;
}

function tcpFields(view: DataView, at: number): Omit<Subflow, 'id' | 'local' | 'remote' | 'backup'> {
  const u64 = (offset: number): number => Number(view.getBigUint64(at + offset, true));
  const timeouts = Math.max(view.getUint8(at + TCPI_RETRANSMITS), view.getUint8(at + TCPI_PROBES));
  return {
    state: tcpState(view.getUint8(at + TCPI_STATE)),
    bytesSent: u64(TCPI_BYTES_SENT),
    bytesReceived: u64(TCPI_BYTES_RECEIVED),
    bytesRetransmitted: u64(TCPI_BYTES_RETRANS),
    retransmits: view.getUint32(at + TCPI_TOTAL_RETRANS, true),
    rttUs: view.getUint32(at + TCPI_RTT, true),
    stale: timeouts >= STALE_TIMEOUTS,
  };
}
