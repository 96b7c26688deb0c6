import { bits, bytes, layout, u8, u16, u32, u64big, uuid, type ValueOf } from '../layout.ts';
import { type Parsed, parsed, unparsable } from '../parsed.ts';
import { RESERVATION_TYPE_NAMES } from './reservation-type.ts';
import { sqeHead } from './sqe.ts';

/** Reservation Report (Base 2.1, 7.8). */
export const ReservationReportSqe = layout('ReservationReport', 64, {
  ...sqeHead,
  /** Dwords to return, 0's based. */
  numd: u32(40),
  /** Extended data structure: host identifiers of 128 bits. */
  eds: bits(44, 0, 1, 4),
});
export type ReservationReportSqe = ValueOf<typeof ReservationReportSqe>;

/** The head of both forms of the Reservation Status data structure; 64 bytes before the registrants of the extended one. */
export const ReservationStatusHeader = layout('ReservationStatus', 24, {
  /** Generation: counts, with wrap, registrations, preemptions and clearings. */
  gen: u32(0),
  rtype: u8(4, { names: RESERVATION_TYPE_NAMES }),
  /** Registrants that follow, or would if there was room. */
  regctl: u16(5),
  /** Persist Through Power Loss state. */
  ptpls: u8(9),
});
export type ReservationStatusHeader = ValueOf<typeof ReservationStatusHeader>;
export const RESERVATION_STATUS_EXTENDED_HEADER_SIZE = 64;

/** Registrant data structure with a host identifier of 64 bits. */
export const ReservationRegistrant = layout('ReservationRegistrant', 24, {
  /** FFFFh in subsystems whose controllers are dynamic. */
  cntlid: u16(0, { hex: true }),
  /** Reservation status: the host holds the reservation. */
  holder: bits(2, 0, 1),
  hostid: bytes(8, 8),
  rkey: u64big(16),
});
export type ReservationRegistrant = ValueOf<typeof ReservationRegistrant>;

/** Registrant extended data structure, with a host identifier of 128 bits. */
export const ReservationRegistrantExtended = layout('ReservationRegistrantExtended', 64, {
  cntlid: u16(0, { hex: true }),
  holder: bits(2, 0, 1),
  rkey: u64big(8),
  hostid: uuid(16),
});
export type ReservationRegistrantExtended = ValueOf<typeof ReservationRegistrantExtended>;

/** A registrant, from either form of the structure. */
export interface RegistrantStatus {
  readonly cntlid: number;
  readonly holder: boolean;
  readonly rkey: bigint;
  /** UUID text, or 16 hexadecimal digits where it has 64 bits. */
  readonly hostid: string;
}

/** What Reservation Report tells. */
export interface ReservationStatus {
  readonly gen: number;
  readonly rtype: number;
  readonly ptpls: number;
  /** How many there are; `registrants` has no more than were returned. */
  readonly regctl: number;
  readonly registrants: readonly RegistrantStatus[];
}

/** The extended Reservation Status data structure. */
export function reservationStatusExtended(status: Omit<ReservationStatus, 'regctl'>): Uint8Array {
  const { registrants } = status;
  const head = RESERVATION_STATUS_EXTENDED_HEADER_SIZE;
  const out = new Uint8Array(head + registrants.length * ReservationRegistrantExtended.size);
  const view = new DataView(out.buffer);
  ReservationStatusHeader.emit(view, 0, {
    gen: status.gen,
    rtype: status.rtype,
    regctl: registrants.length,
    ptpls: status.ptpls,
  });
  registrants.forEach(({ cntlid, holder, rkey, hostid }, i) => {
    const at = head + i * ReservationRegistrantExtended.size;
    ReservationRegistrantExtended.emit(view, at, { cntlid, holder: holder ? 1 : 0, rkey, hostid });
  });
  return out;
}

/** Reads as many registrants as lie in `page` whole; `extended` as in the command. */
export function parseReservationStatus(page: Uint8Array, extended: boolean): Parsed<ReservationStatus> {
  const head = extended ? RESERVATION_STATUS_EXTENDED_HEADER_SIZE : ReservationStatusHeader.size;
  if (page.length < head) {
    return unparsable(`a reservation status of ${page.length} bytes is shorter than its header`);
  }
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  const { gen, rtype, ptpls, regctl } = ReservationStatusHeader.parse(view);
  const item = extended ? ReservationRegistrantExtended : ReservationRegistrant;
  const count = Math.min(regctl, Math.floor((page.length - head) / item.size));
  const registrants = Array.from({ length: count }, (_, i): RegistrantStatus => {
    const at = head + i * item.size;
    if (extended) {
      const { holder, ...rest } = ReservationRegistrantExtended.parse(view, at);
      return { ...rest, holder: holder === 1 };
    }
    const { holder, hostid, ...rest } = ReservationRegistrant.parse(view, at);
    return { ...rest, holder: holder === 1, hostid: digits(hostid) };
  });
  return parsed({ gen, rtype, ptpls, regctl, registrants });
}

/** A host identifier of 64 bits is a number: its highest byte comes last. */
function digits(hostid: Uint8Array): string {
  return Array.from(hostid, (byte) => byte.toString(16).padStart(2, '0'))
    .reverse()
    .join('');
}
