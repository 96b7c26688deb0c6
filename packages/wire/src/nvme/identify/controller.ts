import {
  array,
  ascii,
  bits,
  bytes,
  cstring,
  layout,
  type Names,
  u8,
  u16,
  u32,
  u64big,
  u128,
  type ValueOf,
} from '../../layout.ts';
import { PowerState } from './power-state.ts';

export const ControllerType = { Io: 1, Discovery: 2, Administrative: 3 } as const;
export const CONTROLLER_TYPE_NAMES: Names = {
  1: 'I/O controller',
  2: 'discovery controller',
  3: 'administrative controller',
};

/**
 * Identify Controller (CNS 01h; Base 2.1, 5.1.13.2.1). "0's based" fields hold one less than they mean; atomicity
 * fields (awun, awupf, acwu) count logical blocks, 0's based.
 */
export const IdentifyController = layout('IdentifyController', 4096, {
  // Controller capabilities and features
  vid: u16(0, { hex: true }),
  ssvid: u16(2, { hex: true }),
  sn: ascii(4, 20),
  mn: ascii(24, 40),
  fr: ascii(64, 8),
  rab: u8(72),
  ieee: bytes(73, 3),
  cmic: u8(76, { hex: true }),
  /** Largest data transfer as a power of two of 4 KiB pages (CAP.MPSMIN); 0 = no limit. */
  mdts: u8(77),
  cntlid: u16(78),
  ver: u32(80, { hex: true }),
  rtd3r: u32(84),
  rtd3e: u32(88),
  /** Bits: `AsyncEventBit`. */
  oaes: u32(92, { hex: true }),
  /** Bits: `Ctratt`. */
  ctratt: u32(96, { hex: true }),
  rrls: u16(100, { hex: true }),
  bpcap: u8(102, { hex: true }),
  nssl: u32(104),
  plsi: u8(110, { hex: true }),
  cntrltype: u8(111, { names: CONTROLLER_TYPE_NAMES }),
  fguid: bytes(112, 16),
  /** Command retry delay times, in 100 ms. */
  crdt1: u16(128),
  crdt2: u16(130),
  crdt3: u16(132),
  crcap: u8(134, { hex: true }),
  /** Controller instance uniquifier: not 0, another one each time that CSTS.RDY rises (Base 2.3). */
  ciu: u8(135, { hex: true }),
  /** Controller instance random number, made anew each time that CSTS.RDY rises (Base 2.3). */
  cirn: u64big(136),
  nvmsr: u8(253, { hex: true }),
  vwci: u8(254, { hex: true }),
  mec: u8(255, { hex: true }),
  // Admin command set attributes and optional controller capabilities
  /** Bits: `Oacs`. */
  oacs: u16(256, { hex: true }),
  /** Concurrent Aborts, 0's based. */
  acl: u8(258),
  /** Outstanding Asynchronous Event Requests, 0's based. */
  aerl: u8(259),
  frmw: u8(260, { hex: true }),
  /** Bits: `Lpa`. */
  lpa: u8(261, { hex: true }),
  /** Entries of the error log, 0's based. */
  elpe: u8(262),
  /** Power states, 0's based. */
  npss: u8(263),
  avscc: u8(264, { hex: true }),
  apsta: u8(265, { hex: true }),
  /** Kelvin. */
  wctemp: u16(266),
  cctemp: u16(268),
  mtfa: u16(270),
  hmpre: u32(272),
  hmmin: u32(276),
  /** Bytes. */
  tnvmcap: u128(280),
  unvmcap: u128(296),
  rpmbs: u32(312, { hex: true }),
  edstt: u16(316),
  dsto: u8(318, { hex: true }),
  fwug: u8(319),
  /** Keep alive granularity, in 100 ms; 0 = Keep Alive is not supported. */
  kas: u16(320),
  hctma: u16(322, { hex: true }),
  mntmt: u16(324),
  mxtmt: u16(326),
  sanicap: u32(328, { hex: true }),
  hmminds: u32(332),
  hmmaxd: u16(336),
  nsetidmax: u16(338),
  endgidmax: u16(340),
  /** ANA transition time, in seconds. */
  anatt: u8(342),
  /** Bits: `Anacap`. */
  anacap: u8(343, { hex: true }),
  anagrpmax: u32(344),
  nanagrpid: u32(348),
  pels: u32(352),
  domainid: u16(356),
  kpioc: u8(358, { hex: true }),
  mptfawr: u16(360),
  megcap: u128(368),
  tmpthha: u8(384, { hex: true }),
  /** Command quiesce time, in milliseconds. */
  cqt: u16(386),
  // NVM command set attributes
  sqesMin: bits(512, 0, 4),
  sqesMax: bits(512, 4, 4),
  cqesMin: bits(513, 0, 4),
  cqesMax: bits(513, 4, 4),
  maxcmd: u16(514),
  /** The largest valid nsid, or the number of namespaces. */
  nn: u32(516),
  /** Bits: `Oncs`. */
  oncs: u16(520, { hex: true }),
  fuses: u16(522, { hex: true }),
  fna: u8(524, { hex: true }),
  /** Bit 0: a volatile write cache is present; bits 2:1 3: Flush with nsid FFFFFFFFh is supported. */
  vwc: u8(525, { hex: true }),
  awun: u16(526),
  awupf: u16(528),
  icsvscc: u8(530, { hex: true }),
  nwpc: u8(531, { hex: true }),
  acwu: u16(532),
  cdfs: u16(534, { hex: true }),
  /** Bits: `Sgls`. */
  sgls: u32(536, { hex: true }),
  /** Largest number of allowed namespaces; 0 = as nn. */
  mnan: u32(540),
  maxdna: u128(544),
  maxcna: u32(560),
  oaqd: u32(564),
  rhiri: u8(568),
  hirt: u8(569),
  cmmrtd: u16(570),
  nmmrtd: u16(572),
  minmrtg: u8(574),
  maxmrtg: u8(575),
  trattr: u8(576, { hex: true }),
  mcudmq: u16(578),
  mnsudmq: u16(580),
  mcmr: u16(582),
  nmcmr: u16(584),
  mcdqpc: u16(586),
  subnqn: cstring(768, 256),
  // Fabrics
  /** Capsule sizes, in 16 bytes: SQE plus in-capsule data, CQE. */
  ioccsz: u32(1792),
  iorcsz: u32(1796),
  /** In-capsule data offset, in 16 bytes after the SQE. */
  icdoff: u16(1800),
  /** Bit 0: 0 = dynamic controller model, 1 = static. */
  fcatt: u8(1802, { hex: true }),
  /** SGL data block descriptors of one command. */
  msdbd: u8(1803),
  /** Bit 0: Disconnect is supported. */
  ofcs: u16(1804, { hex: true }),
  /** Discovery controller type: 1 direct, 2 central. */
  dctype: u8(1806),
  /** Cross-Controller Resets that may be in progress at a time (Base 2.3). */
  ccrl: u8(1807),
  psd: array(2048, 32, PowerState),
  vs: bytes(3072, 1024),
});
export type IdentifyController = ValueOf<typeof IdentifyController>;

/** cmic: paths that a namespace of this subsystem may be reached by. */
export const Cmic = { MultiPort: 1, MultiController: 2, SrIov: 4, Ana: 8 } as const;
/** ctratt (excerpt). */
export const Ctratt = {
  HostId128: 0x1,
  Tbkas: 0x40,
  NsGranularity: 0x80,
  Elbas: 0x8000,
  /** Reservations need a host identifier that is not zero. */
  Rhii: 0x4_0000,
} as const;
export const Oacs = {
  SecuritySendReceive: 1,
  FormatNvm: 2,
  Firmware: 4,
  NamespaceManagement: 8,
  DeviceSelfTest: 0x10,
  GetLbaStatus: 0x200,
} as const;
export const Lpa = { SmartPerNamespace: 1, CommandsSupportedAndEffects: 2, ExtendedData: 4, Telemetry: 8 } as const;
/** anacap: the states that are reported; a namespace stays in its group; Namespace Management can name a group. */
export const Anacap = {
  Optimized: 1,
  NonOptimized: 2,
  Inaccessible: 4,
  PersistentLoss: 8,
  Change: 0x10,
  GroupIdFixed: 0x40,
  GroupIdManaged: 0x80,
} as const;
export const Oncs = {
  Compare: 0x1,
  WriteUncorrectable: 0x2,
  DatasetManagement: 0x4,
  WriteZeroes: 0x8,
  SaveAndSelect: 0x10,
  Reservations: 0x20,
  Timestamp: 0x40,
  Verify: 0x80,
  Copy: 0x100,
} as const;
/** fuses: fused Compare and Write. */
export const Fuses = { CompareAndWrite: 1 } as const;
/** sgls; bits 1:0 are 1 for byte, 2 for dword aligned data blocks. */
export const Sgls = {
  Supported: 0x1,
  SupportedDwordAligned: 0x2,
  Keyed: 0x4,
  BitBucket: 0x1_0000,
  /** Data blocks may name an offset: data in the capsule. */
  Offset: 0x10_0000,
  TransportDataBlock: 0x20_0000,
} as const;
/** vwc: a volatile write cache is present; Flush of all namespaces at once is (not) supported. */
export const Vwc = { Present: 1, FlushAllUnsupported: 4, FlushAllSupported: 6 } as const;
