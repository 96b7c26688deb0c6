import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32c, Memory, NEVER, NvbraidError } from '@nvbraid/base';
import { HANDSHAKE_TIMEOUT_MS, HOST_QUEUE_STATES, RequestState } from '@nvbraid/host';
import { C2HData, Fes, PduFlag, PduType, Status } from '@nvbraid/wire';
import { SlotTable } from '../src/slot-table.ts';
import { flush, type PeerOptions, pattern, read, ScriptedPeer, write } from './scripted-peer.ts';

const { LAST_PDU, SUCCESS } = PduFlag;

function connected(options: PeerOptions = {}): ScriptedPeer {
  return new ScriptedPeer(options).handshake();
}

function each(values: number[], move: (value: number) => void): void {
  for (const value of values) move(value);
}

/** The queue has said why it ends the connection, and everything under way has ended. */
function terminated(peer: ScriptedPeer, fes: number, fei?: number): void {
  const pdu = peer.expect('H2CTermReq', fei === undefined ? { fes } : { fes, fei });
  assert.ok(pdu.data.length >= 8, 'the offending header is shown');
  peer.expectNothing();
  assert.equal(peer.queue.finished, true);
  assert.equal(peer.queue.state, 'closing');
  assert.equal(peer.failures.length, 1);
  assert.equal(peer.failures[0]!.code, 'EPROTO');
  assert.equal(peer.queue.outstanding, 0);
  assert.equal(peer.queue.nextDeadlineMs, NEVER);
  peer.queue.closed(null);
  assert.equal(peer.queue.state, 'closed');
  assert.equal(peer.failures.length, 1, 'told once');
}

test('the states of a queue', () => {
  assert.equal(
    HOST_QUEUE_STATES.describe(),
    [
      'HostQueue (starts in new)',
      '  start: new -> handshake',
      '  icResp: handshake -> ready',
      '  terminate: new -> closed, handshake -> closing, ready -> closing',
      '  gone: new -> closed, handshake -> closed, ready -> closed, closing -> closed',
    ].join('\n'),
  );
});

// ------------------------------------------------------------------ handshake

test('handshake: ICReq says what the host wants, ICResp makes the queue ready', () => {
  const peer = new ScriptedPeer({ maxR2t: 3, hpda: 7, hdrDigest: true, dataDigest: true });
  peer.expectNothing();
  peer.queue.start();
  assert.equal(peer.wants, 1);
  peer.expect('ICReq', { pfv: 0, hpda: 7, hdgst: 1, ddgst: 1, maxr2t: 2, plen: 128, pdo: 0 });
  assert.equal(peer.ready, 0);
  peer.icResp({ hdgst: 1, ddgst: 1 });
  assert.equal(peer.ready, 1);
  assert.equal(peer.queue.nextDeadlineMs, NEVER);
});

const WRONG_ICRESP = [
  ['PFV that does not exist', { pfv: 1 }, Fes.UnsupportedParameter, 8],
  ['CPDA beyond 31', { cpda: 32 }, Fes.InvalidPduHeaderField, 10],
  ['MAXH2CDATA below 4096', { maxh2cdata: 4095 }, Fes.InvalidPduHeaderField, 12],
  ['MAXH2CDATA that is no multiple of 4', { maxh2cdata: 8193 }, Fes.InvalidPduHeaderField, 12],
  ['length', { plen: 132 }, Fes.InvalidPduHeaderField, 4],
] as const;
for (const [what, fields, fes, fei] of WRONG_ICRESP) {
  test(`ICResp with a wrong ${what} ends the connection`, () => {
    const peer = new ScriptedPeer();
    peer.queue.start();
    peer.expect('ICReq');
    peer.icResp(fields);
    assert.equal(peer.ready, 0);
    terminated(peer, fes, fei);
  });
}

for (const [asked, answered] of [
  [{}, { hdgst: 1 }],
  [{}, { ddgst: 1 }],
  [{ hdrDigest: true }, {}],
  [{ dataDigest: true }, {}],
] as const) {
  test(`digests asked ${JSON.stringify(asked)}, answered ${JSON.stringify(answered)}: no connection, no retry`, () => {
    const peer = new ScriptedPeer(asked);
    peer.queue.start();
    peer.expect('ICReq');
    peer.icResp(answered);
    assert.equal(peer.failures[0]?.code, 'EPROTO');
    assert.equal(peer.failures[0]?.retryable, false);
    peer.expectNothing();
    assert.equal(peer.queue.finished, true);
  });
}

test('any other PDU before ICResp, and a second ICResp, are out of sequence', () => {
  const early = new ScriptedPeer();
  early.queue.start();
  early.expect('ICReq');
  early.resp(0);
  terminated(early, Fes.PduSequenceError);
  const twice = connected();
  twice.icResp();
  terminated(twice, Fes.PduSequenceError);
  const unasked = new ScriptedPeer();
  unasked.queue.start();
  unasked.icResp();
  terminated(unasked, Fes.PduSequenceError);
});

test('no ICResp in time', () => {
  const peer = new ScriptedPeer();
  peer.queue.start();
  peer.expect('ICReq');
  assert.equal(peer.queue.nextDeadlineMs, 1000 + HANDSHAKE_TIMEOUT_MS);
  peer.queue.tick(1000 + HANDSHAKE_TIMEOUT_MS - 1);
  assert.equal(peer.failures.length, 0);
  peer.queue.tick(1000 + HANDSHAKE_TIMEOUT_MS);
  assert.equal(peer.failures[0]?.code, 'ETIMEDOUT');
  peer.expectNothing();
  assert.equal(peer.queue.finished, true);
});

test('a connection that cannot be made', () => {
  const peer = new ScriptedPeer();
  peer.queue.closed(null);
  assert.equal(peer.failures[0]?.code, 'ECONNRESET');
  assert.equal(peer.queue.state, 'closed');
});

// ------------------------------------------------------------------ commands

test('a command without data: capsule, response, nothing left over', () => {
  const peer = connected();
  const request = flush();
  peer.queue.submit(request);
  const { cid } = peer.expect('CapsuleCmd', { opc: 0, nsid: 1, psdt: 1, sglLength: 0, plen: 72, pdo: 0 }).sqe;
  assert.equal(request.state, RequestState.Sent);
  peer.resp(cid, 0, { dw0: 7, dw1: 9, sqhd: 1 });
  assert.deepEqual([request.ends, request.status, request.dw0, request.dw1], [1, 0, 7, 9]);
  assert.equal(request.state, RequestState.Idle);
  assert.equal(peer.queue.sqHead, 1);
});

test('status words reach the request whole', () => {
  const peer = connected();
  for (const status of [Status.LbaOutOfRange | 0x4000, Status.AnaInaccessible, 0x6000 | Status.InternalError]) {
    const request = flush();
    peer.queue.submit(request);
    peer.resp(peer.expect('CapsuleCmd').sqe.cid, status);
    assert.equal(request.status, status);
  }
});

test('read: data lands in place, CapsuleResp completes', () => {
  const peer = connected();
  const memory = Memory.alloc(16 + 4096);
  const request = read(4096, memory, 8);
  peer.queue.submit(request);
  const { cid } = peer.expect('CapsuleCmd', { opc: 2, sglLength: 4096, sglType: 5, sglSubtype: 10 }).sqe;
  const data = pattern(4096);
  peer.c2hData(cid, 0, data.subarray(0, 1000));
  peer.c2hData(cid, 1000, data.subarray(1000), LAST_PDU);
  assert.equal(request.ends, 0);
  peer.resp(cid);
  assert.deepEqual([request.ends, request.status, request.received], [1, 0, 4096]);
  assert.deepEqual(memory.bytes.slice(8, 8 + 4096), data);
  assert.deepEqual([memory.bytes[7], memory.bytes[8 + 4096]], [0, 0], 'nothing beside the buffer is touched');
});

test('read: SUCCESS on the last data PDU completes without a response', () => {
  const peer = connected();
  const request = read(512);
  peer.queue.submit(request);
  const { cid } = peer.expect('CapsuleCmd').sqe;
  peer.c2hData(cid, 0, pattern(512), LAST_PDU | SUCCESS);
  assert.deepEqual([request.ends, request.status], [1, 0]);
  // A response on top of it names a command that is not there any more.
  peer.resp(cid);
  terminated(peer, Fes.InvalidPduHeaderField, 20);
});

test('read: without SUCCESS and without a response the command times out', () => {
  const peer = connected();
  const request = read(512);
  peer.queue.submit(request);
  const { cid } = peer.expect('CapsuleCmd').sqe;
  peer.c2hData(cid, 0, pattern(512), LAST_PDU);
  peer.clock.advance(30_000);
  peer.queue.tick(peer.clock.nowMs());
  assert.deepEqual(peer.timedOut, [cid]);
  assert.equal(request.ends, 0, 'only the owner decides');
});

test('success with less data than asked for is an error for reads of blocks', () => {
  const peer = connected();
  const [exact, loose] = [read(1024), read(1024)];
  loose.exact = false;
  for (const request of [exact, loose]) {
    peer.queue.submit(request);
    const { cid } = peer.expect('CapsuleCmd').sqe;
    peer.c2hData(cid, 0, pattern(512), LAST_PDU);
    peer.resp(cid);
  }
  assert.deepEqual([exact.status, loose.status], [Status.DataTransferError, 0]);
  assert.deepEqual([exact.received, loose.received], [512, 512]);
});

test('C2HData that the host must refuse', () => {
  const data = pattern(512);
  const stories: [string, number, number | undefined, (peer: ScriptedPeer, cid: number) => void][] = [
    ['unknown cid', Fes.InvalidPduHeaderField, 8, (p, cid) => p.c2hData(cid + 1, 0, data)],
    ['stale generation', Fes.InvalidPduHeaderField, 8, (p, cid) => p.c2hData(cid ^ 0x100, 0, data)],
    ['beyond the end', Fes.DataTransferOutOfRange, undefined, (p, cid) => p.c2hData(cid, 0, pattern(4100))],
    ['a gap', Fes.DataTransferOutOfRange, undefined, (p, cid) => p.c2hData(cid, 512, data)],
    [
      'twice the same',
      Fes.DataTransferOutOfRange,
      undefined,
      (p, cid) => each([0, 0], (datao) => p.c2hData(cid, datao, data)),
    ],
    ['DATAL is not the payload', Fes.InvalidPduHeaderField, 16, (p, cid) => p.c2hData(cid, 0, data, 0, { datal: 508 })],
    ['SUCCESS without LAST_PDU', Fes.InvalidPduHeaderField, 1, (p, cid) => p.c2hData(cid, 0, data, SUCCESS)],
    [
      'data after the last',
      Fes.PduSequenceError,
      undefined,
      (p, cid) => each([0, 512], (datao) => p.c2hData(cid, datao, data, LAST_PDU)),
    ],
  ];
  for (const [what, fes, fei, story] of stories) {
    const peer = connected();
    const request = read(4096);
    peer.queue.submit(request);
    story(peer, peer.expect('CapsuleCmd').sqe.cid);
    assert.deepEqual([request.ends, request.status], [1, Status.HostPathingError], what);
    terminated(peer, fes, fei);
  }
});

test('C2HData for a write', () => {
  const peer = connected();
  peer.queue.submit(write(pattern(4096)));
  peer.c2hData(peer.expect('CapsuleCmd').sqe.cid, 0, pattern(512));
  terminated(peer, Fes.PduSequenceError);
});

test('HPDA: payload that is not aligned as asked', () => {
  const good = new ScriptedPeer({ hpda: 31 });
  good.align = 128;
  good.handshake();
  const request = read(512);
  good.queue.submit(request);
  good.c2hData(good.expect('CapsuleCmd').sqe.cid, 0, pattern(512), LAST_PDU | SUCCESS);
  assert.equal(request.status, 0);
  const bad = new ScriptedPeer({ hpda: 31 }).handshake();
  bad.queue.submit(read(512));
  bad.c2hData(bad.expect('CapsuleCmd').sqe.cid, 0, pattern(512), LAST_PDU | SUCCESS);
  terminated(bad, Fes.InvalidPduHeaderField, 3);
});

// ------------------------------------------------------------------ writes

test('a write that fits travels in the capsule', () => {
  const peer = connected({ inCapsuleBytes: 8192 });
  for (const length of [512, 100, 8192]) {
    const data = pattern(length, length);
    const request = write(data);
    peer.queue.submit(request);
    const pdu = peer.expect('CapsuleCmd', { opc: 1, sglLength: length, sglType: 0, sglSubtype: 1, sglAddress: 0 });
    assert.deepEqual(pdu.data, data);
    peer.resp(pdu.sqe.cid);
    assert.deepEqual([request.ends, request.status], [1, 0]);
  }
  peer.queue.submit(write(pattern(8193)));
  assert.equal(peer.expect('CapsuleCmd', { sglType: 5 }).data.length, 0);
});

test('fabrics commands carry their data in the capsule whatever IOCCSZ says', () => {
  const peer = connected({ inCapsuleBytes: 0 });
  const request = write(pattern(1024));
  request.reset(0x7f).sends(Memory.over(pattern(1024)), 0, 1024);
  peer.queue.submit(request);
  assert.equal(peer.expect('CapsuleCmd', { sglType: 0, sglSubtype: 1 }).data.length, 1024);
});

test('a write by R2T: H2CData in order, cut by MAXH2CDATA, the last one marked', () => {
  const peer = new ScriptedPeer().handshake({ maxh2cdata: 4096 });
  const data = pattern(10_000);
  const request = write(data);
  peer.queue.submit(request);
  const { cid } = peer.expect('CapsuleCmd', { sglLength: 10_000, sglType: 5 }).sqe;
  peer.expectNothing();
  peer.r2t(cid, 0x77, 0, 10_000);
  const got = [0, 4096, 8192].map((datao) => {
    const last = datao === 8192;
    const datal = last ? 10_000 - 8192 : 4096;
    return peer.expect('H2CData', { cccid: cid, ttag: 0x77, datao, datal, flags: last ? LAST_PDU : 0 }).data;
  });
  assert.deepEqual(Buffer.concat(got), Buffer.from(data));
  peer.expectNothing();
  peer.resp(cid);
  assert.deepEqual([request.ends, request.status], [1, 0]);
});

test('several R2Ts of one command are answered in their order, up to MAXR2T of them', () => {
  const peer = new ScriptedPeer({ maxR2t: 2 }).handshake({ maxh2cdata: 4096 });
  const data = pattern(12_288);
  const request = write(data);
  peer.queue.submit(request);
  const { cid } = peer.expect('CapsuleCmd').sqe;
  peer.r2t(cid, 1, 0, 4096);
  peer.r2t(cid, 2, 4096, 4096);
  peer.expect('H2CData', { ttag: 1, datao: 0, flags: LAST_PDU });
  peer.expect('H2CData', { ttag: 2, datao: 4096, flags: LAST_PDU });
  peer.r2t(cid, 3, 8192, 2048);
  peer.r2t(cid, 4, 10_240, 2048);
  peer.expect('H2CData', { ttag: 3, datao: 8192, datal: 2048 });
  assert.deepEqual(peer.expect('H2CData', { ttag: 4 }).data, data.slice(10_240));
  peer.resp(cid);
  assert.equal(request.status, 0);
});

test('R2Ts that the host must refuse', () => {
  const stories: [string, number, number | undefined, (peer: ScriptedPeer, cid: number) => void][] = [
    ['unknown cid', Fes.InvalidPduHeaderField, 8, (p, cid) => p.r2t(cid ^ 0x8000, 1, 0, 4096)],
    ['nothing asked for', Fes.DataTransferOutOfRange, 0, (p, cid) => p.r2t(cid, 1, 0, 0)],
    ['beyond the end', Fes.DataTransferOutOfRange, 0, (p, cid) => p.r2t(cid, 1, 0, 20_001)],
    ['far beyond the end', Fes.DataTransferOutOfRange, 0, (p, cid) => p.r2t(cid, 1, 0xfffffff0, 0xff)],
    ['out of order', Fes.DataTransferOutOfRange, 0, (p, cid) => p.r2t(cid, 1, 4096, 4096)],
    ['asked for twice', Fes.DataTransferOutOfRange, 0, (p, cid) => each([0, 0], (r2to) => p.r2t(cid, 1, r2to, 4096))],
    [
      'more than MAXR2T',
      Fes.DataTransferLimitExceeded,
      0,
      (p, cid) => each([0, 4, 8], (r2to) => p.r2t(cid, r2to, r2to, 4)),
    ],
  ];
  for (const [what, fes, fei, story] of stories) {
    const peer = connected({ maxR2t: 2 });
    const request = write(pattern(20_000));
    peer.queue.submit(request);
    story(peer, peer.expect('CapsuleCmd').sqe.cid);
    assert.deepEqual([request.ends, request.status], [1, Status.HostPathingError], what);
    terminated(peer, fes, fei);
  }
});

test('R2T for a read, and for a write whose data went in the capsule', () => {
  const peer = connected();
  peer.queue.submit(read(4096));
  peer.r2t(peer.expect('CapsuleCmd').sqe.cid, 1, 0, 4096);
  terminated(peer, Fes.PduSequenceError);
  const other = connected({ inCapsuleBytes: 8192 });
  other.queue.submit(write(pattern(4096)));
  other.r2t(other.expect('CapsuleCmd').sqe.cid, 1, 0, 4096);
  terminated(other, Fes.PduSequenceError);
});

test('a response that comes before all data was asked for: an error keeps its status, success is none', () => {
  const peer = connected();
  const [failed, hasty] = [write(pattern(20_000)), write(pattern(20_000))];
  peer.queue.submit(failed);
  let { cid } = peer.expect('CapsuleCmd').sqe;
  peer.r2t(cid, 1, 0, 4096);
  peer.resp(cid, Status.WriteFault);
  assert.equal(failed.status, Status.WriteFault);
  peer.expectNothing();
  peer.queue.submit(hasty);
  cid = peer.expect('CapsuleCmd').sqe.cid;
  peer.r2t(cid, 1, 0, 4096);
  peer.expect('H2CData');
  peer.resp(cid);
  assert.equal(hasty.status, Status.DataTransferError);
});

test('CPDA: payload of capsules and H2CData begins where the controller wants it', () => {
  const peer = new ScriptedPeer({ inCapsuleBytes: 8192 }).handshake({ cpda: 31, maxh2cdata: 8192 });
  const small = pattern(512);
  peer.queue.submit(write(small));
  assert.deepEqual(peer.expect('CapsuleCmd', { pdo: 128, plen: 128 + 512 }).data, small);
  assert.ok(
    peer.raw.slice(72, 128).every((byte) => byte === 0),
    'padding is zero',
  );
  const large = pattern(16_384);
  peer.queue.submit(write(large));
  const { cid } = peer.expect('CapsuleCmd', { pdo: 0 }).sqe;
  peer.r2t(cid, 5, 0, 16_384);
  assert.deepEqual(peer.expect('H2CData', { pdo: 128 }).data, large.slice(0, 8192));
  assert.deepEqual(peer.expect('H2CData', { pdo: 128 }).data, large.slice(8192));
});

// ------------------------------------------------------------------ digests

function digested(): ScriptedPeer {
  const peer = new ScriptedPeer({ hdrDigest: true, dataDigest: true, inCapsuleBytes: 8192 });
  return peer.handshake({ hdgst: 1, ddgst: 1 });
}

test('digests: both directions, with and without data', () => {
  const peer = digested();
  const small = write(pattern(512));
  peer.queue.submit(small);
  const pdu = peer.expect('CapsuleCmd', { flags: 3, pdo: 76, plen: 76 + 512 + 4 });
  assert.equal(pdu.digestOk, true);
  peer.resp(pdu.sqe.cid);
  const large = write(pattern(20_000));
  peer.queue.submit(large);
  const { cid } = peer.expect('CapsuleCmd', { flags: 1, plen: 76 }).sqe;
  peer.r2t(cid, 9, 0, 20_000);
  const data = peer.expect('H2CData', { flags: 3 | LAST_PDU, pdo: 28 });
  assert.deepEqual([data.digestOk, data.data], [true, pattern(20_000)]);
  peer.resp(cid);
  const back = read(4096);
  peer.queue.submit(back);
  peer.c2hData(peer.expect('CapsuleCmd').sqe.cid, 0, pattern(4096), LAST_PDU | SUCCESS);
  assert.deepEqual([small.status, large.status, back.status], [0, 0, 0]);
  assert.deepEqual(back.memory.bytes, pattern(4096));
});

test('header digest error: fatal, with the digest that came', () => {
  const peer = digested();
  const request = flush();
  peer.queue.submit(request);
  const { cid } = peer.expect('CapsuleCmd').sqe;
  peer.hdgst = false;
  const header = Uint8Array.from([
    PduType.CapsuleResp,
    1,
    24,
    0,
    28,
    0,
    0,
    0,
    ...new Array(12).fill(0),
    cid,
    0,
    0,
    0,
    1,
    2,
    3,
    4,
  ]);
  peer.bytes(header);
  assert.equal(request.status, Status.HostPathingError);
  terminated(peer, Fes.HeaderDigestError, 0x04030201);
});

test('data digest error: the command fails with Transient Transport Error, the connection lives', () => {
  const peer = digested();
  const stories: [number, number, number][] = [
    [LAST_PDU | SUCCESS, 0, Status.TransientTransportError],
    [LAST_PDU, Status.Success, Status.TransientTransportError],
    [LAST_PDU, Status.UnrecoveredReadError, Status.UnrecoveredReadError],
  ];
  for (const [flags, status, expected] of stories) {
    const request = read(512);
    peer.queue.submit(request);
    const { cid } = peer.expect('CapsuleCmd').sqe;
    peer.c2hData(cid, 0, pattern(512), flags, {}, true);
    if ((flags & SUCCESS) === 0) peer.resp(cid, status);
    assert.deepEqual([request.ends, request.status], [1, expected]);
  }
  assert.equal(peer.queue.dataDigestErrors, 3);
  assert.deepEqual(peer.failures, []);
});

// ------------------------------------------------------------------ depth

for (const sqhd of [true, false]) {
  test(`never more than queueSize - 1 commands outstanding, ${sqhd ? 'with' : 'without'} SQ flow control`, () => {
    const peer = connected({ queueSize: 4 });
    const requests = Array.from({ length: 10 }, () => flush());
    for (const request of requests) peer.queue.submit(request);
    const cids = [1, 2, 3].map(() => peer.expect('CapsuleCmd').sqe.cid);
    peer.expectNothing();
    assert.deepEqual([peer.queue.outstanding, peer.queue.waiting], [3, 7]);
    for (let i = 0; i < 7; i++) {
      peer.resp(cids.shift()!, 0, { sqhd: sqhd ? (i + 1) % 4 : 0xffff });
      cids.push(peer.expect('CapsuleCmd').sqe.cid);
      peer.expectNothing();
    }
    for (const cid of cids) peer.resp(cid);
    assert.ok(requests.every((request) => request.ends === 1 && request.status === 0));
    assert.equal(peer.queue.outstanding, 0);
  });
}

test('a command identifier is not given out again soon: a completion of a past command finds nobody', () => {
  const peer = connected({ queueSize: 2 });
  const seen = new Set<number>();
  let last = -1;
  for (let i = 0; i < 1000; i++) {
    const request = flush();
    peer.queue.submit(request);
    last = peer.expect('CapsuleCmd').sqe.cid;
    assert.ok(!seen.has(last), `cid ${last} again after ${i} commands`);
    seen.add(last);
    peer.resp(last);
    assert.equal(request.ends, 1);
  }
  const next = flush();
  peer.queue.submit(next);
  peer.expect('CapsuleCmd');
  peer.resp(last);
  assert.deepEqual([next.ends, next.status], [1, Status.HostPathingError]);
  terminated(peer, Fes.InvalidPduHeaderField, 20);
});

test('FFFFh is never a command identifier, and every other one of a slot has its turn', () => {
  for (const count of [1, 15, 127]) {
    const table = new SlotTable(count, 1);
    const seen = new Set<number>();
    for (let i = 0; i < 70_000; i++) {
      const slot = table.take(false, 0);
      assert.notEqual(slot.cid, 0xffff);
      assert.equal(table.find(slot.cid), slot);
      seen.add(slot.cid);
      table.give(slot);
    }
    assert.ok(seen.size >= 511, `${seen.size} identifiers of one slot among ${count}`);
  }
});

test('one turn of many submits asks for one transmit', () => {
  const peer = connected();
  peer.transmit();
  peer.wants = 0;
  for (let i = 0; i < 10; i++) peer.queue.submit(flush());
  assert.equal(peer.wants, 1);
});

// ------------------------------------------------------------------ ends

test('C2HTermReq: everything ends with a path error, nothing is answered', () => {
  const peer = connected();
  const requests = [read(512), write(pattern(4096)), flush()];
  for (const request of requests) peer.queue.submit(request);
  peer.transmit();
  peer.listener.seen.length = 0;
  peer.termReq(Fes.DataTransferOutOfRange);
  assert.match(peer.failures[0]!.message, /Data Transfer Out of Range/);
  assert.deepEqual(
    requests.map((request) => [request.ends, request.status]),
    requests.map(() => [1, Status.HostPathingError]),
  );
  peer.expectNothing();
  assert.equal(peer.queue.finished, true);
});

test('a lost connection ends what is sent and what waits, exactly once', () => {
  const peer = connected({ queueSize: 3 });
  const requests = Array.from({ length: 6 }, () => read(512));
  for (const request of requests) peer.queue.submit(request);
  peer.transmit();
  peer.queue.closed(null);
  peer.queue.closed(null);
  assert.ok(requests.every((request) => request.ends === 1 && request.status === Status.HostPathingError));
  assert.equal(peer.failures.length, 1);
  const late = flush();
  peer.queue.submit(late);
  assert.deepEqual([late.ends, late.status], [1, Status.HostPathingError]);
});

test('the owner hears of the failure before the commands end: what they submit again finds the queue closed', () => {
  const peer = connected();
  const request = flush();
  let failuresAtEnd = -1;
  request.done = () => {
    request.ends++;
    if (failuresAtEnd < 0) {
      failuresAtEnd = peer.failures.length;
      peer.queue.submit(request);
    }
  };
  peer.queue.submit(request);
  peer.transmit();
  peer.queue.closed(null);
  assert.equal(failuresAtEnd, 1);
  assert.equal(request.ends, 2);
});

test('cancel: a waiting command never goes out; one on the wire ends at once and keeps its slot', () => {
  const peer = connected({ queueSize: 2 });
  const [first, second] = [read(512), read(512)];
  peer.queue.submit(first);
  peer.queue.submit(second);
  const { cid } = peer.expect('CapsuleCmd').sqe;
  assert.equal(peer.queue.cancel(second), -1);
  assert.equal(peer.queue.cancel(first), cid);
  for (const request of [first, second]) {
    assert.deepEqual([request.ends, request.status], [1, Status.CommandAbortedByHost]);
  }
  assert.equal(peer.queue.isUnderWay(cid), true);
  const third = flush();
  peer.queue.submit(third);
  peer.expectNothing();
  peer.c2hData(cid, 0, pattern(512), LAST_PDU | SUCCESS);
  assert.ok(
    first.memory.bytes.every((byte) => byte === 0),
    'late data goes nowhere',
  );
  peer.resp(peer.expect('CapsuleCmd').sqe.cid);
  assert.deepEqual([third.ends, first.ends, second.ends], [1, 1, 1]);
});

test('cancel in the middle of a data PDU: not one more byte is written', () => {
  const peer = connected();
  const request = read(4096);
  peer.queue.submit(request);
  const { cid } = peer.expect('CapsuleCmd').sqe;
  const header = Uint8Array.from([
    7,
    LAST_PDU | SUCCESS,
    24,
    24,
    24,
    16,
    0,
    0,
    cid & 255,
    cid >> 8,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    16,
    0,
    0,
    0,
    0,
    0,
    0,
  ]);
  peer.bytes(header);
  peer.bytes(pattern(1000));
  assert.equal(peer.queue.directLength, 3096);
  peer.queue.cancel(request);
  assert.equal(peer.queue.directLength, 0);
  peer.bytes(pattern(3096));
  assert.deepEqual(request.memory.bytes.slice(0, 1000), pattern(1000));
  assert.ok(request.memory.bytes.slice(1000).every((byte) => byte === 0));
  assert.equal(peer.queue.outstanding, 0);
  assert.deepEqual(peer.failures, []);
});

test('cancel in the middle of a data PDU with a digest: the pieces have no digest, and that is no error', () => {
  const peer = new ScriptedPeer({ dataDigest: true });
  peer.handshake({ ddgst: 1 });
  const request = read(4096);
  peer.queue.submit(request);
  const { cid } = peer.expect('CapsuleCmd').sqe;
  const flags = LAST_PDU | SUCCESS | PduFlag.DDGSTF;
  const fields = { pduType: PduType.C2HData, flags, hlen: 24, pdo: 24, plen: 24 + 4096 + 4, cccid: cid, datal: 4096 };
  const data = pattern(4096);
  const digest = new Uint8Array(4);
  new DataView(digest.buffer).setUint32(0, crc32c(Memory.over(data), 0, 4096), true);
  peer.bytes(C2HData.toBytes(fields));
  peer.bytes(data.subarray(0, 1000));
  peer.queue.cancel(request);
  peer.bytes(data.subarray(1000));
  peer.bytes(digest);
  assert.deepEqual([peer.queue.outstanding, peer.queue.dataDigestErrors, peer.failures], [0, 0, []]);
});

test('cancel a write: what the controller still asks for is the data as it was', () => {
  const peer = connected();
  const data = pattern(20_000);
  const request = write(data.slice());
  peer.queue.submit(request);
  const { cid } = peer.expect('CapsuleCmd').sqe;
  peer.queue.cancel(request);
  request.memory.bytes.fill(0xff);
  peer.r2t(cid, 1, 0, 20_000);
  assert.deepEqual(peer.expect('H2CData').data, data);
  peer.resp(cid);
  assert.equal(request.ends, 1);
  assert.equal(peer.queue.outstanding, 0);
});

test('memory that is transferred away under a command: the command fails, nothing else is touched', () => {
  const gone = (memory: Memory): void =>
    void structuredClone(memory.bytes.buffer, { transfer: [memory.bytes.buffer as ArrayBuffer] });
  const unsent = connected();
  const never = write(pattern(512));
  unsent.queue.submit(never);
  gone(never.memory);
  unsent.expectNothing();
  assert.deepEqual([never.ends, never.status], [1, Status.DataTransferError | 0x4000]);
  // Before its data, in the middle of it, and between two PDUs.
  for (const cut of [0, 1000, 2048]) {
    const peer = connected();
    const request = read(4096);
    peer.queue.submit(request);
    const { cid } = peer.expect('CapsuleCmd').sqe;
    const stream = new Uint8Array(2 * (24 + 2048));
    for (const [i, flags] of [0, LAST_PDU].entries()) {
      const fields = { pduType: PduType.C2HData, flags, hlen: 24, pdo: 24, plen: 24 + 2048 };
      stream.set(C2HData.toBytes({ ...fields, cccid: cid, datao: i * 2048, datal: 2048 }), i * (24 + 2048));
    }
    peer.bytes(stream.subarray(0, 24 + cut));
    gone(request.memory);
    assert.equal(peer.queue.directLength, 0);
    peer.bytes(stream.subarray(24 + cut));
    peer.resp(cid);
    assert.deepEqual([request.ends, request.status], [1, Status.DataTransferError], `after ${cut} bytes`);
    assert.deepEqual(peer.failures, []);
  }
  const peer = connected();
  const request = write(pattern(20_000));
  peer.queue.submit(request);
  const { cid } = peer.expect('CapsuleCmd').sqe;
  gone(request.memory);
  peer.r2t(cid, 1, 0, 20_000);
  peer.expectNothing();
  assert.deepEqual([request.ends, request.status], [1, Status.HostPathingError]);
  assert.equal(peer.queue.finished, true);
});

test('cancel a write whose memory was transferred away: no zeroes go out in its place', () => {
  const peer = connected();
  const request = write(pattern(20_000));
  peer.queue.submit(request);
  const { cid } = peer.expect('CapsuleCmd').sqe;
  structuredClone(request.memory.bytes.buffer, { transfer: [request.memory.bytes.buffer as ArrayBuffer] });
  peer.queue.cancel(request);
  assert.equal(request.status, Status.CommandAbortedByHost);
  peer.r2t(cid, 1, 0, 20_000);
  peer.expectNothing();
  assert.deepEqual([peer.queue.finished, peer.queue.mustReset], [true, true]);
});

test('how a connection is to be ended: in order only if nothing can arrive late', () => {
  const ends = (prepare: (peer: ScriptedPeer) => void, inOrder: boolean, qid = 1): boolean => {
    const peer = connected({ qid });
    prepare(peer);
    peer.queue.close(new NvbraidError('ESHUTDOWN', 'enough'), inOrder);
    assert.equal(peer.queue.finished, true);
    return peer.queue.mustReset;
  };
  const sent = (peer: ScriptedPeer): void => {
    peer.queue.submit(read(512));
    peer.expect('CapsuleCmd');
  };
  const cancelled = (peer: ScriptedPeer): void => {
    const request = read(512);
    peer.queue.submit(request);
    peer.expect('CapsuleCmd');
    peer.queue.cancel(request);
  };
  assert.equal(
    ends(() => {}, true),
    false,
  );
  assert.equal(
    ends(() => {}, false),
    true,
  );
  assert.equal(ends(sent, true), true);
  assert.equal(ends(cancelled, true), true);
  assert.equal(ends(sent, true, 0), false, 'event requests');
  const wrong = connected();
  wrong.bytes(Uint8Array.of(0xee, 0, 24, 0, 24, 0, 0, 0));
  assert.deepEqual([wrong.queue.finished, wrong.queue.mustReset], [false, false], 'TermReq first');
});

test('time: each command has its own limit, and is told again after as long', () => {
  const peer = connected();
  const [a, b] = [flush(), flush()];
  peer.queue.submit(a);
  const first = peer.expect('CapsuleCmd').sqe.cid;
  peer.clock.advance(10_000);
  peer.queue.submit(b);
  const second = peer.expect('CapsuleCmd').sqe.cid;
  assert.equal(peer.queue.nextDeadlineMs, 31_000);
  peer.queue.tick(31_000);
  assert.deepEqual(peer.timedOut, [first]);
  assert.equal(peer.queue.nextDeadlineMs, 41_000);
  peer.queue.tick(41_000);
  assert.deepEqual(peer.timedOut, [first, second]);
  peer.resp(second);
  assert.equal(peer.queue.nextDeadlineMs, 61_000);
  peer.queue.tick(61_000);
  assert.deepEqual(peer.timedOut, [first, second, first]);
  peer.resp(first);
  assert.equal(peer.queue.nextDeadlineMs, NEVER);
});

test('requests without a time limit set no deadline', () => {
  const peer = connected();
  const request = flush();
  request.noTimeout = true;
  peer.queue.submit(request);
  peer.expect('CapsuleCmd');
  assert.equal(peer.queue.nextDeadlineMs, NEVER);
});
