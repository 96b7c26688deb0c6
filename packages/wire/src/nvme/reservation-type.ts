import type { Names } from '../layout.ts';

/** Reservation types (Base 2.1, 8.1.22.5, figure "Reservation Types"); 0 where there is no reservation. */
export const ReservationType = {
  None: 0,
  WriteExclusive: 1,
  ExclusiveAccess: 2,
  WriteExclusiveRegistrantsOnly: 3,
  ExclusiveAccessRegistrantsOnly: 4,
  WriteExclusiveAllRegistrants: 5,
  ExclusiveAccessAllRegistrants: 6,
} as const;
export type ReservationType = (typeof ReservationType)[keyof typeof ReservationType];

export const RESERVATION_TYPE_NAMES: Names = {
  1: 'Write Exclusive',
  2: 'Exclusive Access',
  3: 'Write Exclusive - Registrants Only',
  4: 'Exclusive Access - Registrants Only',
  5: 'Write Exclusive - All Registrants',
  6: 'Exclusive Access - All Registrants',
};
