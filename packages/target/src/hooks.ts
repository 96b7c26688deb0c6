import type { Controller } from './controller.ts';
import type { ControllerInstance, HostIdentity, InstanceFate } from './controller-instance.ts';
import type { HostHooks } from './host-table.ts';
import type { Namespace } from './namespace.ts';
import type { Port } from './port.ts';
import type { CommandQueue, CommandSet } from './request.ts';
import type { ReservationState } from './reservations/reservation-state.ts';
import type { SubsystemSnapshot } from './snapshot.ts';
import type { Subsystem } from './subsystem.ts';

/** Why a controller is gone. */
export type GoneReason =
  | 'connection closed'
  | 'keep alive timeout'
  | 'idle timeout'
  | 'enable timeout'
  | 'host not allowed'
  | 'port unlinked'
  | 'subsystem removed'
  | 'reconfigured'
  | 'fault'
  | 'target closed'
  | 'cross-controller reset';

/** What the data plane has done for a subsystem, summed over all threads, since the target started. */
export interface IoTotals {
  readonly readCommands: number;
  readonly writeCommands: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** Operations that the medium refused. */
  readonly mediaErrors: number;
}

/**
 * What the control plane asks of the runtime that drives it. Hooks are called synchronously, from inside `execute`,
 * `tick` or a configuration call, and must not call back into the controller they were given before they return, with
 * the exception of the methods that their descriptions name.
 */
export interface TargetHooks extends HostHooks {
  /**
   * The command set of an I/O queue that is just being connected, for the thread that accepted it. A runtime that moves
   * I/O queues to reactors makes the one that counts there.
   */
  ioCommands(queue: CommandQueue, controller: Controller, qid: number): CommandSet;
  /** An I/O queue is bound and the Connect response is queued: it may move to a reactor once that is sent. */
  queueBound?(queue: CommandQueue, controller: Controller, qid: number): void;
  /**
   * Closes an I/O queue, wherever it lives by now. Must lead to `controller.ioQueueClosed(qid)`, now or later, once no
   * command of the queue can change a block any more: CSTS.RDY falls and a shutdown completes only then. Without the
   * hook the queue that was bound is closed and taken for gone.
   */
  closeQueue?(queue: CommandQueue, controller: Controller, qid: number): void;
  /** Makes what was written stable on all namespaces of the subsystem, then calls `done` once (also after a failure). */
  flush?(subsystem: Subsystem, done: () => void): void;
  controllerCreated?(controller: Controller): void;
  /** The association is over; its I/O queues have been handed to `closeQueue`. */
  controllerGone?(controller: Controller, reason: GoneReason): void;
  /**
   * Makes the reservations of a namespace stable, then calls `done` once: with false when they could not be written, so
   * that what was there before holds on.
   */
  saveReservations?(namespace: Namespace, state: ReservationState, done: (saved: boolean) => void): void;
  /**
   * Makes it stable that a namespace is write protected, or is not any more, before it holds; then calls `done` once:
   * with false when that could not be written, so that what was there before holds on. Absent: it ends with the target.
   */
  saveProtection?(namespace: Namespace, writeProtected: boolean, done: (saved: boolean) => void): void;
  /**
   * Calls `done` once every thread works with what was published last, and the commands have ended that were executing
   * on the namespace before that.
   */
  drain?(namespace: Namespace, done: () => void): void;
  /** Snapshots of this subsystem are out of date: namespaces, or the access state of a group, have changed. */
  namespacesChanged?(subsystem: Subsystem): void;
  /** A subsystem cannot be reached by a port any more: this empty snapshot replaces what is known of it there. */
  unlinked?(snapshot: SubsystemSnapshot): void;
  /** An ANA group has been in the change state for longer than ANATT: hosts may have given the path up. Told once. */
  anaChangeOverdue?(port: Port, grpid: number): void;
  /** `controller.leaseMs` has changed. */
  leaseChanged?(controller: Controller): void;
  /**
   * Sixty-four bits that nobody can guess: with them hosts tell which life of a controller they mean. Absent: a sequence
   * that only tells them apart.
   */
  random64?(): bigint;
  /**
   * A Cross-Controller Reset names a controller whose identifier is not one of ours: has the process that serves the same
   * subsystem with that identifier end it. Leads to one call of `done`, now or later: `quiet` only with proof. Without the
   * hook nobody is known who could have it.
   */
  endElsewhere?(
    subsystem: Subsystem,
    instance: ControllerInstance,
    host: HostIdentity,
    done: (fate: InstanceFate) => void,
  ): void;
  /**
   * Commands of a controller that is gone are still under way after CQT, `lateMs` after the end of its association; told
   * again every now and then until `quiet`.
   */
  overdue?(controller: Controller, lateMs: number): void;
  /** None of the commands of an I/O controller that is gone can change a block any more. */
  quiet?(controller: Controller, tookMs: number): void;
  /**
   * For Get LBA Status: the parts of a range of blocks that are allocated, or cannot be read, ascending, at most `limit`
   * of them. Absent: all are allocated and can be read.
   */
  lbaRanges?(
    namespace: Namespace,
    kind: 'allocated' | 'unrecoverable',
    slba: number,
    blocks: number,
    limit: number,
  ): (readonly [slba: number, blocks: number])[];
  /** For the SMART log. */
  ioTotals?(subsystem: Subsystem): IoTotals;
}
