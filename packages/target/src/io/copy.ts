import { IoOp } from '@nvbraid/blockdev';
import { COPY_RANGE_SIZE, CopyRange, CopySqe, DNR, Status } from '@nvbraid/wire';
import { COPY_BYTES, COPY_RANGE_BYTES, COPY_RANGES, PIECE_BYTES } from '../limits.ts';
import type { NamespaceEntry } from '../namespace-table.ts';
import type { Request } from '../request.ts';
import { Access, type IoCommand, SUBMIT, WAIT, WRITES } from './io-command.ts';

/** MSSRL and MCL of Identify Namespace: blocks of one source range, and of all. */
export function copyLimits(blockSize: number): { mssrl: number; mcl: number } {
  return { mssrl: COPY_RANGE_BYTES / blockSize, mcl: COPY_BYTES / blockSize };
}

/**
 * NVM 1.1, 3.3.2. Source ranges one after the other, piece by piece: read, then write. Blocks are whole; of a command that
 * fails in the middle, dword 0 names the first range that was not copied to its end.
 */
export const COPY: IoCommand = {
  effects: WRITES,
  access: Access.Write,
  admit(_commands, _entry, request) {
    const view = request.sqeView;
    const base = request.sqeBase;
    if (CopySqe.df.get(view, base) !== 0) return Status.InvalidField | DNR; // CDFS
    if (CopySqe.dtype.get(view, base) !== 0) return Status.InvalidField | DNR; // no directives
    const ranges = CopySqe.nr.get(view, base) + 1;
    if (ranges > COPY_RANGES) return Status.CommandSizeLimitExceeded | DNR;
    if (request.sglLength < ranges * COPY_RANGE_SIZE) return Status.DataSglLengthInvalid | DNR;
    request.dataLength = ranges * COPY_RANGE_SIZE;
    return 0;
  },
  execute(commands, entry, request) {
    const status = checkRanges(entry, request);
    if (status !== 0) return commands.fail(request, status);
    request.keepData();
    const task = commands.task(request, entry, IoOp.Write, 0, 0);
    task.steps = COPY;
    commands.proceed(task);
  },
  next(commands, task, request) {
    if (task.piece === null && !commands.pieces.take(task)) return WAIT;
    const { blockSize } = task.entry!;
    task.memory = task.piece!;
    task.memoryOffset = 0;
    if (task.op === IoOp.Read) {
      task.op = IoOp.Write;
      task.fua = task.entry!.writeThrough || CopySqe.fua.get(request.sqeView, request.sqeBase) === 1;
      task.offset = CopySqe.sdlba.get(request.sqeView, request.sqeBase) * blockSize + task.total;
      return SUBMIT;
    }
    task.at += task.length;
    task.total += task.length;
    const ranges = request.dataLength / COPY_RANGE_SIZE;
    const { view } = request.dataMemory;
    let range = request.dataOffset + task.step * COPY_RANGE_SIZE;
    if (task.at === (CopyRange.nlb.get(view, range) + 1) * blockSize) {
      task.at = 0;
      range += COPY_RANGE_SIZE;
      if (++task.step === ranges) return 0;
    }
    task.op = IoOp.Read;
    task.fua = false;
    task.offset = CopyRange.slba.get(view, range) * blockSize + task.at;
    task.length = Math.min(PIECE_BYTES, (CopyRange.nlb.get(view, range) + 1) * blockSize - task.at);
    return SUBMIT;
  },
  failed(_commands, task, status) {
    task.dw0 = task.step;
    return status;
  },
};

/** Nothing is copied unless all of it can be: limits, then ranges, then what would be read after it was written. */
function checkRanges(entry: NamespaceEntry, request: Request): number {
  const { view } = request.dataMemory;
  const { mssrl, mcl } = copyLimits(entry.blockSize);
  const end = request.dataOffset + request.dataLength;
  let blocks = 0;
  for (let at = request.dataOffset; at < end; at += COPY_RANGE_SIZE) {
    const count = CopyRange.nlb.get(view, at) + 1;
    if (count > mssrl) return Status.CommandSizeLimitExceeded | DNR;
    blocks += count;
  }
  if (blocks > mcl) return Status.CommandSizeLimitExceeded | DNR;
  const destination = CopySqe.sdlba.get(request.sqeView, request.sqeBase);
  if (destination + blocks > entry.blockCount) return Status.LbaOutOfRange | DNR;
  let overlap = false;
  for (let at = request.dataOffset; at < end; at += COPY_RANGE_SIZE) {
    const slba = CopyRange.slba.get(view, at);
    const count = CopyRange.nlb.get(view, at) + 1;
    if (slba + count > entry.blockCount) return Status.LbaOutOfRange | DNR;
    if (slba < destination + blocks && destination < slba + count) overlap = true;
  }
  return overlap ? Status.OverlappingIoRange | DNR : 0;
}
