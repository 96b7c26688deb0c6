import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Outbox, Rng } from '@nvbraid/base';
import { Fes, ICReq, PduFlag, PduType, SglId, Status } from '@nvbraid/wire';
import { QueuePair } from '../src/queue-pair.ts';
import { Peer, pattern, type Seen, status } from './queue-peer.ts';

for (const digests of [0, 1, 2, 3]) {
  const ic = { hdgst: digests & 1, ddgst: digests >> 1 };
  test(`write in the capsule, read back, digests ${digests}`, () => {
    const peer = new Peer().handshake(ic);
    const data = pattern(4096);
    peer.send(peer.capsule(7, 1, { slba: 512 }, data));
    const [response] = peer.poll();
    assert.deepEqual([response!.type, response!.values.cid, status(response)], [PduType.CapsuleResp, 7, 0]);
    peer.send(peer.capsule(8, 2, { slba: 512, sglLength: 4096 }));
    const [read, done] = peer.poll();
    assert.deepEqual(read!.data, data);
    assert.ok(read!.digestOk);
    assert.equal((read!.values.flags as number) & (PduFlag.LAST_PDU | PduFlag.SUCCESS), PduFlag.LAST_PDU);
    assert.deepEqual([done!.values.cid, done!.values.sqhd], [8, 2]);
    assert.equal(peer.queue.outstanding, 0);
  });

  test(`write by several R2Ts, any split of the stream, digests ${digests}`, () => {
    for (let seed = 1; seed < 20; seed++) {
      const rng = new Rng(seed);
      const peer = new Peer({ r2tBytes: 8192 }).handshake({ ...ic, maxr2t: 1 });
      const data = pattern(30000, seed);
      const feed = (bytes: Uint8Array): void => {
        for (let at = 0; at < bytes.length; ) {
          const n = Math.min(rng.between(1, 9000), bytes.length - at);
          peer.send(bytes.slice(at, at + n));
          at += n;
        }
      };
      feed(peer.capsule(3, 1, { slba: 0, sglLength: data.length }));
      let asked = peer.poll();
      assert.equal(asked.length, 2, 'two R2Ts at once, as the host allows');
      let filled = 0;
      let last: Seen | undefined;
      while (filled < data.length) {
        for (const r2t of asked) {
          assert.equal(r2t.type, PduType.R2T);
          const { r2to, r2tl, ttag } = r2t.values as Record<string, number>;
          assert.equal(r2to, filled);
          for (let at = 0; at < r2tl!; at += 3000) {
            const part = data.slice(r2to! + at, r2to! + Math.min(at + 3000, r2tl!));
            feed(peer.h2c(3, ttag!, r2to! + at, part));
            filled += part.length;
          }
        }
        asked = peer.poll();
        last = asked[0];
      }
      assert.deepEqual([last!.type, status(last)], [PduType.CapsuleResp, 0], `seed ${seed}`);
      assert.deepEqual(peer.store.memory.bytes.slice(0, data.length), data);
      assert.equal(peer.pool.loanedBytes, 0);
    }
  });
}

test('without SQ flow control a read ends with SUCCESS and no capsule; sqhd stays zero', () => {
  const peer = new Peer().handshake({}, 16, false);
  peer.send(peer.capsule(1, 2, { slba: 0, sglLength: 512 }));
  const seen = peer.poll();
  assert.equal(seen.length, 1);
  assert.equal((seen[0]!.values.flags as number) & PduFlag.SUCCESS, PduFlag.SUCCESS);
  peer.send(peer.capsule(2, 0x44, {}));
  assert.deepEqual([peer.poll()[0]!.values.sqhd, peer.seen[0]!.values.dw0], [0, 0x1234]);
  peer.send(peer.capsule(3, 0x7f, { nsid: 1 })); // Connect: says that flow control is off
  assert.equal(peer.poll()[0]!.values.sqhd, 0xffff);
});

test('HPDA aligns the data of C2HData', () => {
  const peer = new Peer().handshake({ hpda: 31, hdgst: 1, ddgst: 1 });
  peer.send(peer.capsule(1, 2, { slba: 0, sglLength: 512 }));
  const [read] = peer.poll();
  assert.equal(read!.values.pdo, 128);
  assert.equal(read!.values.plen, 128 + 512 + 4);
  assert.ok(read!.digestOk);
});

test('sqhd counts answers and wraps at the queue size', () => {
  const peer = new Peer().handshake({}, 4);
  const heads: unknown[] = [];
  for (let cid = 0; cid < 6; cid++) {
    peer.send(peer.capsule(cid, 0x44));
    heads.push(peer.poll()[0]!.values.sqhd);
  }
  assert.deepEqual(heads, [1, 2, 3, 0, 1, 2]);
});

test('a refused command reports its status once and takes its in-capsule data with it', () => {
  const peer = new Peer().handshake();
  peer.send(peer.capsule(1, 0x7e, {}));
  peer.send(peer.capsule(2, 1, { slba: 0, sglAddress: 100 }, pattern(64)));
  peer.send(peer.capsule(3, 1, { slba: 0, sglId: 0x33 }, pattern(64)));
  peer.send(peer.capsule(4, 1, { slba: 0, fuse: 1 }, pattern(64)));
  peer.send(peer.capsule(5, 0x44));
  assert.deepEqual(
    peer.poll().map((seen) => [seen.values.cid, status(seen)]),
    [
      [1, Status.InvalidOpcode],
      [2, Status.SglOffsetInvalid],
      [3, Status.SglDescriptorTypeInvalid],
      [4, Status.InvalidField],
      [5, 0],
    ],
  );
  assert.equal(peer.store.executed, 1);
});

test('a command identifier in use is refused and stays in use', () => {
  const peer = new Peer().handshake();
  peer.send(peer.capsule(9, 0x80));
  peer.send(peer.capsule(9, 0x44));
  peer.send(peer.capsule(9, 0x44));
  assert.deepEqual(peer.poll().map(status), [Status.CommandIdConflict, Status.CommandIdConflict]);
  peer.store.held[0]!.complete(0);
  assert.equal(peer.wants, 1, 'a late completion asks for a transmit');
  assert.deepEqual(peer.poll().map(status), [0]);
  peer.send(peer.capsule(9, 0x44));
  assert.deepEqual(peer.poll().map(status), [0]);
});

test('a damaged data digest fails the command, not the connection, and the data is not used', () => {
  const peer = new Peer().handshake({ ddgst: 1 });
  const capsule = peer.capsule(1, 1, { slba: 0 }, pattern(512));
  capsule[capsule.length - 1]! ^= 1;
  peer.send(capsule);
  assert.deepEqual(peer.poll().map(status), [Status.TransientTransportError]);
  peer.send(peer.capsule(2, 1, { slba: 0, sglLength: 1024 }));
  const [r2t] = peer.poll();
  peer.send(peer.h2c(2, r2t!.values.ttag as number, 0, pattern(512), true));
  peer.send(peer.h2c(2, r2t!.values.ttag as number, 512, pattern(512)));
  assert.deepEqual(peer.poll().map(status), [Status.TransientTransportError]);
  assert.equal(peer.store.executed, 0);
  assert.equal(peer.pool.loanedBytes, 0);
});

const violations: [string, (peer: Peer) => Uint8Array, number, number][] = [
  ['a second ICReq', () => ICReq.toBytes({ hlen: 128, plen: 128 }), Fes.PduSequenceError, 0],
  ['an unknown PDU type', () => Uint8Array.of(0x0b, 0, 24, 0, 24, 0, 0, 0), Fes.InvalidPduHeaderField, 0],
  ['H2CData for no command', (peer) => peer.h2c(1, 5, 0, pattern(512)), Fes.InvalidPduHeaderField, 10],
];
for (const [name, bytes, fes, fei] of violations) {
  test(`${name} is answered by C2HTermReq`, () => {
    const peer = new Peer().handshake();
    peer.send(peer.capsule(1, 0x80));
    peer.send(bytes(peer));
    peer.send(peer.capsule(2, 0x44));
    const seen = peer.poll();
    assert.deepEqual(
      seen.map((pdu) => [pdu.type, pdu.values.fes, pdu.values.fei]),
      [[PduType.C2HTermReq, fes, fei]],
    );
    assert.ok(peer.queue.finished);
    assert.ok(peer.queue.fatal);
    assert.equal(peer.store.closings, 1);
    peer.store.held[0]!.complete(0); // a late completion hurts nobody
    assert.deepEqual(peer.poll(), []);
  });
}

test('H2CData outside its R2T, of another command or of another length ends the connection', () => {
  const stories: [(peer: Peer, ttag: number) => Uint8Array, number, number][] = [
    [(peer, ttag) => peer.h2c(2, ttag, 4, pattern(512)), Fes.DataTransferOutOfRange, 12],
    [(peer, ttag) => peer.h2c(2, ttag, 0, pattern(8192)), Fes.DataTransferOutOfRange, 12],
    [(peer, ttag) => peer.h2c(3, ttag, 0, pattern(512)), Fes.InvalidPduHeaderField, 8],
    [(peer, ttag) => peer.h2c(2, ttag | 0x400, 0, pattern(512)), Fes.InvalidPduHeaderField, 10],
    [
      (peer, ttag) => {
        const pdu = peer.h2c(2, ttag, 0, pattern(512));
        new DataView(pdu.buffer).setUint32(16, 256, true);
        return pdu;
      },
      Fes.InvalidPduHeaderField,
      16,
    ],
  ];
  for (const [bytes, fes, fei] of stories) {
    const peer = new Peer().handshake();
    peer.send(peer.capsule(2, 1, { slba: 0, sglLength: 4096 }));
    peer.send(bytes(peer, peer.poll()[0]!.values.ttag as number));
    const [term] = peer.poll();
    assert.deepEqual([term!.type, term!.values.fes, term!.values.fei], [PduType.C2HTermReq, fes, fei]);
    assert.equal(peer.pool.loanedBytes, 0, 'payload memory is given back');
  }
});

test('more commands than the queue has entries end the connection', () => {
  const peer = new Peer().handshake({}, 4);
  for (let cid = 0; cid < 4; cid++) peer.send(peer.capsule(cid, 0x80));
  assert.deepEqual(peer.poll(), []);
  peer.send(peer.capsule(4, 0x80));
  assert.equal(peer.poll()[0]!.values.fes, Fes.PduSequenceError);
});

test('ICReq: unknown versions and alignments are refused with the offset of the field', () => {
  for (const [fields, fes, fei] of [
    [{ pfv: 1 }, Fes.UnsupportedParameter, 8],
    [{ hpda: 32 }, Fes.InvalidPduHeaderField, 10],
  ] as const) {
    const peer = new Peer();
    peer.send(ICReq.toBytes({ hlen: 128, plen: 128, ...fields }));
    const [term] = peer.poll();
    assert.deepEqual([term!.type, term!.values.fes, term!.values.fei], [PduType.C2HTermReq, fes, fei]);
    assert.equal(term!.data.length, 128, 'the offending header comes back');
  }
  const early = new Peer();
  early.send(early.capsule(1, 0x44));
  assert.equal(early.poll()[0]!.values.fes, Fes.PduSequenceError);
});

test('a queue that holds nothing gets on; beyond that commands wait, in order, until slabs come back', () => {
  const peer = new Peer({}, 8192).handshake();
  peer.store.useSlabs = true;
  const blocker = peer.pool.take(8192)!;
  peer.send(peer.capsule(1, 1, { slba: 0, sglLength: 4096 }));
  const [r2t] = peer.poll();
  assert.equal(r2t!.type, PduType.R2T, 'the first one gets its slab whatever others hold');
  peer.send(peer.capsule(2, 2, { slba: 0, sglLength: 8192 }));
  peer.send(peer.capsule(3, 2, { slba: 0, sglLength: 512 }));
  peer.send(peer.capsule(4, 1, { slba: 0, sglLength: 512 }));
  assert.deepEqual(peer.poll(), []);
  assert.ok(peer.starvations > 0);
  peer.queue.retryStarved();
  assert.deepEqual(peer.poll(), [], 'a short read does not overtake the long one');
  peer.pool.give(blocker);
  peer.send(peer.h2c(1, r2t!.values.ttag as number, 0, pattern(4096)));
  assert.deepEqual(peer.poll().map(status), [0]);
  peer.queue.retryStarved();
  const answers = (): [number, unknown][] =>
    peer.poll().map((seen) => [seen.type, seen.values.cid ?? seen.values.cccid]);
  assert.deepEqual(answers(), [
    [PduType.C2HData, 2],
    [PduType.CapsuleResp, 2],
  ]);
  peer.queue.retryStarved();
  assert.deepEqual(answers(), [
    [PduType.C2HData, 3],
    [PduType.CapsuleResp, 3],
    [PduType.R2T, 4],
  ]);
});

test('a queue whose in-capsule data waits for a slow device beyond the limit is congested, unless R2Ts are open', () => {
  const peer = new Peer({}, 4096).handshake();
  const hold = (cid: number): void => {
    peer.send(peer.capsule(cid, 0x81, { slba: 0 }, pattern(4096)));
    peer.store.held.at(-1)!.keepData();
  };
  hold(1);
  assert.equal(peer.queue.congested, false);
  hold(2);
  assert.equal(peer.queue.congested, true);
  peer.send(peer.capsule(3, 1, { slba: 0, sglLength: 512 }));
  assert.equal(peer.queue.congested, true, 'no R2T yet: its data is not on the way');
  for (const request of peer.store.held) request.complete(0);
  peer.poll();
  assert.equal(peer.queue.congested, false);
  assert.equal(peer.pool.loanedBytes, 0);
});

test('one transmit never takes much more than its limit; the rest waits', () => {
  const peer = new Peer().handshake({}, 16);
  for (let cid = 0; cid < 8; cid++) peer.send(peer.capsule(cid, 2, { slba: 0, sglLength: 1 << 20 }));
  const out = new Outbox();
  assert.equal(peer.queue.transmit(out), true);
  assert.ok(out.bytes < 2.1 * (1 << 20), `${out.bytes}`);
});

test('a queue goes to another thread and keeps its digests, its depth and its head', () => {
  const peer = new Peer().handshake({ hdgst: 1, ddgst: 1 }, 4);
  for (let cid = 0; cid < 3; cid++) {
    peer.send(peer.capsule(cid, 0x44));
    peer.poll();
  }
  assert.ok(peer.queue.canHandOff);
  const handoff = structuredClone(peer.queue.handoff());
  const other = new Peer();
  other.framer.hdgst = true;
  other.framer.ddgst = true;
  const resumed = QueuePair.resume(other.queue.environment, other.store, handoff);
  Object.defineProperty(other, 'queue', { value: resumed });
  other.send(other.capsule(1, 1, { slba: 0 }, pattern(512)));
  const [response] = other.poll();
  assert.deepEqual([status(response), response!.values.sqhd], [0, 0]);
});

test('junk in the capsule of a command without data is dropped', () => {
  const peer = new Peer().handshake();
  peer.store.useSlabs = true;
  const junk = peer.capsule(1, 2, { slba: 0, sglId: SglId.transport, sglLength: 8192 }, pattern(600));
  peer.send(junk.slice(0, 200));
  peer.send(junk.slice(200));
  const [read] = peer.poll();
  assert.equal(read!.data.length, 8192);
  assert.equal(peer.pool.loanedBytes, 0);
});
