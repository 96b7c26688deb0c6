import { equal, ok } from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { type DeviceSpec, fileDevice, memoryDevice, prepareDevice, releaseDevice } from '../src/index.ts';
import { freshPath } from './support/backends.ts';
import type { Race, RaceResult } from './support/race-worker.ts';

const SEED = Number(process.env.SEED ?? Date.now() % 1_000);

/** Lets two threads read and write the same blocks and counts those that came back as a mixture. */
async function race(spec: DeviceSpec, operations: number, longest: number): Promise<RaceResult> {
  const prepared = await prepareDevice(spec);
  const gate = new SharedArrayBuffer(4);
  const workers = [SEED + 1, SEED + 2].map((seed) => {
    const workerData: Race = { prepared, seed, operations, longest, gate };
    return new Worker(new URL('./support/race-worker.ts', import.meta.url), { workerData });
  });
  const results = await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0] as RaceResult));
  await Promise.all(workers.map((worker) => worker.terminate()));
  await releaseDevice(prepared);
  const sum = (of: (result: RaceResult) => number) => results.reduce((total, result) => total + of(result), 0);
  return { torn: sum((r) => r.torn), reads: sum((r) => r.reads), failed: sum((r) => r.failed) };
}

interface Case {
  name: string;
  spec(): DeviceSpec;
  operations: number;
  longest: number;
}

const file = (blockSize: number, options: object) => () =>
  fileDevice({ path: freshPath(), size: 16 * blockSize, create: true, blockSize, ...options });

const CASES: Case[] = [
  {
    name: 'memory, blocks of 4096',
    spec: () => memoryDevice({ size: 8 * 4096, blockSize: 4096 }),
    operations: 60_000,
    longest: 3,
  },
  {
    name: 'memory, blocks of 512',
    spec: () => memoryDevice({ size: 8 * 512, blockSize: 512 }),
    operations: 100_000,
    longest: 8,
  },
  { name: 'file, blocks of 4096', spec: file(4096, {}), operations: 15_000, longest: 3 },
  { name: 'file, blocks of 65536', spec: file(65536, {}), operations: 1_000, longest: 2 },
  { name: 'file, writes on the pool', spec: file(65536, { asyncWriteBytes: 0 }), operations: 2_000, longest: 3 },
  { name: 'file, node:fs alone', spec: file(4096, { native: false }), operations: 2_000, longest: 3 },
];

describe('two threads never see a torn block', () => {
  console.log(`torn blocks: SEED=${SEED}`);
  for (const { name, spec, operations, longest } of CASES) {
    it(name, async () => {
      const { torn, reads, failed } = await race(spec(), operations, longest);
      ok(reads > operations / 2, 'hardly anything was read');
      equal(torn, 0, `of ${reads} reads`);
      equal(failed, 0);
    });
  }
});
