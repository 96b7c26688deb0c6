import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionError, Memory, Rng } from '@nvbraid/base';
import { CommonHeader, Fes, Framer, type FramerRole, H2CData, ICReq, PduFlag, PduType } from '@nvbraid/wire';
import {
  buildPdu,
  concat,
  framerFor,
  LIMITS,
  RecordingSink,
  randomSettings,
  randomStream,
  receiveSplit,
  receiveWhole,
  type StreamSettings,
} from './streams.ts';

const SEED = Number(process.env.SEED ?? 20260101);

function plain(role: FramerRole, over: Partial<StreamSettings> = {}): StreamSettings {
  return { role, hdgst: false, ddgst: false, align: 4, ...over };
}

/** What the reader says about a stream in one piece. */
function eventsOf(settings: StreamSettings, stream: Uint8Array): string[] {
  const sink = new RecordingSink(new Rng(1));
  receiveWhole(framerFor(settings, sink), stream);
  return sink.events;
}

function change(pdu: Uint8Array, at: number, ...bytes: number[]): Uint8Array {
  const changed = pdu.slice();
  changed.set(bytes, at);
  return changed;
}

const u32 = (value: number): number[] => [...new Uint8Array(new Uint32Array([value]).buffer)];
const PLEN = CommonHeader.plen.offset;
const data = (length: number): Uint8Array => new Uint8Array(length).fill(7);

test('any split of a stream, with and without direct receive, gives the events of the whole', (t) => {
  t.diagnostic(`seed ${SEED}`);
  const seen = new Set<string>();
  for (let i = 0; i < 3000; i++) {
    const rng = new Rng(SEED + i);
    const settings = randomSettings(rng);
    const stream = randomStream(rng, settings);
    const expected = eventsOf(settings, stream);
    for (const probability of [0, 0.5, 1]) {
      const sink = new RecordingSink(rng);
      const framer = framerFor(settings, sink);
      receiveSplit(framer, stream, rng, probability);
      assert.deepEqual(sink.events, expected, `seed ${SEED + i}`);
    }
    for (const event of expected) seen.add(`${settings.role} ${event.split(' ', 2).join(' ')}`);
  }
  // The streams contain everything that there is.
  for (const type of [0, 2, 4, 6])
    assert.ok(seen.has(`controller header ${type}`) && seen.has(`controller end ${type}`));
  for (const type of [1, 3, 5, 7, 9]) assert.ok(seen.has(`host header ${type}`) && seen.has(`host end ${type}`));
  assert.ok(seen.has('host fatal 3') && seen.has('controller fatal 3'));
});

test('a stream in order ends between PDUs, and all payload has come through', () => {
  for (let i = 0; i < 200; i++) {
    const rng = new Rng(SEED + i);
    const settings = plain(rng.pick(['host', 'controller']), { hdgst: true, ddgst: true });
    const type = settings.role === 'host' ? PduType.C2HData : PduType.H2CData;
    const stream = concat([1, 2, 3].map((n) => buildPdu(type, { ...settings, data: data(n * 100) })));
    const sink = new RecordingSink(rng);
    const framer = framerFor(settings, sink);
    assert.ok(framer.idle);
    receiveSplit(framer, stream.subarray(0, -1), rng, 0.5);
    assert.ok(!framer.idle && framer.alive);
    receiveSplit(framer, stream.subarray(-1), rng, 0.5);
    assert.ok(framer.idle && framer.alive);
    assert.deepEqual([sink.headers, sink.payloadBytes, sink.fatals], [3, 600, 0]);
  }
});

test('payload that is thrown away still has its digest checked, however it arrives', () => {
  for (let i = 0; i < 300; i++) {
    const rng = new Rng(SEED + i);
    const settings = { ...randomSettings(rng), ddgst: true };
    const stream = randomStream(rng, settings);
    const whole = new RecordingSink(rng, true);
    receiveWhole(framerFor(settings, whole), stream);
    const split = new RecordingSink(rng, true);
    receiveSplit(framerFor(settings, split), stream, rng, 1);
    assert.deepEqual(split.events, whole.events, `seed ${SEED + i}`);
  }
});

test('rules of the common header', () => {
  const command = buildPdu(PduType.CapsuleCmd);
  const inCapsule = buildPdu(PduType.CapsuleCmd, { data: data(16) });
  const h2c = buildPdu(PduType.H2CData, { data: data(16) });
  const c2h = buildPdu(PduType.C2HData, { data: data(16) });
  const r2t = buildPdu(PduType.R2T);
  const resp = buildPdu(PduType.CapsuleResp);
  const icReq = buildPdu(PduType.ICReq);
  const term = buildPdu(PduType.H2CTermReq, { data: data(128) });
  const field = Fes.InvalidPduHeaderField;
  type Row = [string, StreamSettings, Uint8Array, fes: number, fei: number];
  const controller = plain('controller');
  const host = plain('host');
  const rows: Row[] = [
    ['type that does not exist', controller, change(command, 0, 8), field, 0],
    ['type that does not exist', host, change(resp, 0, 0x0a), field, 0],
    ['response to a controller', controller, resp, Fes.PduSequenceError, 0],
    ['R2T to a controller', controller, r2t, Fes.PduSequenceError, 0],
    ['ICResp to a controller', controller, buildPdu(PduType.ICResp), Fes.PduSequenceError, 0],
    ['C2HTermReq to a controller', controller, buildPdu(PduType.C2HTermReq), Fes.PduSequenceError, 0],
    ['command to a host', host, command, Fes.PduSequenceError, 0],
    ['H2CData to a host', host, h2c, Fes.PduSequenceError, 0],
    ['hlen too short', controller, change(command, 2, 71), field, 2],
    ['hlen too long', controller, change(icReq, 2, 129), field, 2],
    ['header digest that was not agreed', controller, change(command, 1, PduFlag.HDGSTF), field, 1],
    ['header digest missing', { ...controller, hdgst: true }, command, field, 1],
    ['data digest that was not agreed', controller, change(h2c, 1, PduFlag.DDGSTF), field, 1],
    ['data digest missing', { ...controller, ddgst: true }, h2c, field, 1],
    ['SUCCESS before the last PDU', host, change(c2h, 1, PduFlag.SUCCESS), field, 1],
    ['payload inside the header', controller, change(h2c, 3, 20), field, 3],
    ['payload not on a dword', controller, change(h2c, 3, 26), field, 3],
    ['payload not where CPDA says', { ...controller, align: 64 }, h2c, field, 3],
    ['payload not where HPDA says', { ...host, align: 32 }, c2h, field, 3],
    ['in-capsule payload without pdo', controller, change(inCapsule, 3, 0), field, 3],
    ['plen shorter than the header', controller, change(command, PLEN, ...u32(71)), field, PLEN],
    ['plen 0', controller, change(h2c, PLEN, ...u32(0)), field, PLEN],
    ['plen without payload', controller, change(h2c, PLEN, ...u32(24)), field, PLEN],
    [
      'plen without room for the data digest',
      { ...host, ddgst: true },
      change(buildPdu(7, { data: data(4), ddgst: true }), PLEN, ...u32(28)),
      field,
      PLEN,
    ],
    ['plen of a PDU without payload', host, change(r2t, PLEN, ...u32(28)), field, PLEN],
    ['plen of a response', host, change(resp, PLEN, ...u32(20)), field, PLEN],
    ['plen of ICReq', controller, change(icReq, PLEN, ...u32(132)), field, PLEN],
    ['plen of a TermReq, too short', controller, change(term, PLEN, ...u32(23)), field, PLEN],
    ['plen of a TermReq, too long', controller, change(term, PLEN, ...u32(153)), field, PLEN],
    [
      'too much in-capsule data',
      controller,
      change(inCapsule, PLEN, ...u32(72 + LIMITS.maxInCapsule + 1)),
      field,
      PLEN,
    ],
    [
      'more than MAXH2CDATA',
      controller,
      change(h2c, PLEN, ...u32(24 + LIMITS.maxData + 1)),
      Fes.DataTransferLimitExceeded,
      0,
    ],
    ['as long as can be said', controller, change(h2c, PLEN, ...u32(0xffffffff)), Fes.DataTransferLimitExceeded, 0],
    [
      'more data than any command has',
      host,
      change(c2h, PLEN, ...u32(24 + LIMITS.maxData + 1)),
      Fes.DataTransferOutOfRange,
      0,
    ],
  ];
  for (const [name, settings, stream, fes, fei] of rows) {
    const header = Buffer.from(stream.subarray(0, 8)).toString('hex');
    assert.deepEqual(eventsOf(settings, stream), [`fatal ${fes} ${fei} ${header}`], name);
    assert.deepEqual(
      eventsOf(settings, stream.subarray(0, 8)),
      [`fatal ${fes} ${fei} ${header}`],
      `${name}: told at once`,
    );
  }
});

test('what is reserved is not looked at', () => {
  // Flags and pdo of ICReq and TermReq, pdo and the data digest flag of a command without data, unknown flags.
  for (const [role, stream] of [
    ['controller', change(buildPdu(PduType.ICReq), 1, 0xff, 128, 9)],
    ['controller', change(buildPdu(PduType.H2CTermReq, { data: data(3) }), 1, 0xff, 24, 9)],
    ['controller', change(buildPdu(PduType.CapsuleCmd), 1, 0xf0 | PduFlag.DDGSTF, 72, 72)],
    ['host', change(buildPdu(PduType.R2T), 1, 0xf0, 24, 1)],
  ] as const) {
    const events = eventsOf(plain(role), stream);
    assert.equal(events.length, 2, events.join());
    assert.match(events[1]!, /^end/);
  }
});

test('the longest that is allowed is taken', () => {
  const settings = plain('controller', { hdgst: true, ddgst: true, align: 128 });
  const stream = concat([
    buildPdu(PduType.CapsuleCmd, { ...settings, data: data(LIMITS.maxInCapsule) }),
    buildPdu(PduType.H2CData, { ...settings, data: data(LIMITS.maxData) }),
    buildPdu(PduType.H2CTermReq, { data: data(128) }),
  ]);
  assert.equal(eventsOf(settings, stream).filter((event) => /^end \d true/.test(event)).length, 3);
});

test('datal must be the length of the payload', () => {
  for (const [role, type] of [
    ['controller', PduType.H2CData],
    ['host', PduType.C2HData],
  ] as const) {
    const pdu = change(buildPdu(type, { data: data(16) }), H2CData.datal.offset, ...u32(17));
    const header = Buffer.from(pdu.subarray(0, 24)).toString('hex');
    assert.deepEqual(eventsOf(plain(role), pdu), [`fatal ${Fes.InvalidPduHeaderField} 16 ${header}`]);
  }
});

test('a header digest that does not match is fatal and carries what was received', () => {
  const settings = plain('controller', { hdgst: true });
  const pdu = buildPdu(PduType.CapsuleCmd, { hdgst: true, badHeaderDigest: true });
  const received = new DataView(pdu.buffer).getUint32(72, true);
  const header = Buffer.from(pdu.subarray(0, 72)).toString('hex');
  assert.deepEqual(eventsOf(settings, pdu), [`fatal ${Fes.HeaderDigestError} ${received} ${header}`]);
  assert.deepEqual(eventsOf(settings, pdu.subarray(0, 75)), [], 'not before the digest is there');
});

test('a data digest that does not match is told and the stream goes on', () => {
  const settings = plain('host', { ddgst: true });
  const stream = concat([
    buildPdu(PduType.C2HData, { ddgst: true, data: data(5), badDataDigest: true }),
    buildPdu(PduType.CapsuleResp),
  ]);
  const events = eventsOf(settings, stream);
  assert.deepEqual([events.length, events[1]], [4, 'end 7 false 0707070707']);
});

test('a TermReq is the last PDU', () => {
  for (const [role, type, next] of [
    ['controller', PduType.H2CTermReq, PduType.CapsuleCmd],
    ['host', PduType.C2HTermReq, PduType.CapsuleResp],
  ] as const) {
    const sink = new RecordingSink(new Rng(1));
    const framer = framerFor(plain(role), sink);
    receiveWhole(framer, concat([buildPdu(type, { data: data(2) }), buildPdu(next)]));
    assert.deepEqual([sink.headers, sink.fatals, sink.events.at(-1)], [1, 0, `end ${type} true 0707`]);
    assert.ok(!framer.alive);
  }
});

test('the data of a TermReq in pieces needs no place and is not received directly', () => {
  const sink = new RecordingSink(new Rng(1));
  const framer = framerFor(plain('host'), sink);
  sink.pduPlace = () => assert.fail('asked for a place');
  const stream = Memory.over(buildPdu(PduType.C2HTermReq, { data: data(128) }));
  for (let i = 0; i < stream.length; i++) {
    assert.equal(framer.directLength, 0);
    framer.receive(stream, i, i + 1);
  }
  assert.equal(sink.events.at(-1), `end 3 true ${'07'.repeat(128)}`);
});

test('the sink may stop or fail the stream in any call', () => {
  const two = concat([
    buildPdu(PduType.H2CData, { ddgst: true, data: data(50) }),
    buildPdu(PduType.H2CData, { ddgst: true, data: data(50) }),
  ]);
  const settings = plain('controller', { ddgst: true });
  for (const call of ['pduHeader', 'pduPlace', 'pduEnd'] as const)
    for (const how of ['stop', 'fail'] as const)
      for (const step of [1, 20, 76, two.length]) {
        const sink = new RecordingSink(new Rng(1));
        const framer = framerFor(settings, sink);
        let calls = 0;
        sink[call] = () => {
          calls++;
          if (how === 'stop') framer.stop();
          else framer.fail(Fes.UnsupportedParameter, 8, new DataView(new ArrayBuffer(24)), 0, 24);
        };
        const memory = Memory.over(two.slice());
        for (let at = 0; at < two.length; at += step) framer.receive(memory, at, Math.min(at + step, two.length));
        if (call === 'pduPlace' && step === two.length) {
          assert.equal(calls, 0);
          continue;
        }
        assert.equal(calls, 1, `${call} ${how} ${step}`);
        assert.equal(sink.fatals, how === 'fail' ? 1 : 0);
        if (how === 'fail') assert.equal(sink.events.at(-1), `fatal 6 8 ${'00'.repeat(24)}`);
        assert.ok(!framer.alive && !framer.idle && framer.directLength === 0);
      }
});

test('a command without data that stops the stream is not delivered', () => {
  const sink = new RecordingSink(new Rng(1));
  const framer = framerFor(plain('controller'), sink);
  sink.pduHeader = () => framer.stop();
  receiveWhole(framer, concat([buildPdu(PduType.CapsuleCmd), buildPdu(PduType.CapsuleCmd)]));
  assert.deepEqual(sink.events, []);
});

test('a direct receive that was under way when the stream was given up changes nothing', () => {
  const sink = new RecordingSink(new Rng(1));
  const framer = framerFor(plain('controller'), sink);
  const pdu = Memory.over(buildPdu(PduType.H2CData, { data: data(50) }));
  framer.receive(pdu, 0, 30);
  assert.equal(framer.directLength, 44);
  framer.stop();
  framer.directReceived(44);
  assert.ok(!framer.alive);
  assert.equal(sink.events.length, 1);
});

test('more than was asked for, and a place that is too small, are programmer errors', () => {
  const pdu = Memory.over(buildPdu(PduType.H2CData, { data: data(50) }));
  const sink = new RecordingSink(new Rng(1));
  const framer = framerFor(plain('controller'), sink);
  framer.receive(pdu, 0, 30);
  assert.throws(() => framer.directReceived(45), AssertionError);
  const small = framerFor(plain('controller'), sink);
  sink.pduPlace = () => {
    small.placeMemory = Memory.alloc(49);
    small.placeOffset = 0;
  };
  assert.throws(() => small.receive(pdu, 0, 30), AssertionError);
});

test('digests that the sink agrees on in ICReq hold from the next PDU', () => {
  const sink = new RecordingSink(new Rng(1));
  const framer = new Framer('controller', sink, LIMITS);
  sink.framer = framer;
  const record = sink.pduHeader.bind(sink);
  sink.pduHeader = (type, view, base) => {
    record(type, view, base);
    if (type === PduType.ICReq) framer.hdgst = ICReq.hdgst.get(view, base) === 1;
  };
  const body = ICReq.toBytes({ hdgst: 1 }).subarray(8);
  receiveWhole(framer, concat([buildPdu(PduType.ICReq, { body }), buildPdu(PduType.CapsuleCmd, { hdgst: true })]));
  assert.deepEqual([sink.headers, sink.fatals], [2, 0]);
});
