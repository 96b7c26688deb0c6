import { bits, layout, type Names, u8, u64big, type ValueOf } from '../layout.ts';
import { RESERVATION_TYPE_NAMES } from './reservation-type.ts';
import { sqeHead } from './sqe.ts';

/** rrela (Base 2.1, 7.7). */
export const ReservationReleaseAction = { Release: 0, Clear: 1 } as const;
const ACTION_NAMES: Names = { 0: 'release', 1: 'clear' };

/** Reservation Release (Base 2.1, 7.7): `ReservationReleaseData` follows as data. */
export const ReservationReleaseSqe = layout('ReservationRelease', 64, {
  ...sqeHead,
  rrela: bits(40, 0, 3, 1, { names: ACTION_NAMES }),
  /** Must be 0 since NVMe 1.3. */
  iekey: bits(40, 3, 1),
  disnsrs: bits(40, 4, 1),
  rtype: u8(41, { names: RESERVATION_TYPE_NAMES }),
});
export type ReservationReleaseSqe = ValueOf<typeof ReservationReleaseSqe>;

export const ReservationReleaseData = layout('ReservationReleaseData', 8, { crkey: u64big(0) });
export type ReservationReleaseData = ValueOf<typeof ReservationReleaseData>;
