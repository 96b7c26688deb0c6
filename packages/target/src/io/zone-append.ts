import { IoOp } from '@nvbraid/blockdev';
import { DNR, Status, ZoneAppendSqe } from '@nvbraid/wire';
import { Access, type IoCommand, WRITES } from './io-command.ts';
import { admitTransfer, lengthHolds } from './read-write.ts';
import { isZoneStart } from './zones.ts';

/**
 * ZNS 1.2, 3.4.1. The zone's device chooses the place; dwords 0 and 1 tell it (ALBA). ZASL is 0, so that MDTS is the
 * limit. There is no protection information whose tags could be remapped, and there are no directives.
 */
export const ZONE_APPEND: IoCommand = {
  effects: WRITES,
  access: Access.Write,
  check(_commands, entry, request) {
    const { sqeView: view, sqeBase: base } = request;
    if (ZoneAppendSqe.piremap.get(view, base) === 1 || ZoneAppendSqe.dtype.get(view, base) !== 0) {
      return Status.InvalidField | DNR;
    }
    const zslba = ZoneAppendSqe.zslba.get(view, base);
    if (zslba >= entry.blockCount) return Status.LbaOutOfRange | DNR;
    return isZoneStart(entry, zslba) ? 0 : Status.InvalidField | DNR;
  },
  admit: admitTransfer,
  execute(commands, entry, request) {
    if (!lengthHolds(entry, request)) return commands.fail(request, Status.NamespaceNotReady);
    request.keepData();
    const { sqeView: view, sqeBase: base } = request;
    const offset = ZoneAppendSqe.zslba.get(view, base) * entry.blockSize;
    const task = commands.task(request, entry, IoOp.ZoneAppend, offset, request.dataLength);
    task.memory = request.dataMemory;
    task.memoryOffset = request.dataOffset;
    task.fua = entry.writeThrough || ZoneAppendSqe.fua.get(view, base) === 1;
    task.steps = ZONE_APPEND;
    commands.submit(task);
  },
  next(_commands, task) {
    const alba = task.offset / task.entry!.blockSize;
    task.dw0 = alba >>> 0;
    task.dw1 = Math.floor(alba / 0x1_0000_0000);
    return 0;
  },
};
