import type { HostInfo, TargetQueueSubflows } from 'nvbraid';
import { formatAddress } from '../association.ts';
import { command } from '../command.ts';
import { outputOptions, processOptions, verboseOption } from '../options.ts';
import { allStatuses, commandOf, type Found, isConnected } from '../process-list.ts';
import { formatDuration, formatSize, plural } from '../size.ts';
import type { ConnectStatus, ProcessStatus, ServeStatus } from '../status.ts';
import { subflowLines } from '../subflow-view.ts';
import { devicesJson } from '../subsystem-json.ts';
import { type Column, table } from '../table.ts';
import type { Terminal } from '../terminal.ts';

const { socket } = processOptions;

export const list = command({
  name: 'list',
  summary: 'List the nvbraid processes that run here, and their namespaces',
  description: [
    'Asks every process that has a control socket: what nvbraid serve serves, what nvbraid connect is connected to.',
    '-v adds processes, hosts and counters, and where hosts come by Multipath TCP the subflows of each queue.',
    'With -o json the connected namespaces stand under Devices as nvme-cli prints them (with -v by subsystem, with controllers and paths), and what is served under Targets.',
  ],
  options: {
    socket: { ...socket, help: 'Control socket of the only process to list' },
    ...outputOptions,
    ...verboseOption,
  },
  examples: [{ line: 'nvbraid list -o json', help: 'for a script' }],
  async run({ options, terminal }) {
    const statuses = await allStatuses(options.socket, terminal, 'list');
    if (options['output-format'] === 'json') terminal.json(asJson(statuses, options.verbose > 0));
    else if (statuses.length === 0) terminal.note('No nvbraid process is running here.');
    else print(statuses, options.verbose > 0, terminal);
    return 0;
  },
});

const COLUMNS: readonly Column[] = [
  { title: 'PID', right: true },
  { title: 'Role' },
  { title: 'Subsystem' },
  { title: 'NSID', right: true },
  { title: 'Size', right: true },
  { title: 'Format', right: true },
  { title: 'Address' },
  { title: 'State' },
];

function print(statuses: readonly Found[], verbose: boolean, terminal: Terminal): void {
  const rows = statuses.flatMap(({ status }) => (status.role === 'serve' ? serveRows(status) : connectRows(status)));
  for (const text of table(COLUMNS, rows)) terminal.line(text);
  if (!verbose) return;
  for (const { socket, status } of statuses) {
    terminal.line();
    terminal.line(
      `process ${status.pid}: nvbraid ${commandOf(status)} ${status.version}, up ${formatDuration(status.uptimeSeconds * 1000)}`,
    );
    terminal.line(`  socket   ${socket}`);
    if (status.role === 'connect') {
      terminal.line(`  host     ${status.hostnqn} (${status.hostid})`);
      for (const { name, cntlid, nrIoQueues, queueSize, state } of status.controllers) {
        terminal.line(`  queues   ${nrIoQueues} of ${queueSize} entries, controller ${cntlid} (${name}) ${state}`);
      }
      for (const { uri, clients } of status.nbd?.exports ?? []) {
        terminal.line(`  export   ${uri}, ${plural(clients, 'connection')}`);
      }
    } else {
      for (const subsystem of status.subsystems) {
        for (const namespace of subsystem.namespaces) {
          terminal.line(`  nsid ${namespace.nsid}   ${namespace.device}, uuid ${namespace.uuid}`);
        }
      }
      for (const host of status.hosts ?? []) terminal.line(`  host     ${describeHost(host)}`);
      printQueues(status.queues ?? [], terminal);
    }
    const counts = Object.entries(status.stats).filter(([, value]) => typeof value === 'number');
    terminal.line(`  counters ${counts.map(([name, value]) => `${name} ${value}`).join(', ')}`);
  }
}

/** The subflows that hosts have made, by controller. */
function printQueues(queues: readonly TargetQueueSubflows[], terminal: Terminal): void {
  const controllers = Map.groupBy(queues, ({ subnqn, cntlid }) => `${subnqn} ${cntlid}`);
  for (const of of controllers.values()) {
    const { cntlid, hostnqn, subnqn, portid } = of[0]!;
    terminal.line(`  cntlid ${cntlid} of ${hostnqn}, port ${portid}, ${subnqn}`);
    for (const line of subflowLines(of, terminal)) terminal.line(`    ${line}`);
  }
}

function describeHost({ hostnqn, ...host }: HostInfo): string {
  const has = `${plural(host.controllers, 'controller')}, ${plural(host.queues, 'queue')}`;
  const done = `${plural(host.commands, 'command')}, ${formatSize(host.receivedBytes)} in, ${formatSize(host.sentBytes)} out`;
  const now = `${host.commandsUnderWay} under way with ${formatSize(host.payloadBytes)}`;
  const met = (['held', 'throttled', 'refused'] as const).filter((name) => host[name] > 0);
  return [`${hostnqn}: ${has}`, done, now, ...met.map((name) => `${name} ${host[name]} times`)].join('; ');
}

function serveRows(status: ServeStatus): string[][] {
  return status.subsystems.flatMap((subsystem) => {
    const addresses = status.ports
      .filter((port) => port.nqns.includes(subsystem.nqn))
      .map((port) => formatAddress(port.traddr, port.trsvcid));
    return rowsOf(
      status,
      subsystem.nqn,
      subsystem.namespaces,
      addresses.join(' '),
      plural(status.stats.controllers ?? 0, 'controller'),
    );
  });
}

function connectRows(status: ConnectStatus): string[][] {
  const addresses = status.controllers.map(({ traddr, trsvcid }) => formatAddress(traddr, trsvcid));
  return rowsOf(status, status.address.nqn, status.namespaces, addresses.join(' '), status.state);
}

function rowsOf(
  status: ProcessStatus,
  nqn: string,
  namespaces: readonly { nsid: number; blockSize: number; blockCount: number; readOnly: boolean }[],
  address: string,
  state: string,
): string[][] {
  const head = [String(status.pid), commandOf(status), nqn];
  if (namespaces.length === 0) return [[...head, '-', '-', '-', address, state]];
  return namespaces.map(({ nsid, blockSize, blockCount, readOnly }) => [
    ...head,
    String(nsid),
    formatSize(blockSize * blockCount),
    `${formatSize(blockSize)}${readOnly ? ' ro' : ''}`,
    address,
    state,
  ]);
}

function asJson(statuses: readonly Found[], verbose: boolean): object {
  const devices: object[] = [];
  const targets: object[] = [];
  for (const { socket, status } of statuses) {
    if (status.role === 'serve') {
      targets.push({ Socket: socket, ...status });
      continue;
    }
    for (const { nsid, blockSize, blockCount, readOnly, uuid } of status.namespaces) {
      devices.push({
        NameSpace: nsid,
        Socket: socket,
        PID: status.pid,
        Firmware: status.firmware,
        ModelNumber: status.model,
        SerialNumber: status.serial,
        SubsystemNQN: status.address.nqn,
        Transport: status.address.transport,
        Address: `traddr=${status.address.traddr},trsvcid=${status.address.trsvcid}`,
        State: status.state,
        Cntlid: status.cntlid,
        HostNQN: status.hostnqn,
        UUID: uuid,
        ReadOnly: readOnly,
        MaximumLBA: blockCount,
        PhysicalSize: blockCount * blockSize,
        SectorSize: blockSize,
      });
    }
  }
  return { Devices: verbose ? devicesJson(statuses.filter(isConnected)) : devices, Targets: targets };
}
