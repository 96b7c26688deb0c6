import {
  AdminOpcode,
  ANA_LSP_RGO,
  type AnaGroup,
  anaLog,
  changedNamespaces,
  effectsLog,
  FirmwareSlotLog,
  featureEffects,
  GetLogPageSqe,
  Scope,
  SmartLog,
  SmartWarning,
  supportedLogPages,
} from '@nvbraid/wire';
import { EVENTS } from '../async-events.ts';
import type { Controller } from '../controller.ts';
import type { LogPage } from '../controller-kind.ts';
import { TEMPERATURE_KELVIN } from '../limits.ts';
import { temperatureWarning } from './feature-table.ts';

/** LID 00h: made from the table that runs Get Log Page. */
export const supportedPages: LogPage = {
  page: (controller) =>
    supportedLogPages(new Map([...controller.kind.logPages].map(([lid, { lidsp = 0 }]) => [lid, { lsupp: 1, lidsp }]))),
};

/** LID 01h. */
export const errorInformation: LogPage = { page: (controller) => controller.errors.page() };

const HOUR_MS = 3_600_000;

/** Thousands of 512 bytes, rounded up. */
function dataUnits(bytes: number): bigint {
  return BigInt(Math.ceil(bytes / 512_000));
}

/** LID 02h: the subsystem's counters; there is no wear, no spare and no power cycle to tell of. */
export const smart: LogPage = {
  page(controller) {
    const totals = controller.target.hooks.ioTotals?.(controller.subsystem!);
    return SmartLog.toBytes({
      cw: temperatureWarning(controller) ? SmartWarning.Temperature : 0,
      ctemp: TEMPERATURE_KELVIN,
      avsp: 100,
      dur: dataUnits(totals?.readBytes ?? 0),
      duw: dataUnits(totals?.writtenBytes ?? 0),
      hrc: BigInt(totals?.readCommands ?? 0),
      hwc: BigInt(totals?.writeCommands ?? 0),
      pwrc: 1n,
      poh: BigInt(Math.floor((controller.target.nowMs() - controller.target.startedMs) / HOUR_MS)),
      mdie: BigInt(totals?.mediaErrors ?? 0),
      neile: BigInt(controller.errors.count),
    });
  },
};

/** LID 03h. */
export const firmwareSlot: LogPage = {
  page: (controller) => FirmwareSlotLog.toBytes({ active: 1, frs1: controller.subsystem!.firmware }),
};

/** LID 04h. */
export const changedNamespaceList: LogPage = {
  page: (controller) => changedNamespaces([...controller.changedNamespaces].sort((a, b) => a - b)),
  read: (controller) => controller.changedNamespaces.clear(),
};

/**
 * LID 05h: made from the table that runs the commands. Of a command set that is not supported it truthfully lists no I/O
 * command; nvme-cli asks for the zoned one whenever CAP tells of more sets than NVM, and takes an error for the end.
 */
export const commandEffects: LogPage = {
  page(controller, request) {
    const csi = GetLogPageSqe.csi.get(request.sqeView, request.sqeBase);
    return effectsLog({
      admin: new Map([
        ...[...controller.kind.commands].map(([opcode, command]) => [opcode, command.effects] as const),
        [AdminOpcode.Fabrics, { csupp: 1, csp: Scope.Controller }],
      ]),
      io: controller.kind.ioEffects.get(csi) ?? new Map(),
    });
  },
};

/** LID 80h: one notification at a time. While more are available, the event that tells of them comes out again. */
export const reservationNotification: LogPage = {
  page: (controller) => controller.reservationLog.page(),
  read(controller) {
    controller.reservationLog.drop();
    if (controller.reservationLog.available > 0) controller.events.raise(EVENTS.reservation);
  },
};

/** LID 0Ch. Groups without a namespace are listed when they exist on the port; namespaces, when the host sees them. */
export const ana: LogPage = {
  lidsp: ANA_LSP_RGO,
  page(controller, request) {
    const groupsOnly = (GetLogPageSqe.lsp.get(request.sqeView, request.sqeBase) & ANA_LSP_RGO) !== 0;
    const chgcnt = controller.subsystem!.anaChangeCount(controller.port);
    return anaLog({ chgcnt, groups: anaGroups(controller) }, groupsOnly);
  },
};

function anaGroups(controller: Controller): AnaGroup[] {
  const { port } = controller;
  const nsids = new Map<number, number[]>(port.anaGroups.ids().map((grpid) => [grpid, []]));
  for (const namespace of controller.namespaces) {
    const members = nsids.get(namespace.anaGroupId);
    if (members === undefined) nsids.set(namespace.anaGroupId, [namespace.nsid]);
    else members.push(namespace.nsid);
  }
  return [...nsids]
    .sort(([a], [b]) => a - b)
    .map(([grpid, members]) => ({
      grpid,
      chgcnt: controller.subsystem!.anaGroupChangeCount(port, grpid),
      state: port.anaState(grpid),
      nsids: members,
    }));
}

/** LID 12h: made from the table that runs Get and Set Features. */
export const featureIdentifiers: LogPage = {
  page: (controller) =>
    featureEffects(new Map([...controller.kind.features].map(([fid, feature]) => [fid, feature.effects]))),
};

/** LID 13h: no NVMe-MI command is supported. */
export const managementEffects: LogPage = { page: () => new Uint8Array(4096) };
