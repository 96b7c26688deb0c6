import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge, judgementTable, type Sample } from '../../bench/soak/memory.ts';
import { soak } from '../../bench/soak/run.ts';
import { seed } from './story.ts';

/* The short form of `npm run soak`: long enough to see a leak per connection or per command, not one per hour. */

test('200 connections, 500 hosts that come and go, verified load and changes: nothing is left and nothing grows', async (t) => {
  const result = await soak({
    ...{ minutes: 0.25, connections: 200, cycles: 500, seed: seed(), sampleMs: 500 },
    say: (line) => t.diagnostic(line),
  });
  t.diagnostic(
    `${result.cyclesDone} cycles, ${result.verifiedBlocks} blocks verified\n${judgementTable(result.judgements)}`,
  );
  assert.deepEqual(result.faults, []);
  assert.ok(result.verifiedBlocks > 1000 && result.cyclesDone > 100);
});

test('what the soak calls growth: a slow leak is, noise and a high start are not', () => {
  const samples = (leakPerMinute: number, noise: number): Sample[] =>
    Array.from({ length: 60 }, (_, i) => ({
      ...{ second: i * 10, rss: 150 << 20, external: 12 << 20, files: 50, threads: 8, connections: 10 },
      heap: (20 << 20) + (leakPerMinute * i) / 6 + (i % 2) * noise + (i < 5 ? 2 << 20 : 0),
    }));
  const heap = (leak: number, noise: number) => judge(samples(leak, noise)).find(({ what }) => what === 'heap')!;
  assert.equal(heap(0, 3 << 20).flat, true);
  assert.equal(heap(1 << 20, 0).flat, false, '1 MiB a minute');
  assert.ok(Math.abs(heap(1 << 20, 0).slope - (1 << 20)) < 1 << 18);
  assert.deepEqual(
    judge(samples(0, 0)).filter(({ flat }) => !flat),
    [],
  );
});
