import { bits, layout, type Names, u8, u16, u32, u64, type ValueOf } from '../../layout.ts';
import { sqeHead } from '../sqe.ts';

/** Log page identifiers (Base 2.1, 5.1.12.1). */
export const Lid = {
  SupportedLogPages: 0x00,
  Error: 0x01,
  Smart: 0x02,
  FirmwareSlot: 0x03,
  ChangedNamespaceList: 0x04,
  CommandsSupportedAndEffects: 0x05,
  DeviceSelfTest: 0x06,
  TelemetryHostInitiated: 0x07,
  TelemetryControllerInitiated: 0x08,
  EnduranceGroup: 0x09,
  PredictableLatency: 0x0a,
  PredictableLatencyAggregate: 0x0b,
  Ana: 0x0c,
  PersistentEvent: 0x0d,
  LbaStatus: 0x0e,
  EnduranceGroupAggregate: 0x0f,
  MediaUnitStatus: 0x10,
  SupportedCapacity: 0x11,
  FeatureIdentifiersEffects: 0x12,
  NvmeMiEffects: 0x13,
  BootPartition: 0x15,
  CrossControllerReset: 0x1e,
  Discovery: 0x70,
  HostDiscovery: 0x71,
  Reservation: 0x80,
  Sanitize: 0x81,
  ChangedZoneList: 0xbf,
} as const;

export const LID_NAMES: Names = Object.fromEntries(Object.entries(Lid).map(([name, value]) => [value, name]));

/** Get Log Page (Base 2.1, 5.1.12). */
export const GetLogPageSqe = layout('GetLogPage', 64, {
  ...sqeHead,
  lid: u8(40, { names: LID_NAMES }),
  /** Log specific parameter. */
  lsp: bits(41, 0, 7),
  /** Retain asynchronous event: reading the page does not clear it. */
  rae: bits(41, 7, 1),
  /** Dwords to return, 0's based: NUMDL and NUMDU joined. */
  numd: u32(42),
  /** Log specific identifier. */
  lsi: u16(46),
  /** Log page offset, in bytes (or an index when `ot` is 1). */
  lpo: u64(48),
  uidx: bits(56, 0, 7),
  ot: bits(58, 7, 1),
  csi: u8(59),
});
export type GetLogPageSqe = ValueOf<typeof GetLogPageSqe>;
/** lsp of an ANA log page: return groups only, without their namespaces. */
export const ANA_LSP_RGO = 1;
