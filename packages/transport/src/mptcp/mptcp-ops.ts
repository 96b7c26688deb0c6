import { IPPROTO_MPTCP } from '../tcp/constants.ts';
import { type SocketOps, tcpOps } from '../tcp/socket-ops.ts';
import { socketTransport } from '../tcp/socket-transport.ts';
import type { Transport } from '../transport.ts';
import { mptcpSubflows } from './mptcp-info.ts';

/**
 * Multipath TCP (RFC 8684) of the Linux kernel: one connection over several subflows. A socket option is set on the
 * connection, and the kernel gives it to its subflows, those of later included; so the six operations are those of TCP.
 * Kernels up to 6.18 refuse TCP_SYNCNT (ENOPROTOOPT): the first segment is then sent again as often as
 * net.ipv4.tcp_syn_retries says, and the time limit of `connect` alone bounds it.
 */
export const mptcpOps: SocketOps = {
  ...tcpOps,
  name: 'mptcp',
  trtype: 'mptcp',
  protocol: IPPROTO_MPTCP,
  refusals: {
    words: {
      EPROTONOSUPPORT: 'this kernel has no Multipath TCP',
      EINVAL: 'this kernel has no Multipath TCP',
      ENOPROTOOPT: 'Multipath TCP is switched off here: sysctl net.mptcp.enabled=1 switches it on',
    },
    codes: { EINVAL: 'ENOTSUP' },
  },
  subflows: mptcpSubflows,
};

/** Multipath TCP on raw sockets, Linux 5.6 and later. */
export const mptcp: Transport = socketTransport(mptcpOps);
