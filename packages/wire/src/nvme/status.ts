import type { Names } from '../layout.ts';
import { FABRICS_STATUS_NAMES, STATUS_NAMES } from './status-names.ts';

/*
 * NVMe status values as numbers: bits 7:0 the status code (sc), bits 10:8 the status code type (sct), bits 12:11 the
 * command retry delay (crd), bit 13 "more", bit 14 "do not retry" (dnr): the status word of the completion queue entry
 * without its phase bit.
 */
export const DNR = 0x4000;

/** Status without retry hints: sct and sc. */
export const Status = {
  // Generic, and generic of I/O command sets from 80h on (Base 2.1, 4.2.3.1)
  Success: 0x000,
  InvalidOpcode: 0x001,
  InvalidField: 0x002,
  CommandIdConflict: 0x003,
  DataTransferError: 0x004,
  PowerLossAbort: 0x005,
  InternalError: 0x006,
  AbortRequested: 0x007,
  SqDeletionAbort: 0x008,
  FailedFusedCommand: 0x009,
  MissingFusedCommand: 0x00a,
  InvalidNamespaceOrFormat: 0x00b,
  CommandSequenceError: 0x00c,
  InvalidSglSegmentDescriptor: 0x00d,
  InvalidNumberOfSglDescriptors: 0x00e,
  DataSglLengthInvalid: 0x00f,
  MetadataSglLengthInvalid: 0x010,
  SglDescriptorTypeInvalid: 0x011,
  InvalidUseOfCmb: 0x012,
  InvalidPrpOffset: 0x013,
  AtomicWriteUnitExceeded: 0x014,
  OperationDenied: 0x015,
  SglOffsetInvalid: 0x016,
  HostIdentifierInconsistentFormat: 0x018,
  KeepAliveTimerExpired: 0x019,
  KeepAliveTimeoutInvalid: 0x01a,
  CommandAbortedPreempt: 0x01b,
  SanitizeFailed: 0x01c,
  SanitizeInProgress: 0x01d,
  SglDataBlockGranularityInvalid: 0x01e,
  CommandNotSupportedForQueueInCmb: 0x01f,
  NamespaceIsWriteProtected: 0x020,
  CommandInterrupted: 0x021,
  TransientTransportError: 0x022,
  CommandProhibited: 0x023,
  AdminCommandMediaNotReady: 0x024,
  InvalidKeyTag: 0x025,
  HostDispersedNamespaceNotEnabled: 0x026,
  HostIdentifierNotInitialized: 0x027,
  IncorrectKey: 0x028,
  FdpDisabled: 0x029,
  InvalidPlacementHandleList: 0x02a,
  LbaOutOfRange: 0x080,
  CapacityExceeded: 0x081,
  NamespaceNotReady: 0x082,
  ReservationConflict: 0x083,
  FormatInProgress: 0x084,
  InvalidValueSize: 0x085,
  InvalidKeySize: 0x086,
  KeyDoesNotExist: 0x087,
  UnrecoveredError: 0x088,
  KeyExists: 0x089,
  // Command specific; of I/O command sets from 80h on (Base 2.1, 4.2.3.2)
  CompletionQueueInvalid: 0x100,
  InvalidQueueIdentifier: 0x101,
  InvalidQueueSize: 0x102,
  AbortCommandLimitExceeded: 0x103,
  AsyncEventRequestLimitExceeded: 0x105,
  InvalidFirmwareSlot: 0x106,
  InvalidFirmwareImage: 0x107,
  InvalidInterruptVector: 0x108,
  InvalidLogPage: 0x109,
  InvalidFormat: 0x10a,
  FirmwareNeedsConventionalReset: 0x10b,
  InvalidQueueDeletion: 0x10c,
  FeatureIdentifierNotSaveable: 0x10d,
  FeatureNotChangeable: 0x10e,
  FeatureNotNamespaceSpecific: 0x10f,
  FirmwareNeedsSubsystemReset: 0x110,
  FirmwareNeedsControllerReset: 0x111,
  FirmwareNeedsMaximumTimeViolation: 0x112,
  FirmwareActivationProhibited: 0x113,
  OverlappingRange: 0x114,
  NamespaceInsufficientCapacity: 0x115,
  NamespaceIdUnavailable: 0x116,
  NamespaceAlreadyAttached: 0x118,
  NamespaceIsPrivate: 0x119,
  NamespaceNotAttached: 0x11a,
  ThinProvisioningNotSupported: 0x11b,
  ControllerListInvalid: 0x11c,
  DeviceSelfTestInProgress: 0x11d,
  BootPartitionWriteProhibited: 0x11e,
  InvalidControllerIdentifier: 0x11f,
  InvalidSecondaryControllerState: 0x120,
  InvalidNumberOfControllerResources: 0x121,
  InvalidResourceIdentifier: 0x122,
  SanitizeProhibitedWithPmr: 0x123,
  AnaGroupIdInvalid: 0x124,
  AnaAttachFailed: 0x125,
  InsufficientCapacity: 0x126,
  NamespaceAttachmentLimitExceeded: 0x127,
  ProhibitionNotSupported: 0x128,
  IoCommandSetNotSupported: 0x129,
  IoCommandSetNotEnabled: 0x12a,
  IoCommandSetCombinationRejected: 0x12b,
  InvalidIoCommandSet: 0x12c,
  IdentifierUnavailable: 0x12d,
  NamespaceIsDispersed: 0x12e,
  InvalidDiscoveryInformation: 0x12f,
  ZoningDataStructureLocked: 0x130,
  ZoningDataStructureNotFound: 0x131,
  InsufficientDiscoveryResources: 0x132,
  RequestedFunctionDisabled: 0x133,
  ZoneGroupOriginatorInvalid: 0x134,
  InvalidHost: 0x135,
  InvalidNvmSubsystem: 0x136,
  InvalidControllerDataQueue: 0x137,
  NotEnoughResources: 0x138,
  ControllerSuspended: 0x139,
  ControllerNotSuspended: 0x13a,
  ControllerDataQueueFull: 0x13b,
  CrossControllerResetInProgress: 0x13f,
  CrossControllerResetLogPageFull: 0x140,
  CrossControllerResetLimitExceeded: 0x141,
  ConflictingAttributes: 0x180,
  InvalidProtectionInformation: 0x181,
  AttemptedWriteToReadOnlyRange: 0x182,
  CommandSizeLimitExceeded: 0x183,
  InvalidCommandId: 0x184,
  IncompatibleNamespaceOrFormat: 0x185,
  FastCopyNotPossible: 0x186,
  OverlappingIoRange: 0x187,
  NamespaceNotReachable: 0x188,
  InsufficientResources: 0x189,
  ZonedBoundaryError: 0x1b8,
  ZoneIsFull: 0x1b9,
  ZoneIsReadOnly: 0x1ba,
  ZoneIsOffline: 0x1bb,
  ZoneInvalidWrite: 0x1bc,
  TooManyActiveZones: 0x1bd,
  TooManyOpenZones: 0x1be,
  InvalidZoneStateTransition: 0x1bf,
  // Media and data integrity (Base 2.1, 4.2.3.3)
  WriteFault: 0x280,
  UnrecoveredReadError: 0x281,
  GuardCheckError: 0x282,
  ApplicationTagCheckError: 0x283,
  ReferenceTagCheckError: 0x284,
  CompareFailure: 0x285,
  AccessDenied: 0x286,
  DeallocatedOrUnwrittenBlock: 0x287,
  StorageTagCheckError: 0x288,
  // Path related (Base 2.1, 4.2.3.4)
  InternalPathError: 0x300,
  AnaPersistentLoss: 0x301,
  AnaInaccessible: 0x302,
  AnaTransition: 0x303,
  ControllerPathingError: 0x360,
  HostPathingError: 0x370,
  CommandAbortedByHost: 0x371,
} as const;

/**
 * Command specific status of fabrics commands (Base 2.1, 4.2.3.2, figure "Command Specific Status Values, Fabrics"):
 * up to 185h the numbers mean something else for other commands.
 */
export const FabricsStatus = {
  IncompatibleFormat: 0x180,
  ControllerBusy: 0x181,
  ConnectInvalidParameters: 0x182,
  ConnectRestartDiscovery: 0x183,
  ConnectInvalidHost: 0x184,
  InvalidQueueType: 0x185,
  DiscoverRestart: 0x190,
  AuthenticationRequired: 0x191,
} as const;

/** The status code types by number. */
export const SCT_NAMES: Names = {
  0: 'Generic Command Status',
  1: 'Command Specific Status',
  2: 'Media and Data Integrity Errors',
  3: 'Path Related Status',
  7: 'Vendor Specific',
};

/**
 * The name of a status word, e.g. `LBA Out of Range`.
 * @param fabrics true when the command was a fabrics command: some command specific values mean something else there.
 */
export function statusName(status: number, fabrics = false): string {
  const value = status & 0x7ff;
  const name = fabrics
    ? (FABRICS_STATUS_NAMES[value] ?? STATUS_NAMES[value])
    : (STATUS_NAMES[value] ?? FABRICS_STATUS_NAMES[value]);
  if (name !== undefined) return name;
  const { sct, sc } = statusParts(status);
  const kind = sct === 7 || sc >= 0xc0 ? 'Vendor Specific' : 'Unknown';
  return `${kind} Status ${sct}h/${sc.toString(16).toUpperCase().padStart(2, '0')}h`;
}

export interface StatusParts {
  sct: number;
  sc: number;
  /** Which of the controller's three command retry delay times holds; 0 = none. */
  crd: number;
  dnr: boolean;
  more: boolean;
}

export function statusParts(status: number): StatusParts {
  return {
    sct: (status >> 8) & 7,
    sc: status & 0xff,
    crd: (status >> 11) & 3,
    dnr: (status & DNR) !== 0,
    more: (status & 0x2000) !== 0,
  };
}
