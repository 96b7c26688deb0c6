import {
  ReservationAcquireData,
  ReservationAcquireSqe,
  ReservationNotificationLog,
  ReservationNotificationMaskFeature,
  ReservationPersistenceFeature,
  ReservationRegisterData,
  ReservationRegisterSqe,
  ReservationRegistrant,
  ReservationRegistrantExtended,
  ReservationReleaseData,
  ReservationReleaseSqe,
  ReservationReportSqe,
  ReservationStatusHeader,
} from '@nvbraid/wire';
import type { EntryVector } from './entries.ts';
import { bytesAt, hex } from './hex.ts';
import type { StructureVector } from './structures.ts';

/* Reservations, by the figures of Base 2.1, 7.5 to 7.8 and 5.1.12.1.32. */

const inCapsule = (length: string): string => `00*8 ${length} 00 00 00 01`;

export const RESERVATION_SQE_VECTORS: readonly EntryVector[] = [
  {
    name: 'Reservation Register that replaces a key, whatever it was, and keeps it through a power loss',
    layout: ReservationRegisterSqe,
    queue: 'io',
    bytes: hex(`0d 40 01 00  01 00 00 00  00*8 00*8 ${inCapsule('10 00 00 00')}  0a 00 00 c0  00*20`),
    values: { opc: 0x0d, psdt: 1, cid: 1, nsid: 1, sglLength: 16, sglId: 1, rrega: 2, iekey: 1, cptpl: 3 },
    text: 'cid=1 Reservation Register nsid=1 rrega=replace iekey=1 cptpl=set',
  },
  {
    name: 'Reservation Register',
    layout: ReservationRegisterSqe,
    queue: 'io',
    bytes: hex(`0d 40 01 00  01 00 00 00  00*8 00*8 ${inCapsule('10 00 00 00')}  10 00 00 80  00*20`),
    values: { opc: 0x0d, psdt: 1, cid: 1, nsid: 1, sglLength: 16, sglId: 1, disnsrs: 1, cptpl: 2 },
    text: 'cid=1 Reservation Register nsid=1 rrega=register disnsrs=1 cptpl=clear',
  },
  {
    name: 'Reservation Acquire that preempts',
    layout: ReservationAcquireSqe,
    queue: 'io',
    bytes: hex(`11 40 02 00  01 00 00 00  00*8 00*8 ${inCapsule('10 00 00 00')}  02 03 00 00  00*20`),
    values: { opc: 0x11, psdt: 1, cid: 2, nsid: 1, sglLength: 16, sglId: 1, racqa: 2, rtype: 3 },
    text: 'cid=2 Reservation Acquire nsid=1 racqa=preempt and abort rtype=Write Exclusive - Registrants Only',
  },
  {
    name: 'Reservation Release that clears',
    layout: ReservationReleaseSqe,
    queue: 'io',
    bytes: hex(`15 40 03 00  01 00 00 00  00*8 00*8 ${inCapsule('08 00 00 00')}  09 06 00 00  00*20`),
    values: { opc: 0x15, psdt: 1, cid: 3, nsid: 1, sglLength: 8, sglId: 1, rrela: 1, iekey: 1, rtype: 6 },
    text: 'cid=3 Reservation Release nsid=1 rrela=clear iekey=1 rtype=Exclusive Access - All Registrants',
  },
  {
    name: 'Reservation Report',
    layout: ReservationReportSqe,
    queue: 'io',
    bytes: hex(`0e 40 04 00  01 00 00 00  00*8 00*8 00*8 00 10 00 00 00 00 00 5a  ff 03 00 00  01 00 00 00  00*16`),
    values: { opc: 0x0e, psdt: 1, cid: 4, nsid: 1, sglLength: 4096, sglId: 0x5a, numd: 1023, eds: 1 },
    text: 'cid=4 Reservation Report nsid=1 numd=1024 eds=1',
  },
];

const KEY = 0x8877_6655_4433_2211n;
const KEY_BYTES = '11 22 33 44 55 66 77 88';

export const RESERVATION_STRUCTURE_VECTORS: readonly StructureVector[] = [
  {
    name: 'keys of Reservation Register',
    layout: ReservationRegisterData,
    bytes: hex(`${KEY_BYTES} 02 00*7`),
    values: { crkey: KEY, nrkey: 2n },
  },
  {
    name: 'keys of Reservation Acquire',
    layout: ReservationAcquireData,
    bytes: hex(`01 00*7 ${KEY_BYTES}`),
    values: { crkey: 1n, prkey: KEY },
  },
  {
    name: 'key of Reservation Release',
    layout: ReservationReleaseData,
    bytes: hex(KEY_BYTES),
    values: { crkey: KEY },
  },
  {
    name: 'Reservation Status',
    layout: ReservationStatusHeader,
    bytes: bytesAt(24, { 0: 'fe ff ff ff', 4: '05', 5: '02 01', 9: '01' }),
    values: { gen: 0xfffffffe, rtype: 5, regctl: 0x102, ptpls: 1 },
  },
  {
    name: 'registrant',
    layout: ReservationRegistrant,
    bytes: bytesAt(24, { 0: 'ff ff', 2: '01', 8: '01 02 03 04 05 06 07 08', 16: KEY_BYTES }),
    values: { cntlid: 0xffff, holder: 1, hostid: hex('01 02 03 04 05 06 07 08'), rkey: KEY },
  },
  {
    name: 'registrant with a host identifier of 128 bits',
    layout: ReservationRegistrantExtended,
    bytes: bytesAt(64, { 0: '34 12', 2: '01', 8: KEY_BYTES, 16: '00 11 22 33 44 55 66 77 88 99 aa bb cc dd ee ff' }),
    values: { cntlid: 0x1234, holder: 1, rkey: KEY, hostid: '00112233-4455-6677-8899-aabbccddeeff' },
  },
  {
    name: 'Reservation Notification log page',
    layout: ReservationNotificationLog,
    bytes: bytesAt(64, { 0: KEY_BYTES, 8: '02', 9: 'ff', 12: '07 00 00 00' }),
    values: { lpc: KEY, rnlpt: 2, nalp: 255, nsid: 7 },
  },
  {
    name: 'Reservation Notification Mask',
    layout: ReservationNotificationMaskFeature,
    bytes: hex('0a 00 00 00'),
    values: { regpre: 1, respre: 1 },
  },
  {
    name: 'Reservation Persistence',
    layout: ReservationPersistenceFeature,
    bytes: hex('01 00 00 00'),
    values: { ptpl: 1 },
  },
];
