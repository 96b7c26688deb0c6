import { bits, bytes, layout, u8, u16, u32, u48, type ValueOf } from '../../layout.ts';

/*
 * Values of features (Base 2.1, 5.1.25.1). Those of 4 bytes stand in dword 11 of Set Features and in dword 0 of the
 * completion; the others are data of the command.
 */

/** Fid 01h. Bursts are powers of two (7 = no limit), weights 0's based. */
export const ArbitrationFeature = layout('Arbitration', 4, { ab: bits(0, 0, 3), lpw: u8(1), mpw: u8(2), hpw: u8(3) });
export type ArbitrationFeature = ValueOf<typeof ArbitrationFeature>;

/** Fid 02h. */
export const PowerManagementFeature = layout('PowerManagement', 4, { ps: bits(0, 0, 5), wh: bits(0, 5, 3) });
export type PowerManagementFeature = ValueOf<typeof PowerManagementFeature>;

/** Fid 04h. Kelvin; which sensor; 0 = over, 1 = under. */
export const TemperatureThresholdFeature = layout('TemperatureThreshold', 4, {
  tmpth: u16(0),
  tmpsel: bits(2, 0, 4),
  thsel: bits(2, 4, 2),
  tmpthh: bits(2, 6, 3, 2),
});
export type TemperatureThresholdFeature = ValueOf<typeof TemperatureThresholdFeature>;

/** Fid 05h. Time limited error recovery in 100 ms; errors for deallocated blocks. */
export const ErrorRecoveryFeature = layout('ErrorRecovery', 4, { tler: u16(0), dulbe: bits(2, 0, 1) });
export type ErrorRecoveryFeature = ValueOf<typeof ErrorRecoveryFeature>;

/** Fid 06h. */
export const VolatileWriteCacheFeature = layout('VolatileWriteCache', 4, { wce: bits(0, 0, 1) });
export type VolatileWriteCacheFeature = ValueOf<typeof VolatileWriteCacheFeature>;

/** Fid 07h. Numbers of I/O queues, 0's based: asked for in dword 11, granted in dword 0. */
export const NumberOfQueuesFeature = layout('NumberOfQueues', 4, { nsq: u16(0), ncq: u16(2) });
export type NumberOfQueuesFeature = ValueOf<typeof NumberOfQueuesFeature>;

/** Fid 0Ah. dn = 1: the host does without AWUN. */
export const WriteAtomicityFeature = layout('WriteAtomicity', 4, { dn: bits(0, 0, 1) });
export type WriteAtomicityFeature = ValueOf<typeof WriteAtomicityFeature>;

/** Fid 0Bh. The bits as numbers: `AsyncEventBit`, `SmartWarning`. */
export const AsyncEventConfigFeature = layout('AsyncEventConfig', 4, {
  smart: u8(0, { hex: true }),
  nan: bits(1, 0, 1),
  fan: bits(1, 1, 1),
  tln: bits(1, 2, 1),
  anacn: bits(1, 3, 1),
  plealn: bits(1, 4, 1),
  lbasin: bits(1, 5, 1),
  egealpcn: bits(1, 6, 1),
  nnsshdn: bits(1, 7, 1),
  tthry: bits(2, 0, 1),
  rassn: bits(2, 1, 1),
  rgrpcn: bits(2, 2, 1),
  ansan: bits(2, 3, 1),
  zdcn: bits(3, 3, 1),
  dlpcn: bits(3, 7, 1),
});
export type AsyncEventConfigFeature = ValueOf<typeof AsyncEventConfigFeature>;

/** Fid 0Eh, 8 bytes of data: milliseconds since 1970 or since reset, as `origin` says (0 = reset, 1 = set by a host). */
export const TimestampFeature = layout('Timestamp', 8, {
  timestampMs: u48(0),
  synch: bits(6, 0, 1),
  origin: bits(6, 1, 3),
});
export type TimestampFeature = ValueOf<typeof TimestampFeature>;

/** Fid 0Fh. */
export const KeepAliveTimerFeature = layout('KeepAliveTimer', 4, { katoMs: u32(0) });
export type KeepAliveTimerFeature = ValueOf<typeof KeepAliveTimerFeature>;

/** Fid 15h. Units of 100 ms: between reads of the LBA Status Information log page, and before an alert. */
export const LbaStatusInformationFeature = layout('LbaStatusInformation', 4, { lsiri: u16(0), lsipi: u16(2) });
export type LbaStatusInformationFeature = ValueOf<typeof LbaStatusInformationFeature>;

/** Fid 16h, 512 bytes of data. */
export const HostBehaviorSupportFeature = layout('HostBehaviorSupport', 512, {
  /** The host honours command retry delays; extended telemetry; LBA format extension. */
  acre: u8(0),
  etdas: u8(1),
  lbafee: u8(2),
  hdisns: u8(3),
  cdfe: u16(4, { hex: true }),
});
export type HostBehaviorSupportFeature = ValueOf<typeof HostBehaviorSupportFeature>;

/** Fid 81h, dword 11; over fabrics exhid is 1 and the data is the 16 bytes of the host identifier. */
export const HostIdentifierFeature = layout('HostIdentifier', 4, { exhid: bits(0, 0, 1) });
export type HostIdentifierFeature = ValueOf<typeof HostIdentifierFeature>;
export const HostIdentifierData = layout('HostIdentifierData', 16, { hostid: bytes(0, 16) });
export type HostIdentifierData = ValueOf<typeof HostIdentifierData>;

/** Fid 82h. 1 = the notification is not wanted. */
export const ReservationNotificationMaskFeature = layout('ReservationNotificationMask', 4, {
  regpre: bits(0, 1, 1),
  resrel: bits(0, 2, 1),
  respre: bits(0, 3, 1),
});
export type ReservationNotificationMaskFeature = ValueOf<typeof ReservationNotificationMaskFeature>;

/** Fid 83h. */
export const ReservationPersistenceFeature = layout('ReservationPersistence', 4, { ptpl: bits(0, 0, 1) });
export type ReservationPersistenceFeature = ValueOf<typeof ReservationPersistenceFeature>;

/** Fid 84h: 0 not protected, 1 protected, 2 until power cycle, 3 for ever. */
export const NamespaceWriteProtectionFeature = layout('NamespaceWriteProtection', 4, { wps: bits(0, 0, 3) });
export type NamespaceWriteProtectionFeature = ValueOf<typeof NamespaceWriteProtectionFeature>;
