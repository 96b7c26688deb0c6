import { IoOp } from '@nvbraid/blockdev';
import { DNR, DSM_RANGE_SIZE, DsmRange, DsmSqe, Status } from '@nvbraid/wire';
import { Access, type IoCommand, SUBMIT, WRITES } from './io-command.ts';

/** NVM 1.1, 3.3.3. */
export const DATASET_MANAGEMENT: IoCommand = {
  effects: WRITES,
  access: Access.Write,
  admit(_commands, _entry, request) {
    const length = (DsmSqe.nr.get(request.sqeView, request.sqeBase) + 1) * DSM_RANGE_SIZE;
    if (request.sglLength < length) return Status.DataSglLengthInvalid | DNR;
    request.dataLength = length;
    return 0;
  },
  /** Ranges are checked before the first is deallocated: a bad list changes nothing. */
  execute(commands, entry, request) {
    if (DsmSqe.ad.get(request.sqeView, request.sqeBase) === 0) {
      return commands.complete(request, 0); // hints about access patterns: nothing to do
    }
    request.keepData();
    const ranges = request.dataLength / DSM_RANGE_SIZE;
    const { view } = request.dataMemory;
    for (let i = 0; i < ranges; i++) {
      const at = request.dataOffset + i * DSM_RANGE_SIZE;
      if (DsmRange.slba.get(view, at) + DsmRange.nlb.get(view, at) > entry.blockCount) {
        return commands.fail(request, Status.LbaOutOfRange | DNR);
      }
    }
    const task = commands.task(request, entry, IoOp.Deallocate, 0, 0);
    task.steps = DATASET_MANAGEMENT;
    commands.proceed(task);
  },
  next(_commands, task, request) {
    const ranges = request.dataLength / DSM_RANGE_SIZE;
    const { view } = request.dataMemory;
    while (task.step < ranges) {
      const at = request.dataOffset + task.step++ * DSM_RANGE_SIZE;
      const blocks = DsmRange.nlb.get(view, at);
      if (blocks === 0) continue;
      task.offset = DsmRange.slba.get(view, at) * task.entry!.blockSize;
      task.fua = task.entry!.writeThrough;
      task.length = blocks * task.entry!.blockSize;
      return SUBMIT;
    }
    return 0;
  },
};
