import { AdminOpcode, AsyncEventBit, Cns, Lid } from '@nvbraid/wire';
import { DISCOVERY_FEATURES } from './admin/feature-table.ts';
import { getFeatures, setFeatures } from './admin/features.ts';
import { getLogPage } from './admin/get-log-page.ts';
import { identify } from './admin/identify.ts';
import { identifyDiscoveryController } from './admin/identify-controller.ts';
import {
  commandEffects,
  errorInformation,
  featureIdentifiers,
  managementEffects,
  supportedPages,
} from './admin/log-pages.ts';
import { abort, asyncEventRequest, keepAlive } from './admin/queue-commands.ts';
import type { ControllerKind } from './controller-kind.ts';
import { discoveryLogPage } from './discovery-log.ts';

/** The controller of the discovery subsystem (Base 2.1, 3.1.3.3): no namespaces, no I/O queues. */
export const DISCOVERY_KIND: ControllerKind = {
  name: 'discovery',
  commands: new Map([
    [AdminOpcode.GetLogPage, getLogPage],
    [AdminOpcode.Identify, identify],
    [AdminOpcode.Abort, abort],
    [AdminOpcode.SetFeatures, setFeatures],
    [AdminOpcode.GetFeatures, getFeatures],
    [AdminOpcode.AsyncEventRequest, asyncEventRequest],
    [AdminOpcode.KeepAlive, keepAlive],
  ]),
  identify: new Map([[Cns.Controller, identifyDiscoveryController]]),
  features: DISCOVERY_FEATURES,
  logPages: new Map([
    [Lid.SupportedLogPages, supportedPages],
    [Lid.Error, errorInformation],
    [Lid.CommandsSupportedAndEffects, commandEffects],
    [Lid.FeatureIdentifiersEffects, featureIdentifiers],
    [Lid.NvmeMiEffects, managementEffects],
    [Lid.Discovery, discoveryLogPage],
  ]),
  ioEffects: new Map(),
  asyncEvents: AsyncEventBit.DiscoveryLog,
};
