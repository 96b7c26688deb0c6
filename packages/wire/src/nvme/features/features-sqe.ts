import { bits, layout, type Names, u8, u32, type ValueOf } from '../../layout.ts';
import { sqeHead } from '../sqe.ts';

/** Feature identifiers (Base 2.1, 5.1.25.1; NVM 1.1, 4.1.3). */
export const Fid = {
  Arbitration: 0x01,
  PowerManagement: 0x02,
  LbaRangeType: 0x03,
  TemperatureThreshold: 0x04,
  ErrorRecovery: 0x05,
  VolatileWriteCache: 0x06,
  NumberOfQueues: 0x07,
  InterruptCoalescing: 0x08,
  InterruptVectorConfiguration: 0x09,
  WriteAtomicityNormal: 0x0a,
  AsyncEventConfiguration: 0x0b,
  AutonomousPowerStateTransition: 0x0c,
  HostMemoryBuffer: 0x0d,
  Timestamp: 0x0e,
  KeepAliveTimer: 0x0f,
  HostControlledThermalManagement: 0x10,
  NonOperationalPowerState: 0x11,
  ReadRecoveryLevel: 0x12,
  PredictableLatencyConfig: 0x13,
  PredictableLatencyWindow: 0x14,
  LbaStatusInformation: 0x15,
  HostBehaviorSupport: 0x16,
  SanitizeConfig: 0x17,
  EnduranceGroupEvent: 0x18,
  IoCommandSetProfile: 0x19,
  SpinupControl: 0x1a,
  SoftwareProgressMarker: 0x80,
  HostIdentifier: 0x81,
  ReservationNotificationMask: 0x82,
  ReservationPersistence: 0x83,
  NamespaceWriteProtection: 0x84,
} as const;

export const FID_NAMES: Names = Object.fromEntries(Object.entries(Fid).map(([name, value]) => [value, name]));

/** sel of Get Features: which value is asked for. */
export const FeatureSelect = { Current: 0, Default: 1, Saved: 2, Capabilities: 3 } as const;
export const FEATURE_SELECT_NAMES: Names = { 1: 'default', 2: 'saved', 3: 'capabilities' };

/** Get Features and Set Features (Base 2.1, 5.1.11 and 5.1.25): one view, `sel` belongs to the one, `sv` to the other. */
export const FeaturesSqe = layout('Features', 64, {
  ...sqeHead,
  fid: u8(40, { names: FID_NAMES }),
  sel: bits(41, 0, 3, 1, { names: FEATURE_SELECT_NAMES }),
  sv: bits(43, 7, 1),
  dw11: u32(44, { hex: true }),
  dw12: u32(48, { hex: true }),
  dw13: u32(52, { hex: true }),
  uidx: bits(56, 0, 7),
  dw15: u32(60, { hex: true }),
});
export type FeaturesSqe = ValueOf<typeof FeaturesSqe>;

/** Dword 0 of Get Features with sel = Capabilities. */
export const FeatureCapabilities = layout('FeatureCapabilities', 4, {
  saveable: bits(0, 0, 1, 4),
  namespaceSpecific: bits(0, 1, 1, 4),
  changeable: bits(0, 2, 1, 4),
});
export type FeatureCapabilities = ValueOf<typeof FeatureCapabilities>;
