import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32cPortable, Memory, Rng } from '@nvbraid/base';
import {
  CapProperty,
  CNTLID_DYNAMIC,
  describeCqe,
  describePdu,
  describeSqe,
  type LayoutMethods,
  propertyFields,
  propertyValue,
} from '@nvbraid/wire';
import { concat, framerFor, RecordingSink, receiveWhole } from './streams.ts';
import { CQE_VECTORS, SQE_VECTORS } from './vectors/entries.ts';
import { CONNECT_DATA, PDU_VECTORS } from './vectors/pdus.ts';
import { RESERVATION_SQE_VECTORS, RESERVATION_STRUCTURE_VECTORS } from './vectors/reservations.ts';
import { STRUCTURE_VECTORS } from './vectors/structures.ts';

const viewOf = (array: Uint8Array): DataView => new DataView(array.buffer, array.byteOffset, array.byteLength);

/** Both directions: what is emitted are these bytes, and what is parsed are these values and nothing else. */
// biome-ignore lint/suspicious/noExplicitAny: any layout
function check(layout: LayoutMethods<any>, bytes: Uint8Array, values: Readonly<Record<string, unknown>>): void {
  assert.equal(bytes.length, layout.size);
  const emitted = layout.toBytes(values);
  for (let i = 0; i < bytes.length; i++) assert.equal(emitted[i], bytes[i], `byte ${i}`);
  const found = layout.parse(viewOf(bytes)) as Record<string, unknown>;
  const expected = layout.parse(viewOf(layout.toBytes(values))) as Record<string, unknown>;
  assert.deepEqual(found, expected);
  for (const [key, value] of Object.entries(values))
    if (key !== 'psd') assert.deepEqual(found[key], value, `${layout.structName}.${key}`);
  assert.equal(layout.firstReservedNonZero(viewOf(bytes), 0), -1);
}

const SQES = [...SQE_VECTORS, ...RESERVATION_SQE_VECTORS];
const STRUCTURES = [...STRUCTURE_VECTORS, ...RESERVATION_STRUCTURE_VECTORS];

for (const vector of [...STRUCTURES, ...SQES, ...CQE_VECTORS])
  test(`bytes of ${vector.name}`, () => check(vector.layout, vector.bytes, vector.values));

for (const vector of SQES)
  test(`description of ${vector.name}`, () => {
    assert.equal(describeSqe(viewOf(vector.bytes), 0, vector.queue), vector.text);
  });

for (const vector of CQE_VECTORS)
  test(`description of ${vector.name}`, () => {
    assert.equal(describeCqe(viewOf(vector.bytes), 0, vector.fabrics), vector.text);
  });

for (const vector of PDU_VECTORS) {
  const rest = vector.rest ?? new Uint8Array(0);
  const pdu = concat([vector.header, rest]);

  test(`bytes of PDU ${vector.name}`, () => {
    check(vector.layout, vector.header, vector.values);
    assert.equal(vector.values.plen, pdu.length);
    if (vector.hdgst === true) {
      const digest = crc32cPortable(Memory.over(vector.header), 0, vector.header.length);
      assert.equal(viewOf(rest).getUint32(0, true), digest);
    }
  });

  test(`the framer reads PDU ${vector.name}`, () => {
    const sink = new RecordingSink(new Rng(1));
    const settings = { role: vector.role, hdgst: vector.hdgst === true, ddgst: vector.ddgst === true, align: 4 };
    receiveWhole(framerFor(settings, sink), pdu);
    const type = vector.header[0];
    const payload = Buffer.from(vector.payload ?? []);
    assert.deepEqual(sink.events, [
      `header ${type} ${payload.length} ${Buffer.from(vector.header).toString('hex')}`,
      `end ${type} true ${payload.toString('hex')}`,
    ]);
  });

  test(`description of PDU ${vector.name}`, () => {
    const options = vector.queue === undefined ? {} : { queue: vector.queue };
    assert.equal(describePdu(pdu, 0, pdu.length, options), vector.text);
    const memory = Memory.over(concat([new Uint8Array(3), pdu, new Uint8Array(5)]));
    assert.equal(describePdu(memory, 3, pdu.length, options), vector.text, 'wherever it lies');
  });
}

test('Connect data of a dynamic controller', () => {
  assert.equal(viewOf(CONNECT_DATA).getUint16(16, true), CNTLID_DYNAMIC);
});

test('properties travel as numbers', () => {
  const cap = 0x0800_0820_1e01_03ffn;
  assert.equal(propertyValue(CapProperty, { mqes: 1023, cqr: 1, to: 30, css: 0x41, crms: 1 }), cap);
  assert.equal(propertyFields(CapProperty, cap).css, 0x41);
});
