import { IoOp } from '@nvbraid/blockdev';
import { DNR, RwSqe, Status } from '@nvbraid/wire';
import { COPY_BYTES, PIECE_BYTES } from '../limits.ts';
import { Access, type IoCommand, READS, SUBMIT, WAIT } from './io-command.ts';
import { checkRange } from './read-write.ts';

/** NVM 1.1, 3.3.5. Reads the blocks, and returns nothing. */
export const VERIFY: IoCommand = {
  effects: READS,
  access: Access.Read,
  check(commands, entry, request) {
    const length = (RwSqe.nlb.get(request.sqeView, request.sqeBase) + 1) * entry.blockSize;
    if (length > COPY_BYTES) return Status.InvalidField | DNR; // VSL
    return checkRange(commands, entry, request);
  },
  execute(commands, entry, request) {
    const task = commands.task(request, entry, IoOp.Read, 0, 0);
    task.steps = VERIFY;
    task.total = (RwSqe.nlb.get(request.sqeView, request.sqeBase) + 1) * entry.blockSize;
    commands.proceed(task);
  },
  next(commands, task, request) {
    if (task.piece === null && !commands.pieces.take(task)) return WAIT;
    task.at += task.length;
    if (task.at === task.total) return 0;
    task.offset = RwSqe.slba.get(request.sqeView, request.sqeBase) * task.entry!.blockSize + task.at;
    task.length = Math.min(PIECE_BYTES, task.total - task.at);
    task.memory = task.piece!;
    task.memoryOffset = 0;
    return SUBMIT;
  },
};
