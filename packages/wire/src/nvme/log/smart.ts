import { layout, u8, u16, u32, u128, type ValueOf } from '../../layout.ts';

/** SMART / Health Information log page (LID 02h; Base 2.1, 5.1.12.1.3). */
export const SmartLog = layout('SmartLog', 512, {
  /** Critical warning, bits: `SmartWarning`. */
  cw: u8(0, { hex: true }),
  /** Composite temperature, Kelvin. */
  ctemp: u16(1),
  /** Available spare and its threshold, percent. */
  avsp: u8(3),
  avspt: u8(4),
  /** Percentage used. */
  pused: u8(5),
  egcws: u8(6, { hex: true }),
  /** Data units read and written: thousands of 512 bytes, rounded up. */
  dur: u128(32),
  duw: u128(48),
  /** Host read and write commands. */
  hrc: u128(64),
  hwc: u128(80),
  /** Controller busy time, minutes. */
  cbt: u128(96),
  /** Power cycles, power on hours, unexpected power losses. */
  pwrc: u128(112),
  poh: u128(128),
  upl: u128(144),
  /** Media and data integrity errors, error information log entries ever made. */
  mdie: u128(160),
  neile: u128(176),
  /** Minutes above the warning and critical temperatures. */
  wctt: u32(192),
  cctt: u32(196),
  tsen1: u16(200),
  tsen2: u16(202),
  tsen3: u16(204),
  tsen4: u16(206),
  tsen5: u16(208),
  tsen6: u16(210),
  tsen7: u16(212),
  tsen8: u16(214),
  tmt1tc: u32(216),
  tmt2tc: u32(220),
  tttmt1: u32(224),
  tttmt2: u32(228),
});
export type SmartLog = ValueOf<typeof SmartLog>;

export const SmartWarning = {
  Spare: 1,
  Temperature: 2,
  Reliability: 4,
  ReadOnly: 8,
  VolatileBackupFailed: 0x10,
  PersistentMemoryReadOnly: 0x20,
} as const;
