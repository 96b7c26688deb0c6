import { networkInterfaces } from 'node:os';
import { DISCOVERY_TCP_PORT } from '@nvbraid/wire';
import { NvbraidError, type Target, type TargetPort } from 'nvbraid';
import { formatAddress } from './association.ts';

export interface ListenWishes {
  readonly transport: string;
  readonly traddr: string;
  readonly trsvcid: number;
  readonly allowFallback?: boolean;
}

/**
 * Opens the I/O port of a target, which leads nowhere until a subsystem is linked to it: a busy port is found out
 * before any file is made.
 * @throws NvbraidError with a sentence that says what to do
 */
export async function listenForIo(target: Target, wishes: ListenWishes): Promise<TargetPort> {
  const { transport, traddr: address, trsvcid: port, allowFallback = false } = wishes;
  try {
    return await target.listen({ transport, address, port, allowFallback });
  } catch (error) {
    throw explain(error, address, port);
  }
}

/**
 * Answers discovery on its well-known port too, where that is free.
 * @returns the port, or a sentence that says why there is none
 */
export async function listenForDiscovery(
  target: Target,
  wishes: ListenWishes,
  io: TargetPort,
): Promise<TargetPort | string> {
  if (io.port === DISCOVERY_TCP_PORT) return io;
  try {
    const { transport, traddr: address, allowFallback = false } = wishes;
    return await target.listen({ transport, address, port: DISCOVERY_TCP_PORT, allowFallback });
  } catch (error) {
    const why =
      error instanceof NvbraidError && error.code === 'EADDRINUSE'
        ? 'is in use'
        : `cannot be had: ${(error as Error).message}`;
    return `port ${DISCOVERY_TCP_PORT} ${why}; discovery is answered on port ${io.port} alone`;
  }
}

function explain(error: unknown, address: string, port: number): unknown {
  if (!(error instanceof NvbraidError)) return error;
  const options = { cause: error, context: { address, port } };
  if (error.code === 'EADDRINUSE') {
    return new NvbraidError(
      'EADDRINUSE',
      `port ${port} on ${address} is in use; choose another with -s, or stop the other process`,
      options,
    );
  }
  if (error.code === 'EACCES' && port < 1024) {
    return new NvbraidError('EACCES', `no permission for port ${port}; choose one from 1024 on with -s`, options);
  }
  if (error.context.errno === 'EADDRNOTAVAIL') {
    return new NvbraidError(
      'EINVAL',
      `${address} is not an address of this machine; choose one with -a, e.g. 0.0.0.0 for all`,
      options,
    );
  }
  return error;
}

/** Addresses under which other machines can reach a listener; the loopback address when there is no network. */
export function reachableAddresses(traddr: string): string[] {
  const v4 = traddr === '0.0.0.0';
  const v6 = traddr === '::';
  if (!v4 && !v6) return [traddr];
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const outside = all.filter((entry) => !entry.internal && !entry.address.startsWith('fe80:'));
  const addresses = outside.filter((entry) => v6 || entry.family === 'IPv4').map((entry) => entry.address);
  return addresses.length > 0 ? addresses : [v4 ? '127.0.0.1' : '::1'];
}

/** `tcp 127.0.0.1:4420` */
export function describePort(port: TargetPort): string {
  return `${port.transport} ${formatAddress(port.address, port.port)}`;
}

/** Who can use a port, by its transport; no released kernel has NVMe over MPTCP, and its plain TCP would be refused. */
const USERS: Readonly<Record<string, readonly [who: string, how: string]>> = {
  mptcp: [
    'With nvbraid, or a Linux host whose kernel has NVMe over MPTCP (nvme in place of nvbraid):',
    'nvbraid connect -t mptcp',
  ],
};
const LINUX = ['On a Linux host:', 'nvme connect -t tcp'] as const;

/** What a person types elsewhere to use `nqn` by this port. */
export function connectLines(port: TargetPort, nqn: string): string[] {
  const [who, how] = USERS[port.transport] ?? LINUX;
  return [who, ...reachableAddresses(port.address).map((one) => `  ${how} -a ${one} -s ${port.port} -n ${nqn}`)];
}
