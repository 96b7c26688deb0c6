import { deepEqual, equal, ok } from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type BlockDevice, IoOp, memoryDevice, openDevice } from '../src/index.ts';
import { ZERO_SLICE_BYTES, ZERO_TURN_BYTES } from '../src/limits.ts';
import { MemoryDevice, prepareMemory } from '../src/memory-device.ts';
import { ZeroLine } from '../src/zero-line.ts';
import { blockTag, fillBlocks } from './support/blocks.ts';
import { Op } from './support/op.ts';

const BLOCK = 4096;
const TURNS = 4;
const SIZE = TURNS * ZERO_TURN_BYTES;
const ZEROING = [IoOp.WriteZeroes, IoOp.Deallocate];

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A device full of ones. */
function full(size = SIZE, threads = 1): { device: BlockDevice; bytes: Uint8Array } {
  const spec = memoryDevice({ size, blockSize: BLOCK });
  const bytes = new Uint8Array(spec.buffer);
  fillBlocks(bytes, 1);
  return { device: openDevice(spec, { threads }), bytes };
}

/** The same with bounds of the test's own. */
function small(line: ZeroLine, blocks: number, blockSize: number, threads = 1) {
  const spec = memoryDevice({ size: blocks * blockSize, blockSize });
  const bytes = new Uint8Array(spec.buffer);
  fillBlocks(bytes, 1);
  const device = new MemoryDevice(prepareMemory(spec), { threads }, line);
  const tags = () => Array.from({ length: blocks }, (_, n) => blockTag(bytes, n * blockSize, blockSize));
  return { device, tags, zeroed: () => tags().filter((tag) => tag === 0).length };
}

describe('zeroing in memory', () => {
  for (const threads of [1, 2]) {
    it(`of a large range lets others have their turns, opened by ${threads}`, async () => {
      for (const op of ZEROING) {
        const { device, bytes } = full(SIZE, threads);
        const order: string[] = [];
        const zeroing = new Op(device, op, { length: SIZE }, () => order.push('zeroed'));
        equal(zeroing.atOnce, false);
        const last = { offset: SIZE - BLOCK, memory: new Uint8Array(BLOCK) };
        for (let n = 0; n < TURNS - 1; n++) {
          await turn();
          const read = new Op(device, IoOp.Read, last);
          ok(read.atOnce);
          equal(read.io.memory.bytes[0], 1, 'the end of the range has its turn last');
          order.push('read');
        }
        while (zeroing.state === 'pending') await turn();
        deepEqual(order, ['read', 'read', 'read', 'zeroed']);
        equal(zeroing.state, 'Ok');
        equal(bytes.indexOf(1), -1);
        await device.close();
      }
    });
  }

  it('of short ranges is done at once, until they add up', async () => {
    const { device } = full();
    const MIB = 1 << 20;
    for (let round = 0; round < 3; round++) {
      await turn();
      await turn();
      let atOnce = 0;
      let op = new Op(device, IoOp.Deallocate, { length: MIB });
      while (op.atOnce && atOnce < 256) {
        atOnce++;
        op = new Op(device, IoOp.Deallocate, { length: MIB });
      }
      ok(atOnce >= ZERO_TURN_BYTES / MIB / 2, `${atOnce} at once`);
      ok(atOnce <= ZERO_TURN_BYTES / MIB, `${atOnce} at once`);
      while (op.state === 'pending') await turn();
      equal(op.state, 'Ok');
    }
  });

  it('has one bound for all devices of a thread', async () => {
    const both = [full(), full()];
    const zeroed = () =>
      both.reduce((sum, { bytes }) => {
        for (let at = 0; at < SIZE; at += BLOCK) if (bytes[at] === 0) sum += BLOCK;
        return sum;
      }, 0);
    const ops = both.map(({ device }) => new Op(device, IoOp.Deallocate, { length: SIZE }));
    for (let before = 0; before < 2 * SIZE; ) {
      await turn();
      const after = zeroed();
      ok(after > before);
      ok(after - before < ZERO_TURN_BYTES + ZERO_SLICE_BYTES, `${after - before} bytes in one turn`);
      before = after;
    }
    deepEqual(
      ops.map((op) => op.state),
      ['Ok', 'Ok'],
    );
  });

  it('ends a short operation before a long one that came earlier', async () => {
    const line = new ZeroLine(4 * BLOCK, BLOCK);
    const { device } = small(line, 64, BLOCK);
    const order: string[] = [];
    const long = new Op(device, IoOp.Deallocate, { length: 64 * BLOCK }, () => order.push('long'));
    const short = new Op(device, IoOp.Deallocate, { length: BLOCK }, () => order.push('short'));
    equal(short.atOnce, false, 'it would have overtaken the first slice');
    await turn();
    deepEqual(order, ['short']);
    while (long.state === 'pending') await turn();
  });

  for (const threads of [1, 2]) {
    it(`keeps blocks whole whatever else is in line, opened by ${threads}`, async () => {
      const line = new ZeroLine(8192, 4096);
      const large = small(line, 16, 4096, threads);
      const tiny = small(line, 16, 512, threads);
      const zeroing = new Op(large.device, IoOp.Deallocate, { length: 16 * 4096 });
      while (zeroing.state === 'pending') {
        new Op(tiny.device, IoOp.Deallocate, { length: 512 });
        await turn();
        equal(large.tags().indexOf(-1), -1);
      }
      equal(large.zeroed(), 16);
    });
  }

  it('goes on from `done`, range after range, without more of it in a turn', async () => {
    const line = new ZeroLine(8 * BLOCK, 4 * BLOCK);
    const { device, zeroed } = small(line, 64, BLOCK);
    let first = 0;
    let over = false;
    // As the target does with the ranges of one command.
    const next = (): void => {
      while (first < 64) {
        const op = new Op(device, IoOp.Deallocate, { offset: first * BLOCK, length: 4 * BLOCK }, next);
        first += 4;
        if (!op.atOnce) return;
      }
      over = true;
    };
    next();
    for (let before = zeroed(); !over; ) {
      ok(before <= 64 - 4);
      await turn();
      ok(zeroed() - before <= 8);
      ok(zeroed() > before);
      before = zeroed();
    }
    equal(zeroed(), 64);
  });

  it('is waited for by close, and announced as work in the background', async () => {
    const spec = memoryDevice({ size: 64 * BLOCK, blockSize: BLOCK });
    const log: string[] = [];
    const background = { started: () => void log.push('started'), finished: () => void log.push('finished') };
    const device = new MemoryDevice(prepareMemory(spec), { threads: 1, background }, new ZeroLine(4 * BLOCK, BLOCK));
    new Op(device, IoOp.WriteZeroes, { length: BLOCK });
    equal(log.length, 0, 'nothing that is done at once');
    let next: Op | null = null;
    new Op(device, IoOp.Deallocate, { length: 16 * BLOCK }, () => {
      log.push('done');
      next = new Op(device, IoOp.Deallocate, { length: 16 * BLOCK });
    });
    new Op(device, IoOp.WriteZeroes, { length: 32 * BLOCK }, () => log.push('done'));
    const closing = [device.close(), device.close()].map((promise) => promise.then(() => log.push('closed')));
    equal(new Op(device, IoOp.Read, { memory: new Uint8Array(BLOCK) }).state, 'Failed');
    await Promise.all(closing);
    const each = ['finished', 'done'];
    deepEqual(log, ['started', 'started', ...each, ...each, 'closed', 'closed']);
    equal(next!.state, 'Failed', 'a list of ranges ends with the device');
  });
});
