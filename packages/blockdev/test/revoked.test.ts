import { deepEqual, equal, ok } from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openThreadPool } from '../src/file/thread-pool.ts';
import { VolatileCache, volatileCache } from '../src/filters/volatile-cache.ts';
import { type BlockDevice, type Io, IoOp, IoRequest, LowerIo, memoryDevice, openDevice } from '../src/index.ts';
import { ZERO_STEP_BYTES, ZERO_TURN_BYTES } from '../src/limits.ts';
import { Op } from './support/op.ts';
import { BLOCK, preparedFile, scripted } from './support/scripted-calls.ts';

/*
 * What waits, or is done in steps, when the association that sent it ends: it must not reach the medium any more.
 */

const filled = (value: number, blocks = 1) => new Uint8Array(blocks * BLOCK).fill(value);

describe('a revoked operation', () => {
  it('that waits in line for a stripe never starts, and those behind it do', () => {
    const { device, calls } = scripted(preparedFile(16, BLOCK));
    const first = new Op(device, IoOp.Write, { memory: filled(1, 2) });
    const ghost = new Op(device, IoOp.Write, { memory: filled(2) });
    const last = new Op(device, IoOp.Write, { offset: BLOCK, memory: filled(3) });
    equal(ghost.state, 'pending', 'the first write holds the stripe on the pool');
    ghost.io.revoked = true;
    calls.end('write');
    deepEqual([first.state, ghost.state, last.state], ['Ok', 'Failed', 'Ok']);
    equal(calls.data[0], 1, 'the old data did not come after all');
    equal(calls.data[BLOCK], 3);
  });

  it('that is given to the medium already ends as it would have', () => {
    const { device, calls } = scripted(preparedFile(16, BLOCK));
    const write = new Op(device, IoOp.Write, { memory: filled(1, 2) });
    write.io.revoked = true;
    calls.end('write', BLOCK / 2);
    equal(write.state, 'pending', 'the rest of a block that is half written follows');
    calls.end('write');
    equal(write.state, 'Ok');
    deepEqual(calls.data.subarray(0, 2 * BLOCK), filled(1, 2));
  });

  it('that zeroes in steps stops after the step under way, and says nothing in the log', () => {
    const log: string[] = [];
    const blocks = (3 * ZERO_STEP_BYTES) / BLOCK;
    const { device, calls } = scripted(preparedFile(blocks), { log: (message) => log.push(message) });
    const zero = new Op(device, IoOp.WriteZeroes, { length: 3 * ZERO_STEP_BYTES });
    calls.end('zero');
    zero.io.revoked = true;
    calls.end('zero');
    equal(zero.state, 'Failed');
    equal(calls.pool.length, 0);
    deepEqual(log, []);
    ok(new Op(device, IoOp.Write, { offset: ZERO_STEP_BYTES, memory: filled(1) }).atOnce, 'its stripes are free');
  });

  it('that waits for a place on the thread pool does not get it', () => {
    const { device, calls } = scripted(preparedFile(16, BLOCK), {}, openThreadPool(2));
    const zeroes = [0, 1, 2].map((n) => new Op(device, IoOp.WriteZeroes, { offset: n * BLOCK, length: BLOCK }));
    const writes = [4, 8, 12].map((n) => new Op(device, IoOp.Write, { offset: n * BLOCK, memory: filled(9, 2) }));
    deepEqual(
      calls.pool.map(({ name }) => name),
      ['zero', 'zero', 'write', 'write'],
    );
    zeroes[2]!.io.revoked = true;
    writes[2]!.io.revoked = true;
    for (const name of ['zero', 'zero', 'write', 'write'] as const) calls.end(name);
    deepEqual([zeroes[2]!.state, writes[2]!.state], ['Failed', 'Failed']);
    equal(calls.pool.length, 0);
    equal(calls.data[12 * BLOCK], 0);
    ok(new Op(device, IoOp.Write, { offset: 2 * BLOCK, memory: filled(1) }).atOnce, 'nothing is held any more');
  });

  it('that compares on the thread pool does not write afterwards', () => {
    const { device, calls } = scripted({ ...preparedFile(16), compareAndWrite: true });
    calls.cached = false;
    const op = new Op(device, IoOp.CompareAndWrite, { memory: filled(5), compare: filled(0) });
    op.io.revoked = true;
    calls.end('read');
    equal(op.state, 'Failed');
    equal(calls.pool.length, 0);
    equal(calls.data[0], 0);
  });

  it('that zeroes memory in slices stops between two of them', async () => {
    const spec = memoryDevice({ size: 2 * ZERO_TURN_BYTES, blockSize: BLOCK });
    const bytes = new Uint8Array(spec.buffer).fill(1);
    const device = openDevice(spec, { threads: 1 });
    const zero = new Op(device, IoOp.WriteZeroes, { length: bytes.length });
    await new Promise((resolve) => setImmediate(resolve));
    zero.io.revoked = true;
    while (zero.state === 'pending') await new Promise((resolve) => setImmediate(resolve));
    equal(zero.state, 'Failed');
    equal(bytes.at(-1), 1);
    await device.close();
  });

  it('that waits in a cache for room is neither kept nor passed on', async () => {
    const held: Io[] = [];
    const lower: BlockDevice = {
      ...{ blockSize: BLOCK, blockCount: 8, readOnly: false, volatileWriteCache: true, thin: false, memory: null },
      submit: (io) => held.push(io) < 0,
      close: async () => {},
    };
    const spec = volatileCache(memoryDevice({ size: 8 * BLOCK, blockSize: BLOCK }), { maxBlocks: 1 });
    const cache = new VolatileCache(
      { ...spec, ...lower, lower: memoryDevice({ size: 8 * BLOCK, blockSize: BLOCK }) } as never,
      1,
      lower,
    );
    equal(new Op(cache, IoOp.Write, { memory: filled(1) }).state, 'Ok');
    const written = new Op(cache, IoOp.Write, { offset: BLOCK, memory: filled(2) });
    const waiting = new Op(cache, IoOp.Write, { offset: 2 * BLOCK, memory: filled(3), fua: true });
    waiting.io.revoked = true;
    written.io.revoked = true;
    equal(held.length, 1, 'the block that makes room is on its way down');
    const io = held.shift()!;
    io.done(io);
    deepEqual([written.state, waiting.state], ['Failed', 'Failed']);
    equal(held.length, 0);
    equal(cache.dirtyBlocks, 0);
  });

  it('is seen through the operation that a filter sends in its place', () => {
    const io = new IoRequest().set(IoOp.Write, { memory: filled(1) });
    const lower = new LowerIo(() => {}).copy(io);
    equal(lower.revoked, false);
    io.revoked = true;
    equal(lower.revoked, true);
    equal(lower.flush().revoked, false, 'another operation');
  });
});
