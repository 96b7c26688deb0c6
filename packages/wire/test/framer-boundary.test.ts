import { equal } from 'node:assert/strict';
import { test } from 'node:test';
import { Memory, Rng } from '@nvbraid/base';
import { CommonHeader } from '../src/index.ts';
import { framerFor, RecordingSink, randomSettings, randomStream } from './streams.ts';

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);
console.log(`framer boundary: SEED=${SEED}`);

test('a framer knows at every byte how much of the PDU is still to come, digests and padding included', () => {
  const rng = new Rng(SEED);
  let checked = 0;
  for (let round = 0; round < 200; round++) {
    const settings = randomSettings(rng);
    const stream = Memory.over(randomStream(rng, settings));
    const framer = framerFor(settings, new RecordingSink(new Rng(1)));
    for (let start = 0; start < stream.length && framer.alive; ) {
      const plen = CommonHeader.plen.get(stream.view, start);
      for (let n = 1; n <= plen; n++) {
        framer.receive(stream, start + n - 1, start + n);
        if (!framer.alive) break;
        equal(framer.toBoundary, n === plen ? 0 : n < 8 ? -1 : plen - n, `byte ${n} of ${plen}`);
        checked++;
      }
      start += plen;
    }
  }
  equal(checked > 10_000, true);
});
