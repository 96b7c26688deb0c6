import {
  ChangePtpl,
  DNR,
  ReservationAcquireAction,
  ReservationNotification,
  ReservationRegisterAction,
  ReservationReleaseAction,
  ReservationType,
  Status,
} from '@nvbraid/wire';
import { MAX_REGISTRANTS } from '../limits.ts';

/*
 * The rules of reservations (Base 2.1, 8.1.22) on one namespace, as a function from a state and a command to a status
 * and the next state. Hosts are known by their host identifiers: to which of its controllers a host speaks makes no
 * difference.
 */

/** Who has registered, and who holds what. Never changed: each command makes a new one. */
export interface ReservationState {
  /** 32 bits, with wrap. */
  readonly generation: number;
  /** Persist through power loss. */
  readonly ptpl: boolean;
  /** None where there is no reservation. */
  readonly rtype: ReservationType;
  /** Host identifier of the one holder; null also for the All Registrants types, which all registrants hold. */
  readonly holder: string | null;
  /** Keys by host identifier. */
  readonly registrants: ReadonlyMap<string, bigint>;
}

export const NO_RESERVATIONS: ReservationState = {
  generation: 0,
  ptpl: false,
  rtype: ReservationType.None,
  holder: null,
  registrants: new Map(),
};

/** The three commands that change something, as plain data: fields as in their SQEs. */
export type ReservationCommand =
  | {
      readonly kind: 'register';
      readonly rrega: number;
      readonly iekey: number;
      readonly cptpl: number;
      readonly crkey: bigint;
      readonly nrkey: bigint;
    }
  | {
      readonly kind: 'acquire';
      readonly racqa: number;
      readonly iekey: number;
      readonly rtype: number;
      readonly crkey: bigint;
      readonly prkey: bigint;
    }
  | {
      readonly kind: 'release';
      readonly rrela: number;
      readonly iekey: number;
      readonly rtype: number;
      readonly crkey: bigint;
    };

/** What the controllers of a host are to be told. */
export interface ReservationNotice {
  readonly hostid: string;
  readonly what: ReservationNotification;
}

export interface ReservationOutcome {
  readonly status: number;
  /** The very state that went in when nothing has changed. */
  readonly state: ReservationState;
  readonly notices: readonly ReservationNotice[];
}

const CONFLICT = Status.ReservationConflict | DNR;
const INVALID = Status.InvalidField | DNR;

/**
 * Runs a command of a host.
 * @param hostid not empty
 * @param persistent whether the Persist Through Power Loss state may be set
 */
export function runReservationCommand(
  state: ReservationState,
  hostid: string,
  command: ReservationCommand,
  persistent: boolean,
): ReservationOutcome {
  switch (command.kind) {
    case 'register':
      return register(state, hostid, command, persistent);
    case 'acquire':
      return acquire(state, hostid, command);
    case 'release':
      return release(state, hostid, command);
  }
}

/** Both All Registrants types. */
export function heldByAll(rtype: ReservationType): boolean {
  return (
    rtype === ReservationType.WriteExclusiveAllRegistrants || rtype === ReservationType.ExclusiveAccessAllRegistrants
  );
}

function registrantsOnly(rtype: ReservationType): boolean {
  return (
    rtype === ReservationType.WriteExclusiveRegistrantsOnly || rtype === ReservationType.ExclusiveAccessRegistrantsOnly
  );
}

/** True when the host is the holder, or one of the holders. */
export function holds(state: ReservationState, hostid: string): boolean {
  return heldByAll(state.rtype) ? state.registrants.has(hostid) : state.holder === hostid;
}

function refuse(state: ReservationState, status: number): ReservationOutcome {
  return { status, state, notices: [] };
}

function succeed(state: ReservationState, notices: readonly ReservationNotice[] = []): ReservationOutcome {
  return { status: 0, state, notices };
}

/** The next state in the count of those that GEN counts. */
function counted(state: ReservationState, changes: Partial<ReservationState>): ReservationState {
  return { ...state, ...changes, generation: (state.generation + 1) >>> 0 };
}

/** The same notice for every registrant but one. */
function toOthers(
  registrants: ReadonlyMap<string, bigint>,
  hostid: string,
  what: ReservationNotification,
): ReservationNotice[] {
  return [...registrants.keys()].filter((other) => other !== hostid).map((other) => ({ hostid: other, what }));
}

// ---------------------------------------------------------------- Reservation Register (Base 2.1, 7.6)

function register(
  state: ReservationState,
  hostid: string,
  command: Extract<ReservationCommand, { kind: 'register' }>,
  persistent: boolean,
): ReservationOutcome {
  const { rrega, iekey, cptpl, crkey, nrkey } = command;
  if (rrega > ReservationRegisterAction.Replace) return refuse(state, INVALID);
  if (cptpl !== ChangePtpl.NoChange && cptpl !== ChangePtpl.Clear && cptpl !== ChangePtpl.Set) {
    return refuse(state, INVALID);
  }
  if (cptpl === ChangePtpl.Set && !persistent) return refuse(state, INVALID);
  const key = state.registrants.get(hostid);
  const ptpl = cptpl === ChangePtpl.NoChange ? state.ptpl : cptpl === ChangePtpl.Set;
  if (rrega === ReservationRegisterAction.Unregister) {
    if (key === undefined || (iekey === 0 && key !== crkey)) return refuse(state, CONFLICT);
    return unregister(state, hostid, ptpl);
  }
  if (rrega === ReservationRegisterAction.Register) {
    // The same key again is no error, on whichever controller.
    if (key !== undefined && key !== nrkey) return refuse(state, CONFLICT);
  } else if (iekey === 0 && key !== crkey) {
    return refuse(state, CONFLICT);
  }
  // Replacing with iekey registers a host that is not a registrant (Base 2.1, 8.1.22.3).
  if (key === undefined && state.registrants.size >= MAX_REGISTRANTS) return refuse(state, Status.InternalError);
  const registrants = new Map(state.registrants).set(hostid, nrkey);
  return succeed(counted(state, { ptpl, registrants }));
}

/** The reservation goes with its only, or its last, holder. */
function unregister(state: ReservationState, hostid: string, ptpl: boolean): ReservationOutcome {
  const registrants = new Map(state.registrants);
  registrants.delete(hostid);
  const released = heldByAll(state.rtype) ? registrants.size === 0 : state.holder === hostid;
  if (!released) return succeed(counted(state, { ptpl, registrants }));
  const next = counted(state, { ptpl, registrants, rtype: ReservationType.None, holder: null });
  if (!registrantsOnly(state.rtype)) return succeed(next);
  return succeed(next, toOthers(registrants, hostid, ReservationNotification.ReservationReleased));
}

// ---------------------------------------------------------------- Reservation Acquire (Base 2.1, 7.5)

function acquire(
  state: ReservationState,
  hostid: string,
  command: Extract<ReservationCommand, { kind: 'acquire' }>,
): ReservationOutcome {
  const { racqa, iekey, crkey, prkey } = command;
  if (racqa > ReservationAcquireAction.PreemptAndAbort || iekey !== 0) return refuse(state, INVALID);
  if (command.rtype < 1 || command.rtype > ReservationType.ExclusiveAccessAllRegistrants) return refuse(state, INVALID);
  const rtype = command.rtype as ReservationType;
  if (state.registrants.get(hostid) !== crkey) return refuse(state, CONFLICT);
  if (racqa !== ReservationAcquireAction.Acquire) return preempt(state, hostid, rtype, prkey);
  if (state.rtype === ReservationType.None) return succeed(reserved(state, hostid, rtype));
  return holds(state, hostid) && state.rtype === rtype ? succeed(state) : refuse(state, CONFLICT);
}

function reserved(state: ReservationState, hostid: string, rtype: ReservationType): ReservationState {
  return { ...state, rtype, holder: heldByAll(rtype) ? null : hostid };
}

/**
 * Base 2.1, 8.1.22.7. Preempt and Abort differs only in what becomes of commands under way: the caller waits for their
 * end after either.
 */
function preempt(state: ReservationState, hostid: string, rtype: ReservationType, prkey: bigint): ReservationOutcome {
  if (heldByAll(state.rtype)) {
    return prkey === 0n
      ? takeOver(state, hostid, rtype, (other) => other !== hostid)
      : unregisterAll(state, hostid, prkey);
  }
  if (state.holder !== null) {
    if (state.registrants.get(state.holder) === prkey) {
      return takeOver(state, hostid, rtype, (other, key) => other !== hostid && key === prkey);
    }
    if (prkey === 0n) {
      // As Linux nvmet: the holder names nobody, nobody loses anything, only the type changes.
      return state.holder === hostid ? takeOver(state, hostid, rtype, () => false) : refuse(state, INVALID);
    }
  }
  return unregisterAll(state, hostid, prkey);
}

/** The reservation passes to the host, those who are named lose their registrations. */
function takeOver(
  state: ReservationState,
  hostid: string,
  rtype: ReservationType,
  loses: (hostid: string, key: bigint) => boolean,
): ReservationOutcome {
  const registrants = new Map([...state.registrants].filter(([other, key]) => !loses(other, key)));
  const notices = preempted(state, registrants, hostid);
  if (rtype !== state.rtype) {
    notices.push(...toOthers(registrants, hostid, ReservationNotification.ReservationReleased));
  }
  return succeed(reserved(counted(state, { registrants }), hostid, rtype), notices);
}

/** Everybody with the key loses the registration, the host that preempts too. The holder is not among them. */
function unregisterAll(state: ReservationState, hostid: string, prkey: bigint): ReservationOutcome {
  const registrants = new Map([...state.registrants].filter(([, key]) => key !== prkey));
  if (registrants.size === state.registrants.size) return refuse(state, CONFLICT);
  const released = heldByAll(state.rtype) && registrants.size === 0;
  const next = counted(state, released ? { registrants, rtype: ReservationType.None } : { registrants });
  return succeed(next, preempted(state, registrants, hostid));
}

/** What those hear who were registrants and are not any more, except the host that did it. */
function preempted(
  before: ReservationState,
  registrants: ReadonlyMap<string, bigint>,
  hostid: string,
): ReservationNotice[] {
  return [...before.registrants.keys()]
    .filter((other) => other !== hostid && !registrants.has(other))
    .map((other) => ({ hostid: other, what: ReservationNotification.RegistrationPreempted }));
}

// ---------------------------------------------------------------- Reservation Release (Base 2.1, 7.7)

function release(
  state: ReservationState,
  hostid: string,
  command: Extract<ReservationCommand, { kind: 'release' }>,
): ReservationOutcome {
  const { rrela, iekey, rtype, crkey } = command;
  if (rrela > ReservationReleaseAction.Clear || iekey !== 0) return refuse(state, INVALID);
  if (state.registrants.get(hostid) !== crkey) return refuse(state, CONFLICT);
  if (rrela === ReservationReleaseAction.Clear) {
    const next = counted(state, { registrants: new Map(), rtype: ReservationType.None, holder: null });
    return succeed(next, toOthers(state.registrants, hostid, ReservationNotification.ReservationPreempted));
  }
  // Who has nothing to release succeeds without effect.
  if (state.rtype === ReservationType.None || !holds(state, hostid)) return succeed(state);
  if (rtype !== state.rtype) return refuse(state, INVALID);
  const next = { ...state, rtype: ReservationType.None, holder: null };
  const told = registrantsOnly(state.rtype) || heldByAll(state.rtype);
  return succeed(next, told ? toOthers(state.registrants, hostid, ReservationNotification.ReservationReleased) : []);
}
