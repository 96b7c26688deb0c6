import { IoOp } from '@nvbraid/blockdev';
import { DNR, Status } from '@nvbraid/wire';
import { Access, type IoCommand, READS, SUBMIT } from './io-command.ts';

/** Base 2.1, 7.2. */
export const FLUSH: IoCommand = {
  effects: READS,
  access: Access.Flush,
  execute(commands, entry, request) {
    commands.submit(commands.task(request, entry, IoOp.Flush, 0, 0));
  },
  executeAll(commands, request) {
    const entries = [...commands.table.entries()].filter((candidate) => candidate.pathStatus === 0);
    // Success would mean that all is stable.
    if (entries.some((candidate) => commands.conflicts(candidate, Access.Flush))) {
      return commands.fail(request, Status.ReservationConflict | DNR);
    }
    const entry = entries.pop();
    if (entry === undefined) return request.complete(0);
    const task = commands.task(request, entry, IoOp.Flush, 0, 0);
    task.flushes = entries;
    task.steps = FLUSH;
    commands.submit(task);
  },
  next(_commands, task) {
    const entry = task.flushes!.pop();
    if (entry === undefined) return 0;
    task.entry = entry;
    return SUBMIT;
  },
};
