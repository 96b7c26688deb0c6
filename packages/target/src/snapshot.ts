/*
 * What reactors must know about a subsystem, as data that can be posted to another thread. The control plane makes a
 * snapshot per (subsystem, port) after every change; the data plane replaces the one it has as a whole, so that a change
 * holds for the next command.
 */
import type { ReservationSnapshot } from './reservations/reservation-access.ts';

/** One namespace, as an I/O queue on one port sees it. */
export interface NamespaceSnapshot {
  readonly nsid: number;
  /**
   * Tells two namespaces apart that had the same nsid one after the other: where it differs from the one that the
   * reactor has open, the device must be closed and opened anew. Never used twice within a target.
   */
  readonly instance: number;
  /** The I/O command set (CSI); NVM when absent. */
  readonly csi?: number;
  /** Bytes per logical block. */
  readonly blockSize: number;
  /** Logical blocks. */
  readonly blockCount: number;
  /** Writes end with Namespace Is Write Protected. */
  readonly readOnly: boolean;
  /** Completed writes may be lost until a Flush. */
  readonly volatileWriteCache: boolean;
  /** Every write is to be forced to the medium: a controller of the subsystem has switched the write cache off. */
  readonly writeThrough?: boolean;
  /** Deallocate gives space back. */
  readonly thin: boolean;
  /** NQNs of the hosts for which the namespace is there; absent: for all. */
  readonly hosts?: readonly string[];
  readonly anaGroupId: number;
  /** 0, or the status (an ANA status without DNR) with which every I/O command through this port ends. */
  readonly pathStatus: number;
  /** Absent while nothing is reserved. */
  readonly reservation?: ReservationSnapshot;
  /** How a thread opens the device: the control plane only hands it on. */
  readonly device: unknown;
}

export interface SubsystemSnapshot {
  readonly nqn: string;
  readonly portId: number;
  /** Greater than that of every snapshot of this subsystem made before its last change. */
  readonly version: number;
  /** Active namespaces, nsid ascending. */
  readonly namespaces: readonly NamespaceSnapshot[];
}
