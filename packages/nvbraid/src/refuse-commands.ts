import type { CommandSet } from '@nvbraid/target';
import { DNR, Status } from '@nvbraid/wire';

/**
 * Between the Connect of an I/O queue and its move to a reactor: a host waits for the answer to Connect, so a command
 * that arrives now is out of sequence.
 */
export const refuseUntilHandedOff: CommandSet = {
  admit: () => Status.CommandSequenceError | DNR,
  execute: (request) => request.complete(Status.CommandSequenceError | DNR),
  closed: () => {},
};
