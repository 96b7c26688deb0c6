import { MAX_REGISTRANTS, NO_RESERVATIONS, type ReservationState, type RestoredReservations } from '@nvbraid/target';
import { ReservationType } from '@nvbraid/wire';
import { RESERVATION_FILE_BYTES } from './limits.ts';
import { readStateFile, writeStateFile } from './state-file.ts';

/*
 * Where the reservations of a namespace survive a power loss: one line of JSON with a checksum. A file that is not what
 * was written stops its namespace from coming up: without its reservation, hosts that had been shut out could write.
 */

const FORMAT = 'nvbraid reservations';
const VERSION = 1;

interface Body {
  readonly format: typeof FORMAT;
  readonly version: typeof VERSION;
  readonly uuid: string;
  readonly generation: number;
  readonly ptpl: boolean;
  readonly rtype: number;
  readonly holder: string | null;
  readonly registrants: readonly { readonly hostid: string; readonly key: string }[];
}

/** Without Persist Through Power Loss nobody's registration outlives the process. */
function bodyOf(uuid: string, state: ReservationState): Body {
  const kept = state.ptpl ? state : NO_RESERVATIONS;
  return {
    format: FORMAT,
    version: VERSION,
    uuid,
    generation: kept.generation,
    ptpl: kept.ptpl,
    rtype: kept.rtype,
    holder: kept.holder,
    registrants: [...kept.registrants].map(([hostid, key]) => ({ hostid, key: `0x${key.toString(16)}` })),
  };
}

/** Fulfilled when the state is on stable storage. @throws NvbraidError EACCES, ENOENT, EIO */
export async function writeReservations(path: string, uuid: string, state: ReservationState): Promise<void> {
  await writeStateFile(path, bodyOf(uuid, state));
}

const WORDS = {
  what: 'reservations',
  danger: 'hosts that were shut out could write',
  maxBytes: RESERVATION_FILE_BYTES,
};

/**
 * What was kept for a namespace.
 * @returns null when nothing was
 * @throws NvbraidError EACCES, EIO when the file cannot be read; EINVAL when it is not what was written
 */
export async function readReservations(path: string): Promise<RestoredReservations | null> {
  const body = await readStateFile<Body>(path, WORDS, isBody);
  return body === null ? null : { state: stateOf(body), uuid: body.uuid };
}

function stateOf(body: Body): ReservationState {
  return {
    generation: body.generation,
    ptpl: body.ptpl,
    rtype: body.rtype as ReservationType,
    holder: body.holder,
    registrants: new Map(body.registrants.map(({ hostid, key }) => [hostid, BigInt(key)])),
  };
}

const HOSTID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

function isBody(body: Partial<Body>): boolean {
  const { uuid, generation, ptpl, rtype, holder, registrants } = body;
  if (body.format !== FORMAT || body.version !== VERSION || typeof uuid !== 'string' || typeof ptpl !== 'boolean') {
    return false;
  }
  if (!isU32(generation) || !isU32(rtype) || rtype > ReservationType.ExclusiveAccessAllRegistrants) return false;
  if (!Array.isArray(registrants) || registrants.length > MAX_REGISTRANTS) return false;
  const hosts = new Set<string>();
  for (const entry of registrants as Partial<Record<string, unknown>>[]) {
    if (typeof entry?.hostid !== 'string' || !HOSTID.test(entry.hostid)) return false;
    if (typeof entry.key !== 'string' || !/^0x[0-9a-f]{1,16}$/.test(entry.key)) return false;
    hosts.add(entry.hostid);
  }
  if (hosts.size !== registrants.length) return false;
  // One holder for the types that have one; who holds is registered.
  const single = rtype >= ReservationType.WriteExclusive && rtype <= ReservationType.ExclusiveAccessRegistrantsOnly;
  if (!single) return holder === null && (rtype === ReservationType.None || hosts.size > 0);
  return typeof holder === 'string' && hosts.has(holder);
}

function isU32(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0xffffffff;
}
