import { ReservationType } from '@nvbraid/wire';
import { Access } from '../io/io-command.ts';
import { heldByAll, type ReservationState } from './reservation-state.ts';

/** A reservation as the threads that run I/O commands must know it: plain data. */
export interface ReservationSnapshot {
  readonly rtype: ReservationType;
  /** Host identifiers that may do what registrants may; of the holder for the types that tell it from them. */
  readonly holder: string | null;
  readonly registrants: readonly string[];
}

/** Null while nothing is reserved. */
export function reservationSnapshot(state: ReservationState): ReservationSnapshot | null {
  if (state.rtype === ReservationType.None) return null;
  return { rtype: state.rtype, holder: state.holder, registrants: [...state.registrants.keys()] };
}

const NOTHING = 0;
const READ = 1;
const ALL = 3;

/** What hosts may do that do not hold the reservation (Base 2.1, 8.1.22, figure "Command Behavior …"). */
const RIGHTS: Readonly<Record<number, { readonly registrant: number; readonly other: number }>> = {
  [ReservationType.WriteExclusive]: { registrant: READ, other: READ },
  [ReservationType.ExclusiveAccess]: { registrant: NOTHING, other: NOTHING },
  [ReservationType.WriteExclusiveRegistrantsOnly]: { registrant: ALL, other: READ },
  [ReservationType.ExclusiveAccessRegistrantsOnly]: { registrant: ALL, other: NOTHING },
  [ReservationType.WriteExclusiveAllRegistrants]: { registrant: ALL, other: READ },
  [ReservationType.ExclusiveAccessAllRegistrants]: { registrant: ALL, other: NOTHING },
};

/** The right that a command needs: making writes stable counts as a write. */
const NEEDS: Readonly<Record<Access, number>> = {
  [Access.None]: NOTHING,
  [Access.Read]: READ,
  [Access.Write]: ALL,
  [Access.Flush]: ALL,
};

/** Tells for each command of a host whether the reservation lets it through. */
export class ReservationGate {
  readonly #other: number;
  /** Rights of the hosts that have others than most. */
  readonly #rights = new Map<string, number>();

  constructor({ rtype, holder, registrants }: ReservationSnapshot) {
    const { registrant, other } = RIGHTS[rtype]!;
    this.#other = other;
    if (registrant !== other) for (const hostid of registrants) this.#rights.set(hostid, registrant);
    if (!heldByAll(rtype) && holder !== null) this.#rights.set(holder, ALL);
  }

  /** @param hostid empty for a host that has not told: it is never a registrant */
  allows(hostid: string, access: Access): boolean {
    const need = NEEDS[access];
    return (need & (this.#rights.get(hostid) ?? this.#other)) === need;
  }
}
