import type { Found } from './process-list.ts';
import type { ConnectStatus } from './status.ts';
import { subflowsJson } from './subflow-view.ts';
import { addressDetails, anaStateOf, sysfsAddress } from './subsystem-text.ts';

type Connection = Found<ConnectStatus>;

/** `list-subsys -o json`: the shape of nvme-cli, with our counters beside it where they were asked for. */
export function subsystemsJson(found: readonly Connection[], head: string | null, verbose: boolean): object[] {
  return byHost(found, ({ socket, status }) => ({
    Name: status.subsystem,
    NQN: status.address.nqn,
    IOPolicy: status.iopolicy,
    ...(verbose ? { Model: status.model, Serial: status.serial, Firmware: status.firmware, Type: 'nvm' } : {}),
    Paths: status.controllers.map((controller) => {
      const ana = anaStateOf(status, controller.name, head);
      return {
        Name: controller.name,
        Transport: controller.transport,
        Address: sysfsAddress(controller),
        ...(verbose ? { AddressDetails: addressDetails(controller) } : {}),
        State: controller.state,
        ...(ana === null ? {} : { ANAState: ana }),
        ...(verbose
          ? {
              Cntlid: controller.cntlid,
              Depth: controller.depth,
              Resets: controller.resets,
              Reconnects: controller.reconnects,
              ...(controller.error === null ? {} : { Error: controller.error }),
              ...(hasSubflows(controller) ? { Queues: subflowsJson(controller.queues ?? []) } : {}),
            }
          : {}),
      };
    }),
    ...(verbose
      ? {
          PID: status.pid,
          Socket: socket,
          SafeFailover: status.safeFailover,
          Held: status.held,
          StallBound: status.stallBound,
          Heads: status.heads.filter(({ name }) => head === null || name === head),
        }
      : {}),
  }));
}

/** `Devices` of `list -v -o json`, as nvme-cli has it for subsystems with several controllers. */
export function devicesJson(found: readonly Connection[]): object[] {
  return byHost(found, ({ socket, status }) => ({
    Subsystem: status.subsystem,
    SubsystemNQN: status.address.nqn,
    IOPolicy: status.iopolicy,
    PID: status.pid,
    Socket: socket,
    Controllers: status.controllers.map((controller) => ({
      Controller: controller.name,
      Cntlid: String(controller.cntlid),
      SerialNumber: status.serial,
      ModelNumber: status.model,
      Firmware: status.firmware,
      Transport: controller.transport,
      Address: sysfsAddress(controller),
      Slot: '',
      State: controller.state,
      Namespaces: [],
      Paths: status.heads.flatMap(({ paths }) =>
        paths
          .filter((path) => path.controller === controller.name)
          .map((path) => ({ Path: path.name, ANAState: path.anaState ?? '', ANAGroup: path.anaGroup })),
      ),
    })),
    Namespaces: status.namespaces.map(({ nsid, blockSize, blockCount, readOnly, uuid }) => ({
      NameSpace: status.heads.find((head) => head.nsid === nsid)?.name ?? '',
      Generic: '',
      NSID: nsid,
      UsedBytes: blockCount * blockSize,
      MaximumLBA: blockCount,
      PhysicalSize: blockCount * blockSize,
      SectorSize: blockSize,
      UUID: uuid,
      ReadOnly: readOnly,
    })),
  }));
}

function hasSubflows({ queues = [] }: ConnectStatus['controllers'][number]): boolean {
  return queues.length > 0;
}

function byHost(found: readonly Connection[], describe: (one: Connection) => object): object[] {
  const hosts = new Map<string, { HostNQN: string; HostID: string; Subsystems: object[] }>();
  for (const one of found) {
    const { hostnqn, hostid } = one.status;
    const key = `${hostnqn} ${hostid}`;
    const host = hosts.get(key) ?? { HostNQN: hostnqn, HostID: hostid, Subsystems: [] };
    host.Subsystems.push(describe(one));
    hosts.set(key, host);
  }
  return [...hosts.values()];
}
