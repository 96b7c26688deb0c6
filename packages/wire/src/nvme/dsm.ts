import { bits, layout, u8, u32, u64, type ValueOf } from '../layout.ts';
import { sqeHead } from './sqe.ts';

/** Dataset Management (NVM 1.1, 3.2.3): `nr` ranges, 0's based, follow as data. */
export const DsmSqe = layout('DatasetManagement', 64, {
  ...sqeHead,
  nr: u8(40),
  /** Integral dataset for read. */
  idr: bits(44, 0, 1, 4),
  /** Integral dataset for write. */
  idw: bits(44, 1, 1, 4),
  /** Deallocate. */
  ad: bits(44, 2, 1, 4),
});
export type DsmSqe = ValueOf<typeof DsmSqe>;

/** One range of a Dataset Management command (NVM 1.1, 3.2.3, figure "Range Definition"). */
export const DsmRange = layout('DsmRange', 16, {
  /** Context attributes: hints only. */
  cattr: u32(0, { hex: true }),
  /** Logical blocks; unlike elsewhere not 0's based. */
  nlb: u32(4),
  slba: u64(8),
});
export type DsmRange = ValueOf<typeof DsmRange>;
export const DSM_RANGE_SIZE = 16;
