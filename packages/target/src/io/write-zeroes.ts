import { IoOp } from '@nvbraid/blockdev';
import { RwSqe } from '@nvbraid/wire';
import { Access, type IoCommand, WRITES } from './io-command.ts';
import { checkRange } from './read-write.ts';

/** NVM 1.1, 3.3.8. */
export const WRITE_ZEROES: IoCommand = {
  effects: WRITES,
  access: Access.Write,
  check: checkRange,
  execute(commands, entry, request) {
    const view = request.sqeView;
    const base = request.sqeBase;
    const offset = RwSqe.slba.get(view, base) * entry.blockSize;
    const length = (RwSqe.nlb.get(view, base) + 1) * entry.blockSize;
    const task = commands.task(request, entry, IoOp.WriteZeroes, offset, length);
    task.fua = entry.writeThrough || RwSqe.fua.get(view, base) === 1;
    task.deallocate = RwSqe.deac.get(view, base) === 1;
    commands.submit(task);
  },
};
