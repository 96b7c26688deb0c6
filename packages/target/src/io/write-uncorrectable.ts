import { IoOp } from '@nvbraid/blockdev';
import { DNR, RwSqe, Status } from '@nvbraid/wire';
import { WRITE_UNCORRECTABLE_LIMIT } from '../limits.ts';
import { Access, type IoCommand, WRITES } from './io-command.ts';
import { checkRange } from './read-write.ts';

/** NVM 1.1, 3.3.7: marks blocks, which cannot be read until they are written. */
export const WRITE_UNCORRECTABLE: IoCommand = {
  effects: WRITES,
  access: Access.Write,
  check(commands, entry, request) {
    if (entry.marks === null) return Status.InvalidOpcode | DNR;
    const length = (RwSqe.nlb.get(request.sqeView, request.sqeBase) + 1) * entry.blockSize;
    if (length > 4096 << WRITE_UNCORRECTABLE_LIMIT) return Status.InvalidField | DNR;
    return checkRange(commands, entry, request);
  },
  execute(commands, entry, request) {
    const offset = RwSqe.slba.get(request.sqeView, request.sqeBase) * entry.blockSize;
    const length = (RwSqe.nlb.get(request.sqeView, request.sqeBase) + 1) * entry.blockSize;
    const task = commands.task(request, entry, IoOp.Write, offset, length);
    task.steps = WRITE_UNCORRECTABLE;
    entry.marks!.mark(offset, length, (result) => {
      task.result = result;
      commands.operationDone(task);
    });
  },
  next: () => 0,
};
