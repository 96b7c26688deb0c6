import type { HostController, HostSubsystem } from 'nvbraid';
import { sentence } from './explain.ts';
import { describeNamespaces } from './host-session.ts';
import type { ControllerStatus, SubsystemStatus } from './status.ts';

/** How a subsystem stands, for the control socket. */
export function subsystemStatus(subsystem: HostSubsystem): SubsystemStatus {
  return {
    subsystem: subsystem.name,
    iopolicy: subsystem.iopolicy,
    iopolicies: subsystem.core.iopolicy.names(),
    safeFailover: subsystem.core.fences.enabled,
    stallBound: subsystem.stallBound(),
    held: subsystem.core.fences.heldCount,
    controllers: subsystem.controllers.map((controller) => controllerStatus(subsystem, controller)),
    heads: subsystem.status(),
    namespaces: describeNamespaces(subsystem.heads),
  };
}

/** How one controller stands. */
export function controllerStatus(subsystem: HostSubsystem, controller: HostController): ControllerStatus {
  const { place, core } = controller;
  return {
    name: subsystem.controllerName(controller),
    cntlid: controller.cntlid,
    state: controller.state,
    error: controller.error === null ? null : sentence(controller.error),
    transport: place?.transport ?? '',
    traddr: place?.traddr ?? '',
    trsvcid: place?.trsvcid ?? 0,
    hostTraddr: place?.hostTraddr ?? '',
    hostIface: place?.hostIface ?? '',
    nrIoQueues: controller.nrIoQueues,
    queueSize: controller.queueSize,
    keepAliveMs: core.options.keepAliveMs,
    depth: core.outstandingIo,
    resets: core.resets,
    reconnects: core.reconnects,
    queues: controller.subflows(),
  };
}
