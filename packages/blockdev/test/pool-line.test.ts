import { deepEqual, equal, ok } from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Rng } from '@nvbraid/base';
import { type PoolCall, PoolLine } from '../src/file/pool-line.ts';
import { openThreadPool, poolThreads, type ThreadPool } from '../src/file/thread-pool.ts';
import { IoOp, type IoOwner } from '../src/index.ts';
import { POOL_CALL_BYTES, TOGETHER_CALLS } from '../src/limits.ts';
import { Op } from './support/op.ts';
import { BLOCK, preparedFile, type ScriptedCalls, scripted } from './support/scripted-calls.ts';

/*
 * The places on the thread pool, and who gets one. `calls.pool` is what has been started and not ended: the test ends it.
 */

const LONG = 8; // blocks of a write that goes to the pool
const filled = (value: number, blocks = 1) => new Uint8Array(blocks * BLOCK).fill(value);

/** An operation that says whose it is. */
function send(owner: IoOwner | undefined, ...[device, op, options]: ConstructorParameters<typeof Op>): Op {
  return new Op(device, op, { ...options, owner });
}

function coldReads(device: Parameters<typeof send>[1], owner: IoOwner | undefined, count: number, first = 0): Op[] {
  return Array.from({ length: count }, (_, n) =>
    send(owner, device, IoOp.Read, { offset: (first + n) * BLOCK, memory: filled(0) }),
  );
}

function cold(pool: ThreadPool, blocks = 4096) {
  const opened = scripted(preparedFile(blocks), {}, pool);
  opened.calls.cached = false;
  return opened;
}

/** Ends calls, oldest first, until the operation is over: how many that took. */
function callsUntil(op: Op, calls: ScriptedCalls): number {
  for (let n = 0; ; n++) {
    if (op.state !== 'pending') return n;
    calls.pool.shift()!.end();
  }
}

describe('the line for the thread pool', () => {
  it('lets a polite owner go next although a greedy one has 1,000 cold reads there', () => {
    const pool = openThreadPool(6);
    const { device, calls } = cold(pool);
    const greedy = coldReads(device, { weight: 1 }, 1000);
    equal(calls.pool.length, pool.data.places, 'no more than keep the pool busy');
    calls.end('read');
    const [polite] = coldReads(device, { weight: 1 }, 1, 2000);
    const taken = callsUntil(polite!, calls);
    ok(taken <= pool.data.places + 2, `after ${taken} calls`);
    while (calls.pool.length > 0) calls.end('read');
    equal(greedy.filter(({ state }) => state === 'Ok').length, 1000);
    equal(pool.data.taken, 0);
  });

  it('serves in order of arrival those who do not say whose they are', () => {
    const { device, calls } = cold(openThreadPool(2));
    coldReads(device, undefined, 20);
    for (let n = 0; n < 20; n++) {
      equal(calls.pool[0]!.position, n * BLOCK);
      calls.end('read');
    }
  });

  it('shares by weight, and by what is moved', () => {
    for (const [light, heavy, lightBlocks, heavyBlocks, ratio] of [
      [1, 1, 1, 1, 1],
      [1, 3, 1, 1, 3],
      [10, 100, 1, 1, 10],
      [1, 1, 1, 17, (POOL_CALL_BYTES + BLOCK) / (POOL_CALL_BYTES + 17 * BLOCK)],
    ] as const) {
      const { device, calls } = cold(openThreadPool(2));
      const heavyOwner = { weight: heavy };
      const owners = [{ weight: light }, heavyOwner];
      // Their reads alternate; an owner's are told by where they begin.
      for (let n = 0; n < 1100; n++) {
        for (const owner of owners) {
          const mine = owner === heavyOwner;
          const memory = filled(0, mine ? heavyBlocks : lightBlocks);
          send(owner, device, IoOp.Read, { offset: mine ? 2048 * BLOCK : 0, memory });
        }
      }
      const served = [0, 0];
      for (let n = 0; n < 1100; n++) {
        served[calls.pool[0]!.position === 0 ? 0 : 1]!++;
        calls.end('read');
      }
      const found = served[1]! / served[0]!;
      ok(Math.abs(found / ratio - 1) < 0.1, `weights ${light} and ${heavy}: ${served}, not 1:${ratio}`);
    }
  });

  it('goes on where an owner comes and goes', () => {
    const { device, calls } = cold(openThreadPool(2));
    coldReads(device, { weight: 1 }, 100);
    const owner = { weight: 1 };
    for (let n = 0; n < 10; n++) {
      const [op] = coldReads(device, owner, 1, 1000 + n);
      ok(callsUntil(op!, calls) <= 4);
    }
  });

  it('skips what is revoked, at nobody’s cost', () => {
    const { device, calls } = cold(openThreadPool(2));
    const greedy = coldReads(device, { weight: 1 }, 500);
    const polite = coldReads(device, { weight: 1 }, 3, 1000);
    for (const { io } of greedy) io.revoked = true;
    for (let n = 0; n < 5; n++) calls.end('read');
    equal(calls.pool.length, 0);
    deepEqual(
      polite.map(({ state }) => state),
      ['Ok', 'Ok', 'Ok'],
    );
    // What the medium has been given ends as it would have.
    equal(greedy.filter(({ state }) => state === 'Ok').length, 2);
    equal(greedy.filter(({ state }) => state === 'Failed').length, 498);
  });

  it('lets an fdatasync go next, and covers those with it that came while it waited', () => {
    const { device, calls } = cold(openThreadPool(2));
    coldReads(device, { weight: 100 }, 1000);
    const flushes = [1, 2, 3].map(() => send({ weight: 1 }, device, IoOp.Flush, {}));
    const fua = send({ weight: 1 }, device, IoOp.Write, { offset: 3000 * BLOCK, memory: filled(1), fua: true });
    const until = callsUntil(flushes[0]!, calls);
    ok(until <= 110, `after ${until} calls`); // a turn of weight 100, and the sync
    deepEqual(
      [...flushes, fua].map(({ state }) => state),
      ['Ok', 'Ok', 'Ok', 'Ok'],
    );
    equal(calls.trace.filter((name) => name === 'sync').length, 1);
  });

  it('lets reads go next while an owner syncs without end', () => {
    const pool = openThreadPool(2);
    const devices = Array.from({ length: 50 }, () => cold(pool, 16));
    const { calls } = devices[0]!;
    for (const other of devices.slice(1)) Object.assign(other.calls, { pool: calls.pool });
    const again = (device: (typeof devices)[number]['device'], left: number): void => {
      if (left > 0) new Op(device, IoOp.Flush, {}, () => again(device, left - 1));
    };
    for (const { device } of devices) again(device, 10);
    const [read] = coldReads(devices[0]!.device, { weight: 1 }, 1);
    ok(callsUntil(read!, calls) <= 5);
    while (calls.pool.length > 0) calls.end('sync');
  });

  it('holds no stripe for those who wait: a short write of another owner passes', () => {
    const { device, calls } = scripted(preparedFile(4096), {}, openThreadPool(2));
    const greedy = Array.from({ length: 100 }, (_, n) =>
      send({ weight: 1 }, device, IoOp.Write, { offset: n * LONG * BLOCK, memory: filled(1, LONG) }),
    );
    ok(new Op(device, IoOp.Write, { offset: 50 * LONG * BLOCK, memory: filled(2) }).atOnce);
    ok(new Op(device, IoOp.Read, { offset: 60 * LONG * BLOCK, memory: filled(0) }).atOnce);
    while (calls.pool.length > 0) calls.end('write');
    ok(greedy.every(({ state }) => state === 'Ok'));
  });

  it('lets those go before all others who had their turn and found a stripe taken', () => {
    const { device, calls } = scripted(preparedFile(4096), {}, openThreadPool(2));
    const [a, b] = [{ weight: 1 }, { weight: 1 }];
    const order: string[] = [];
    const write = (name: string, owner: IoOwner, offset: number) =>
      new Op(device, IoOp.Write, { offset: offset * BLOCK, memory: filled(1, LONG), owner }, () => order.push(name));
    write('first', a, 0);
    write('other', a, 100);
    write('waits', b, 4); // overlaps the first
    write('behind', a, 8); // overlaps the one before it alone
    for (let n = 0; n < 50; n++) write('later', a, 200 + n * LONG);
    calls.pool.splice(1, 1)[0]!.end(); // the place of `other`: the turn of `waits`, which cannot use it
    while (calls.pool.length > 0) calls.end('write');
    equal(order.length, 54);
    const at = order.indexOf('waits');
    ok(at <= 4, order.slice(0, 10).join());
  });

  it('is drained by close, in turn', async () => {
    const pool = openThreadPool(2);
    const { device, calls } = cold(pool);
    const ops = coldReads(device, { weight: 1 }, 30);
    let closed = false;
    const closing = device.close().then(() => {
      closed = true;
    });
    for (let n = 0; n < 29; n++) calls.end('read');
    await Promise.resolve();
    equal(closed, false);
    equal(new Op(device, IoOp.Read, { memory: filled(0) }).state, 'Failed');
    calls.end('read');
    await closing;
    ok(ops.every(({ state }) => state === 'Ok'));
    equal(pool.data.taken, 0);
  });

  it('survives that thousands end in the turn that they get', () => {
    const { device, calls } = cold(openThreadPool(2), 65536);
    const ops = coldReads(device, { weight: 1 }, 30_000);
    calls.cached = true; // by now somebody else has read it all
    calls.end('read');
    ok(ops.slice(2).every(({ state }) => state === 'Ok'));
    equal(calls.pool.length, 1);
  });

  it('loses and doubles nothing, whoever does what', () => {
    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32));
    console.log(`seed ${seed} (SEED=${seed} runs it again)`);
    const rng = new Rng(seed);
    for (let round = 0; round < 40; round++) {
      const pool = openThreadPool(rng.between(1, 6));
      const device = scripted({ ...preparedFile(64, 2 * BLOCK), compareAndWrite: true }, {}, pool);
      const { calls } = device;
      const owners = Array.from({ length: rng.between(1, 5) }, () => ({ weight: rng.between(1, 100) }));
      const ops: Op[] = [];
      const one = (): void => {
        const kinds = [IoOp.Read, IoOp.Write, IoOp.Flush, IoOp.WriteZeroes, IoOp.Deallocate, IoOp.CompareAndWrite];
        const op = kinds[rng.below(kinds.length)]!;
        const blocks = op === IoOp.CompareAndWrite ? 1 : rng.between(1, 6);
        const offset = rng.below(64 - blocks) * BLOCK;
        const memory = op === IoOp.Flush ? filled(0, 0) : filled(ops.length & 255, blocks);
        const owner = rng.chance(0.1) ? undefined : owners[rng.below(owners.length)]!;
        const more = rng.chance(0.1);
        const options = { memory, offset: op === IoOp.Flush ? 0 : offset, owner, fua: rng.chance(0.2) };
        ops.push(
          new Op(device.device, op, op === IoOp.CompareAndWrite ? { ...options, compare: filled(0) } : options, () => {
            if (more) one();
          }),
        );
      };
      for (let n = 0; n < 400; n++) {
        calls.cached = rng.chance(0.4);
        if (rng.chance(0.01)) calls.canZero = !calls.canZero;
        if (rng.chance(0.6)) one();
        if (rng.chance(0.05) && ops.length > 0) ops[rng.below(ops.length)]!.io.revoked = true;
        if (rng.chance(0.5) && calls.pool.length > 0) {
          const [call] = calls.pool.splice(rng.below(calls.pool.length), 1);
          const short = call!.name !== 'sync' && call!.name !== 'zero' && call!.length > 1 && rng.chance(0.2);
          call!.end(short ? rng.between(1, call!.length) : undefined);
        }
        ok(calls.pool.length <= pool.data.places + pool.zero.places);
        equal(calls.pool.length, pool.data.taken + pool.zero.taken);
      }
      while (calls.pool.length > 0) calls.pool.splice(rng.below(calls.pool.length), 1)[0]!.end();
      const left = ops.filter(({ state }) => state === 'pending');
      equal(left.length, 0, `round ${round}: ${left.map(({ io }) => io.op).join()}`);
      equal(pool.data.taken + pool.zero.taken, 0);
    }
  });
});

describe('the line alone', () => {
  it('has more places for an owner without company', () => {
    const line = new PoolLine(8, 2);
    const [a, b] = [{ weight: 1 }, { weight: 1 }];
    for (let n = 0; n < 8; n++) ok(line.take(a));
    equal(line.take(a), false);
    equal(line.take(b), false);
    for (let n = 0; n < 6; n++) line.leave();
    equal(line.take(a), false, 'two are taken');
    line.leave();
    ok(line.take(b));
    for (let n = 0; n <= TOGETHER_CALLS; n++) line.take(b);
    while (line.take(b)) {}
    equal(line.taken, 8, 'the other one has gone');
  });

  it('keeps nobody waiting while a place is free', () => {
    const line = new PoolLine(2);
    const turns: number[] = [];
    const call = (n: number): PoolCall => ({
      ...{ owner: { weight: 1 }, bytes: 0, revoked: false, next: null },
      turn: () => void turns.push(n),
    });
    for (let n = 0; n < 5; n++) line.enter(call(n));
    deepEqual(turns, [0, 1]);
    for (let n = 0; n < 3; n++) line.leave();
    deepEqual(turns, [0, 1, 2, 3, 4]);
    line.leave();
    line.leave();
    equal(line.taken, 0);
  });
});

describe('the size of the thread pool', () => {
  it('is what libuv makes of UV_THREADPOOL_SIZE', () => {
    for (const [text, threads] of [
      [undefined, 4],
      ['16', 16],
      ['0', 1],
      ['many', 1],
      ['', 1],
      ['100000', 1024],
      ['-1', 1024],
    ] as const) {
      // Not `undefined` itself: that is the default, what this process was started with.
      if (text !== undefined) equal(poolThreads(text), threads, text);
      else if (process.env.UV_THREADPOOL_SIZE === undefined) equal(poolThreads(), threads);
    }
  });
});
