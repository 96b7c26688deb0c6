import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { constants } from 'node:os';
import { describe, it } from 'node:test';
import * as errors from '../src/file/file-calls.ts';
import { EAGAIN } from '../src/file/file-calls.ts';
import { libc } from '../src/file/native.ts';
import { nativeCalls } from '../src/file/native-calls.ts';
import { IoOp } from '../src/index.ts';
import { OPTIMISTIC_READS, WAIT_RETRIES, WAIT_SCAN, ZERO_STEP_BYTES } from '../src/limits.ts';
import { Op } from './support/op.ts';
import { BLOCK, preparedFile, scripted } from './support/scripted-calls.ts';

const native = { skip: libc() === null ? 'no system calls by koffi here' : false };
const filled = (value: number, blocks = 1) => new Uint8Array(blocks * BLOCK).fill(value);

describe('reads', () => {
  it('are done at once when the page cache has the data', () => {
    const { device, calls } = scripted(preparedFile(16));
    calls.data.fill(3);
    const memory = filled(0);
    ok(new Op(device, IoOp.Read, { memory }).atOnce);
    equal(memory[BLOCK - 1], 3);
  });

  it('go to the pool when it has not, and go on after a short one', () => {
    const { device, calls } = scripted(preparedFile(16));
    calls.data.fill(3);
    calls.cached = false;
    const memory = filled(0, 2);
    const read = new Op(device, IoOp.Read, { memory });
    equal(read.state, 'pending');
    calls.end('read', 5000);
    equal(read.state, 'pending');
    calls.end('read');
    equal(read.state, 'Ok');
    deepEqual(memory, filled(3, 2));
    deepEqual(calls.trace, ['read 0+8192', 'read 5000+3192']);
  });

  it('go to the pool when the page cache has only a part', () => {
    const { device, calls } = scripted(preparedFile(16));
    calls.nextNow.push(100);
    const read = new Op(device, IoOp.Read, { memory: filled(0) });
    calls.end('read');
    equal(read.state, 'Ok');
  });

  it('stop asking the page cache where that is not possible', () => {
    const { device, calls } = scripted(preparedFile(16));
    calls.nowait = false;
    new Op(device, IoOp.Read, { memory: filled(0) });
    calls.nowait = true;
    new Op(device, IoOp.Read, { memory: filled(0), offset: BLOCK });
    deepEqual(calls.trace, ['read 0+4096', 'read 4096+4096']);
  });

  it('report a file that became shorter', () => {
    const log: string[] = [];
    const { device, calls } = scripted(preparedFile(16), { log: (message) => log.push(message) });
    calls.cached = false;
    const reads = [0, 1].map((n) => new Op(device, IoOp.Read, { memory: filled(0), offset: n * BLOCK }));
    calls.end('read', 0);
    calls.end('read', 0);
    deepEqual(
      reads.map((read) => read.state),
      ['MediaError', 'MediaError'],
    );
    equal(log.length, 1, 'said once');
    match(log[0]!, /^disk\.img: shorter than/);
  });

  it('begin again when a write came in between', () => {
    const { device, calls } = scripted(preparedFile(16));
    calls.cached = false;
    const memory = filled(0, 2);
    const read = new Op(device, IoOp.Read, { memory });
    ok(new Op(device, IoOp.Write, { memory: filled(9), offset: BLOCK }).atOnce);
    calls.end('read');
    equal(read.state, 'pending', 'it may have seen half of the write');
    calls.end('read');
    equal(read.state, 'Ok');
    deepEqual(memory.subarray(BLOCK), filled(9));
  });

  it('do not mind writes of other blocks', () => {
    const { device, calls } = scripted(preparedFile(16));
    calls.cached = false;
    const read = new Op(device, IoOp.Read, { memory: filled(0) });
    new Op(device, IoOp.Write, { memory: filled(9), offset: BLOCK });
    calls.end('read');
    equal(read.state, 'Ok');
  });

  it('shut writers out when those come in between again and again', () => {
    const { device, calls } = scripted(preparedFile(16));
    calls.cached = false;
    const read = new Op(device, IoOp.Read, { memory: filled(0) });
    for (let n = 0; n < OPTIMISTIC_READS; n++) {
      ok(new Op(device, IoOp.Write, { memory: filled(n) }).atOnce);
      calls.end('read');
      equal(read.state, 'pending');
    }
    const write = new Op(device, IoOp.Write, { memory: filled(77) });
    equal(write.state, 'pending');
    calls.end('read');
    deepEqual([read.state, write.state], ['Ok', 'Ok']);
    equal(calls.data[0], 77);
  });
});

describe('writes', () => {
  it('go on after a short one', () => {
    const { device, calls } = scripted(preparedFile(16));
    const memory = Uint8Array.from({ length: BLOCK }, (_, i) => i & 0xff);
    calls.data.set(memory.subarray(0, 1000));
    calls.nextNow.push(1000);
    equal(new Op(device, IoOp.Write, { memory }).state, 'Ok');
    deepEqual(calls.data.subarray(0, BLOCK), memory);
    deepEqual(calls.trace, ['pwrite 0+4096', 'pwrite 1000+3096']);
  });

  it('go to the pool when long, and go on there after a short one', () => {
    const { device, calls } = scripted(preparedFile(16, BLOCK));
    const write = new Op(device, IoOp.Write, { memory: filled(5, 2) });
    equal(write.state, 'pending');
    calls.end('write', 4097);
    calls.end('write');
    equal(write.state, 'Ok');
    deepEqual(calls.data.subarray(0, 2 * BLOCK), filled(5, 2));
  });

  it('of one block wait for each other in the order they came', () => {
    const { device, calls } = scripted(preparedFile(16, BLOCK));
    const order: string[] = [];
    const start = (name: string, op: IoOp, value: number, first: number, blocks: number) =>
      new Op(device, op, { memory: filled(value, blocks), offset: first * BLOCK }, () => order.push(name));
    start('long', IoOp.Write, 1, 0, 4);
    const second = start('short', IoOp.Write, 2, 3, 1);
    start('long again', IoOp.Write, 3, 2, 3);
    const read = start('read', IoOp.Read, 0, 3, 1);
    const beside = start('beside', IoOp.Write, 4, 5, 1);
    equal(beside.state, 'Ok', 'what touches nobody does not wait');
    const behind = start('behind', IoOp.Write, 5, 4, 1);
    equal(behind.state, 'pending', 'it overlaps one that waits');
    deepEqual(
      calls.pool.map((call) => call.position),
      [0],
    );
    calls.end('write');
    equal(second.state, 'Ok');
    deepEqual(
      calls.pool.map((call) => call.position),
      [2 * BLOCK],
    );
    calls.end('write');
    deepEqual(order, ['long', 'short', 'long again', 'read', 'behind']);
    equal(read.io.memory.bytes[0], 3);
    deepEqual([calls.data[2 * BLOCK], calls.data[3 * BLOCK], calls.data[4 * BLOCK]], [3, 3, 5]);
  });

  it('that wait keep their order when some of them are still held up', () => {
    const { device, calls } = scripted(preparedFile(16, BLOCK));
    new Op(device, IoOp.Write, { memory: filled(1, 4) });
    new Op(device, IoOp.Write, { memory: filled(1, 4), offset: 8 * BLOCK });
    const both = new Op(device, IoOp.Write, { memory: filled(2, 6), offset: 3 * BLOCK });
    const behind = new Op(device, IoOp.Write, { memory: filled(3), offset: 6 * BLOCK });
    const free = new Op(device, IoOp.Write, { memory: filled(4), offset: 2 * BLOCK });
    calls.end('write');
    deepEqual([both.state, behind.state, free.state], ['pending', 'pending', 'Ok']);
    calls.end('write');
    calls.end('write');
    deepEqual([both.state, behind.state], ['Ok', 'Ok']);
    equal(calls.data[6 * BLOCK], 3);
  });

  it('that wait all get their turn, also when they are many', () => {
    const { device, calls } = scripted(preparedFile(1024, BLOCK));
    new Op(device, IoOp.Write, { memory: filled(1, 2) });
    const order: number[] = [];
    const many = Array.from(
      { length: 5 * WAIT_SCAN },
      (_, n) =>
        // One half piles up on the same block, the other half is only behind it in a line that is too long to scan.
        new Op(device, IoOp.Write, { memory: filled(n), offset: (n % 2) * (n + 1) * BLOCK }, () => order.push(n)),
    );
    ok(many.at(-1)!.state === 'pending', 'a long line is served in order');
    calls.end('write');
    ok(many.every((op) => op.state === 'Ok'));
    deepEqual(
      order,
      order.toSorted((a, b) => a - b),
    );
    equal(calls.data[0], (5 * WAIT_SCAN - 2) & 0xff);
  });

  it('map what the system says', () => {
    const cases: [number, string][] = [
      [errors.ENOSPC, 'NoSpace'],
      [errors.EDQUOT, 'NoSpace'],
      [errors.EFBIG, 'NoSpace'],
      [errors.EIO, 'MediaError'],
      [errors.ENXIO, 'MediaError'],
      [errors.EROFS, 'ReadOnly'],
      [errors.EPERM, 'ReadOnly'],
      [errors.EINVAL, 'Failed'],
      [0, 'Failed'],
    ];
    for (const [error, name] of cases) {
      const log: string[] = [];
      const { device, calls } = scripted(preparedFile(16, BLOCK), { log: (message) => log.push(message) });
      calls.nextNow.push(error);
      equal(new Op(device, IoOp.Write, { memory: filled(1) }).state, name);
      const long = new Op(device, IoOp.Write, { memory: filled(1, 2) });
      calls.end('write', error);
      equal(long.state, name);
      equal(new Op(device, IoOp.Write, { memory: filled(1, 2) }).state, 'pending', 'its blocks are free again');
      equal(log.length, name === 'NoSpace' || name === 'ReadOnly' ? 0 : 1);
    }
  });

  it('are refused by a read-only device', () => {
    const { device, calls } = scripted({ ...preparedFile(16), readOnly: true });
    equal(new Op(device, IoOp.Write, { memory: filled(1) }).state, 'ReadOnly');
    equal(new Op(device, IoOp.WriteZeroes, { length: BLOCK }).state, 'ReadOnly');
    equal(new Op(device, IoOp.Deallocate, { length: BLOCK }).state, 'ReadOnly');
    deepEqual(calls.trace, []);
  });

  it('by another thread in the middle make a short one wait and try again', async () => {
    const prepared = preparedFile(16, BLOCK);
    const mine = scripted(prepared, { threads: 2 });
    const theirs = scripted(prepared, { threads: 2 });
    const long = new Op(theirs.device, IoOp.Write, { memory: filled(1, 2) });
    const write = new Op(mine.device, IoOp.Write, { memory: filled(2) });
    const read = new Op(mine.device, IoOp.Read, { memory: filled(0), offset: BLOCK });
    deepEqual([write.state, read.state], ['pending', 'pending']);
    theirs.calls.end('write');
    equal(long.state, 'Ok');
    await mine.device.close();
    deepEqual([write.state, read.state], ['Ok', 'Ok']);
  });

  it('of blocks that a dead thread has locked fail in the end', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const prepared = preparedFile(16, BLOCK);
    const log: string[] = [];
    const { device } = scripted(prepared, { threads: 2, log: (message) => log.push(message) });
    new Op(scripted(prepared, { threads: 2 }).device, IoOp.Write, { memory: filled(1, 2) });
    const ops = [IoOp.Write, IoOp.Read].map((op) => new Op(device, op, { memory: filled(2) }));
    for (let n = 0; n < WAIT_RETRIES; n++) t.mock.timers.tick(1);
    for (const { state } of ops) equal(state, 'pending');
    t.mock.timers.tick(1);
    for (const { state } of ops) equal(state, 'Failed');
    equal(log.length, 1);
    match(log[0]!, /a thread died/);
    equal(new Op(device, IoOp.Write, { memory: filled(2), offset: 4 * BLOCK }).state, 'Ok', 'other blocks');
  });
});

describe('zeroing', () => {
  it('punches a hole or keeps the space', () => {
    const { device, calls } = scripted(preparedFile(16));
    new Op(device, IoOp.Deallocate, { length: BLOCK });
    new Op(device, IoOp.WriteZeroes, { length: BLOCK, offset: BLOCK, deallocate: true });
    new Op(device, IoOp.WriteZeroes, { length: BLOCK, offset: 2 * BLOCK });
    deepEqual(
      calls.pool.map((call) => call.mode),
      [0, 0, 1],
    );
  });

  it('takes long ranges in steps', () => {
    const blocks = (2 * ZERO_STEP_BYTES) / BLOCK + 1;
    const { device, calls } = scripted(preparedFile(blocks));
    calls.data.fill(1);
    const zero = new Op(device, IoOp.Deallocate, { length: blocks * BLOCK });
    for (const length of [ZERO_STEP_BYTES, ZERO_STEP_BYTES, BLOCK]) {
      equal(zero.state, 'pending');
      equal(calls.pool[0]!.length, length);
      calls.end('zero');
    }
    equal(zero.state, 'Ok');
    ok(!calls.data.includes(1));
  });

  it('writes zeroes where the file system cannot do it, and remembers', () => {
    const { device, calls } = scripted(preparedFile(16));
    calls.data.fill(1);
    calls.canZero = false;
    const zero = new Op(device, IoOp.WriteZeroes, { length: 2 * BLOCK, offset: BLOCK });
    calls.end('zero');
    calls.end('write', 100);
    calls.end('write');
    equal(zero.state, 'Ok');
    new Op(device, IoOp.WriteZeroes, { length: BLOCK });
    deepEqual(calls.trace, ['zero 4096+8192', 'write 4096+8192', 'write 4196+8092', 'write 0+4096']);
    deepEqual(
      [calls.data[BLOCK - 1], calls.data[BLOCK], calls.data[3 * BLOCK - 1], calls.data[3 * BLOCK]],
      [1, 0, 0, 1],
    );
  });

  it('notices it in several operations at a time', () => {
    const { device, calls } = scripted(preparedFile(16));
    calls.data.fill(1);
    calls.canZero = false;
    const zeroes = [0, 1].map((n) => new Op(device, IoOp.Deallocate, { length: BLOCK, offset: n * BLOCK }));
    for (const name of ['zero', 'zero', 'write', 'write'] as const) calls.end(name);
    for (const { state } of zeroes) equal(state, 'Ok');
    ok(!calls.data.subarray(0, 2 * BLOCK).includes(1));
  });

  it('fails when zeroes cannot be written either', () => {
    const { device, calls } = scripted(preparedFile(16));
    calls.canZero = false;
    for (const [error, name] of [
      [errors.ENOSPC, 'NoSpace'],
      [errors.EINVAL, 'Failed'],
      [0, 'Failed'],
    ] as const) {
      const zero = new Op(device, IoOp.Deallocate, { length: BLOCK });
      if (calls.pool[0]!.name === 'zero') calls.end('zero');
      calls.end('write', error);
      equal(zero.state, name);
    }
  });

  it('tells the error number of a call on the pool', native, async () => {
    const outcome = await new Promise((resolve) => nativeCalls(libc()!).zeroLater(-1, 0, 0, BLOCK, resolve));
    deepEqual(outcome, { errno: -constants.errno.EBADF });
  });

  it('reports other errors', () => {
    const { device, calls } = scripted(preparedFile(16));
    const zero = new Op(device, IoOp.Deallocate, { length: BLOCK });
    calls.end('zero', errors.ENOSPC);
    equal(zero.state, 'NoSpace');
  });

  it('keeps others out of the blocks while it runs', () => {
    const { device, calls } = scripted(preparedFile(16));
    const zero = new Op(device, IoOp.WriteZeroes, { length: 4 * BLOCK });
    const write = new Op(device, IoOp.Write, { memory: filled(6), offset: BLOCK });
    deepEqual([zero.state, write.state], ['pending', 'pending']);
    calls.end('zero');
    deepEqual([zero.state, write.state], ['Ok', 'Ok']);
    equal(calls.data[BLOCK], 6);
  });
});

describe('a thread', () => {
  it('is told about everything that ends through its event loop', () => {
    let running = 0;
    let seen = -1;
    const background = { started: () => void running++, finished: () => void running-- };
    const { device, calls } = scripted(preparedFile(16, BLOCK), { background });
    new Op(device, IoOp.Write, { memory: filled(1) });
    equal(running, 0, 'nothing that is done at once');
    new Op(device, IoOp.Write, { memory: filled(1, 2), fua: true }, () => (seen = running));
    new Op(device, IoOp.Write, { memory: filled(1), offset: BLOCK });
    new Op(device, IoOp.Flush);
    equal(running, 3);
    while (calls.pool.length > 0) calls.pool.shift()!.end();
    equal(running, 0);
    ok(seen >= 0);
  });

  it('that closes the device waits for what is under way, and cannot use it any more', async () => {
    const { device, calls } = scripted(preparedFile(16, BLOCK));
    const write = new Op(device, IoOp.Write, { memory: filled(1, 2), fua: true });
    let closed = false;
    const closing = device.close().then(() => (closed = true));
    calls.end('write');
    await Promise.resolve();
    equal(closed, false);
    calls.end('sync');
    await closing;
    equal(write.state, 'Ok');
    // A list of ranges goes on from `done`: the next one must neither throw nor reach a closed descriptor.
    const { length } = calls.trace;
    for (const op of [IoOp.Flush, IoOp.Read, IoOp.Deallocate])
      equal(new Op(device, op, { memory: filled(1) }).state, 'Failed');
    equal(calls.trace.length, length);
  });

  it('is not held up by a page cache that never has anything', () => {
    const { device, calls } = scripted(preparedFile(16));
    calls.nextNow.push(EAGAIN);
    const read = new Op(device, IoOp.Read, { memory: filled(0) });
    calls.end('read');
    equal(read.state, 'Ok');
  });
});
