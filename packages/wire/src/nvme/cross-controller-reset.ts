import { bits, layout, u8, u16, u64big, type ValueOf } from '../layout.ts';
import { sqeHead } from './sqe.ts';

/*
 * Cross-Controller Reset (Base 2.3, 5.4.3; TP8028). What is taken from public sources about it, and what is concluded,
 * stands in docs/safe-failover.md.
 */

/** Names the controller to reset: its identifier, and which of those that have had this identifier is meant. */
export const CrossControllerResetSqe = layout('CrossControllerReset', 64, {
  ...sqeHead,
  /** The impacted controller. */
  icid: u16(40),
  ciu: u8(42),
  cirn: u64big(48),
});
export type CrossControllerResetSqe = ValueOf<typeof CrossControllerResetSqe>;

/** Dword 0 of its completion: `irs` is 1 when the reset is over, 0 when log page 1Eh will tell. */
export const CrossControllerResetResult = layout('CrossControllerResetResult', 4, { irs: bits(0, 0, 1, 4) });
export type CrossControllerResetResult = ValueOf<typeof CrossControllerResetResult>;
