import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@nvbraid/base';
import { parseReservationStatus, reservationStatusExtended } from '@nvbraid/wire';
import { bytesAt } from './vectors/hex.ts';

const A = '00112233-4455-6677-8899-aabbccddeeff';
const B = '10112233-4455-6677-8899-aabbccddeeff';

test('an extended Reservation Status has its registrants from byte 64 on', () => {
  const registrants = [
    { cntlid: 0xffff, holder: true, rkey: 1n, hostid: A },
    { cntlid: 0xffff, holder: false, rkey: 0xff00_0000_0000_0002n, hostid: B },
  ];
  const bytes = reservationStatusExtended({ gen: 7, rtype: 3, ptpls: 1, registrants });
  const id = '11 22 33 44 55 66 77 88 99 aa bb cc dd ee ff';
  const expected = bytesAt(192, {
    0: '07 00 00 00 03 02 00 00 00 01',
    64: 'ff ff 01',
    72: '01',
    80: `00 ${id}`,
    128: 'ff ff 00',
    136: '02 00 00 00 00 00 00 ff',
    144: `10 ${id}`,
  });
  assert.deepEqual(bytes, expected);
  assert.deepEqual(parseReservationStatus(bytes, true), {
    ok: true,
    value: { gen: 7, rtype: 3, ptpls: 1, regctl: 2, registrants },
  });
  const part = parseReservationStatus(bytes.subarray(0, 191), true);
  assert.ok(part.ok && part.value.regctl === 2 && part.value.registrants.length === 1, 'as many as fit');
});

test('a Reservation Status with host identifiers of 64 bits', () => {
  const bytes = bytesAt(48, {
    0: '01 00 00 00 02 01 00',
    24: '05 00 01',
    32: '01 02 03 04 05 06 07 08',
    40: '11 22 33 44 55 66 77 88',
  });
  const status = parseReservationStatus(bytes, false);
  assert.deepEqual(status, {
    ok: true,
    value: {
      gen: 1,
      rtype: 2,
      ptpls: 0,
      regctl: 1,
      registrants: [{ cntlid: 5, holder: true, hostid: '0807060504030201', rkey: 0x8877_6655_4433_2211n }],
    },
  });
});

test('a Reservation Status that a peer made up is read as far as it goes', () => {
  assert.deepEqual(parseReservationStatus(new Uint8Array(63), true), {
    ok: false,
    reason: 'a reservation status of 63 bytes is shorter than its header',
  });
  const seed = 0x5eed0021;
  const rng = new Rng(seed);
  for (let i = 0; i < 500; i++) {
    const page = new Uint8Array(rng.below(400));
    rng.fill(page);
    for (const extended of [true, false]) {
      const parsed = parseReservationStatus(page, extended);
      if (parsed.ok) assert.ok(parsed.value.registrants.length * 24 <= page.length, `seed ${seed}`);
    }
  }
});
