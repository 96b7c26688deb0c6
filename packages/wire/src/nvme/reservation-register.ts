import { bits, layout, type Names, u64big, type ValueOf } from '../layout.ts';
import { sqeHead } from './sqe.ts';

/** rrega (Base 2.1, 7.6). */
export const ReservationRegisterAction = { Register: 0, Unregister: 1, Replace: 2 } as const;
const ACTION_NAMES: Names = { 0: 'register', 1: 'unregister', 2: 'replace' };

/** cptpl: what happens to the Persist Through Power Loss state. */
export const ChangePtpl = { NoChange: 0, Clear: 2, Set: 3 } as const;
const CHANGE_PTPL_NAMES: Names = { 2: 'clear', 3: 'set' };

/** Reservation Register (Base 2.1, 7.6): `ReservationRegisterData` follows as data. */
export const ReservationRegisterSqe = layout('ReservationRegister', 64, {
  ...sqeHead,
  rrega: bits(40, 0, 3, 4, { names: ACTION_NAMES }),
  /** Ignore existing key: crkey is not compared. */
  iekey: bits(40, 3, 1, 4),
  /** Of a dispersed namespace: disable its use by other subsystems. */
  disnsrs: bits(40, 4, 1, 4),
  cptpl: bits(40, 30, 2, 4, { names: CHANGE_PTPL_NAMES }),
});
export type ReservationRegisterSqe = ValueOf<typeof ReservationRegisterSqe>;

/** Keys of Reservation Register: the one that the host has, and the new one. */
export const ReservationRegisterData = layout('ReservationRegisterData', 16, { crkey: u64big(0), nrkey: u64big(8) });
export type ReservationRegisterData = ValueOf<typeof ReservationRegisterData>;
