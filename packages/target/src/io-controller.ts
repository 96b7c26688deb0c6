import { AdminOpcode, AsyncEventBit, Cns, Csi, Lid } from '@nvbraid/wire';
import { crossControllerReset, crossControllerResets } from './admin/cross-controller-reset.ts';
import { IO_FEATURES } from './admin/feature-table.ts';
import { getFeatures, setFeatures } from './admin/features.ts';
import { getLbaStatus } from './admin/get-lba-status.ts';
import { getLogPage } from './admin/get-log-page.ts';
import { identify } from './admin/identify.ts';
import { identifyIoController } from './admin/identify-controller.ts';
import {
  identifyAllocatedList,
  identifyAllocatedNamespace,
  identifyAttachedControllers,
  identifyControllers,
  identifyCsAllocatedList,
} from './admin/identify-lists.ts';
import {
  byCommandSet,
  identifyActiveList,
  identifyControllerNvm,
  identifyCsActiveList,
  identifyDescriptors,
  identifyIoCommandSets,
  identifyNamespace,
  identifyNamespaceIndependent,
  identifyNamespaceNvm,
} from './admin/identify-namespace.ts';
import { lbaStatusInformation } from './admin/lba-status-information.ts';
import {
  ana,
  changedNamespaceList,
  commandEffects,
  errorInformation,
  featureIdentifiers,
  firmwareSlot,
  managementEffects,
  reservationNotification,
  smart,
  supportedPages,
} from './admin/log-pages.ts';
import { abort, asyncEventRequest, keepAlive } from './admin/queue-commands.ts';
import { changedZoneList, identifyControllerZoned, identifyNamespaceZoned } from './admin/zoned.ts';
import type { ControllerKind } from './controller-kind.ts';
import { IO_EFFECTS } from './io/command-sets.ts';

/** Critical warnings of the SMART log: bits 5:0 of the Asynchronous Event Configuration. */
const SMART_WARNINGS = 0x3f;

/** The I/O controller of a subsystem (Base 2.1, 3.1.3.2). */
export const IO_KIND: ControllerKind = {
  name: 'io',
  commands: new Map([
    [AdminOpcode.GetLogPage, getLogPage],
    [AdminOpcode.Identify, identify],
    [AdminOpcode.Abort, abort],
    [AdminOpcode.SetFeatures, setFeatures],
    [AdminOpcode.GetFeatures, getFeatures],
    [AdminOpcode.AsyncEventRequest, asyncEventRequest],
    [AdminOpcode.KeepAlive, keepAlive],
    [AdminOpcode.CrossControllerReset, crossControllerReset],
    [AdminOpcode.GetLbaStatus, getLbaStatus],
  ]),
  identify: new Map([
    [Cns.Namespace, identifyNamespace],
    [Cns.Controller, identifyIoController],
    [Cns.ActiveNamespaceList, identifyActiveList],
    [Cns.NamespaceDescriptorList, identifyDescriptors],
    [
      Cns.CsNamespace,
      byCommandSet(
        new Map([
          [Csi.Nvm, identifyNamespaceNvm],
          [Csi.Zoned, identifyNamespaceZoned],
        ]),
      ),
    ],
    [
      Cns.CsController,
      byCommandSet(
        new Map([
          [Csi.Nvm, identifyControllerNvm],
          [Csi.Zoned, identifyControllerZoned],
        ]),
      ),
    ],
    [
      Cns.CsActiveNamespaceList,
      byCommandSet(
        new Map([
          [Csi.Nvm, identifyCsActiveList],
          [Csi.Zoned, identifyCsActiveList],
        ]),
      ),
    ],
    [Cns.IndependentNamespace, identifyNamespaceIndependent],
    [Cns.AllocatedNamespaceList, identifyAllocatedList],
    [Cns.AllocatedNamespace, identifyAllocatedNamespace],
    [Cns.AttachedControllerList, identifyAttachedControllers],
    [Cns.ControllerList, identifyControllers],
    [
      Cns.CsAllocatedNamespaceList,
      byCommandSet(
        new Map([
          [Csi.Nvm, identifyCsAllocatedList],
          [Csi.Zoned, identifyCsAllocatedList],
        ]),
      ),
    ],
    [Cns.IoCommandSets, identifyIoCommandSets],
  ]),
  features: IO_FEATURES,
  logPages: new Map([
    [Lid.SupportedLogPages, supportedPages],
    [Lid.Error, errorInformation],
    [Lid.Smart, smart],
    [Lid.FirmwareSlot, firmwareSlot],
    [Lid.ChangedNamespaceList, changedNamespaceList],
    [Lid.CommandsSupportedAndEffects, commandEffects],
    [Lid.Ana, ana],
    [Lid.LbaStatus, lbaStatusInformation],
    [Lid.FeatureIdentifiersEffects, featureIdentifiers],
    [Lid.NvmeMiEffects, managementEffects],
    [Lid.CrossControllerReset, crossControllerResets],
    [Lid.Reservation, reservationNotification],
    [Lid.ChangedZoneList, changedZoneList],
  ]),
  ioEffects: IO_EFFECTS,
  asyncEvents:
    SMART_WARNINGS |
    AsyncEventBit.NamespaceAttribute |
    AsyncEventBit.AnaChange |
    AsyncEventBit.LbaStatus |
    AsyncEventBit.CrossControllerReset |
    AsyncEventBit.ZoneDescriptor,
};
