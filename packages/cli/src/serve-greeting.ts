import { DISCOVERY_TCP_PORT } from '@nvbraid/wire';
import type { Target, TargetPort } from 'nvbraid';
import { formatAddress } from './association.ts';
import { isMemory } from './device-choice.ts';
import { connectLines, describePort } from './listening.ts';
import { deviceName, type Served } from './serve-status.ts';
import { formatSize } from './size.ts';
import type { Terminal } from './terminal.ts';

/** What `nvbraid serve FILE` says when it listens. */
export function describeServed(served: Served, socket: string, terminal: Terminal): string[] {
  const { target, nqn, devices, ports, others = [], noDiscovery } = served;
  const [io, discovery] = ports as [TargetPort, TargetPort | undefined];
  const namespaces = target.core.subsystem(nqn)!.namespaces.map(({ nsid, blockSize, blockCount, readOnly }, i) => {
    const device = devices[i]!;
    const { name } = device;
    const notes = `${device.made && !isMemory(device) ? ', made now' : ''}${readOnly ? ', read-only' : ''}`;
    return `  namespace ${nsid}: ${name}, ${formatSize(blockSize * blockCount)} in blocks of ${blockSize} bytes${notes}`;
  });
  return [
    `serving ${terminal.style('bold', nqn)} on ${[io, ...others].map(describePort).join(', ')}`,
    ...namespaces,
    `  discovery: ${discovery === undefined ? noDiscovery : describePort(discovery)}`,
    `  control socket: ${socket}`,
    ...[io, ...others].flatMap((port) => connectLines(port, nqn)),
    'Ctrl-C stops.',
  ];
}

/** What `nvbraid serve --config` says: every subsystem with its namespaces and the ports that lead to it. */
export function describeConfigured(target: Target, file: string, socket: string, terminal: Terminal): string[] {
  const lines = [`serving what ${file} says`];
  for (const subsystem of target.core.subsystems) {
    const ports = [...subsystem.ports].map((port) => formatAddress(port.traddr, Number(port.trsvcid)));
    lines.push(`  ${terminal.style('bold', subsystem.nqn)} on ${ports.length === 0 ? 'no port' : ports.join(', ')}`);
    for (const { nsid, blockSize, blockCount, readOnly, device } of subsystem.namespaces) {
      const size = `${formatSize(blockSize * blockCount)} in blocks of ${blockSize} bytes${readOnly ? ', read-only' : ''}`;
      lines.push(`    namespace ${nsid}: ${deviceName(device)}, ${size}`);
    }
  }
  for (const port of target.core.ports) {
    if (port.subsystems.size > 0) continue;
    const what = Number(port.trsvcid) === DISCOVERY_TCP_PORT ? 'discovery' : 'discovery alone';
    lines.push(`  ${what} on ${formatAddress(port.traddr, Number(port.trsvcid))}`);
  }
  if (lines.length === 1) lines.push('  nothing yet: nvbraid target create makes objects');
  lines.push(`  control socket: ${socket}`, 'SIGHUP reads the file again, Ctrl-C stops.');
  return lines;
}
