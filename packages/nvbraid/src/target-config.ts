import type { BlockDevice, DeviceSpec, FilterConfig, ZonedOptions } from '@nvbraid/blockdev';
import type { PortOptions } from '@nvbraid/target';
import type { HostOptions } from './host-block.ts';
import type { ReservationConfig } from './reservation-service.ts';
import type { TargetLimits } from './target-limits.ts';

export interface TargetOptions {
  /** Threads that run I/O queues; 0 keeps everything on the main thread. Default 1. */
  reactors?: number;
  /** Payload memory of each thread in bytes, default 64 MiB. */
  poolBytes?: number;
  /** What peers may make the target hold, and for how long. */
  limits?: Partial<TargetLimits>;
  /** Where what namespaces on block devices keep beside their blocks is put; beside files it lies in FILE.nvbraid. */
  stateDirectory?: string;
  /** What every host may do, and what single ones may, by NQN; `target.hosts.setOptions` changes it later. */
  hostDefaults?: HostOptions;
  hosts?: Record<string, HostOptions>;
}

export interface NamespaceConfig extends ReservationConfig {
  /** Default: the lowest that is free. */
  nsid?: number;
  /** What `memoryDevice`, `fileDevice` … return; without reactors also an open device. */
  device: DeviceSpec | BlockDevice;
  /** Filters on the device, the one nearest to the host first: see docs/faults.md. */
  filters?: readonly FilterConfig[];
  uuid?: string;
  nguid?: string;
  eui64?: string;
  /** Default: what the device says. */
  readOnly?: boolean;
  /** Makes it a zoned namespace: cuts the device, with its filters, into zones, as `zonedDevice` does. */
  zoned?: ZonedOptions;
  /** 1 … 128, default 1. */
  anaGroupId?: number;
  /** Default true. A disabled namespace keeps its device claimed. */
  enabled?: boolean;
  /** NQNs of the hosts that see it; default null, for all. */
  hosts?: string[] | null;
}

/** A port that does not listen yet. */
export interface AddPortOptions extends Omit<PortOptions, 'enabled'> {
  /** Takes plain TCP connections at a port of Multipath TCP; by default they are reset, as Linux does. */
  allowFallback?: boolean;
}

export interface ListenConfig
  extends Pick<PortOptions, 'inCapsuleBytes' | 'maxQueueSize' | 'mdts' | 'defaultAnaState'> {
  /** Row of the transport table: tcp (default), mptcp, net or loop. */
  transport?: string;
  /** As in `AddPortOptions`. */
  allowFallback?: boolean;
  address: string;
  /** 0 lets the system choose. */
  port: number;
  /** NQNs that hosts reach here; the discovery subsystem always is. */
  subsystems?: string[];
  portid?: number;
}

export interface TargetPort {
  readonly portid: number;
  readonly transport: string;
  readonly address: string;
  readonly port: number;
  /** Takes no connections any more; controllers that came in here are gone. */
  close(): Promise<void>;
}
