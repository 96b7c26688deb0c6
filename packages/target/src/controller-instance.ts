import type { Controller } from './controller.ts';
import type { Subsystem } from './subsystem.ts';

/**
 * One life of a controller. The identifier alone does not tell: it is used again, and a controller that was reset has lost
 * its commands. CIU and CIRN change each time that CSTS.RDY rises (Base 2.3, Identify Controller).
 */
export interface ControllerInstance {
  readonly cntlid: number;
  readonly ciu: number;
  readonly cirn: bigint;
}

/** Who asks for the end of a controller: only the host that it belongs to may. */
export interface HostIdentity {
  readonly hostnqn: string;
  readonly hostid: string;
}

/**
 * quiet: none of its commands can change a block any more.
 * refused: it is there, but not for this host; or the random number is not that of the instance that the uniquifier names.
 * unknown: its identifier is not one of those that this target hands out.
 */
export type InstanceFate = 'quiet' | 'refused' | 'unknown';

/**
 * Ends the association of a controller and tells when it is quiet, which may be at once, later, or never if a device
 * does not end a command. One that is gone already is waited for just the same.
 */
export function endInstance(
  subsystem: Subsystem,
  instance: ControllerInstance,
  host: HostIdentity,
  done: (fate: InstanceFate) => void,
): void {
  const { controllers } = subsystem;
  const { cntlid } = instance;
  const controller = controllers.get(cntlid) ?? controllers.leaving(cntlid);
  if (controller === undefined) {
    return done(cntlid >= controllers.min && cntlid <= controllers.max ? 'quiet' : 'unknown');
  }
  if (controller.ciu !== instance.ciu) return done('quiet'); // CSTS.RDY rises only when earlier commands have ended
  if (controller.cirn !== instance.cirn || !belongsTo(controller, host)) return done('refused');
  controller.remove('cross-controller reset');
  controller.whenQuiet(() => done('quiet'));
}

function belongsTo(controller: Controller, host: HostIdentity): boolean {
  return controller.hostnqn === host.hostnqn && controller.hostid === host.hostid;
}
