import { DNR, Fid, HostIdentifierData, Scope, SmartWarning, Status } from '@nvbraid/wire';
import { EVENTS } from '../async-events.ts';
import type { Controller } from '../controller.ts';
import type { Feature } from '../controller-kind.ts';
import { MAX_KEEP_ALIVE_MS, TEMPERATURE_KELVIN, WARNING_TEMPERATURE_KELVIN } from '../limits.ts';
import { hostBehaviorSupport, ioCommandSetProfile, timestamp } from './data-features.ts';
import { lbaStatusAttributes } from './lba-status-information.ts';
import { reservationNotificationMask, reservationPersistence } from './reservation-features.ts';
import { namespaceWriteProtection, volatileWriteCache } from './write-features.ts';

const CONTROLLER_SCOPE = { fsupp: 1, fsp: Scope.Controller };

/** A feature whose one value is what the controller does anyway. */
function constant(value: number): Feature {
  return { effects: CONTROLLER_SCOPE, initial: () => value, current: () => value };
}

/** Commands of all queues are taken in turn, without a limit on bursts (AB 7). */
const arbitration = constant(7);

/** There is one power state. */
const powerManagement = constant(0);

/** No time limit on recovery, and reads of deallocated blocks never fail. */
const errorRecovery: Feature = {
  ...constant(0),
  namespaceSpecific: true,
  effects: { fsupp: 1, fsp: Scope.Namespace },
};

const SENSOR_COMPOSITE = 0;
const SENSOR_ALL = 15;
const OVER = 0;

function sensor(dw11: number): number {
  return (dw11 >>> 16) & 0xf;
}

function thresholdSelect(dw11: number): number {
  return (dw11 >>> 20) & 3;
}

/** True when the composite temperature has crossed a threshold. */
export function temperatureWarning(controller: Controller): boolean {
  const { overTemperature, underTemperature } = controller.features;
  return TEMPERATURE_KELVIN >= overTemperature || TEMPERATURE_KELVIN <= underTemperature;
}

/** Over and under temperature thresholds of the composite temperature, the only one there is. */
const temperatureThreshold: Feature = {
  effects: CONTROLLER_SCOPE,
  check(_controller, dw11, setting) {
    if (thresholdSelect(dw11) > 1) return Status.InvalidField | DNR;
    const known = sensor(dw11) === SENSOR_COMPOSITE || (setting && sensor(dw11) === SENSOR_ALL);
    return known ? 0 : Status.InvalidField | DNR;
  },
  initial: (_controller, dw11) => (thresholdSelect(dw11) === OVER ? WARNING_TEMPERATURE_KELVIN : 0),
  current: ({ features }, dw11) =>
    thresholdSelect(dw11) === OVER ? features.overTemperature : features.underTemperature,
  set(controller, dw11) {
    if (thresholdSelect(dw11) === OVER) controller.features.overTemperature = dw11 & 0xffff;
    else controller.features.underTemperature = dw11 & 0xffff;
    if (temperatureWarning(controller)) controller.events.raise(EVENTS.temperature);
    return 0;
  },
};

/** Both kinds of queue in one number: over fabrics they come in pairs. */
function queuePairs(count: number): number {
  return ((count - 1) | ((count - 1) << 16)) >>> 0;
}

/** Asked once, before there is an I/O queue; grants what is asked for up to the subsystem's limit. */
const numberOfQueues: Feature = {
  effects: CONTROLLER_SCOPE,
  answersSet: true,
  initial: (controller) => queuePairs(controller.subsystem!.maxIoQueues),
  current: (controller) => queuePairs(controller.ioQueuesGranted),
  set(controller, dw11) {
    const submission = dw11 & 0xffff;
    const completion = dw11 >>> 16;
    if (submission === 0xffff || completion === 0xffff) return Status.InvalidField | DNR;
    if (controller.ioQueueCount > 0) return Status.CommandSequenceError | DNR;
    const asked = Math.min(submission, completion) + 1;
    controller.features.ioQueuesGranted = Math.min(asked, controller.subsystem!.maxIoQueues);
    return 0;
  },
};

/** A write of one block is atomic either way, so that the host may choose freely. */
const writeAtomicity: Feature = {
  effects: CONTROLLER_SCOPE,
  initial: () => 0,
  current: (controller) => controller.features.atomicityDisabled,
  set(controller, dw11) {
    controller.features.atomicityDisabled = dw11 & 1;
    return 0;
  },
};

const asyncEventConfiguration: Feature = {
  effects: CONTROLLER_SCOPE,
  initial: () => 0,
  current: (controller) => controller.events.configuration,
  set(controller, dw11) {
    if ((dw11 & ~controller.kind.asyncEvents) !== 0) return Status.InvalidField | DNR;
    const before = controller.events.configuration;
    controller.events.configuration = dw11 >>> 0;
    controller.lbaStatus.restart();
    const enabled = (dw11 & ~before & SmartWarning.Temperature) !== 0;
    if (enabled && controller.subsystem !== null && temperatureWarning(controller)) {
      controller.events.raise(EVENTS.temperature);
    }
    return 0;
  },
};

/** Milliseconds, rounded up to the granularity of Identify's KAS; 0 switches Keep Alive off. */
const keepAliveTimer: Feature = {
  effects: CONTROLLER_SCOPE,
  initial: () => 0,
  current: (controller) => controller.keepAliveMs,
  set(controller, dw11) {
    if (dw11 >>> 0 > MAX_KEEP_ALIVE_MS) return Status.KeepAliveTimeoutInvalid | DNR;
    controller.setKeepAlive(dw11 >>> 0);
    return 0;
  },
};

/** Told by Connect, so that it can only be read; over fabrics always 128 bits (EXHID). */
const hostIdentifier: Feature = {
  effects: CONTROLLER_SCOPE,
  check(_controller, dw11, setting) {
    if (setting) return Status.CommandSequenceError | DNR;
    return (dw11 & 1) === 1 ? 0 : Status.InvalidField | DNR;
  },
  data: (controller) => HostIdentifierData.toBytes({ hostid: hostIdBytes(controller.hostid) }),
  initial: () => 0,
  current: () => 0,
};

function hostIdBytes(hostid: string): Uint8Array {
  const hex = hostid.replaceAll('-', '').padEnd(32, '0');
  return Uint8Array.from({ length: 16 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16));
}

export const DISCOVERY_FEATURES: ReadonlyMap<number, Feature> = new Map([
  [Fid.AsyncEventConfiguration, asyncEventConfiguration],
  [Fid.KeepAliveTimer, keepAliveTimer],
] as [number, Feature][]);

export const IO_FEATURES: ReadonlyMap<number, Feature> = new Map([
  [Fid.Arbitration, arbitration],
  [Fid.PowerManagement, powerManagement],
  [Fid.TemperatureThreshold, temperatureThreshold],
  [Fid.ErrorRecovery, errorRecovery],
  [Fid.VolatileWriteCache, volatileWriteCache],
  [Fid.NumberOfQueues, numberOfQueues],
  [Fid.WriteAtomicityNormal, writeAtomicity],
  [Fid.Timestamp, timestamp],
  [Fid.LbaStatusInformation, lbaStatusAttributes],
  [Fid.HostBehaviorSupport, hostBehaviorSupport],
  [Fid.IoCommandSetProfile, ioCommandSetProfile],
  [Fid.HostIdentifier, hostIdentifier],
  [Fid.ReservationNotificationMask, reservationNotificationMask],
  [Fid.ReservationPersistence, reservationPersistence],
  [Fid.NamespaceWriteProtection, namespaceWriteProtection],
  ...DISCOVERY_FEATURES,
] as [number, Feature][]);
