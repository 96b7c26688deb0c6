import { IoOp } from '@nvbraid/blockdev';
import { DNR, IoOpcode, RwSqe, Sqe, Status } from '@nvbraid/wire';
import { Fuse } from '../fused.ts';
import { COMPARE_AND_WRITE_BLOCKS } from '../limits.ts';
import type { Request } from '../request.ts';
import { Access, type IoCommand, WRITES } from './io-command.ts';
import type { IoCommands } from './io-commands.ts';
import { WRITE } from './read-write.ts';

/*
 * Fused Compare and Write (NVM 1.1, 3.1.1): one operation of the device, which alone can keep every other write of every
 * thread out.
 */

/** For either half. */
export function admitCompareAndWrite(commands: IoCommands, request: Request, fuse: number): number {
  const opcode = fuse === Fuse.First ? IoOpcode.Compare : IoOpcode.Write;
  if (request.fabrics || request.opcode !== opcode) return commands.refuse(request, Status.InvalidField | DNR);
  const status = commands.admit(request);
  if (status !== 0) return status;
  const entry = commands.table.find(Sqe.nsid.get(request.sqeView, request.sqeBase))!;
  const { commands: rows, device } = entry;
  // Other command sets have rules for their writes that this does not know.
  if (device.compareAndWrite !== true || rows[IoOpcode.Write] !== WRITE) {
    return commands.refuse(request, Status.InvalidField | DNR);
  }
  const blocks = RwSqe.nlb.get(request.sqeView, request.sqeBase) + 1;
  return blocks > COMPARE_AND_WRITE_BLOCKS ? commands.refuse(request, Status.AtomicWriteUnitExceeded | DNR) : 0;
}

export function compareAndWrite(commands: IoCommands, first: Request, second: Request): void {
  if (!sameRange(first, second)) return refuse(commands, first, second, Status.InvalidField | DNR);
  // The table may have changed since the two were admitted.
  const status = commands.check(first) || commands.check(second);
  if (status !== 0) return refuse(commands, first, second, status);
  const entry = commands.table.find(Sqe.nsid.get(second.sqeView, second.sqeBase))!;
  if (entry.blockSize * COMPARE_AND_WRITE_BLOCKS < first.dataLength || first.dataLength !== second.dataLength) {
    return refuse(commands, first, second, Status.NamespaceNotReady); // another block size meanwhile
  }
  first.keepData();
  second.keepData();
  const offset = RwSqe.slba.get(second.sqeView, second.sqeBase) * entry.blockSize;
  const task = commands.task(second, entry, IoOp.CompareAndWrite, offset, second.dataLength);
  task.memory = second.dataMemory;
  task.memoryOffset = second.dataOffset;
  task.compare = first.dataMemory;
  task.compareOffset = first.dataOffset;
  task.fua = entry.writeThrough || RwSqe.fua.get(second.sqeView, second.sqeBase) === 1;
  task.first = first;
  task.steps = COMPARE_AND_WRITE;
  commands.submit(task);
}

function sameRange(first: Request, second: Request): boolean {
  const a = first.sqeView;
  const b = second.sqeView;
  return (
    Sqe.nsid.get(a, first.sqeBase) === Sqe.nsid.get(b, second.sqeBase) &&
    RwSqe.slba.get(a, first.sqeBase) === RwSqe.slba.get(b, second.sqeBase) &&
    RwSqe.nlb.get(a, first.sqeBase) === RwSqe.nlb.get(b, second.sqeBase)
  );
}

function refuse(commands: IoCommands, first: Request, second: Request, status: number): void {
  commands.fail(first, status);
  second.complete(Status.FailedFusedCommand | (status & DNR));
}

/** Ends both commands, the first one first. In no table: its halves have rows of their own. */
const COMPARE_AND_WRITE: IoCommand = {
  effects: WRITES,
  access: Access.Write,
  execute() {},
  next(_commands, task) {
    task.first!.complete(0);
    return 0;
  },
  failed(_commands, task, status) {
    // What could not be written was as expected before.
    const written = status === Status.WriteFault || status === (Status.CapacityExceeded | DNR);
    task.first!.complete(written ? 0 : status);
    return written ? status : Status.FailedFusedCommand | (status & DNR);
  },
};
