import { equalBytes } from '@nvbraid/base';
import { IoOp } from '@nvbraid/blockdev';
import { DNR, RwSqe, Status } from '@nvbraid/wire';
import { PIECE_BYTES } from '../limits.ts';
import { Access, type IoCommand, READS, SUBMIT, WAIT } from './io-command.ts';
import { admitTransfer, checkRange, lengthHolds } from './read-write.ts';

/** NVM 1.1, 3.3.1. Reads piece by piece and compares. */
export const COMPARE: IoCommand = {
  effects: READS,
  access: Access.Read,
  check: checkRange,
  admit: admitTransfer,
  execute(commands, entry, request) {
    if (!lengthHolds(entry, request)) return commands.fail(request, Status.NamespaceNotReady);
    request.keepData();
    const task = commands.task(request, entry, IoOp.Read, 0, 0);
    task.steps = COMPARE;
    commands.proceed(task);
  },
  next(commands, task, request) {
    if (task.piece === null && !commands.pieces.take(task)) return WAIT;
    const read = task.length;
    if (!equalBytes(task.piece!, 0, request.dataMemory, request.dataOffset + task.at, read)) {
      return Status.CompareFailure | DNR;
    }
    task.at += read;
    if (task.at === request.dataLength) return 0;
    task.offset = RwSqe.slba.get(request.sqeView, request.sqeBase) * task.entry!.blockSize + task.at;
    task.length = Math.min(PIECE_BYTES, request.dataLength - task.at);
    task.memory = task.piece!;
    task.memoryOffset = 0;
    return SUBMIT;
  },
};
