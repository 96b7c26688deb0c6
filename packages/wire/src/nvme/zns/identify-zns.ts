import { array, bytes, layout, u8, u16, u32, u64, type ValueOf } from '../../layout.ts';
import { LBA_FORMATS } from '../identify/namespace.ts';

/** LBA Format Extension (ZNS 1.2, 4.1.5.1). */
export const LbaFormatExtension = layout('LBAFE', 16, {
  /** Zone size in logical blocks. */
  zsze: u64(0),
  /** Zone Descriptor Extension Size in units of 64 bytes; 0 = no extension. */
  zdes: u8(8),
});
export type LbaFormatExtension = ValueOf<typeof LbaFormatExtension>;

/** Identify Namespace of the Zoned Namespace command set (CNS 05h, CSI 2; ZNS 1.2, 4.1.5.1). */
export const IdentifyNamespaceZoned = layout('IdentifyNamespaceZoned', 4096, {
  /** Zone Operation Characteristics; bits: `Zoc`. */
  zoc: u16(0, { hex: true }),
  /** Optional Zoned Command Support; bits: `Ozcs`. */
  ozcs: u16(2, { hex: true }),
  /** Maximum Active and Open Resources, 0's based; FFFFFFFFh = no limit. */
  mar: u32(4),
  mor: u32(8),
  /** Reset and Finish Recommended Limits, in seconds. */
  rrl: u32(12),
  frl: u32(16),
  rrl1: u32(20),
  rrl2: u32(24),
  rrl3: u32(28),
  frl1: u32(32),
  frl2: u32(36),
  frl3: u32(40),
  /** Zone Random Write Area: number, flush granularity, size and capabilities. */
  numzrwa: u32(44),
  zrwafg: u16(48),
  zrwasz: u16(50),
  zrwacap: u8(52, { hex: true }),
  lbafe: array(2816, LBA_FORMATS, LbaFormatExtension),
  vs: bytes(3840, 256),
});
export type IdentifyNamespaceZoned = ValueOf<typeof IdentifyNamespaceZoned>;

export const Zoc = { VariableZoneCapacity: 1, ZoneActiveExcursions: 2 } as const;
export const Ozcs = { ReadAcrossZoneBoundaries: 1, ZoneRandomWriteArea: 2 } as const;
/** `mar` and `mor` of a namespace without such a limit. */
export const NO_ZONE_LIMIT = 0xffff_ffff;

/** Identify Controller of the Zoned Namespace command set (CNS 06h, CSI 2; ZNS 1.2, 4.1.5.2). */
export const IdentifyControllerZoned = layout('IdentifyControllerZoned', 4096, {
  /** Zone Append Size Limit as a power of two of 4 KiB pages; 0 = MDTS holds. */
  zasl: u8(0),
});
export type IdentifyControllerZoned = ValueOf<typeof IdentifyControllerZoned>;
