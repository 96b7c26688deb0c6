import { readFile } from 'node:fs/promises';
import { crc32cPortable, Memory, NvbraidError } from '@nvbraid/base';
import { replaceFile } from '@nvbraid/blockdev';
import { MAX_REGISTRANTS, NO_RESERVATIONS, type ReservationState, type RestoredReservations } from '@nvbraid/target';
import { ReservationType } from '@nvbraid/wire';
import { RESERVATION_FILE_BYTES } from './limits.ts';

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

function checksum(body: unknown): string {
  const bytes = Buffer.from(JSON.stringify(body));
  return crc32cPortable(Memory.over(new Uint8Array(bytes)), 0, bytes.length)
    .toString(16)
    .padStart(8, '0');
}

/** Fulfilled when the state is on stable storage. @throws NvbraidError EACCES, ENOENT, EIO */
export async function writeReservations(path: string, uuid: string, state: ReservationState): Promise<void> {
  const body = bodyOf(uuid, state);
  const text = `${JSON.stringify({ ...body, crc32c: checksum(body) })}\n`;
  await replaceFile(path, text, { makeDirectory: true });
}

/**
 * What was kept for a namespace.
 * @returns null when nothing was
 * @throws NvbraidError EACCES, EIO when the file cannot be read; EINVAL when it is not what was written
 */
export async function readReservations(path: string): Promise<RestoredReservations | null> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    const denied = code === 'EACCES' || code === 'EPERM';
    throw new NvbraidError(
      denied ? 'EACCES' : 'EIO',
      `cannot read ${path}, which keeps the reservations of a namespace: ${message}; mend that, or delete it to start without them`,
      { cause: error, context: { path } },
    );
  }
  const body = bytes.length <= RESERVATION_FILE_BYTES ? parseBody(bytes.toString('utf8')) : null;
  if (body === null) {
    throw new NvbraidError(
      'EINVAL',
      `${path} is damaged, or not a file of reservations: hosts that were shut out could write without it; restore it, or delete it to start without reservations`,
      { context: { path } },
    );
  }
  return { state: stateOf(body), uuid: body.uuid };
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

/** Null for anything but what `writeReservations` writes. */
function parseBody(text: string): Body | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const { crc32c, ...body } = value as Record<string, unknown>;
  return crc32c === checksum(body) && isBody(body as Partial<Body>) ? (body as unknown as Body) : null;
}

const HOSTID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The checksum tells damage; this tells a file that somebody else has made. */
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
