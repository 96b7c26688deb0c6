import { bits, layout, u16, u32, type ValueOf } from '../layout.ts';

/** Completion queue entry (Base 2.1, 4.2.1). Over fabrics sqid is reserved and the phase tag is zero. */
export const Cqe = layout('CQE', 16, {
  dw0: u32(0, { hex: true }),
  dw1: u32(4, { hex: true }),
  sqhd: u16(8),
  sqid: u16(10),
  cid: u16(12),
  p: bits(14, 0, 1, 2),
  sc: bits(14, 1, 8, 2),
  sct: bits(14, 9, 3, 2),
  crd: bits(14, 12, 2, 2),
  m: bits(14, 14, 1, 2),
  dnr: bits(14, 15, 1, 2),
});
export type Cqe = ValueOf<typeof Cqe>;
export const CQE_SIZE = 16;
/** Where the 16-bit phase-and-status word stands; `status << 1` is its value. */
export const CQE_STATUS_OFFSET = 14;
