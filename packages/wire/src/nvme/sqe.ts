import { bits, layout, u8, u16, u32, u64, type ValueOf } from '../layout.ts';

/*
 * Submission queue entry (Base 2.1, 4.1.1): opc, fuse/psdt, cid, nsid, cdw2-3, mptr, dptr (an SGL descriptor over
 * fabrics), cdw10-15.
 */
export const Sqe = layout('SQE', 64, {
  opc: u8(0, { hex: true }),
  fuse: bits(1, 0, 2),
  psdt: bits(1, 6, 2),
  cid: u16(2),
  nsid: u32(4),
  cdw2: u32(8, { hex: true }),
  cdw3: u32(12, { hex: true }),
  mptr: u64(16, { hex: true }),
  sglAddress: u64(24, { hex: true }),
  sglLength: u32(32),
  sglSubtype: bits(39, 0, 4),
  sglType: bits(39, 4, 4),
  cdw10: u32(40, { hex: true }),
  cdw11: u32(44, { hex: true }),
  cdw12: u32(48, { hex: true }),
  cdw13: u32(52, { hex: true }),
  cdw14: u32(56, { hex: true }),
  cdw15: u32(60, { hex: true }),
});
export type Sqe = ValueOf<typeof Sqe>;
export const SQE_SIZE = 64;

/** What the views of single commands share: everything before cdw10, the SGL identifier as one byte. */
export const sqeHead = {
  opc: u8(0, { hex: true }),
  fuse: bits(1, 0, 2),
  psdt: bits(1, 6, 2),
  cid: u16(2),
  nsid: u32(4),
  sglAddress: u64(24, { hex: true }),
  sglLength: u32(32),
  sglId: u8(39, { hex: true }),
} as const;

/** SGL descriptor type and subtype as one byte, as they stand in byte 15 of the descriptor (Base 2.1, 4.3.2). */
export const SglId = {
  /** Data block by offset: data inside the capsule. */
  inCapsule: 0x01,
  /** Transport SGL data block: data moves by the transport's data PDUs. */
  transport: 0x5a,
} as const;
export const SQE_SGL_ID_OFFSET = 39;

/** The view of the 12-dword I/O commands that name a range of blocks: slba in cdw10-11, nlb (0's based) in cdw12. */
export const RwSqe = layout('RW', 64, {
  ...sqeHead,
  slba: u64(40),
  nlb: u16(48),
  /** Command extension type, directive type (cdw12 bits 19:16 and 23:20), and bit 24: check the storage tag. */
  cetype: bits(50, 0, 4, 2),
  dtype: bits(50, 4, 4, 2),
  stc: bits(50, 8, 1, 2),
  /** Write Zeroes: deallocate if possible. */
  deac: bits(50, 9, 1, 2),
  prinfo: bits(50, 10, 4, 2),
  fua: bits(50, 14, 1, 2),
  lr: bits(50, 15, 1, 2),
  dsm: u32(52, { hex: true }),
});
export type RwSqe = ValueOf<typeof RwSqe>;
