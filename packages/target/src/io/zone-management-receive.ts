import type { Memory } from '@nvbraid/base';
import { ZoneCondition, type ZoneInfo, type ZoneTable } from '@nvbraid/blockdev';
import {
  DNR,
  NO_WRITE_POINTER,
  Status,
  ZONE_DESCRIPTOR_SIZE,
  ZONE_REPORT_HEADER_SIZE,
  ZoneDescriptor,
  ZoneManagementReceiveSqe,
  ZoneReceiveAction,
  ZoneReportHeader,
  ZoneReportOption,
  ZoneType,
} from '@nvbraid/wire';
import { MAX_DATA_TRANSFER_BYTES } from '../queue-limits.ts';
import { Access, type IoCommand, READS } from './io-command.ts';
import { ZONE_STATE_OF } from './zones.ts';

/** Which zones a report lists, by the state that they must have; null for all. */
const FILTERS: ReadonlyMap<number, ZoneCondition | null> = new Map([
  [ZoneReportOption.All, null],
  [ZoneReportOption.Empty, ZoneCondition.Empty],
  [ZoneReportOption.ImplicitlyOpened, ZoneCondition.ImplicitlyOpened],
  [ZoneReportOption.ExplicitlyOpened, ZoneCondition.ExplicitlyOpened],
  [ZoneReportOption.Closed, ZoneCondition.Closed],
  [ZoneReportOption.Full, ZoneCondition.Full],
  [ZoneReportOption.ReadOnly, ZoneCondition.ReadOnly],
  [ZoneReportOption.Offline, ZoneCondition.Offline],
] as [number, ZoneCondition | null][]);

/** ZNS 1.2, 3.4.2. Extended reports do not exist without descriptor extensions. */
export const ZONE_MANAGEMENT_RECEIVE: IoCommand = {
  effects: READS,
  access: Access.Read,
  check(_commands, entry, request) {
    const { sqeView: view, sqeBase: base } = request;
    if (ZoneManagementReceiveSqe.zra.get(view, base) !== ZoneReceiveAction.Report) return Status.InvalidField | DNR;
    if (!FILTERS.has(ZoneManagementReceiveSqe.zrasf.get(view, base))) return Status.InvalidField | DNR;
    return ZoneManagementReceiveSqe.slba.get(view, base) < entry.blockCount ? 0 : Status.LbaOutOfRange | DNR;
  },
  admit(_commands, _entry, request) {
    const bytes = (ZoneManagementReceiveSqe.numd.get(request.sqeView, request.sqeBase) + 1) * 4;
    if (bytes < ZONE_REPORT_HEADER_SIZE || bytes > MAX_DATA_TRANSFER_BYTES) return Status.InvalidField | DNR;
    if (request.sglLength < bytes) return Status.DataSglLengthInvalid | DNR;
    request.dataLength = bytes;
    return 0;
  },
  execute(commands, entry, request) {
    const { zones } = entry.device;
    if (zones === undefined) return commands.fail(request, Status.InternalError);
    const slab = request.replyBuffer();
    if (slab === null) return; // the queue runs the command again when there is memory
    const { sqeView: view, sqeBase: base } = request;
    const first = Math.floor(ZoneManagementReceiveSqe.slba.get(view, base) / zones.geometry.zoneBlocks);
    const filter = FILTERS.get(ZoneManagementReceiveSqe.zrasf.get(view, base))!;
    const partial = ZoneManagementReceiveSqe.partial.get(view, base) === 1;
    report(zones, first, filter, partial, slab, request.dataLength);
    commands.complete(request, 0);
  },
};

/** Writes the zones from `first` on into `length` bytes of `memory`: as many as fit. */
function report(
  zones: ZoneTable,
  first: number,
  filter: ZoneCondition | null,
  partial: boolean,
  memory: Memory,
  length: number,
): void {
  memory.bytes.fill(0, 0, length);
  const { zoneBlocks, zoneCapacity, zoneCount } = zones.geometry;
  const room = Math.floor((length - ZONE_REPORT_HEADER_SIZE) / ZONE_DESCRIPTOR_SIZE);
  const info: ZoneInfo = { condition: ZoneCondition.Empty, written: 0 };
  let listed = 0;
  let matching = 0;
  for (let zone = first; zone < zoneCount; zone++) {
    if (listed === room) {
      if (partial) break;
      if (filter === null || zones.condition(zone) === filter) matching++;
      continue;
    }
    zones.look(zone, info);
    if (filter !== null && info.condition !== filter) continue;
    matching++;
    const zslba = zone * zoneBlocks;
    ZoneDescriptor.emit(memory.view, ZONE_REPORT_HEADER_SIZE + listed++ * ZONE_DESCRIPTOR_SIZE, {
      zt: ZoneType.SequentialWriteRequired,
      zs: ZONE_STATE_OF[info.condition]!,
      zcap: zoneCapacity,
      zslba,
      wp: info.condition >= ZoneCondition.Full ? NO_WRITE_POINTER : BigInt(zslba + info.written),
    });
  }
  ZoneReportHeader.nrZones.set(memory.view, 0, partial ? listed : matching);
}
