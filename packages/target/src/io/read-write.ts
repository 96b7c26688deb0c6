import { IoOp } from '@nvbraid/blockdev';
import { DNR, RwSqe, Status } from '@nvbraid/wire';
import type { NamespaceEntry } from '../namespace-table.ts';
import { MAX_DATA_TRANSFER_BYTES } from '../queue-limits.ts';
import type { Request } from '../request.ts';
import { Access, type IoCommand, READS, WRITES } from './io-command.ts';
import type { IoCommands } from './io-commands.ts';
import { Counter } from './io-counters.ts';

/*
 * Read and Write. What they do are plain functions, which the dispatcher calls by name: through their rows each step
 * would be an indirect call that the compiler cannot inline.
 */

/** Refuses a range that does not lie in the namespace: slba and nlb as in the commands that name one range. */
export function checkRange(_commands: IoCommands, entry: NamespaceEntry, request: Request): number {
  const slba = RwSqe.slba.get(request.sqeView, request.sqeBase);
  const blocks = RwSqe.nlb.get(request.sqeView, request.sqeBase) + 1;
  return slba + blocks > entry.blockCount ? Status.LbaOutOfRange | DNR : 0;
}

/** For commands whose data are the blocks of their range. */
export function admitTransfer(_commands: IoCommands, entry: NamespaceEntry, request: Request): number {
  const length = (RwSqe.nlb.get(request.sqeView, request.sqeBase) + 1) * entry.blockSize;
  if (length > MAX_DATA_TRANSFER_BYTES) return Status.InvalidField | DNR;
  // A descriptor longer than the data is legal, one that is shorter cannot hold it (Base 2.1, 4.3.2).
  if (request.sglLength < length) return Status.DataSglLengthInvalid | DNR;
  request.dataLength = length;
  return 0;
}

/** False when the namespace has got another block size since `admitTransfer`. */
export function lengthHolds(entry: NamespaceEntry, request: Request): boolean {
  return (RwSqe.nlb.get(request.sqeView, request.sqeBase) + 1) * entry.blockSize === request.dataLength;
}

export function read(commands: IoCommands, entry: NamespaceEntry, request: Request): void {
  if (!lengthHolds(entry, request)) return commands.fail(request, Status.NamespaceNotReady);
  const { device } = entry;
  const offset = RwSqe.slba.get(request.sqeView, request.sqeBase) * entry.blockSize;
  if (device.memory !== null && !entry.marks?.any) {
    const { counters } = commands;
    counters[Counter.readCommands]!++;
    counters[Counter.readBytes]! += request.dataLength;
    request.replyFrom(device.memory, offset);
    request.complete(0);
    return;
  }
  const slab = request.replyBuffer();
  if (slab === null) return; // the queue runs the command again when there is memory
  const task = commands.task(request, entry, IoOp.Read, offset, request.dataLength);
  task.memory = slab;
  task.memoryOffset = 0;
  commands.submit(task);
}

export function write(commands: IoCommands, entry: NamespaceEntry, request: Request): void {
  if (!lengthHolds(entry, request)) return commands.fail(request, Status.NamespaceNotReady);
  const view = request.sqeView;
  const base = request.sqeBase;
  if (entry.device.memory === null) request.keepData(); // the device may need it for longer than this call
  const offset = RwSqe.slba.get(view, base) * entry.blockSize;
  const task = commands.task(request, entry, IoOp.Write, offset, request.dataLength);
  task.memory = request.dataMemory;
  task.memoryOffset = request.dataOffset;
  task.fua = entry.writeThrough || RwSqe.fua.get(view, base) === 1;
  commands.submit(task);
}

/** There are no directives, so no command can be of a type of them. */
export function admitWrite(commands: IoCommands, entry: NamespaceEntry, request: Request): number {
  if (RwSqe.dtype.get(request.sqeView, request.sqeBase) !== 0) return Status.InvalidField | DNR;
  return admitTransfer(commands, entry, request);
}

/** NVM 1.1, 3.3.4. */
export const READ: IoCommand = {
  effects: READS,
  access: Access.Read,
  check: checkRange,
  admit: admitTransfer,
  execute: read,
};

/** NVM 1.1, 3.3.6. */
export const WRITE: IoCommand = {
  effects: WRITES,
  access: Access.Write,
  check: checkRange,
  admit: admitWrite,
  execute: write,
};
