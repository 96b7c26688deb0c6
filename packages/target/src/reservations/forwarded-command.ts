import { DNR, Status } from '@nvbraid/wire';
import type { Controller } from '../controller.ts';
import type { ReservationCommand } from './reservation-state.ts';

/** A command of an I/O queue that the control plane runs, as plain data. */
export type ForwardedCommand = ReservationCommand | { readonly kind: 'report'; readonly bytes: number };

/** Called once: a status, and data where the command returns some. */
export type ForwardedDone = (status: number, data: Uint8Array | null) => void;

/**
 * Runs a command that an I/O queue has forwarded.
 * @param controller the queue's; undefined when it is gone already
 * @param instance of the namespace that the command was admitted for
 */
export function runForwarded(
  controller: Controller | undefined,
  nsid: number,
  instance: number,
  command: ForwardedCommand,
  done: ForwardedDone,
): void {
  const subsystem = controller?.subsystem;
  if (controller === undefined || subsystem === null || subsystem === undefined || controller.state === 'gone') {
    return done(Status.SqDeletionAbort, null);
  }
  const namespace = subsystem.namespace(nsid);
  const there = namespace?.enabled === true && namespace.visibleTo(controller.hostnqn);
  if (!there || namespace.instance !== instance) {
    return done(Status.InvalidNamespaceOrFormat | DNR, null);
  }
  const { reservations } = namespace;
  if (reservations === null) return done(Status.InvalidOpcode | DNR, null);
  if (command.kind === 'report') return done(0, reservations.report(command.bytes));
  reservations.run(subsystem, controller, command, (status) => done(status, null));
}
