import type { HeadStatus, HostInfo, QueueSubflows, StallBound, TargetQueueSubflows } from 'nvbraid';
import type { SessionNamespace } from './session.ts';

/** What `serve` answers to `status`. */
export interface ServeStatus {
  readonly role: 'serve';
  readonly pid: number;
  readonly version: string;
  readonly uptimeSeconds: number;
  readonly subsystems: readonly {
    readonly nqn: string;
    readonly serial: string;
    readonly model: string;
    readonly firmware: string;
    readonly namespaces: readonly (SessionNamespace & { readonly device: string })[];
  }[];
  readonly ports: readonly {
    readonly portid: number;
    readonly transport: string;
    readonly traddr: string;
    readonly trsvcid: number;
    readonly nqns: readonly string[];
  }[];
  /** Absent in processes of older versions. */
  readonly hosts?: readonly HostInfo[];
  /** Queues of transports whose connections have subflows. Absent in processes of older versions. */
  readonly queues?: readonly TargetQueueSubflows[];
  readonly stats: Readonly<Record<string, number>>;
}

/** A controller of a subsystem that is connected. */
export interface ControllerStatus {
  /** As in names of paths: nvme1. */
  readonly name: string;
  readonly cntlid: number;
  readonly state: string;
  /** Why it is not live. */
  readonly error: string | null;
  readonly transport: string;
  readonly traddr: string;
  readonly trsvcid: number;
  /** Empty where the system chooses. */
  readonly hostTraddr: string;
  readonly hostIface: string;
  readonly nrIoQueues: number;
  readonly queueSize: number;
  readonly keepAliveMs: number;
  /** I/O commands that it has now. */
  readonly depth: number;
  readonly resets: number;
  readonly reconnects: number;
  /** Of transports whose connections have subflows. Absent in processes of older versions. */
  readonly queues?: readonly QueueSubflows[];
}

/** What native multipath adds to it. */
export interface SubsystemStatus {
  /** As nvme-cli names it: nvme-subsys0. */
  readonly subsystem: string;
  readonly iopolicy: string;
  /** The names that can be set. */
  readonly iopolicies: readonly string[];
  readonly safeFailover: boolean;
  readonly stallBound: StallBound;
  /** Commands that were held back until the end of a lost association was proven, so far. */
  readonly held: number;
  readonly controllers: readonly ControllerStatus[];
  readonly heads: readonly HeadStatus[];
  readonly namespaces: readonly SessionNamespace[];
}

/**
 * What `connect`, and `nbd`, answer to `status`. State, address, queues are those of the controller that is live, or of the first.
 */
export interface ConnectStatus extends SubsystemStatus {
  readonly role: 'connect';
  readonly pid: number;
  readonly version: string;
  readonly uptimeSeconds: number;
  readonly state: string;
  readonly cntlid: number;
  readonly hostnqn: string;
  readonly hostid: string;
  readonly address: {
    readonly transport: string;
    readonly traddr: string;
    readonly trsvcid: number;
    readonly nqn: string;
  };
  readonly serial: string;
  readonly model: string;
  readonly firmware: string;
  readonly nrIoQueues: number;
  readonly queueSize: number;
  readonly stats: Readonly<Record<string, unknown>>;
  /** Of `nvbraid nbd`. */
  readonly nbd?: {
    readonly threads: number;
    readonly connections: number;
    readonly exports: readonly {
      readonly name: string;
      readonly nsid: number;
      readonly uri: string;
      readonly thread: number;
      /** Connections that use it. */
      readonly clients: number;
    }[];
  };
}

export type ProcessStatus = ServeStatus | ConnectStatus;
