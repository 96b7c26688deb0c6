import type { HostController, HostSubsystem } from 'nvbraid';
import type { ConnectStatus } from './status.ts';
import { subsystemStatus } from './subsystem-status.ts';
import { version } from './version.ts';

/**
 * What is answered to `status` by whoever has connected a subsystem.
 * @param fallback described when no controller is left
 * @param startedMs of performance.now()
 */
export function connectStatus(subsystem: HostSubsystem, fallback: HostController, startedMs: number): ConnectStatus {
  const { controllers } = subsystem;
  const shown = controllers.find(({ state }) => state === 'live') ?? controllers[0] ?? fallback;
  const { sn, mn, fr } = shown.identify;
  const { transport, traddr, trsvcid } = shown.place!;
  return {
    role: 'connect',
    pid: process.pid,
    version: version(),
    uptimeSeconds: Math.round((performance.now() - startedMs) / 1000),
    state: shown.state,
    cntlid: shown.cntlid,
    hostnqn: shown.hostnqn,
    hostid: shown.hostid,
    address: { transport, traddr, trsvcid, nqn: subsystem.nqn },
    serial: sn,
    model: mn,
    firmware: fr,
    nrIoQueues: shown.nrIoQueues,
    queueSize: shown.queueSize,
    stats: { ...subsystem.stats() },
    ...subsystemStatus(subsystem),
  };
}
