import { bits, layout, u8, u16, u64, type ValueOf } from '../layout.ts';
import { sqeHead } from './sqe.ts';

/** Copy (NVM 1.1, 3.3.2): `nr` source ranges, 0's based, follow as data. */
export const CopySqe = layout('Copy', 64, {
  ...sqeHead,
  /** First block of the destination. */
  sdlba: u64(40),
  nr: u8(48),
  /** Format of the source ranges. */
  df: bits(49, 0, 4),
  prinfor: bits(49, 4, 4),
  dtype: bits(50, 4, 4, 2),
  stcw: bits(50, 8, 1, 2),
  prinfow: bits(50, 10, 4, 2),
  fua: bits(50, 14, 1, 2),
  lr: bits(50, 15, 1, 2),
});
export type CopySqe = ValueOf<typeof CopySqe>;

/** Source range of format 0h (NVM 1.1, 3.3.2, figure "Copy - Source Range Entries Copy Descriptor Format 0h"). */
export const CopyRange = layout('CopyRange', 32, {
  slba: u64(8),
  /** 0's based. */
  nlb: u16(16),
});
export type CopyRange = ValueOf<typeof CopyRange>;
export const COPY_RANGE_SIZE = 32;
