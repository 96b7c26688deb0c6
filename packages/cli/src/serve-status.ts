import type { Target, TargetPort } from 'nvbraid';
import type { ChosenDevice } from './device-choice.ts';
import type { ServeStatus } from './status.ts';
import { version } from './version.ts';

/** A target with one subsystem, as a command line describes it. */
export interface Served {
  readonly target: Target;
  readonly nqn: string;
  readonly devices: readonly ChosenDevice[];
  /** By which hosts reach the subsystem, and that for discovery where there is one. */
  readonly ports: readonly TargetPort[];
  /** Further ones by which hosts reach the subsystem. */
  readonly others?: readonly TargetPort[];
  /** Why discovery has no port of its own; null when it has. */
  readonly noDiscovery: string | null;
}

/** What `status` answers on the control socket of a process that serves. */
export async function serveStatus(target: Target, startedMs: number): Promise<ServeStatus> {
  const { core } = target;
  return {
    role: 'serve',
    pid: process.pid,
    version: version(),
    uptimeSeconds: Math.round((performance.now() - startedMs) / 1000),
    subsystems: [...core.subsystems].map((subsystem) => ({
      nqn: subsystem.nqn,
      serial: subsystem.serial,
      model: subsystem.model,
      firmware: subsystem.firmware,
      namespaces: subsystem.namespaces.map((namespace) => ({
        nsid: namespace.nsid,
        blockSize: namespace.blockSize,
        blockCount: namespace.blockCount,
        readOnly: namespace.readOnly,
        uuid: namespace.uuid,
        device: deviceName(namespace.device),
      })),
    })),
    ports: [...core.ports].map((port) => ({
      portid: port.portId,
      transport: target.listeningOf(port.portId).transport,
      traddr: port.traddr,
      trsvcid: Number(port.trsvcid),
      nqns: [...port.subsystems].map((subsystem) => subsystem.nqn),
    })),
    hosts: target.hosts.list(),
    queues: await target.subflows(),
    stats: { ...target.stats() },
  };
}

/** The path of a file, or the kind of a device: below whatever filters stand on it. */
export function deviceName(device: unknown): string {
  let spec = device as { readonly kind?: string; readonly path?: string; readonly lower?: unknown };
  while (typeof spec.lower === 'object' && spec.lower !== null) spec = spec.lower;
  return spec.path ?? spec.kind ?? 'device';
}
