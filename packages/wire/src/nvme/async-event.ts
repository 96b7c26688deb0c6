import { bits, layout, type Names, u8, type ValueOf } from '../layout.ts';
import { sqeHead } from './sqe.ts';

/** Asynchronous Event Request (Base 2.1, 5.1.2): no fields, no data; completed when there is something to tell. */
export const AsyncEventRequestSqe = layout('AsyncEventRequest', 64, sqeHead);
export type AsyncEventRequestSqe = ValueOf<typeof AsyncEventRequestSqe>;

/** Asynchronous event type (Base 2.1, 5.1.2.1). */
export const AsyncEventType = {
  Error: 0,
  SmartHealth: 1,
  Notice: 2,
  Immediate: 3,
  /** I/O command specific status. */
  IoCommand: 6,
  VendorSpecific: 7,
} as const;

export const ASYNC_EVENT_TYPE_NAMES: Names = {
  0: 'Error status',
  1: 'SMART / Health status',
  2: 'Notice',
  3: 'Immediate',
  6: 'I/O Command specific status',
  7: 'Vendor specific',
};

/** Asynchronous event information of type Notice. */
export const AsyncEventNotice = {
  NamespaceAttributeChanged: 0x00,
  FirmwareActivationStarting: 0x01,
  TelemetryLogChanged: 0x02,
  AnaChange: 0x03,
  PredictableLatencyEventAggregateLogChange: 0x04,
  LbaStatusInformationAlert: 0x05,
  EnduranceGroupEventAggregateLogPageChange: 0x06,
  ReachabilityGroupChange: 0x07,
  ReachabilityAssociationChange: 0x08,
  AllocatedNamespaceAttributeChanged: 0x09,
  ZoneDescriptorChanged: 0xef,
  DiscoveryLogPageChange: 0xf0,
  HostDiscoveryLogPageChange: 0xf1,
  CrossControllerResetCompleted: 0xf4,
} as const;

/** Asynchronous event information of type I/O command specific status. */
export const AsyncEventIoCommand = {
  ReservationLogPageAvailable: 0x00,
  SanitizeOperationCompleted: 0x01,
  SanitizeOperationCompletedWithUnexpectedDeallocation: 0x02,
} as const;

/** Names of the information byte, by type. */
export const ASYNC_EVENT_INFO_NAMES: Readonly<Record<number, Names>> = {
  0: {
    0: 'Write to Invalid Doorbell Register',
    1: 'Invalid Doorbell Write Value',
    2: 'Diagnostic Failure',
    3: 'Persistent Internal Error',
    4: 'Transient Internal Error',
    5: 'Firmware Image Load Error',
  },
  1: { 0: 'NVM subsystem Reliability', 1: 'Temperature Threshold', 2: 'Spare Below Threshold' },
  2: {
    0: 'Attached Namespace Attribute Changed',
    1: 'Firmware Activation Starting',
    2: 'Telemetry Log Changed',
    3: 'Asymmetric Namespace Access Change',
    4: 'Predictable Latency Event Aggregate Log Change',
    5: 'LBA Status Information Alert',
    6: 'Endurance Group Event Aggregate Log Page Change',
    7: 'Reachability Group Change',
    8: 'Reachability Association Change',
    9: 'Allocated Namespace Attribute Changed',
    239: 'Zone Descriptor Changed',
    240: 'Discovery Log Page Change',
    241: 'Host Discovery Log Page Change',
    244: 'Cross-Controller Reset Completed',
  },
  3: { 0: 'Normal NVM Subsystem Shutdown', 1: 'Temperature Threshold Hysteresis Recovery' },
  6: {
    0: 'Reservation Log Page Available',
    1: 'Sanitize Operation Completed',
    2: 'Sanitize Operation Completed With Unexpected Deallocation',
  },
};

/** Dword 0 of the completion of an Asynchronous Event Request. */
export const AsyncEventResult = layout('AsyncEvent', 4, {
  type: bits(0, 0, 3, 1, { names: ASYNC_EVENT_TYPE_NAMES }),
  info: u8(1, { hex: true }),
  /** The log page to read; reading it without RAE clears the event. */
  lid: u8(2, { hex: true }),
});
export type AsyncEventResult = ValueOf<typeof AsyncEventResult>;

/** `AsyncEventResult` as the number that goes into dword 0. */
export function asyncEventDw0(type: number, info: number, lid: number): number {
  return (type & 7) | ((info & 0xff) << 8) | ((lid & 0xff) << 16);
}

/** E.g. `Notice: Asymmetric Namespace Access Change, log page 0Ch`. */
export function asyncEventName(dw0: number): string {
  const type = dw0 & 7;
  const info = (dw0 >>> 8) & 0xff;
  const lid = (dw0 >>> 16) & 0xff;
  const hex = (value: number): string => value.toString(16).toUpperCase().padStart(2, '0') + 'h';
  const infoName = ASYNC_EVENT_INFO_NAMES[type]?.[info] ?? `information ${hex(info)}`;
  return `${ASYNC_EVENT_TYPE_NAMES[type] ?? `type ${type}`}: ${infoName}, log page ${hex(lid)}`;
}

/**
 * Bits shared by OAES of Identify Controller and by the Asynchronous Event Configuration feature
 * (Base 2.1, 5.1.25.1.5). Bits 7:0 of the feature are the critical warnings of the SMART log.
 */
export const AsyncEventBit = {
  NamespaceAttribute: 0x100,
  FirmwareActivation: 0x200,
  TelemetryLog: 0x400,
  AnaChange: 0x800,
  PredictableLatency: 0x1000,
  LbaStatus: 0x2000,
  EnduranceGroup: 0x4000,
  NormalShutdown: 0x8000,
  TemperatureHysteresis: 0x1_0000,
  ReachabilityAssociation: 0x2_0000,
  ReachabilityGroup: 0x4_0000,
  AllocatedNamespaceAttribute: 0x8_0000,
  CrossControllerReset: 0x10_0000,
  ZoneDescriptor: 0x800_0000,
  DiscoveryLog: 0x8000_0000,
} as const;
