import { bits, layout, u16, u32, u64, type ValueOf } from '../../layout.ts';
import { sqeHead } from '../sqe.ts';

/** Zone Append (ZNS 1.2, 3.4.1): the data goes to the write pointer; dwords 0 and 1 of the completion say where it went. */
export const ZoneAppendSqe = layout('ZoneAppend', 64, {
  ...sqeHead,
  /** First block of the zone. */
  zslba: u64(40),
  /** 0's based. */
  nlb: u16(48),
  dtype: bits(50, 4, 4, 2),
  /** Protection information: remap the reference tags. */
  piremap: bits(50, 9, 1, 2),
  prinfo: bits(50, 10, 4, 2),
  fua: bits(50, 14, 1, 2),
  lr: bits(50, 15, 1, 2),
  dspec: u16(54),
  ilbrt: u32(56, { hex: true }),
  lbat: u16(60),
  lbatm: u16(62),
});
export type ZoneAppendSqe = ValueOf<typeof ZoneAppendSqe>;

/** Assigned LBA, from dwords 0 and 1 of the completion (as any 32-bit numbers). */
export function assignedLba(dw0: number, dw1: number): number {
  return (dw0 >>> 0) + (dw1 >>> 0) * 0x1_0000_0000;
}
