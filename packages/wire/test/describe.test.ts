import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@nvbraid/base';
import { describePdu, describeSqe, PduType } from '@nvbraid/wire';
import { buildPdu, concat, randomBytes, randomSettings, randomStream } from './streams.ts';
import { PDU_VECTORS } from './vectors/pdus.ts';

const SEED = Number(process.env.SEED ?? 20260303);

test('what is cut short or damaged is said', () => {
  const read = PDU_VECTORS.find((vector) => vector.name === 'CapsuleCmd: Read')!.header;
  assert.equal(describePdu(read, 0, 0), 'nothing');
  assert.equal(describePdu(read, 0, 7), 'CapsuleCmd cut short (7 of 72 bytes)');
  assert.equal(describePdu(read, 0, 71), 'CapsuleCmd cut short (71 of 72 bytes)');
  const unknown = read.slice();
  unknown[0] = 0x2a;
  assert.equal(describePdu(unknown), 'unknown PDU type 0x2a (72 bytes)');
  const odd = read.slice();
  odd[2] = 24;
  odd[4] = 71;
  assert.equal(
    describePdu(odd),
    'CapsuleCmd cid=5 Read nsid=1 slba=8 nlb=8 (in-capsule 0) [hlen 24, not 72] [plen 71, less than the header]',
  );
  const data = buildPdu(PduType.C2HData, { data: new Uint8Array(100) });
  assert.equal(describePdu(data, 0, 50), 'C2HData cccid=0 datao=0 datal=100 cut short (50 of 124 bytes)');
  data[3] = 200;
  assert.equal(describePdu(data), 'C2HData cccid=0 datao=0 datal=100 [pdo 200, beyond plen 124]');
  assert.equal(describePdu(data, 500, 24), 'nothing', 'outside the source');
  const connect = PDU_VECTORS.find((vector) => vector.name === 'CapsuleCmd: Connect with its data')!;
  assert.equal(
    describePdu(concat([connect.header, connect.rest!]), 0, 600),
    'CapsuleCmd cid=0 Connect qid=0 sqsize=32 kato=30000 (in-capsule 1024) cut short (600 of 1096 bytes)',
  );
});

test('status 5 of a TermReq means something else from a host', () => {
  const body = Uint8Array.of(5, 0);
  assert.equal(describePdu(buildPdu(PduType.H2CTermReq, { body })), 'H2CTermReq fes=R2T Limit Exceeded fei=0x00000000');
  assert.equal(
    describePdu(buildPdu(PduType.C2HTermReq, { body })),
    'C2HTermReq fes=Data Transfer Limit Exceeded fei=0x00000000',
  );
  assert.match(describePdu(buildPdu(PduType.C2HTermReq, { body: Uint8Array.of(99) })), /fes=99/);
});

test('the queue decides what an opcode means, unknown ones are shown raw', () => {
  const sqe = new DataView(new ArrayBuffer(64));
  sqe.setUint8(0, 2);
  assert.equal(describeSqe(sqe, 0, 'io'), 'cid=0 Read slba=0 nlb=1');
  assert.equal(describeSqe(sqe, 0, 'admin'), 'cid=0 Get Log Page lid=SupportedLogPages numd=1');
  sqe.setUint8(0, 0x33);
  sqe.setUint32(40, 0xabcd, true);
  assert.equal(describeSqe(sqe, 0, 'io'), 'cid=0 opcode 33h cdw10=0x0000abcd');
  sqe.setUint8(0, 0x7f);
  sqe.setUint8(4, 0x77);
  assert.equal(describeSqe(sqe, 0, 'io'), 'cid=0 fabrics type 77h cdw10=0x0000abcd');
  sqe.setUint8(0, 1);
  sqe.setUint8(1, 2);
  assert.match(describeSqe(sqe, 0, 'io'), /^cid=0 Write nsid=119 slba=43981 nlb=1 fuse=2$/);
});

test('a response to a fabrics command has its own names', () => {
  const resp = buildPdu(PduType.CapsuleResp, { body: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 3) });
  assert.equal(describePdu(resp, 0, 24, { fabrics: true }), 'CapsuleResp cid=0 Connect Invalid Parameters sqhd=0');
  assert.equal(describePdu(resp), 'CapsuleResp cid=0 Attempted Write to Read Only Range sqhd=0');
});

test('any bytes give one printable line', (t) => {
  t.diagnostic(`seed ${SEED}`);
  for (let i = 0; i < 5000; i++) {
    const rng = new Rng(SEED + i);
    const stream = rng.chance(0.7) ? randomStream(rng, randomSettings(rng)) : randomBytes(rng, rng.between(1, 200));
    stream[rng.below(Math.min(8, stream.length))] = rng.below(256);
    const text = describePdu(stream, rng.below(4), rng.between(0, stream.length + 10), {
      queue: rng.pick(['admin', 'io']),
      fabrics: rng.chance(0.5),
    });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
    assert.ok(text.length > 0 && !/[\x00-\x1f]/.test(text), `seed ${SEED + i}: ${JSON.stringify(text)}`);
  }
});
