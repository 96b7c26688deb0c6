import { deepEqual, equal, notDeepEqual, ok } from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Rng } from '@nvbraid/base';
import type { PreparedFilter } from '../src/filters/filter.ts';
import {
  type BlockDevice,
  fileDevice,
  IoOp,
  IoResult,
  memoryDevice,
  nullDevice,
  openDevice,
  type PreparedDevice,
  prepareDevice,
  releaseDevice,
  runIo,
  VolatileCache,
  volatileCache,
} from '../src/index.ts';
import { freshPath } from './support/backends.ts';
import { blockTag, fillBlocks } from './support/blocks.ts';
import { Op } from './support/op.ts';
import { BROKEN, preparedFile, scripted } from './support/scripted-calls.ts';

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);
const BLOCK = 512;
const BLOCKS = 64;

const tagged = (tag: number, blocks = 1) => {
  const bytes = new Uint8Array(blocks * BLOCK);
  fillBlocks(bytes, tag);
  return bytes;
};

async function tags(device: BlockDevice): Promise<number[]> {
  const bytes = new Uint8Array(BLOCKS * BLOCK);
  equal(await runIo(device, IoOp.Read, { memory: bytes }), IoResult.Ok);
  return Array.from({ length: BLOCKS }, (_, block) => blockTag(bytes, block * BLOCK, BLOCK));
}

function overMemory(): { device: VolatileCache; lower: BlockDevice } {
  const memory = memoryDevice({ size: BLOCKS * BLOCK, blockSize: BLOCK });
  const device = openDevice(volatileCache(memory), { threads: 1 });
  ok(device instanceof VolatileCache);
  return { device, lower: openDevice(memory, { threads: 1 }) };
}

/** A cache over a device whose system calls the test ends. */
function overScript(): { device: VolatileCache; calls: ReturnType<typeof scripted>['calls'] } {
  const lower = scripted(preparedFile(16, 0));
  const { device: file } = lower;
  const prepared = { ...preparedFile(16, 0), kind: 'volatile-cache', lower: preparedFile(16) as PreparedDevice };
  return { device: new VolatileCache(prepared as PreparedFilter, 8, file), calls: lower.calls };
}

describe('volatile cache', () => {
  it('keeps writes to itself until a flush', async () => {
    const { device, lower } = overMemory();
    equal(device.volatileWriteCache, true);
    equal(await runIo(device, IoOp.Write, { memory: tagged(5, 3), offset: BLOCK }), IoResult.Ok);
    deepEqual((await tags(device)).slice(0, 5), [0, 5, 5, 5, 0]);
    deepEqual((await tags(lower)).slice(0, 5), [0, 0, 0, 0, 0]);
    equal(device.dirtyBlocks, 3);
    equal(await runIo(device, IoOp.Flush), IoResult.Ok);
    deepEqual((await tags(lower)).slice(0, 5), [0, 5, 5, 5, 0]);
    equal(device.dirtyBlocks, 0);
  });

  it('passes a write with FUA through, and that write alone', async () => {
    const { device, lower } = overMemory();
    await runIo(device, IoOp.Write, { memory: tagged(1, 4) });
    await runIo(device, IoOp.Write, { memory: tagged(2), offset: BLOCK, fua: true });
    deepEqual((await tags(device)).slice(0, 5), [1, 2, 1, 1, 0]);
    deepEqual((await tags(lower)).slice(0, 5), [0, 2, 0, 0, 0]);
    await device.crash();
    deepEqual((await tags(device)).slice(0, 5), [0, 2, 0, 0, 0]);
  });

  it('does not let an older cached block undo zeroing', async () => {
    for (const op of [IoOp.WriteZeroes, IoOp.Deallocate]) {
      const { device } = overMemory();
      await runIo(device, IoOp.Write, { memory: tagged(1, 4) });
      equal(await runIo(device, op, { offset: BLOCK, length: 2 * BLOCK }), IoResult.Ok);
      deepEqual((await tags(device)).slice(0, 4), [1, 0, 0, 1]);
      await runIo(device, IoOp.Flush);
      deepEqual((await tags(device)).slice(0, 4), [1, 0, 0, 1]);
    }
  });

  it('finds the cached blocks of a range that is longer than the cache', async () => {
    const { device, lower } = overMemory();
    for (const block of [0, 1, 3, 6, 7]) await runIo(device, IoOp.Write, { memory: tagged(4), offset: block * BLOCK });
    equal(await runIo(device, IoOp.Deallocate, { offset: BLOCK, length: 6 * BLOCK }), IoResult.Ok);
    equal(device.dirtyBlocks, 2);
    await runIo(device, IoOp.Flush);
    deepEqual((await tags(lower)).slice(0, 9), [4, 0, 0, 0, 0, 0, 0, 4, 0]);
  });

  it('does not look at every block of a huge range', async () => {
    // Looking at 2^41 numbers would not end.
    const device = openDevice(volatileCache(nullDevice({ size: 2 ** 50, blockSize: BLOCK })), { threads: 1 });
    await runIo(device, IoOp.Write, { memory: tagged(1), offset: 2 ** 49 });
    equal(await runIo(device, IoOp.Deallocate, { length: 2 ** 50 }), IoResult.Ok);
    equal((device as VolatileCache).dirtyBlocks, 0);
  });

  it('that is closed waits for zeroing below, takes nothing more and keeps what it had', async () => {
    const { device, calls } = overScript();
    new Op(device, IoOp.Write, { memory: new Uint8Array(4096).fill(1) });
    let next: Op | null = null;
    const again = () => (next = new Op(device, IoOp.Deallocate, { offset: 8192, length: 4096 }));
    const zeroing = new Op(device, IoOp.Deallocate, { offset: 4096, length: 4096 }, again);
    const closing = device.close();
    equal(zeroing.state, 'pending');
    calls.end('zero');
    equal(zeroing.state, 'Ok');
    equal(next!.state, 'Failed');
    equal(new Op(device, IoOp.Read, { memory: new Uint8Array(4096) }).state, 'Failed');
    await new Promise(setImmediate);
    calls.end('write');
    await closing;
    equal(calls.data[0], 1);
  });

  it('writes back when it is closed in order', async () => {
    const { device, lower } = overMemory();
    await runIo(device, IoOp.Write, { memory: tagged(8) });
    await device.close();
    equal((await tags(lower))[0], 8);
  });

  it('loses in a crash what was not flushed, and nothing else', async () => {
    console.log(`volatile cache: SEED=${SEED}`);
    for (let n = 0; n < 20; n++) {
      const rng = new Rng(SEED + n);
      const { device } = overMemory();
      /** Per block: what was durable, and what was written since then. */
      const durable = new Array<number>(BLOCKS).fill(0);
      const since = durable.map(() => [] as number[]);
      const settle = (block: number, tag: number) => {
        durable[block] = tag;
        since[block] = [];
      };
      for (let tag = 1; tag < 200; tag++) {
        const count = rng.between(1, 6);
        const first = rng.below(BLOCKS - count + 1);
        const fua = rng.chance(0.2);
        equal(await runIo(device, IoOp.Write, { memory: tagged(tag, count), offset: first * BLOCK, fua }), IoResult.Ok);
        for (let block = first; block < first + count; block++) {
          if (fua) settle(block, tag);
          else since[block]!.push(tag);
        }
        if (rng.chance(0.05)) {
          equal(await runIo(device, IoOp.Flush), IoResult.Ok);
          for (const [block, list] of since.entries()) if (list.length > 0) settle(block, list.at(-1)!);
        }
      }
      const dirty = device.dirtyBlocks;
      const keep = rng.pick([0, 0.5, 1]);
      const { kept, lost } = await device.crash({ keep, seed: n });
      equal(kept + lost, dirty);
      if (keep === 0) equal(kept, 0);
      if (keep === 1) equal(lost, 0);
      const after = await tags(device);
      for (let block = 0; block < BLOCKS; block++) {
        const last = since[block]!.at(-1) ?? durable[block]!;
        const valid = keep === 0 ? [durable[block]!] : keep === 1 ? [last] : [durable[block]!, last];
        ok(valid.includes(after[block]!), `block ${block} is ${after[block]}, not one of ${valid}`);
      }
    }
  });

  it('keeps the same blocks for the same seed', async () => {
    const survivors = async (seed: number) => {
      const { device } = overMemory();
      await runIo(device, IoOp.Write, { memory: tagged(1, BLOCKS) });
      await device.crash({ keep: 0.5, seed });
      return tags(device);
    };
    deepEqual(await survivors(7), await survivors(7));
    notDeepEqual(await survivors(7), await survivors(8));
  });

  it('fails what was under way in the crash', async () => {
    const { device, calls } = overScript();
    equal(new Op(device, IoOp.Write, { memory: new Uint8Array(4096).fill(1) }).state, 'Ok');
    const flush = new Op(device, IoOp.Flush);
    const behind = new Op(device, IoOp.Write, { memory: new Uint8Array(4096), fua: true });
    deepEqual([flush.state, behind.state], ['pending', 'pending']);
    const crash = device.crash();
    equal(behind.state, 'Failed');
    equal(new Op(device, IoOp.Read, { memory: new Uint8Array(4096) }).state, 'Failed');
    calls.end('write');
    equal(flush.state, 'Failed');
    await crash;
    equal(calls.trace.includes('sync'), false, 'a machine without power flushes nothing');
    equal(new Op(device, IoOp.Read, { memory: new Uint8Array(4096) }).state, 'Ok', 'it is back');
  });

  it('reports a failure of the device below and keeps its blocks', async () => {
    const { device, calls } = overScript();
    new Op(device, IoOp.Write, { memory: new Uint8Array(4096).fill(1) });
    const flush = new Op(device, IoOp.Flush);
    calls.end('write', BROKEN);
    equal(flush.state, 'MediaError');
    equal(device.dirtyBlocks, 1);
    const again = new Op(device, IoOp.Flush);
    calls.end('write');
    calls.end('sync', BROKEN);
    equal(again.state, 'MediaError');
  });

  it('reads what is cached although a flush moves it down behind a slow read', () => {
    const { device, calls } = overScript();
    new Op(device, IoOp.Write, { memory: new Uint8Array(4096).fill(1) });
    calls.cached = false;
    const memory = new Uint8Array(8192).fill(9);
    const read = new Op(device, IoOp.Read, { memory });
    const reading = calls.pool.shift()!;
    const flush = new Op(device, IoOp.Flush);
    calls.end('write');
    calls.end('sync');
    equal(flush.state, 'Ok');
    calls.data.fill(0, 0, 4096);
    while (read.state === 'pending') (calls.pool.shift() ?? reading).end();
    deepEqual([memory[0], memory[4096]], [1, 0]);
  });

  it('keeps a block that was written again while its older version went down', () => {
    const { device, calls } = overScript();
    new Op(device, IoOp.Write, { memory: new Uint8Array(4096).fill(1) });
    const flush = new Op(device, IoOp.Flush);
    new Op(device, IoOp.Write, { memory: new Uint8Array(4096).fill(2) });
    calls.end('write');
    calls.end('sync');
    equal(flush.state, 'Ok');
    equal(device.dirtyBlocks, 1);
    const memory = new Uint8Array(4096);
    equal(new Op(device, IoOp.Read, { memory }).state, 'Ok');
    equal(memory[0], 2);
  });

  it('makes room by writing back', () => {
    const { device, calls } = overScript();
    for (let n = 0; n < 8; n++) {
      equal(new Op(device, IoOp.Write, { memory: new Uint8Array(4096).fill(n), offset: n * 4096 }).state, 'Ok');
    }
    const ninth = new Op(device, IoOp.Write, { memory: new Uint8Array(4096).fill(8), offset: 8 * 4096 });
    equal(ninth.state, 'pending');
    calls.end('write');
    equal(ninth.state, 'Ok');
    equal(device.dirtyBlocks, 1);
    equal(calls.data[7 * 4096], 7);
  });

  it('works over a file', async () => {
    const spec = volatileCache(fileDevice({ path: freshPath(), size: BLOCKS * BLOCK, blockSize: BLOCK, create: true }));
    const prepared = await prepareDevice(spec);
    const device = openDevice(prepared, { threads: 1 }) as VolatileCache;
    await runIo(device, IoOp.Write, { memory: tagged(1, 4) });
    await runIo(device, IoOp.Flush);
    await runIo(device, IoOp.Write, { memory: tagged(2, 2) });
    await device.crash();
    deepEqual((await tags(device)).slice(0, 5), [1, 1, 1, 1, 0]);
    await device.close();
    await releaseDevice(prepared);
    // The file is free again: its lock went with it.
    await releaseDevice(await prepareDevice(spec));
  });
});
