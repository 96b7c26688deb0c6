import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@nvbraid/base';
import { PDU_HEADER_SIZES } from '@nvbraid/wire';
import {
  concat,
  framerFor,
  RecordingSink,
  randomBytes,
  randomSettings,
  randomStream,
  receiveSplit,
  receiveWhole,
} from './streams.ts';

const SEED = Number(process.env.SEED ?? 20260202);
const ROUNDS = Number(process.env.ROUNDS ?? 8000);

/** Damages a stream in one of the ways that wires, peers and attackers do. */
function mutate(rng: Rng, stream: Uint8Array): Uint8Array {
  const at = rng.below(stream.length);
  const to = rng.between(at, Math.min(stream.length, at + rng.pick([1, 8, 200])));
  switch (rng.below(6)) {
    case 0: {
      const changed = stream.slice();
      changed[at]! ^= 1 << rng.below(8);
      return changed;
    }
    case 1: {
      // Where it hurts most: the common header of the first PDU.
      const changed = stream.slice();
      changed[rng.below(Math.min(8, stream.length))] = rng.below(256);
      return changed;
    }
    case 2:
      return concat([stream.subarray(0, at), stream.subarray(to)]);
    case 3:
      return concat([stream.subarray(0, at), randomBytes(rng, rng.between(1, 100)), stream.subarray(at)]);
    case 4:
      return concat([stream.subarray(0, to), stream.subarray(at)]);
    default:
      return randomBytes(rng, rng.between(1, 300));
  }
}

test('damaged streams never throw or hang, and end in events in order or in exactly one pduFatal', (t) => {
  t.diagnostic(`seed ${SEED}, ${ROUNDS} rounds`);
  const fes = new Map<string, number>();
  for (let i = 0; i < ROUNDS; i++) {
    const rng = new Rng(SEED + i);
    const settings = randomSettings(rng);
    let stream = randomStream(rng, settings);
    for (let n = rng.between(1, 3); n > 0; n--) if (stream.length > 0) stream = mutate(rng, stream);
    const whole = new RecordingSink(rng);
    const framer = framerFor(settings, whole);
    receiveWhole(framer, stream);
    const { events, fatals } = whole;
    assert.ok(fatals <= 1, `seed ${SEED + i}`);
    const fatal = events.findIndex((event) => event.startsWith('fatal'));
    assert.ok(fatal === -1 ? fatals === 0 : fatal === events.length - 1, `seed ${SEED + i}: nothing after a fatal`);
    assert.ok(fatals === 0 || !framer.alive);
    // Headers and ends alternate, of the same type, and say no more than the stream held.
    let bytes = 0;
    for (let k = 0; k < events.length - fatals; k++) {
      const [kind, type, length] = events[k]!.split(' ');
      assert.equal(kind, k % 2 === 0 ? 'header' : 'end', `seed ${SEED + i}`);
      if (k % 2 === 1) assert.equal(type, events[k - 1]!.split(' ')[1]);
      else bytes += PDU_HEADER_SIZES[Number(type)]! + (events[k + 1] === undefined ? 0 : Number(length));
    }
    assert.ok(bytes <= stream.length, `seed ${SEED + i}`);
    if (fatals === 1) fes.set(events.at(-1)!.split(' ')[1]!, (fes.get(events.at(-1)!.split(' ')[1]!) ?? 0) + 1);
    const split = new RecordingSink(rng);
    receiveSplit(framerFor(settings, split), stream, rng, 0.5);
    assert.deepEqual(split.events, events, `seed ${SEED + i}: the split makes no difference`);
  }
  t.diagnostic(`fatal error statuses: ${JSON.stringify([...fes].sort())}`);
  for (const status of ['1', '2', '3', '4', '5']) assert.ok((fes.get(status) ?? 0) > 0, `fes ${status} was reached`);
});
