import { array, bits, bytes, layout, type Names, u8, u16, u32, u64, u128, type ValueOf } from '../../layout.ts';

export const RELATIVE_PERFORMANCE_NAMES: Names = { 0: 'best', 1: 'better', 2: 'good', 3: 'degraded' };

/** LBA Format (NVM 1.1, 4.1.5.1, figure "LBA Format Data Structure"). */
export const LbaFormat = layout('LBAF', 4, {
  /** Metadata bytes per block. */
  ms: u16(0),
  /** Block size as a power of two; 0 = format not available. */
  lbads: u8(2),
  rp: bits(3, 0, 2),
});
export type LbaFormat = ValueOf<typeof LbaFormat>;
export const LBA_FORMATS = 64;

/** Identify Namespace of the NVM command set (CNS 00h; NVM 1.1, 4.1.5.1). Sizes in logical blocks unless noted. */
export const IdentifyNamespace = layout('IdentifyNamespace', 4096, {
  nsze: u64(0),
  ncap: u64(8),
  nuse: u64(16),
  /** Bits: `Nsfeat`. */
  nsfeat: u8(24, { hex: true }),
  /** LBA formats, 0's based. */
  nlbaf: u8(25),
  /** Bits 3:0 and 6:5: index of the format in use; bit 4: metadata at the end of each block. */
  flbas: u8(26, { hex: true }),
  mc: u8(27, { hex: true }),
  dpc: u8(28, { hex: true }),
  dps: u8(29, { hex: true }),
  /** Bit 0: the namespace may be attached to several controllers. */
  nmic: u8(30, { hex: true }),
  /** Bits: `Rescap`. */
  rescap: u8(31, { hex: true }),
  fpi: u8(32, { hex: true }),
  /** Bits 2:0: what a deallocated block reads as (1 = zeroes); bit 3: deac of Write Zeroes; bit 4: guard. */
  dlfeat: u8(33, { hex: true }),
  /** Atomicity, 0's based. */
  nawun: u16(34),
  nawupf: u16(36),
  nacwu: u16(38),
  nabsn: u16(40),
  nabo: u16(42),
  nabspf: u16(44),
  noiob: u16(46),
  /** Bytes. */
  nvmcap: u128(48),
  /** Preferred granularities and alignments, 0's based. */
  npwg: u16(64),
  npwa: u16(66),
  npdg: u16(68),
  npda: u16(70),
  nows: u16(72),
  mssrl: u16(74),
  mcl: u32(76),
  msrc: u8(80),
  kpios: u8(81, { hex: true }),
  nulbaf: u8(82),
  kpiodaag: u32(84),
  anagrpid: u32(92),
  /** Bit 0: write protected. */
  nsattr: u8(99, { hex: true }),
  nvmsetid: u16(100),
  endgid: u16(102),
  nguid: bytes(104, 16),
  eui64: bytes(120, 8),
  lbaf: array(128, LBA_FORMATS, LbaFormat),
  vs: bytes(384, 3712),
});
export type IdentifyNamespace = ValueOf<typeof IdentifyNamespace>;

/** nsfeat: thin provisioning; the namespace's own atomicity fields hold; deallocated blocks fail; ids are never reused; preferred sizes hold. */
export const Nsfeat = { Thin: 1, NsAtomics: 2, DeallocatedError: 4, UidReuse: 8, OptimalPerformance: 0x10 } as const;
export const Nmic = { Shared: 1 } as const;
export const Rescap = {
  PersistThroughPowerLoss: 1,
  WriteExclusive: 2,
  ExclusiveAccess: 4,
  WriteExclusiveRegistrantsOnly: 8,
  ExclusiveAccessRegistrantsOnly: 0x10,
  WriteExclusiveAllRegistrants: 0x20,
  ExclusiveAccessAllRegistrants: 0x40,
  IgnoreExistingKey13: 0x80,
} as const;

/** Index of the LBA format in use, from flbas. */
export function lbaFormatIndex(flbas: number): number {
  return (flbas & 0xf) | ((flbas >> 1) & 0x30);
}
