import { ConnectSqe, FabricsSqe, PropertySqe } from '../fabrics/commands.ts';
import type { LayoutMethods } from '../layout.ts';
import { AbortSqe } from './abort.ts';
import { CrossControllerResetSqe } from './cross-controller-reset.ts';
import { DsmSqe } from './dsm.ts';
import { FeaturesSqe } from './features/features-sqe.ts';
import { IdentifySqe } from './identify/identify-sqe.ts';
import { GetLogPageSqe } from './log/get-log-page-sqe.ts';
import { AdminOpcode, FabricsType, IoOpcode, opcodeName } from './opcodes.ts';
import { ReservationAcquireSqe } from './reservation-acquire.ts';
import { ReservationRegisterSqe } from './reservation-register.ts';
import { ReservationReleaseSqe } from './reservation-release.ts';
import { ReservationReportSqe } from './reservation-report.ts';
import { RwSqe, Sqe } from './sqe.ts';
import { ZoneAppendSqe } from './zns/zone-append.ts';
import { ZoneManagementReceiveSqe, ZoneManagementSendSqe } from './zns/zone-management.ts';

/** Which command set an opcode belongs to; the entry itself does not say. */
export type QueueKind = 'admin' | 'io';

type Describe = (view: DataView, base: number) => string[];

/** Fields of every entry, told elsewhere in the line or of no interest. */
const COMMON = new Set(['opc', 'fuse', 'psdt', 'cid', 'nsid', 'fctype', 'sglAddress', 'sglLength', 'sglId']);

/** The fields of a view that are not empty, except those which every entry has. */
function fieldsOf<V>(sqe: LayoutMethods<V>, except: readonly string[] = []): Describe {
  return (view, base) => {
    const shown: Record<string, unknown> = {};
    for (const [key, field] of sqe.fields)
      if (!COMMON.has(key) && !except.includes(key)) shown[key] = field.get(view, base);
    const text = sqe.format(shown as Partial<V>).slice(sqe.structName.length + 1);
    return text === '' ? [] : [text];
  };
}

/** Numbers that are 0's based on the wire read as counts. */
function count(name: string, value: number): string {
  return `${name}=${value + 1}`;
}

const blocks: Describe = (view, base) => [
  `slba=${RwSqe.slba.get(view, base)}`,
  count('nlb', RwSqe.nlb.get(view, base)),
  ...fieldsOf(RwSqe, ['slba', 'nlb'])(view, base),
];

const IO: Readonly<Record<number, Describe>> = {
  [IoOpcode.Write]: blocks,
  [IoOpcode.Read]: blocks,
  [IoOpcode.WriteUncorrectable]: blocks,
  [IoOpcode.Compare]: blocks,
  [IoOpcode.WriteZeroes]: blocks,
  [IoOpcode.Verify]: blocks,
  [IoOpcode.ZoneAppend]: (view, base) => [
    `zslba=${ZoneAppendSqe.zslba.get(view, base)}`,
    count('nlb', ZoneAppendSqe.nlb.get(view, base)),
    ...fieldsOf(ZoneAppendSqe, ['zslba', 'nlb'])(view, base),
  ],
  [IoOpcode.ZoneManagementSend]: fieldsOf(ZoneManagementSendSqe),
  [IoOpcode.ZoneManagementReceive]: (view, base) => [
    count('numd', ZoneManagementReceiveSqe.numd.get(view, base)),
    ...fieldsOf(ZoneManagementReceiveSqe, ['numd'])(view, base),
  ],
  [IoOpcode.Flush]: () => [],
  [IoOpcode.DatasetManagement]: (view, base) => [
    count('nr', DsmSqe.nr.get(view, base)),
    ...fieldsOf(DsmSqe, ['nr'])(view, base),
  ],
  [IoOpcode.ReservationRegister]: (view, base) => [
    `rrega=${ReservationRegisterSqe.rrega.format(ReservationRegisterSqe.rrega.get(view, base))}`,
    ...fieldsOf(ReservationRegisterSqe, ['rrega'])(view, base),
  ],
  [IoOpcode.ReservationReport]: (view, base) => [
    count('numd', ReservationReportSqe.numd.get(view, base)),
    ...fieldsOf(ReservationReportSqe, ['numd'])(view, base),
  ],
  [IoOpcode.ReservationAcquire]: (view, base) => [
    `racqa=${ReservationAcquireSqe.racqa.format(ReservationAcquireSqe.racqa.get(view, base))}`,
    ...fieldsOf(ReservationAcquireSqe, ['racqa'])(view, base),
  ],
  [IoOpcode.ReservationRelease]: (view, base) => [
    `rrela=${ReservationReleaseSqe.rrela.format(ReservationReleaseSqe.rrela.get(view, base))}`,
    ...fieldsOf(ReservationReleaseSqe, ['rrela'])(view, base),
  ],
};

const ADMIN: Readonly<Record<number, Describe>> = {
  [AdminOpcode.GetLogPage]: (view, base) => [
    `lid=${GetLogPageSqe.lid.format(GetLogPageSqe.lid.get(view, base))}`,
    count('numd', GetLogPageSqe.numd.get(view, base)),
    ...fieldsOf(GetLogPageSqe, ['lid', 'numd'])(view, base),
  ],
  [AdminOpcode.Identify]: (view, base) => [
    `cns=${IdentifySqe.cns.format(IdentifySqe.cns.get(view, base))}`,
    ...fieldsOf(IdentifySqe, ['cns'])(view, base),
  ],
  [AdminOpcode.Abort]: (view, base) => [
    `sqid=${AbortSqe.sqid.get(view, base)}`,
    `abortCid=${AbortSqe.abortCid.get(view, base)}`,
  ],
  [AdminOpcode.SetFeatures]: fieldsOf(FeaturesSqe),
  [AdminOpcode.GetFeatures]: fieldsOf(FeaturesSqe),
  [AdminOpcode.AsyncEventRequest]: () => [],
  [AdminOpcode.CrossControllerReset]: fieldsOf(CrossControllerResetSqe),
  [AdminOpcode.KeepAlive]: () => [],
};

const FABRICS: Readonly<Record<number, Describe>> = {
  [FabricsType.Connect]: (view, base) => [
    `qid=${ConnectSqe.qid.get(view, base)}`,
    count('sqsize', ConnectSqe.sqsize.get(view, base)),
    ...fieldsOf(ConnectSqe, ['qid', 'sqsize'])(view, base),
  ],
  [FabricsType.PropertySet]: (view, base) => [
    property(view, base),
    `value=${PropertySqe.value.format(PropertySqe.value.get(view, base))}`,
  ],
  [FabricsType.PropertyGet]: (view, base) => [property(view, base)],
};

function property(view: DataView, base: number): string {
  return `ofst=${PropertySqe.ofst.format(PropertySqe.ofst.get(view, base))}`;
}

/**
 * One line, e.g. `cid=5 Read nsid=1 slba=8 nlb=8`. Counts that are 0's based on the wire are shown as counts.
 * The caller has checked that 64 bytes are there; what they hold does not matter.
 */
export function describeSqe(view: DataView, base: number, queue: QueueKind): string {
  const opcode = Sqe.opc.get(view, base);
  const fabrics = opcode === IoOpcode.Fabrics;
  const fctype = FabricsSqe.fctype.get(view, base);
  const parts = [`cid=${Sqe.cid.get(view, base)}`, opcodeName(opcode, queue === 'admin', fctype)];
  const nsid = Sqe.nsid.get(view, base);
  if (!fabrics && nsid !== 0) parts.push(nsid === 0xffffffff ? 'nsid=all' : `nsid=${nsid}`);
  const describe = fabrics ? FABRICS[fctype] : (queue === 'admin' ? ADMIN : IO)[opcode];
  parts.push(...(describe ?? fieldsOf(Sqe, ['sglSubtype', 'sglType']))(view, base));
  if (Sqe.fuse.get(view, base) !== 0) parts.push(`fuse=${Sqe.fuse.get(view, base)}`);
  return parts.join(' ');
}
