import { deepEqual, equal } from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { Rng } from '@nvbraid/base';
import {
  type DeviceSpec,
  fileDevice,
  IoOp,
  IoResult,
  memoryDevice,
  nullDevice,
  openDevice,
  prepareDevice,
  releaseDevice,
  runIo,
} from '../src/index.ts';
import { BACKENDS, freshPath, openSpec } from './support/backends.ts';
import { type CounterResult, count, counted, counterBlock } from './support/counter.ts';
import type { CounterRace } from './support/counter-worker.ts';

const SEED = Number(process.env.SEED ?? Date.now() % 1_000);
console.log(`compare and write: SEED=${SEED}`);

describe('compare and write', () => {
  for (const backend of BACKENDS) {
    it(`writes what was as expected, and nothing else: ${backend.name}`, { skip: backend.skip ?? false }, async () => {
      const { device, close } = await backend.open(8 * 4096, 4096, SEED);
      if (device.compareAndWrite === false) {
        // An overlay: it says so, and refuses.
        const block = counterBlock(4096, 0);
        equal(await runIo(device, IoOp.CompareAndWrite, { memory: block, compare: block }), IoResult.NotSupported);
        equal(/overlay/.test(backend.name), true, `${backend.name} should be able to`);
        return close();
      }
      const compareAndWrite = (compare: number, value: number, fua: boolean): Promise<IoResult> =>
        runIo(device, IoOp.CompareAndWrite, {
          offset: 4096,
          memory: counterBlock(4096, value),
          compare: counterBlock(4096, compare),
          fua,
        });
      const results: IoResult[] = [];
      for (const fua of [false, true]) {
        results.push(await compareAndWrite(0, 1, fua), await compareAndWrite(0, 2, fua));
        results.push(await compareAndWrite(1, 0, fua));
      }
      deepEqual(results, [0, IoResult.Miscompare, 0, 0, IoResult.Miscompare, 0]);
      const last = counterBlock(4096, 0);
      last[4095] = 1;
      equal(
        await runIo(device, IoOp.CompareAndWrite, { offset: 4096, memory: last, compare: last }),
        IoResult.Miscompare,
        'the last byte counts',
      );
      equal(await counted(device), 0);
      await close();
    });

    it(`loses no increment of a counter: ${backend.name}`, { skip: backend.skip ?? false }, async () => {
      const { device, close } = await backend.open(8 * 512, 512, SEED);
      if (device.compareAndWrite === false) return close();
      const { raised, failed } = await count(device, new Rng(SEED), 100);
      deepEqual([await counted(device), failed], [raised, 0]);
      await close();
    });
  }

  it('compares with zeroes where nothing is kept', async () => {
    const { device, close } = await openSpec(nullDevice({ size: 4096, blockSize: 512 }));
    const run = (compare: number): Promise<IoResult> =>
      runIo(device, IoOp.CompareAndWrite, { memory: counterBlock(512, 1), compare: counterBlock(512, compare) });
    deepEqual([await run(0), await run(1)], [IoResult.Ok, IoResult.Miscompare]);
    await close();
  });

  it('is not offered for a file that another process may write to, nor for one that is read only', async () => {
    const path = freshPath();
    for (const options of [{ shared: true }, { readOnly: true }]) {
      const prepared = await prepareDevice(fileDevice({ path, size: 8192, create: true, ...options }));
      const device = openDevice(prepared, { threads: 1 });
      deepEqual([prepared.compareAndWrite, device.compareAndWrite], [false, false]);
      const memory = counterBlock(4096, 1);
      equal(await runIo(device, IoOp.CompareAndWrite, { memory, compare: memory }), IoResult.NotSupported);
      await device.close();
      await releaseDevice(prepared);
    }
  });
});

async function race(spec: DeviceSpec, increments: number): Promise<void> {
  const prepared = await prepareDevice(spec);
  const gate = new SharedArrayBuffer(4);
  const workers = [SEED + 1, SEED + 2].map((seed) => {
    const workerData: CounterRace = { prepared, seed, increments, gate };
    return new Worker(new URL('./support/counter-worker.ts', import.meta.url), { workerData });
  });
  const results = await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0] as CounterResult));
  await Promise.all(workers.map((worker) => worker.terminate()));
  const device = openDevice(prepared, { threads: 2 });
  const raised = results.reduce((sum, result) => sum + result.raised, 0);
  deepEqual([await counted(device), results.map((result) => result.failed)], [raised, [0, 0]]);
  await device.close();
  await releaseDevice(prepared);
}

const file = (options: object) => (): DeviceSpec =>
  fileDevice({ path: freshPath(), size: 8 * 512, create: true, blockSize: 512, ...options });
const RACES: [string, () => DeviceSpec, number][] = [
  ['memory', () => memoryDevice({ size: 8 * 512, blockSize: 512 }), 20_000],
  ['file', file({}), 3_000],
  ['file, every write on the pool', file({ asyncWriteBytes: 0 }), 300],
  ['file, node:fs alone', file({ native: false }), 300],
];

describe('two threads lose no increment of a counter', () => {
  for (const [name, spec, increments] of RACES) it(name, () => race(spec(), increments));
});
