import { formatAddress } from './association.ts';
import type { Found } from './process-list.ts';
import { formatCount, formatDuration, formatMicroseconds, plural } from './size.ts';
import type { ConnectStatus, ControllerStatus } from './status.ts';
import { subflowLines } from './subflow-view.ts';
import type { Terminal } from './terminal.ts';

type Head = ConnectStatus['heads'][number];

/** `traddr=127.0.0.1,trsvcid=4420`, as sysfs has it. */
export function sysfsAddress(controller: ControllerStatus): string {
  return Object.entries(addressDetails(controller))
    .map(([name, value]) => `${name}=${value}`)
    .join(',');
}

export function addressDetails(controller: ControllerStatus): Record<string, string> {
  const { traddr, trsvcid, hostTraddr, hostIface } = controller;
  return {
    traddr,
    trsvcid: String(trsvcid),
    ...(hostTraddr === '' ? {} : { host_traddr: hostTraddr }),
    ...(hostIface === '' ? {} : { host_iface: hostIface }),
  };
}

/** The ANA state of a controller for a namespace, or for all of them where they agree; null where there is none to tell. */
export function anaStateOf(status: ConnectStatus, controller: string, head: string | null): string | null {
  const states = new Set<string>();
  for (const { name, paths } of status.heads) {
    if (head !== null && name !== head) continue;
    for (const path of paths) if (path.controller === controller && path.anaState !== null) states.add(path.anaState);
  }
  return states.size === 1 ? [...states][0]! : null;
}

/** One subsystem as nvme-cli's tree has it. @param head shows ANA states for this namespace alone */
export function printSubsystem(
  { status, socket }: Found<ConnectStatus>,
  head: string | null,
  verbose: boolean,
  terminal: Terminal,
): void {
  const { subsystem, controllers, heads, address } = status;
  terminal.line(`${subsystem} - NQN=${address.nqn}`);
  const indent = ' '.repeat(subsystem.length + 3);
  terminal.line(`${indent}hostnqn=${status.hostnqn}`);
  terminal.line(`${indent}iopolicy=${status.iopolicy}`);
  if (verbose) {
    terminal.line(`${indent}model=${status.model}`);
    terminal.line(`${indent}serial=${status.serial}`);
    terminal.line(`${indent}firmware=${status.firmware}`);
    terminal.line(`${indent}type=nvm`);
    terminal.line(`${indent}safe-failover=${status.safeFailover ? 'on' : 'off'}, held ${status.held}`);
    const { ms, formula } = status.stallBound;
    terminal.line(`${indent}stall-bound=${ms === null ? 'none' : formatDuration(ms)} (${formula})`);
    terminal.line(`${indent}process=${status.pid} (${socket})`);
  }
  terminal.line('\\');
  for (const controller of controllers) {
    const ana = anaStateOf(status, controller.name, head);
    const colour = controller.state === 'live' ? 'green' : 'yellow';
    terminal.line(
      ` +- ${controller.name} ${controller.transport} ${sysfsAddress(controller)} ${terminal.style(colour, controller.state)}${ana === null ? '' : ` ${ana}`}`,
    );
    if (!verbose) continue;
    const queues = `${plural(controller.nrIoQueues, 'I/O queue')} of ${controller.queueSize}`;
    terminal.line(
      `      cntlid ${controller.cntlid}, ${queues}, depth ${controller.depth}, resets ${controller.resets}, reconnects ${controller.reconnects}`,
    );
    if (controller.error !== null) terminal.line(`      ${controller.error}`);
    for (const line of subflowLines(controller.queues ?? [], terminal)) terminal.line(`      ${line}`);
  }
  if (verbose) for (const one of heads) if (head === null || one.name === head) printHead(one, terminal);
}

function printHead(head: Head, terminal: Terminal): void {
  const { stats } = head;
  terminal.line(
    ` ${head.name} nsid ${head.nsid}: ${formatCount(stats.readCommands)} reads, ${formatCount(stats.writeCommands)} writes, ${head.queued} waiting, requeues ${head.requeues}, failures ${head.failures}, errors ${stats.errors}`,
  );
  const { count, p50Us, p99Us, maxUs } = head.failoverLatency;
  if (count > 0) {
    const [p50, p99, most] = [p50Us, p99Us, maxUs].map(formatMicroseconds);
    terminal.line(`    failover of ${plural(count, 'command')}: p50 ${p50}, p99 ${p99}, max ${most}`);
  }
  for (const path of head.paths) {
    const ana = path.anaState === null ? '' : ` ${path.anaState} (group ${path.anaGroup})`;
    const latency = path.latencyUs === null ? '' : `, latency ${formatMicroseconds(path.latencyUs)}`;
    terminal.line(
      `    ${path.name} ${formatAddress(path.traddr, Number(path.trsvcid))} ${path.state}${ana}${path.usable ? '' : ', not used'}: ` +
        `commands ${path.commands}, failovers ${path.failovers}, retries ${path.retries}, errors ${path.errors}${latency}`,
    );
  }
}
