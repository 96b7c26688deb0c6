import { deepEqual, equal, ok } from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  type DeviceSpec,
  fileDevice,
  IoOp,
  IoResult,
  memoryDevice,
  openDevice,
  prepareDevice,
  releaseDevice,
  runIo,
  ZoneCondition,
  zonedDevice,
} from '../src/index.ts';
import { freshPath } from './support/backends.ts';
import { blockTag } from './support/blocks.ts';
import type { Placed } from './support/zone-race-worker.ts';

const SEED = Number(process.env.SEED ?? Date.now() % 1000) + 1;
const BLOCK = 4096;
const ZONE_BLOCKS = 256;
const ZONES = 6;

const LOWER: Record<string, () => DeviceSpec> = {
  memory: () => memoryDevice({ size: ZONES * ZONE_BLOCKS * BLOCK, blockSize: BLOCK }),
  'a file': () => fileDevice({ path: freshPath(), size: ZONES * ZONE_BLOCKS * BLOCK, create: true }),
  'a file that is written on the thread pool': () =>
    fileDevice({ path: freshPath(), size: ZONES * ZONE_BLOCKS * BLOCK, create: true, asyncWriteBytes: 0 }),
};

function runner(workerData: unknown): Promise<{ placed: Placed[]; refused: number[] }> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./support/zone-race-worker.ts', import.meta.url), { workerData });
    worker.on('message', resolve);
    worker.on('error', reject);
  });
}

describe('two threads that append to one zone', () => {
  for (const [name, lower] of Object.entries(LOWER)) {
    it(`${name}: each append has a place of its own, without gaps, and a written block is written`, async (t) => {
      t.diagnostic(`seed ${SEED}`);
      const prepared = await prepareDevice(
        zonedDevice(lower(), { zoneSize: ZONE_BLOCKS * BLOCK, maxOpen: 1, maxActive: 2 }),
      );
      const gate = new SharedArrayBuffer(4);
      let over = false;
      const watching = watch(() => over);
      const runners = await Promise.all([
        runner({ prepared, seed: SEED, gate, longest: 8 }),
        runner({ prepared, seed: SEED + 1, gate, longest: 8 }),
      ]);
      over = true;
      ok((await watching) > 0);
      for (const { refused } of runners) deepEqual(refused, []);
      const device = openDevice(prepared, { threads: 2 });
      const { zones } = device;
      for (let zone = 0; zone < ZONES; zone++) equal(zones!.condition(zone), ZoneCondition.Full);
      equal(zones!.openedCount, 0);
      equal(zones!.activeCount, 0);
      const placed = runners.flatMap((result) => result.placed).sort((a, b) => a.offset - b.offset);
      let next = 0;
      const bytes = new Uint8Array(8 * BLOCK);
      for (const { offset, blocks, tag } of placed) {
        equal(offset, next, `seed ${SEED}: an append went to ${offset}, the one before it ended at ${next}`);
        next = offset + blocks * BLOCK;
        equal(await runIo(device, IoOp.Read, { memory: bytes, offset, length: blocks * BLOCK }), IoResult.Ok);
        for (let n = 0; n < blocks; n++) equal(blockTag(bytes, n * BLOCK, BLOCK), tag, `seed ${SEED}`);
      }
      equal(next, ZONES * ZONE_BLOCKS * BLOCK);
      for (const { placed: mine } of runners) {
        ok(mine.length > 20, `only ${mine.length} appends of one thread succeeded: this was no race`);
      }
      await device.close();
      await releaseDevice(prepared);

      /** What a report says was written is there at that moment, for anybody who looks. */
      async function watch(stop: () => boolean): Promise<number> {
        const view = openDevice(prepared, { threads: 2 });
        const memory = new Uint8Array(BLOCK);
        let looks = 0;
        while (!stop()) {
          for (let zone = 0; zone < ZONES; zone++) {
            const written = view.zones!.written(zone);
            if (written === 0) continue;
            const offset = (zone * ZONE_BLOCKS + written - 1) * BLOCK;
            equal(await runIo(view, IoOp.Read, { memory, offset }), IoResult.Ok);
            ok(blockTag(memory, 0, BLOCK) > 0, `seed ${SEED}: block ${written - 1} of zone ${zone} is a hole`);
            looks++;
          }
          await new Promise((resolve) => setImmediate(resolve));
        }
        await view.close();
        return looks;
      }
    });
  }
});
