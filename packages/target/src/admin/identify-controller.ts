import {
  Anacap,
  AsyncEventBit,
  Cmic,
  ControllerType,
  Ctratt,
  Fuses,
  IdentifyController,
  Lpa,
  Oacs,
  Oncs,
  Sgls,
  Vwc,
} from '@nvbraid/wire';
import type { Controller } from '../controller.ts';
import {
  ANA_TRANSITION_SECONDS,
  CCR_LIMIT,
  COMPARE_AND_WRITE_BLOCKS,
  CRITICAL_TEMPERATURE_KELVIN,
  DEFAULT_FIRMWARE,
  ERROR_LOG_ENTRIES,
  KEEP_ALIVE_GRANULARITY,
  MAX_ABORTS,
  MAX_ANA_GROUPS,
  MAX_ASYNC_EVENT_REQUESTS,
  MAX_NAMESPACES,
  WARNING_TEMPERATURE_KELVIN,
} from '../limits.ts';

import type { Subsystem } from '../subsystem.ts';
import { NWPC } from './write-features.ts';

/** Log pages 00h, 12h and 13h, and scopes of admin commands in 05h, are supported (LPA bit 5). */
const LPA_MISCELLANEOUS = 0x20;
/** One firmware slot, read only. */
const FRMW = 0x03;
/** Copy takes source ranges of format 0h. */
export const COPY_FORMATS = 0x01;
const SQE_BYTES = 64;
const ONCS =
  Oncs.Compare |
  Oncs.DatasetManagement |
  Oncs.WriteZeroes |
  Oncs.SaveAndSelect |
  Oncs.Timestamp |
  Oncs.Verify |
  Oncs.Copy;

/** What both kinds of controller say of themselves. */
function common(controller: Controller): Partial<IdentifyController> {
  return {
    mdts: controller.port.mdts,
    cntlid: controller.cntlid,
    ver: controller.version,
    ctratt: Ctratt.HostId128 | Ctratt.Tbkas,
    acl: MAX_ABORTS - 1,
    aerl: MAX_ASYNC_EVENT_REQUESTS - 1,
    elpe: ERROR_LOG_ENTRIES - 1,
    kas: KEEP_ALIVE_GRANULARITY,
    maxcmd: controller.port.maxQueueSize,
    sgls: Sgls.Supported | Sgls.Offset | Sgls.TransportDataBlock,
    subnqn: controller.subnqn,
    msdbd: 1,
  };
}

/** Some namespace has reservations, or none is there yet. */
function reservable({ namespaces }: Subsystem): boolean {
  return namespaces.length === 0 || namespaces.some(({ reservations }) => reservations !== null);
}

/** Identify Controller of an I/O controller (CNS 01h). */
export function identifyIoController(controller: Controller): Uint8Array {
  const subsystem = controller.subsystem!;
  const shared = common(controller);
  return IdentifyController.toBytes({
    ...shared,
    ctratt: (shared.ctratt ?? 0) | Ctratt.Rhii,
    vid: subsystem.identity.vendorId,
    ssvid: subsystem.identity.subsystemVendorId,
    ieee: ieeeBytes(subsystem.identity.ieeeOui),
    sn: subsystem.serial,
    mn: subsystem.model,
    fr: subsystem.firmware,
    rab: 6,
    frmw: FRMW,
    cmic: Cmic.MultiPort | Cmic.MultiController | Cmic.Ana,
    oacs: Oacs.GetLbaStatus,
    oaes:
      AsyncEventBit.NamespaceAttribute |
      AsyncEventBit.AnaChange |
      AsyncEventBit.LbaStatus |
      AsyncEventBit.CrossControllerReset |
      AsyncEventBit.ZoneDescriptor,
    ciu: controller.ciu,
    cirn: controller.cirn,
    cntrltype: ControllerType.Io,
    lpa: Lpa.CommandsSupportedAndEffects | Lpa.ExtendedData | LPA_MISCELLANEOUS,
    wctemp: WARNING_TEMPERATURE_KELVIN,
    cctemp: CRITICAL_TEMPERATURE_KELVIN,
    cqt: subsystem.cqtMs,
    ccrl: CCR_LIMIT,
    anatt: ANA_TRANSITION_SECONDS,
    anacap: Anacap.Optimized | Anacap.NonOptimized | Anacap.Inaccessible | Anacap.PersistentLoss | Anacap.Change,
    anagrpmax: MAX_ANA_GROUPS,
    nanagrpid: MAX_ANA_GROUPS,
    sqesMin: 6,
    sqesMax: 6,
    cqesMin: 4,
    cqesMax: 4,
    nn: MAX_NAMESPACES,
    mnan: MAX_NAMESPACES,
    oncs: oncs(subsystem),
    fuses: subsystem.namespaces.every((namespace) => namespace.compareAndWrite) ? Fuses.CompareAndWrite : 0,
    acwu: COMPARE_AND_WRITE_BLOCKS - 1,
    nwpc: NWPC,
    cdfs: COPY_FORMATS,
    vwc: Vwc.Present | Vwc.FlushAllSupported,
    // A block is atomic, a range of several is not: all atomicity fields are 0, which means one block.
    ioccsz: (SQE_BYTES + controller.port.inCapsuleBytes) / 16,
    iorcsz: 1,
  });
}

/** Least significant byte first. */
function ieeeBytes(oui: number): Uint8Array {
  return Uint8Array.of(oui & 0xff, (oui >> 8) & 0xff, (oui >> 16) & 0xff);
}

/** What depends on devices is said of the controller as a whole, so every namespace must be able to. */
function oncs(subsystem: Subsystem): number {
  const uncorrectable = subsystem.namespaces.every((namespace) => namespace.writeUncorrectable);
  return ONCS | (reservable(subsystem) ? Oncs.Reservations : 0) | (uncorrectable ? Oncs.WriteUncorrectable : 0);
}

/** Identify Controller of a discovery controller (CNS 01h). */
export function identifyDiscoveryController(controller: Controller): Uint8Array {
  return IdentifyController.toBytes({
    ...common(controller),
    sn: 'nvbraid',
    mn: 'nvbraid discovery',
    fr: DEFAULT_FIRMWARE,
    oaes: AsyncEventBit.DiscoveryLog,
    cntrltype: ControllerType.Discovery,
    lpa: Lpa.CommandsSupportedAndEffects | Lpa.ExtendedData | LPA_MISCELLANEOUS,
    dctype: 1,
  });
}
