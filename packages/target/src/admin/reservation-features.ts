import { DNR, Scope, Status } from '@nvbraid/wire';
import type { Feature } from '../controller-kind.ts';
import type { Namespace } from '../namespace.ts';
import { RESERVATION_MASKS } from '../reservations/reservation-log.ts';

const NAMESPACE_SCOPE = { fsupp: 1, fsp: Scope.Namespace };
const INVALID = Status.InvalidField | DNR;

/** A namespace that is named must have reservations; of all namespaces those are meant that have. */
function reservable(namespaces: readonly Namespace[]): readonly Namespace[] {
  return namespaces.filter(({ reservations }) => reservations !== null);
}

/**
 * FID 82h: which notifications do not come into the log of this controller. Each controller has its own masks, so that
 * no host silences another.
 */
export const reservationNotificationMask: Feature = {
  effects: NAMESPACE_SCOPE,
  namespaceSpecific: true,
  check(_controller, dw11, setting, namespaces) {
    if (setting && (dw11 & ~RESERVATION_MASKS) !== 0) return INVALID;
    return namespaces.length === 1 && namespaces[0]!.reservations === null ? INVALID : 0;
  },
  initial: () => 0,
  current: (controller, _dw11, namespace) => controller.reservationLog.mask(namespace!),
  set(controller, dw11, namespaces) {
    for (const namespace of reservable(namespaces)) controller.reservationLog.setMask(namespace, dw11);
    return 0;
  },
};

const PTPL = 1;

/**
 * FID 83h: the Persist Through Power Loss state of a namespace. It is one with what Reservation Register changes, and
 * survives by itself, so that there is nothing to save.
 */
export const reservationPersistence: Feature = {
  effects: NAMESPACE_SCOPE,
  namespaceSpecific: true,
  check(_controller, dw11, setting, namespaces) {
    if (setting && (dw11 & ~PTPL) !== 0) return INVALID;
    if (namespaces.length !== 1) return 0;
    const { reservations } = namespaces[0]!;
    return reservations === null || (setting && dw11 === PTPL && !reservations.persistent) ? INVALID : 0;
  },
  initial: () => 0,
  current: (_controller, _dw11, namespace) => (namespace!.reservations!.state.ptpl ? PTPL : 0),
  setLater(controller, dw11, namespaces, done) {
    const changed = reservable(namespaces).filter(({ reservations }) => dw11 !== PTPL || reservations!.persistent);
    let left = changed.length + 1;
    let worst = 0;
    const ended = (status: number): void => {
      worst ||= status;
      if (--left === 0) done(worst);
    };
    for (const { reservations } of changed) {
      reservations!.setPtpl(controller.subsystem!, controller, dw11 === PTPL, ended);
    }
    ended(0);
  },
};
