import { IoOp } from '@nvbraid/blockdev';
import { DNR, Status, ZoneManagementSendSqe, ZoneSendAction } from '@nvbraid/wire';
import { Access, type IoCommand, WRITES } from './io-command.ts';
import { isZoneStart } from './zones.ts';

/** For one zone, and for every zone in a state that the action is made for. */
interface Action {
  readonly one: IoOp;
  readonly all: IoOp;
}

/** There are no descriptor extensions (ZDES 0) and no random write areas, so that these actions are invalid fields. */
const ACTIONS: ReadonlyMap<number, Action> = new Map([
  [ZoneSendAction.Close, { one: IoOp.ZoneClose, all: IoOp.ZoneCloseAll }],
  [ZoneSendAction.Finish, { one: IoOp.ZoneFinish, all: IoOp.ZoneFinishAll }],
  [ZoneSendAction.Open, { one: IoOp.ZoneOpen, all: IoOp.ZoneOpenAll }],
  [ZoneSendAction.Reset, { one: IoOp.ZoneReset, all: IoOp.ZoneResetAll }],
  [ZoneSendAction.Offline, { one: IoOp.ZoneOffline, all: IoOp.ZoneOfflineAll }],
] as [number, Action][]);

/** ZNS 1.2, 3.4.3. Capacities never change, so that dword 0 is 0. */
export const ZONE_MANAGEMENT_SEND: IoCommand = {
  effects: WRITES,
  access: Access.Write,
  check(_commands, entry, request) {
    const { sqeView: view, sqeBase: base } = request;
    if (!ACTIONS.has(ZoneManagementSendSqe.zsa.get(view, base))) return Status.InvalidField | DNR;
    if (ZoneManagementSendSqe.zsaso.get(view, base) === 1) return Status.InvalidField | DNR;
    if (ZoneManagementSendSqe.all.get(view, base) === 1) return 0;
    const slba = ZoneManagementSendSqe.slba.get(view, base);
    return slba < entry.blockCount && isZoneStart(entry, slba) ? 0 : Status.InvalidField | DNR;
  },
  execute(commands, entry, request) {
    const { sqeView: view, sqeBase: base } = request;
    const action = ACTIONS.get(ZoneManagementSendSqe.zsa.get(view, base))!;
    const all = ZoneManagementSendSqe.all.get(view, base) === 1;
    const offset = all ? 0 : ZoneManagementSendSqe.slba.get(view, base) * entry.blockSize;
    commands.submit(commands.task(request, entry, all ? action.all : action.one, offset, 0));
  },
};
