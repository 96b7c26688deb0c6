import { bits, layout, type Names, u8, u64big, type ValueOf } from '../layout.ts';
import { RESERVATION_TYPE_NAMES } from './reservation-type.ts';
import { sqeHead } from './sqe.ts';

/** racqa (Base 2.1, 7.5). */
export const ReservationAcquireAction = { Acquire: 0, Preempt: 1, PreemptAndAbort: 2 } as const;
const ACTION_NAMES: Names = { 0: 'acquire', 1: 'preempt', 2: 'preempt and abort' };

/** Reservation Acquire (Base 2.1, 7.5): `ReservationAcquireData` follows as data. */
export const ReservationAcquireSqe = layout('ReservationAcquire', 64, {
  ...sqeHead,
  racqa: bits(40, 0, 3, 1, { names: ACTION_NAMES }),
  /** Must be 0 since NVMe 1.3. */
  iekey: bits(40, 3, 1),
  disnsrs: bits(40, 4, 1),
  rtype: u8(41, { names: RESERVATION_TYPE_NAMES }),
});
export type ReservationAcquireSqe = ValueOf<typeof ReservationAcquireSqe>;

/** Keys of Reservation Acquire: the one that the host has, and the one whose registrants are preempted. */
export const ReservationAcquireData = layout('ReservationAcquireData', 16, { crkey: u64big(0), prkey: u64big(8) });
export type ReservationAcquireData = ValueOf<typeof ReservationAcquireData>;
