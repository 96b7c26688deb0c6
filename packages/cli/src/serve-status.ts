import type { Target, TargetPort } from 'nvbraid';
import type { ChosenDevice } from './device-choice.ts';
import type { ServeStatus } from './status.ts';
import { version } from './version.ts';

export interface Served {
  readonly target: Target;
  readonly nqn: string;
  readonly devices: readonly ChosenDevice[];
  readonly ports: readonly TargetPort[];
  /** Why discovery has no port of its own; null when it has. */
  readonly noDiscovery: string | null;
}

/** What `status` answers on the control socket of a process that serves. */
export function serveStatus(served: Served, startedMs: number): ServeStatus {
  const { target, nqn, devices, ports } = served;
  const subsystem = target.core.subsystem(nqn)!;
  return {
    role: 'serve',
    pid: process.pid,
    version: version(),
    uptimeSeconds: Math.round((performance.now() - startedMs) / 1000),
    subsystems: [
      {
        nqn,
        serial: subsystem.serial,
        model: subsystem.model,
        firmware: subsystem.firmware,
        namespaces: subsystem.namespaces.map((namespace, i) => ({
          nsid: namespace.nsid,
          blockSize: namespace.blockSize,
          blockCount: namespace.blockCount,
          readOnly: namespace.readOnly,
          uuid: namespace.uuid,
          device: devices[i]?.name ?? '',
        })),
      },
    ],
    ports: ports.map((port, i) => ({
      portid: port.portid,
      transport: port.transport,
      traddr: port.address,
      trsvcid: port.port,
      nqns: i === 0 ? [nqn] : [],
    })),
    stats: { ...target.stats() },
  };
}
