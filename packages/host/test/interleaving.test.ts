import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Memory, Rng } from '@nvbraid/base';
import { Transfer } from '@nvbraid/host';
import { PduFlag, Status } from '@nvbraid/wire';
import { pattern, read, ScriptedPeer, type TestRequest, write } from './scripted-peer.ts';

/** What the controller of the test still owes for one command. */
interface Owed {
  readonly cid: number;
  readonly request: TestRequest;
  readonly data: Uint8Array;
  /** Reads: bytes sent; writes: bytes asked for. */
  moved: number;
  /** Writes: bytes that have arrived, R2Ts that have not been answered in full. */
  readonly got: Uint8Array;
  arrived: number;
  open: number;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/**
 * A controller that serves the commands it has in random order and in random portions, cut into random pieces, while
 * the host submits and cancels at random.
 */
function run(seed: number): void {
  const rng = new Rng(seed);
  const digests = rng.chance(0.5);
  const maxR2t = rng.between(1, 4);
  const align = rng.pick([4, 8, 64, 128]);
  const maxh2cdata = rng.pick([4096, 8192, 65_536]);
  const peer = new ScriptedPeer({
    rng,
    queueSize: rng.between(2, 12),
    maxR2t,
    hpda: align / 4 - 1,
    hdrDigest: digests,
    dataDigest: digests && rng.chance(0.7),
    inCapsuleBytes: rng.pick([0, 512, 8192]),
  });
  peer.align = align;
  peer.queue.start();
  const asked = peer.expect('ICReq').fields as { hdgst: number; ddgst: number };
  peer.icResp({ hdgst: asked.hdgst, ddgst: asked.ddgst, cpda: rng.pick([0, 1, 31]), maxh2cdata });

  const submitted: TestRequest[] = [];
  const cancelled = new Set<TestRequest>();
  const contents = new Map<TestRequest, Uint8Array>();
  const owed: Owed[] = [];
  const commands = 60;

  const submit = (): void => {
    const length = rng.pick([512, 4096, 5000, 20_000, 60_000]);
    const data = pattern(length, submitted.length);
    // Reads go into the middle of a larger buffer: its borders must stay as they are.
    const request = rng.chance(0.5) ? read(length, Memory.alloc(length + 64), 32) : write(data.slice());
    contents.set(request, data);
    submitted.push(request);
    peer.queue.submit(request);
  };

  const listen = (): void => {
    peer.transmit();
    for (let pdu = peer.listener.seen.shift(); pdu !== undefined; pdu = peer.listener.seen.shift()) {
      assert.equal(pdu.digestOk, true);
      if (pdu.type === 'CapsuleCmd') {
        const request = submitted.find((r) => r.state === 2 && r.cid === pdu.sqe.cid)!;
        const data = contents.get(request)!;
        const inCapsule = pdu.data.length > 0;
        if (inCapsule) assert.ok(same(pdu.data, data));
        owed.push({
          cid: pdu.sqe.cid,
          request,
          data,
          moved: inCapsule ? data.length : 0,
          got: inCapsule ? data : new Uint8Array(data.length),
          arrived: inCapsule ? data.length : 0,
          open: 0,
        });
      } else {
        const { cccid, datao, datal, flags } = pdu.fields as Record<string, number>;
        const entry = owed.find((o) => o.cid === cccid)!;
        assert.equal(datao, entry.arrived, 'H2CData in order');
        assert.equal(datal, pdu.data.length);
        assert.ok(pdu.data.length <= maxh2cdata);
        entry.got.set(pdu.data, datao);
        entry.arrived += pdu.data.length;
        if ((flags! & PduFlag.LAST_PDU) !== 0) entry.open--;
        assert.ok(entry.open >= 0);
      }
    }
  };

  const complete = (entry: Owed): void => {
    owed.splice(owed.indexOf(entry), 1);
    if (entry.request.transfer === Transfer.ToController) assert.ok(same(entry.got, entry.data));
    peer.resp(entry.cid);
  };

  const serve = (): void => {
    const entry = rng.pick(owed);
    const left = entry.data.length - entry.moved;
    if (entry.request.transfer === Transfer.FromController) {
      const n = rng.between(1, left);
      const last = n === left;
      const success = last && rng.chance(0.5);
      const flags = (last ? PduFlag.LAST_PDU : 0) | (success ? PduFlag.SUCCESS : 0);
      peer.c2hData(entry.cid, entry.moved, entry.data.subarray(entry.moved, entry.moved + n), flags);
      entry.moved += n;
      if (success) owed.splice(owed.indexOf(entry), 1);
      else if (last) complete(entry);
    } else if (left > 0 && entry.open < maxR2t) {
      const n = rng.between(1, left);
      peer.r2t(entry.cid, rng.below(65_536), entry.moved, n);
      entry.moved += n;
      entry.open++;
    } else if (left === 0 && entry.open === 0 && entry.arrived === entry.data.length) {
      complete(entry);
    }
  };

  while (submitted.length < commands || owed.length > 0 || peer.queue.waiting > 0) {
    const dice = rng.below(10);
    if (dice < 3 && submitted.length < commands) submit();
    else if (dice < 5 || owed.length === 0) listen();
    else if (dice === 5 && rng.chance(0.2)) {
      const request = rng.pick(submitted);
      if (request.state !== 0) {
        cancelled.add(request);
        peer.queue.cancel(request);
        // From here on the buffer belongs to its owner.
        request.memory.bytes.fill(0x5a);
      }
    } else serve();
  }

  assert.deepEqual(peer.failures, []);
  assert.equal(peer.queue.outstanding, 0);
  for (const request of submitted) {
    assert.equal(request.ends, 1, 'exactly one completion');
    const { bytes } = request.memory;
    if (cancelled.has(request)) {
      assert.equal(request.status, Status.CommandAbortedByHost);
      assert.ok(
        bytes.every((byte) => byte === 0x5a),
        'a buffer given back is not written',
      );
      continue;
    }
    assert.equal(request.status, 0);
    if (request.transfer !== Transfer.FromController) continue;
    assert.ok(same(bytes.slice(32, 32 + request.length), contents.get(request)!));
    assert.ok(bytes.slice(0, 32).every((byte) => byte === 0) && bytes.slice(-32).every((byte) => byte === 0));
  }
}

test('any interleaving of data, R2Ts and completions: one completion each, the right bytes', (t) => {
  const first = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));
  const runs = process.env.SEED === undefined ? 25 : 1;
  t.diagnostic(`SEED=${first}`);
  for (let seed = first; seed < first + runs; seed++) {
    try {
      run(seed);
    } catch (error) {
      t.diagnostic(`failed with SEED=${seed}`);
      throw error;
    }
  }
});
