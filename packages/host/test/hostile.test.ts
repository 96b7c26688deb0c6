import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Memory, Rng } from '@nvbraid/base';
import { Fes, PduFlag } from '@nvbraid/wire';
import { flush, pattern, read, ScriptedPeer, type TestRequest, write } from './scripted-peer.ts';

/** The commands of every session, the same each time: so the identifiers in recorded answers fit. */
function commands(): TestRequest[] {
  return [
    flush(),
    read(4096, Memory.alloc(4096 + 64), 32),
    write(pattern(20_000)),
    write(pattern(512)),
    read(512, Memory.alloc(512 + 64), 32),
    flush(),
  ];
}

/** A peer that keeps what it says. */
class Recorder extends ScriptedPeer {
  readonly said: Uint8Array[] = [];

  override bytes(bytes: Uint8Array): void {
    this.said.push(bytes);
    super.bytes(bytes);
  }
}

function options(digests: boolean) {
  return { hdrDigest: digests, dataDigest: digests, inCapsuleBytes: 8192 };
}

/** The PDUs of a good controller, one by one. */
function record(digests: boolean): Uint8Array[] {
  const peer = new Recorder(options(digests));
  const bit = digests ? 1 : 0;
  peer.handshake({ hdgst: bit, ddgst: bit });
  for (const request of commands()) peer.queue.submit(request);
  const cids = Array.from({ length: 6 }, () => peer.expect('CapsuleCmd').sqe.cid);
  peer.resp(cids[0]!);
  peer.r2t(cids[2]!, 7, 0, 12_000);
  peer.c2hData(cids[1]!, 0, pattern(1000));
  peer.r2t(cids[2]!, 8, 12_000, 8000);
  peer.resp(cids[3]!);
  peer.c2hData(cids[1]!, 1000, pattern(3096), PduFlag.LAST_PDU);
  peer.transmit();
  peer.resp(cids[2]!);
  peer.c2hData(cids[4]!, 0, pattern(512), PduFlag.LAST_PDU | PduFlag.SUCCESS);
  peer.resp(cids[1]!);
  peer.resp(cids[5]!);
  assert.equal(peer.queue.outstanding, 0);
  return peer.said;
}

function mutate(rng: Rng, pdus: readonly Uint8Array[]): Uint8Array[] {
  const list = pdus.map((pdu) => pdu.slice());
  for (let n = rng.between(1, 3); n > 0; n--) {
    const at = rng.below(list.length);
    const pdu = list[at]!;
    switch (rng.below(7)) {
      case 0: // one bit, most often in the header
        pdu[rng.chance(0.8) ? rng.below(Math.min(28, pdu.length)) : rng.below(pdu.length)]! ^= 1 << rng.below(8);
        break;
      case 1: // a field of four bytes
        if (pdu.length >= 24)
          new DataView(pdu.buffer, pdu.byteOffset).setUint32(
            4 * rng.below(6),
            rng.pick([0, 1, 0xffffffff, 0x7fffffff, rng.u32()]),
            true,
          );
        break;
      case 2: // twice
        list.splice(at, 0, pdu);
        break;
      case 3: // never
        list.splice(at, 1);
        break;
      case 4: // too early or too late
        list.splice(rng.below(list.length), 0, ...list.splice(at, 1));
        break;
      case 5: // cut off
        list[at] = pdu.subarray(0, rng.below(pdu.length));
        break;
      default: {
        const noise = new Uint8Array(rng.between(1, 200));
        rng.fill(noise);
        list.splice(at, 0, noise);
      }
    }
    if (list.length === 0) list.push(new Uint8Array(1));
  }
  return list;
}

test('five thousand damaged controllers: nothing throws, every command ends once, buffers keep their borders', (t) => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));
  t.diagnostic(`SEED=${seed}`);
  const rng = new Rng(seed);
  const recorded = [record(false), record(true)];
  const told = new Set<number>();
  for (let round = 0; round < 5_000; round++) {
    const digests = rng.below(2);
    const peer = new ScriptedPeer({ ...options(digests === 1), ...(rng.chance(0.5) ? { rng } : {}) });
    const requests = commands();
    peer.queue.start();
    peer.transmit();
    peer.listener.framer.hdgst = digests === 1;
    peer.listener.framer.ddgst = digests === 1;
    let submitted = false;
    for (const pdu of mutate(rng, recorded[digests]!)) {
      peer.bytes(pdu);
      if (peer.queue.state === 'ready' && !submitted) {
        for (const request of requests) peer.queue.submit(request);
        submitted = true;
      }
      peer.transmit();
    }
    // What the host said was well-formed: `transmit` has taken it apart.
    const last = peer.listener.seen.at(-1);
    if (last?.type === 'H2CTermReq') told.add(last.fields.fes as number);
    assert.ok(peer.failures.length <= 1);
    peer.queue.closed(null);
    assert.equal(peer.queue.state, 'closed');
    assert.deepEqual([peer.queue.outstanding, peer.queue.waiting], [0, 0]);
    for (const request of requests) {
      assert.equal(request.ends, submitted ? 1 : 0);
      if (request.transfer !== 2) continue;
      const { bytes } = request.memory;
      assert.ok(bytes.subarray(0, 32).every((byte) => byte === 0) && bytes.subarray(-32).every((byte) => byte === 0));
    }
  }
  for (const fes of Object.values(Fes)) {
    // R2T limit: six commands and four R2Ts cannot get there by chance.
    if (fes !== Fes.DataTransferLimitExceeded) assert.ok(told.has(fes), `no fatal error ${fes} was met`);
  }
});
