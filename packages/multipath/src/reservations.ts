export const ReservationType = {
  WriteExclusive: 1,
  ExclusiveAccess: 2,
  WriteExclusiveRegistrantsOnly: 3,
  ExclusiveAccessRegistrantsOnly: 4,
  WriteExclusiveAllRegistrants: 5,
  ExclusiveAccessAllRegistrants: 6,
} as const;
export type ReservationType = (typeof ReservationType)[keyof typeof ReservationType];

/** The keys of all registrants. */
export interface ReservationKeys {
  generation: number;
  keys: bigint[];
}

/** Who holds the reservation; key 0n: nobody. */
export interface HeldReservation {
  generation: number;
  key: bigint;
  type: ReservationType | 0;
}

/** Persistent reservations: the seven operations of the block layer. */
export interface ReservationOps {
  /** Key 0n as `newKey` unregisters. `ignoreExisting`: whatever key is registered now. */
  register(oldKey: bigint, newKey: bigint, ignoreExisting: boolean): unknown;
  reserve(key: bigint, type: ReservationType): unknown;
  release(key: bigint, type: ReservationType): unknown;
  /** `abort`: the commands of the loser end, too. */
  preempt(oldKey: bigint, newKey: bigint, type: ReservationType, abort: boolean): unknown;
  clear(key: bigint): unknown;
  readKeys(): ReservationKeys | Promise<ReservationKeys>;
  readReservation(): HeldReservation | Promise<HeldReservation>;
}
