export { type ErrorCode, NvbraidError } from '@nvbraid/base';
export {
  type DeviceSpec,
  fileDevice,
  memoryDevice,
  nullDevice,
  volatileCache,
  type ZonedOptions,
  zonedDevice,
} from '@nvbraid/blockdev';
export {
  type AsyncEvent,
  type HostControllerState,
  NvmeError,
} from '@nvbraid/host';
export * from './config/index.ts';
export * from './connect.ts';
export type { BlockRange } from './copy-commands.ts';
export * from './discover.ts';
export * from './discovery/connect-all.ts';
export * from './discovery/discover-all.ts';
export * from './discovery/discovery-connection.ts';
export * from './discovery/discovery-watch.ts';
export type { DiscoveryService, PathDefaults } from './discovery/service-address.ts';
export * from './faults/namespace-filters.ts';
export * from './faults/target-faults.ts';
export * from './head-device.ts';
export * from './head-threads.ts';
export * from './history.ts';
export type { HostOptions } from './host-block.ts';
export * from './host-controller.ts';
export * from './host-head.ts';
export { configuredHostNqn, hostIdentity, newHostNqn } from './host-identity.ts';
export * from './host-latency.ts';
export * from './host-namespace.ts';
export type { ResvAcquire, ResvRegister, ResvRelease, ResvReport } from './host-reservations.ts';
export * from './host-subsystem.ts';
export * from './nbd-heads.ts';
export * from './nbd-server.ts';
export { type NvmeFiles, readNvmeFiles } from './nvme-files/nvme-files.ts';
export { nvmeDirectory } from './nvme-files/read-file.ts';
export * from './pair.ts';
export { queueNumbers, subflowSentences } from './subflow-text.ts';
export * from './subflow-watch.ts';
export * from './target.ts';
export type { HostInfo, TargetHosts } from './target-hosts.ts';
export type { TargetLimits } from './target-limits.ts';
export type { TargetStats } from './target-stats.ts';
export type { TargetQueueSubflows } from './target-subflows.ts';
export { NO_TLS, type TlsOptions } from './tls-refusal.ts';
export * from './zoned-namespace.ts';
