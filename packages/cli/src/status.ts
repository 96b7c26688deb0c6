import type { HostInfo } from 'nvbraid';
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
  readonly stats: Readonly<Record<string, number>>;
}

/** What `connect` answers to `status`. */
export interface ConnectStatus {
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
  readonly namespaces: readonly SessionNamespace[];
  readonly stats: Readonly<Record<string, unknown>>;
}

export type ProcessStatus = ServeStatus | ConnectStatus;
