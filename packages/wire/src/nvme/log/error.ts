import { bits, layout, u8, u16, u32, u64, type ValueOf } from '../../layout.ts';

/** One entry of the Error Information log page (LID 01h; Base 2.1, 5.1.12.1.2). The latest error comes first. */
export const ErrorLogEntry = layout('ErrorLogEntry', 64, {
  /** Unique over the life of the controller; 0 = the entry is not valid. */
  ecnt: u64(0),
  sqid: u16(8),
  cid: u16(10),
  /** The status word of the completion, phase bit included: status << 1. */
  status: u16(12, { hex: true }),
  /** Where in the command the error lies: byte and bit; FFFFh all together = not specific. */
  pelByte: u8(14),
  pelBit: bits(15, 0, 3),
  lba: u64(16),
  nsid: u32(24),
  vsia: u8(28),
  trtype: u8(29),
  csi: u8(30),
  opc: u8(31, { hex: true }),
  csinfo: u64(32),
  /** Transport type specific information. */
  ttsi: u16(40),
  lpver: u8(63),
});
export type ErrorLogEntry = ValueOf<typeof ErrorLogEntry>;
export const ERROR_LOG_ENTRY_SIZE = 64;
