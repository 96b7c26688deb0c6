import type { Slab } from '@nvbraid/base';
import {
  DNR,
  IoOpcode,
  type LayoutMethods,
  ReservationAcquireData,
  ReservationAcquireSqe,
  ReservationRegisterData,
  ReservationRegisterSqe,
  ReservationReleaseData,
  ReservationReleaseSqe,
  ReservationReportSqe,
  Status,
} from '@nvbraid/wire';
import { MAX_DATA_TRANSFER_BYTES } from '../queue-limits.ts';
import type { Request } from '../request.ts';
import type { ForwardedCommand } from '../reservations/forwarded-command.ts';
import { Access, type IoCommand } from './io-command.ts';

/*
 * Reservation commands: they change what hosts may do in every thread, so that the control plane runs them. No
 * reservation stands against them, and they may be sent to a namespace that is write protected.
 */

/** A command that brings keys. */
function keyed(keys: LayoutMethods<unknown>, command: (request: Request) => ForwardedCommand): IoCommand {
  return {
    effects: { csupp: 1 },
    access: Access.None,
    admit(_commands, _entry, request) {
      if (request.sglLength < keys.size) return Status.DataSglLengthInvalid | DNR;
      request.dataLength = keys.size;
      return 0;
    },
    execute(commands, entry, request) {
      commands.forward(entry, request, command(request), null);
    },
  };
}

/** Base 2.1, 7.6. */
const REGISTER = keyed(ReservationRegisterData as LayoutMethods<unknown>, (request) => {
  const { rrega, iekey, cptpl } = ReservationRegisterSqe.parse(request.sqeView, request.sqeBase);
  const { crkey, nrkey } = ReservationRegisterData.parse(request.dataMemory.view, request.dataOffset);
  return { kind: 'register', rrega, iekey, cptpl, crkey, nrkey };
});

/** Base 2.1, 7.5. */
const ACQUIRE = keyed(ReservationAcquireData as LayoutMethods<unknown>, (request) => {
  const { racqa, iekey, rtype } = ReservationAcquireSqe.parse(request.sqeView, request.sqeBase);
  const { crkey, prkey } = ReservationAcquireData.parse(request.dataMemory.view, request.dataOffset);
  return { kind: 'acquire', racqa, iekey, rtype, crkey, prkey };
});

/** Base 2.1, 7.7. */
const RELEASE = keyed(ReservationReleaseData as LayoutMethods<unknown>, (request) => {
  const { rrela, iekey, rtype } = ReservationReleaseSqe.parse(request.sqeView, request.sqeBase);
  const { crkey } = ReservationReleaseData.parse(request.dataMemory.view, request.dataOffset);
  return { kind: 'release', rrela, iekey, rtype, crkey };
});

/** Base 2.1, 7.8. */
const REPORT: IoCommand = {
  effects: { csupp: 1 },
  access: Access.None,
  admit(_commands, _entry, request) {
    const { sqeView: view, sqeBase: base } = request;
    // Over fabrics all host identifiers have 128 bits, which the short form has no room for.
    if (ReservationReportSqe.eds.get(view, base) === 0) return Status.HostIdentifierInconsistentFormat | DNR;
    const bytes = (ReservationReportSqe.numd.get(view, base) + 1) * 4;
    if (bytes > MAX_DATA_TRANSFER_BYTES) return Status.InvalidField | DNR;
    if (request.sglLength < bytes) return Status.DataSglLengthInvalid | DNR;
    request.dataLength = bytes;
    return 0;
  },
  execute(commands, entry, request) {
    const slab: Slab | null = request.replyBuffer();
    if (slab === null) return; // the queue runs the command again when there is memory
    commands.forward(entry, request, { kind: 'report', bytes: request.dataLength }, slab);
  },
};

/** Rows of every command set (Base 2.1, 3.1.3.5). */
export const RESERVATION_COMMANDS: ReadonlyMap<number, IoCommand> = new Map([
  [IoOpcode.ReservationRegister, REGISTER],
  [IoOpcode.ReservationReport, REPORT],
  [IoOpcode.ReservationAcquire, ACQUIRE],
  [IoOpcode.ReservationRelease, RELEASE],
]);
