import { deepEqual, equal, ok, rejects } from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  type BlockDevice,
  type DeviceSpec,
  type FilterConfig,
  type FilterHandle,
  fileDevice,
  filtersOf,
  IoOp,
  IoResult,
  memoryDevice,
  openDevice,
  prepareDevice,
  releaseDevice,
  runIo,
  stackFilters,
} from '../src/index.ts';
import { freshPath } from './support/backends.ts';
import { blockTag, fillBlocks } from './support/blocks.ts';
import type { Race, RaceResult } from './support/race-worker.ts';

const BLOCK = 4096;
const BLOCKS = 1024;
const SEED = Number(process.env.SEED ?? Date.now() % 1_000);

interface Opened {
  device: BlockDevice;
  cow: FilterHandle;
  close(): Promise<void>;
}

async function open(base: DeviceSpec, config: FilterConfig): Promise<Opened> {
  const prepared = await prepareDevice(stackFilters(base, [config]));
  const device = openDevice(prepared, { threads: 1 });
  const close = async () => {
    await device.close();
    await releaseDevice(prepared);
  };
  return { device, cow: filtersOf(prepared)[0]!, close };
}

/** A file whose block n holds n + 1. */
function baseFile(): string {
  const path = freshPath();
  const bytes = new Uint8Array(BLOCKS * BLOCK);
  for (let n = 0; n < BLOCKS; n++) fillBlocks(bytes.subarray(n * BLOCK, (n + 1) * BLOCK), n + 1);
  writeFileSync(path, bytes);
  return path;
}

async function write(
  device: BlockDevice,
  block: number,
  tag: number,
  options: { fua?: boolean; blocks?: number } = {},
) {
  const memory = new Uint8Array((options.blocks ?? 1) * BLOCK);
  fillBlocks(memory, tag);
  equal(await runIo(device, IoOp.Write, { offset: block * BLOCK, memory, fua: options.fua ?? false }), IoResult.Ok);
}

async function tags(device: BlockDevice, first: number, count: number): Promise<number[]> {
  const memory = new Uint8Array(count * BLOCK);
  equal(await runIo(device, IoOp.Read, { offset: first * BLOCK, memory }), IoResult.Ok);
  return Array.from({ length: count }, (_, i) => blockTag(memory, i * BLOCK, BLOCK));
}

const flush = (device: BlockDevice) => runIo(device, IoOp.Flush);

for (const kept of ['memory', 'a file'] as const) {
  describe(`an overlay in ${kept}`, () => {
    const config = (): FilterConfig => (kept === 'memory' ? { kind: 'cow' } : { kind: 'cow', path: freshPath() });

    it('leaves the device below as it is, a read-only one too', async () => {
      const path = baseFile();
      const before = readFileSync(path);
      const { device, cow, close } = await open(fileDevice({ path, readOnly: true }), config());
      equal(device.readOnly, false);
      await write(device, 3, 77);
      await write(device, 4, 78, { fua: true });
      equal(await runIo(device, IoOp.Deallocate, { offset: 6 * BLOCK, length: 2 * BLOCK }), IoResult.Ok);
      deepEqual(await tags(device, 2, 7), [3, 77, 78, 6, 0, 0, 9]);
      deepEqual(cow.report(), { changedBlocks: 4 });
      await rejects(async () => cow.act('commit'), /the device below is read-only/);
      await cow.act('discard');
      deepEqual(await tags(device, 2, 7), [3, 4, 5, 6, 7, 8, 9]);
      deepEqual(cow.report(), { changedBlocks: 0 });
      await close();
      ok(readFileSync(path).equals(before));
    });

    it('commits what was changed, and nothing else', async () => {
      const path = baseFile();
      const { device, cow, close } = await open(fileDevice({ path }), config());
      await write(device, 250, 500, { blocks: 20 }); // over the border of two steps
      await write(device, BLOCKS - 1, 501);
      await cow.act('commit');
      deepEqual(cow.report(), { changedBlocks: 0 });
      deepEqual(await tags(device, 249, 3), [250, 500, 500]);
      await close();
      const below = openDevice(await prepareDevice(fileDevice({ path })), { threads: 1 });
      deepEqual(await tags(below, 268, 4), [500, 500, 271, 272]);
      deepEqual(await tags(below, BLOCKS - 2, 2), [BLOCKS - 1, 501]);
      await below.close();
    });

    it('lets a write to what is being committed wait, and no other', async () => {
      const base = memoryDevice({ size: BLOCKS * BLOCK, blockSize: BLOCK });
      const prepared = await prepareDevice(stackFilters(base, [config(), { kind: 'delay' }]));
      const [cow, delay] = filtersOf(prepared);
      const device = openDevice(prepared, { threads: 1 });
      await write(device, 1, 10);
      delay!.set({ hold: 'write', count: 1 });
      const commit = cow!.act('commit') as Promise<void>;
      while ((delay!.report() as { held: number }).held === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      let ended = false;
      const late = write(device, 1, 11).then(() => (ended = true));
      await write(device, 600, 12); // of another step
      equal(ended, false);
      delay!.act('release');
      await Promise.all([commit, late]);
      deepEqual(await tags(device, 1, 1), [11], 'the commit has taken the write with it');
      await rejects(
        async () => Promise.all([cow!.act('commit'), cow!.act('discard')]),
        /a commit or discard is under way/,
      );
      while ((cow!.report() as { changedBlocks: number }).changedBlocks > 0)
        await new Promise((resolve) => setTimeout(resolve, 1));
      deepEqual(await tags(device, 1, 1), [11]);
      deepEqual(await tags(device, 600, 1), [12]);
      await device.close();
      await releaseDevice(prepared);
    });

    it('two threads never see a torn or lost block, while commits and discards go on', async () => {
      const spec = stackFilters(memoryDevice({ size: 16 * BLOCK, blockSize: BLOCK }), [config()]);
      const prepared = await prepareDevice(spec);
      const [cow] = filtersOf(prepared);
      const gate = new SharedArrayBuffer(4);
      const workers = [SEED + 1, SEED + 2].map((seed) => {
        const workerData: Race = { prepared, seed, operations: 6000, longest: 4, gate };
        return new Worker(new URL('./support/race-worker.ts', import.meta.url), { workerData });
      });
      let racing = true;
      const results = Promise.all(
        workers.map(async (worker) => (await once(worker, 'message'))[0] as RaceResult),
      ).finally(() => (racing = false));
      let rounds = 0;
      while (racing) {
        await cow!.act(rounds++ % 4 === 3 ? 'discard' : 'commit');
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      for (const { torn, failed } of await results) deepEqual([torn, failed], [0, 0], `SEED=${SEED}`);
      ok(rounds > 2);
      await Promise.all(workers.map((worker) => worker.terminate()));
      await releaseDevice(prepared);
    });
  });
}

describe('an overlay in a file, after a crash', () => {
  /** What a machine finds that lost its power now: files as they are on stable storage, or newer. */
  function after(path: string): string {
    const copy = freshPath();
    copyFileSync(path, copy);
    copyFileSync(`${path}.map`, `${copy}.map`);
    return copy;
  }

  it('has what was flushed or written through, and of the rest the old block', async () => {
    const base = baseFile();
    const path = freshPath();
    const { device, close } = await open(fileDevice({ path: base, readOnly: true }), { kind: 'cow', path });
    await write(device, 1, 100);
    equal(await flush(device), IoResult.Ok);
    await write(device, 2, 200, { fua: true });
    await write(device, 3, 300);
    const crashed = after(path);
    await write(device, 1, 101);
    await close();
    const again = await open(fileDevice({ path: base, readOnly: true }), { kind: 'cow', path: crashed });
    deepEqual(await tags(again.device, 0, 5), [1, 100, 200, 4, 5]);
    await again.close();
    const orderly = await open(fileDevice({ path: base, readOnly: true }), { kind: 'cow', path });
    deepEqual(await tags(orderly.device, 0, 5), [1, 101, 200, 300, 5], 'an orderly end keeps everything');
    await orderly.close();
  });

  it('in the middle of a commit reads as before', async () => {
    const base = baseFile();
    const path = freshPath();
    const opened = await open(fileDevice({ path: base }), { kind: 'cow', path });
    for (let step = 0; step < 4; step++) await write(opened.device, step * 256 + 7, 1000 + step);
    equal(await flush(opened.device), IoResult.Ok);
    const wanted = await tags(opened.device, 0, BLOCKS);
    let committed = false;
    const commit = Promise.resolve(opened.cow.act('commit')).then(() => (committed = true));
    const crashes: [string, string][] = [];
    while (!committed) {
      await new Promise((resolve) => setImmediate(resolve));
      if (crashes.length >= 12) continue;
      // The overlay first: what the base has then is at least as new.
      const overlay = after(path);
      const below = freshPath();
      copyFileSync(base, below);
      crashes.push([below, overlay]);
    }
    await commit;
    await opened.close();
    ok(crashes.length > 0);
    for (const [below, overlay] of crashes) {
      const again = await open(fileDevice({ path: below }), { kind: 'cow', path: overlay });
      deepEqual(await tags(again.device, 0, BLOCKS), wanted);
      await again.close();
    }
  });

  it('refuses files that do not belong together, with a sentence', async () => {
    const path = freshPath();
    const base = memoryDevice({ size: BLOCKS * BLOCK, blockSize: BLOCK });
    await (await open(base, { kind: 'cow', path })).close();
    const other = memoryDevice({ size: 2 * BLOCKS * BLOCK, blockSize: BLOCK });
    await rejects(open(other, { kind: 'cow', path }), /\.map is not the map of an overlay for this device/);
    const alone = freshPath();
    writeFileSync(alone, new Uint8Array(BLOCKS * BLOCK));
    await rejects(open(base, { kind: 'cow', path: alone }), /exists, but its map .*\.map does not/);
    await rejects(
      open(base, { kind: 'cow', path: '/nowhere/at/all' }),
      /directory of \/nowhere\/at\/all\.map does not exist/,
    );
    const first = await open(base, { kind: 'cow', path });
    await rejects(open(base, { kind: 'cow', path }), /is locked by another program/);
    await rejects(async () => first.cow.set({ path: null }), /path cannot be changed while the overlay is in use/);
    await first.close();
    ok(existsSync(path));
  });
});
