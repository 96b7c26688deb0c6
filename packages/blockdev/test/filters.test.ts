import { deepEqual, equal, match, notDeepEqual, ok, throws } from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { FakeTimers, NvbraidError } from '@nvbraid/base';
import {
  type BlockDevice,
  type FilterConfig,
  type FilterHandle,
  filtersOf,
  IoOp,
  memoryDevice,
  openDevice,
  parseFilter,
  prepareDevice,
  runIo,
  stackFilters,
} from '../src/index.ts';
import { freshPath } from './support/backends.ts';
import { blockTag, fillBlocks } from './support/blocks.ts';
import { Op } from './support/op.ts';

const BLOCK = 512;
const BLOCKS = 64;

interface Stand {
  timers: FakeTimers;
  device: BlockDevice;
  /** A second thread's view. */
  other: BlockDevice;
  filters: FilterHandle[];
  logged: string[];
}

/** A device in memory under filters, opened by two threads, under a clock that stands still. */
async function stand(...filters: FilterConfig[]): Promise<Stand> {
  const timers = new FakeTimers(1000);
  const logged: string[] = [];
  const prepared = await prepareDevice(stackFilters(memoryDevice({ size: BLOCKS * BLOCK, blockSize: BLOCK }), filters));
  const open = (thread: number) =>
    openDevice(prepared, { threads: 2, thread, timers, log: (message) => logged.push(message) });
  return { timers, device: open(0), other: open(1), filters: filtersOf(prepared), logged };
}

const at = (block: number, blocks = 1) => ({ offset: block * BLOCK, memory: new Uint8Array(blocks * BLOCK) });

function write(device: BlockDevice, block: number, tag: number, blocks = 1): Op {
  const range = at(block, blocks);
  fillBlocks(range.memory, tag);
  return new Op(device, IoOp.Write, range);
}

function read(device: BlockDevice, block: number): { state: string; tag: number } {
  const range = at(block);
  const { state } = new Op(device, IoOp.Read, range);
  return { state, tag: blockTag(range.memory, 0, BLOCK) };
}

/** Where an Op can begin its life. */
const memoryless = { submit: () => false } as unknown as BlockDevice;

describe('delay', () => {
  it('holds the next write, lets others pass, and does it when it is released', async () => {
    const { device, timers, filters } = await stand({ kind: 'delay', hold: 'write', count: 1 });
    write(device, 7, 5); // held
    equal(read(device, 7).tag, 0, 'a held write has not reached the device');
    equal(write(device, 8, 6).state, 'Ok', 'the second is not held');
    timers.advance(3_600_000);
    equal(read(device, 7).tag, 0, 'time alone releases nothing');
    deepEqual(filters[0]!.report(), { held: 1 });
    filters[0]!.act('release');
    timers.advance(10);
    equal(read(device, 7).tag, 5);
    deepEqual(filters[0]!.report(), { held: 0 });
  });

  it('fails a write that was held until the association that sent it was over', async () => {
    const { device, timers, filters } = await stand(
      { kind: 'delay', hold: 'write' },
      { kind: 'rate', iops: 1, burst: 1 },
    );
    let revoked = false;
    const send = (): Op => {
      const op = new Op(memoryless, IoOp.Flush);
      op.state = 'pending';
      op.io.set(IoOp.Write, at(7));
      fillBlocks(op.io.memory.bytes, 5);
      Object.defineProperty(op.io, 'revoked', { get: () => revoked });
      if (device.submit(op.io)) op.state = 'at once';
      return op;
    };
    const held = send();
    filters[0]!.act('release');
    timers.advance(10);
    equal(held.state, 'Ok');
    equal(read(device, 7).state, 'pending', 'the rate holds it up');
    const [late, later] = [send(), send()];
    revoked = true;
    filters[0]!.act('release');
    timers.advance(5000);
    deepEqual([late.state, later.state], ['Failed', 'Failed']);
  });

  it('switching the hold off lets go what it held, in every thread and in order', async () => {
    const { device, other, timers, filters } = await stand({ kind: 'delay', hold: 'write flush' });
    const held = [write(device, 1, 1), write(other, 2, 2), write(device, 1, 3), new Op(other, IoOp.Flush)];
    deepEqual(
      held.map((op) => op.state),
      ['pending', 'pending', 'pending', 'pending'],
    );
    filters[0]!.set({ hold: 'flush' });
    timers.advance(10);
    deepEqual(
      held.map((op) => op.state),
      ['Ok', 'Ok', 'Ok', 'pending'],
    );
    equal(read(device, 1).tag, 3, 'the later of two writes came later');
    filters[0]!.set({ hold: 'none' });
    timers.advance(10);
    equal(held[3]!.state, 'Ok');
  });

  it('takes its time, before or after what is below', async () => {
    const { device, timers, filters } = await stand({ kind: 'delay', write: '20ms' });
    const first = write(device, 1, 1);
    timers.advance(19);
    equal(first.state, 'pending');
    equal(read(device, 1).tag, 0);
    timers.advance(1);
    equal(first.state, 'Ok');
    filters[0]!.set({ where: 'after' });
    const second = write(device, 1, 2);
    equal(second.state, 'pending');
    equal(read(device, 1).tag, 2, 'it is done, only its end waits');
    timers.advance(20);
    equal(second.state, 'Ok');
  });

  it('follows a table of percentiles, the same with the same seed', async () => {
    const sample = async (seed: number, thread: 'device' | 'other'): Promise<number[]> => {
      const { timers, [thread]: device } = await stand({ kind: 'delay', read: 'p50=10ms p90=100ms p100=1s', seed });
      const delays: number[] = [];
      for (let n = 0; n < 400; n++) {
        const from = timers.nowMs();
        const op = new Op(device, IoOp.Read, at(0));
        while (op.state === 'pending') timers.advance(1);
        delays.push(timers.nowMs() - from);
      }
      return delays;
    };
    const delays = await sample(3, 'device');
    const below = (ms: number) => delays.filter((delay) => delay <= ms).length / delays.length;
    ok(below(10) > 0.4 && below(10) < 0.6, `half are within 10 ms: ${below(10)}`);
    ok(below(100) > 0.84 && below(100) < 0.96, `nine of ten are within 100 ms: ${below(100)}`);
    deepEqual(await sample(3, 'device'), delays);
    notDeepEqual(await sample(3, 'other'), delays, 'two threads have two sequences');
    notDeepEqual(await sample(4, 'device'), delays);
  });

  it('closing lets everything go', async () => {
    const { device } = await stand({ kind: 'delay', hold: 'all' });
    const held = write(device, 3, 9);
    await device.close();
    equal(held.state, 'Ok');
  });
});

describe('error', () => {
  it('fails the next three writes, whichever thread makes them, and then no more', async () => {
    const { device, other, filters } = await stand({ kind: 'error', ops: 'write', result: 'no-space', count: 3 });
    const states = [device, other, device, other, device].map((view, i) => write(view, i, 1).state);
    deepEqual(states, ['NoSpace', 'NoSpace', 'NoSpace', 'Ok', 'Ok']);
    equal(read(device, 0).tag, 0, 'a write that failed has not reached the device');
    deepEqual(filters[0]!.report(), { failed: 3, left: 0 });
    filters[0]!.set({ count: 1, skip: 1, result: 'failed' });
    deepEqual([write(device, 1, 2).state, write(other, 1, 3).state, write(device, 1, 4).state], ['Ok', 'Failed', 'Ok']);
  });

  it('fails what touches a range, though it was done', async () => {
    const { device, filters } = await stand({ kind: 'error', ops: 'all', lba: '10-11', where: 'after' });
    equal(write(device, 8, 1, 2).state, 'Ok');
    equal(write(device, 9, 2, 2).state, 'MediaError');
    equal(write(device, 12, 3).state, 'Ok');
    equal(new Op(device, IoOp.Flush).state, 'Ok', 'a Flush is about no block');
    filters[0]!.set({ enabled: false });
    equal(read(device, 10).tag, 2, 'it had reached the device');
  });

  it('fails by chance, the same with the same seed', async () => {
    const run = async (seed: number): Promise<string> => {
      const { device } = await stand({ kind: 'error', ops: 'read', probability: 0.3, seed });
      return Array.from({ length: 200 }, () => (read(device, 0).state === 'Ok' ? '.' : 'x')).join('');
    };
    const first = await run(11);
    const failed = first.replaceAll('.', '').length;
    ok(failed > 30 && failed < 90, `about three of ten: ${failed} of 200`);
    equal(await run(11), first);
    ok((await run(12)) !== first);
  });
});

describe('rate', () => {
  it('lets so many operations through in a second, of all threads together', async () => {
    const { device, other, timers, filters } = await stand({ kind: 'rate', iops: 100, burst: 5 });
    const ops = Array.from({ length: 40 }, (_, i) => write(i % 2 === 0 ? device : other, i, 1));
    const done = () => ops.filter((op) => op.state === 'Ok').length;
    equal(done(), 5, 'the burst');
    timers.advance(100);
    ok(done() >= 14 && done() <= 16, `ten more in 100 ms: ${done()}`);
    timers.advance(100);
    ok(done() >= 24 && done() <= 26, `ten more: ${done()}`);
    filters[0]!.set({ iops: null, burst: null });
    timers.advance(10);
    equal(done(), 40, 'without a limit nothing waits any more');
  });

  it('counts bytes, and lets pass what is larger than the bucket', async () => {
    const { device, timers } = await stand({ kind: 'rate', bandwidth: '64KiB', 'bandwidth-burst': 4096 });
    equal(write(device, 0, 1, 32).state, 'Ok', '16 KiB at once, on credit');
    const next = write(device, 0, 2);
    timers.advance(150);
    equal(next.state, 'pending', '12 KiB of debt take 190 ms');
    timers.advance(60);
    equal(next.state, 'Ok');
  });
});

describe('read-only', () => {
  it('refuses what changes a block, also after it was switched', async () => {
    const { device, other, filters } = await stand({ kind: 'read-only', enabled: false });
    equal(device.readOnly, false);
    equal(write(device, 1, 1).state, 'Ok');
    filters[0]!.set({ enabled: true });
    for (const view of [device, other]) {
      equal(write(view, 1, 2).state, 'ReadOnly');
      equal(new Op(view, IoOp.Deallocate, { offset: 0, length: BLOCK }).state, 'ReadOnly');
      equal(new Op(view, 99 as IoOp, at(1)).state, 'ReadOnly', 'what it does not know counts as a change');
      deepEqual(read(view, 1), { state: 'Ok', tag: 1 });
      equal(new Op(view, IoOp.Flush).state, 'Ok');
    }
    equal((await stand({ kind: 'read-only' })).device.readOnly, true, 'hosts are told');
  });
});

describe('stats', () => {
  it('counts what all threads did, by kind, with latencies and errors', async () => {
    const { device, other, timers, filters } = await stand(
      { kind: 'stats' },
      { kind: 'error', ops: 'read', count: 1 },
      { kind: 'delay', write: '8ms' },
    );
    const ops = [write(device, 0, 1), write(other, 1, 1, 2)];
    timers.advance(8);
    deepEqual(
      ops.map((op) => op.state),
      ['Ok', 'Ok'],
    );
    equal(read(device, 0).state, 'MediaError');
    read(other, 0);
    const report = filters[0]!.report() as Record<
      string,
      { count: number; bytes: number; errors: number; p50Us: number }
    >;
    deepEqual(Object.keys(report), ['read', 'write']);
    deepEqual([report.write!.count, report.write!.bytes, report.write!.errors], [2, 3 * BLOCK, 0]);
    deepEqual([report.read!.count, report.read!.errors], [2, 1]);
    ok(report.write!.p50Us >= 8000 && report.write!.p50Us < 8000 * 1.19, `${report.write!.p50Us} us`);
    filters[0]!.act('reset');
    deepEqual(filters[0]!.report(), {});
    read(device, 3);
    equal((filters[0]!.report() as { read: { count: number } }).read.count, 1);
  });
});

describe('log', () => {
  it('writes a line for each operation to a file, as text or JSON, bounded and sampled', async () => {
    const path = freshPath();
    const { device, filters, timers } = await stand({ kind: 'log', path, 'lines-per-second': 3 });
    write(device, 4, 1, 2);
    for (let n = 0; n < 5; n++) read(device, n);
    filters[0]!.set({ format: 'json' });
    timers.advance(1000);
    new Op(device, IoOp.Write, { ...at(9), fua: true });
    filters[0]!.set({ sample: 1000, ops: 'read' });
    for (let n = 0; n < 5; n++) read(device, n);
    await device.close();
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    equal(lines.length, 4, lines.join('\n'));
    match(lines[0]!, /^\d{4}-.*Z thread 0 write lba 4\+2 Ok \d+us$/);
    match(lines[1]!, / read lba 0\+1 Ok /);
    const last = JSON.parse(lines[3]!);
    deepEqual(
      { ...last, time: '' },
      { time: '', thread: 0, op: 'write', lba: 9, blocks: 1, fua: true, result: 'Ok', us: 0, dropped: 3 },
    );
  });

  it('stops at the size it was given, and says so once', async () => {
    const path = freshPath();
    const { device, timers, logged } = await stand({ kind: 'log', path, 'max-bytes': 4096, 'lines-per-second': 1e6 });
    for (let n = 0; n < 200; n++) {
      read(device, 0);
      timers.advance(50);
    }
    ok(readFileSync(path).length <= 4096);
    equal(logged.length, 1, logged.join('\n'));
    match(logged[0]!, /has reached 4096 bytes, nothing more is logged/);
  });

  it('takes the longest path there can be', async () => {
    const [handle] = (await stand({ kind: 'log' })).filters;
    throws(() => handle!.set({ path: '\u0001'.repeat(1024) }), /filter log: cannot open/);
    throws(() => handle!.set({ path: 'x'.repeat(1025) }), /path is a text of 1 to 1024 characters, or none/);
    throws(() => handle!.set({ path: '/nowhere/\u20ac' }), /does not exist/);
  });

  it('refuses a path that cannot be written, with a sentence', () => {
    throws(
      () => stackFilters(memoryDevice({ size: 4096 }), [{ kind: 'log', path: '/nowhere/at/all' }]),
      /directory of \/nowhere\/at\/all does not exist/,
    );
  });
});

describe('corrupt', () => {
  let torn = 70;
  const damages: { setting: string; report: string; found(device: BlockDevice): Promise<boolean> | boolean }[] = [
    { setting: 'flip-read', report: 'flippedReads', found: (device) => read(device, 1).tag === -1 },
    {
      setting: 'lost',
      report: 'lostWrites',
      found: (device) => write(device, 1, 2).state === 'Ok' && read(device, 1).tag === 1,
    },
    {
      setting: 'flip-write',
      report: 'flippedWrites',
      found: (device) => write(device, 1, 2).state === 'Ok' && read(device, 1).tag === -1,
    },
    {
      setting: 'stale',
      report: 'staleReads',
      found: (device) =>
        write(device, 1, 2).state === 'Ok' && write(device, 1, 3).state === 'Ok' && read(device, 1).tag === 2,
    },
    {
      setting: 'tear',
      report: 'tornWrites',
      found(device) {
        write(device, 1, ++torn, 4);
        const tags = [1, 2, 3, 4].map((block) => read(device, block).tag);
        // New blocks, at most one mixture, and behind it what was there.
        const whole = tags.filter((tag) => tag === torn).length;
        return (
          whole < 4 &&
          tags.slice(0, whole).every((tag) => tag === torn) &&
          tags.slice(whole + 1).every((tag) => tag < torn && tag >= 0)
        );
      },
    },
    {
      setting: 'misdirect',
      report: 'misdirected',
      async found(device) {
        write(device, 1, 8);
        const range = at(0, BLOCKS);
        await runIo(device, IoOp.Read, range);
        const place = Array.from({ length: BLOCKS }, (_, i) => blockTag(range.memory, i * BLOCK, BLOCK)).indexOf(8);
        return place >= 0 && place !== 1;
      },
    },
  ];
  for (const { setting, report, found } of damages) {
    it(`${setting}: damages, counts, and stops when it is told to`, async () => {
      const { device, filters } = await stand({ kind: 'corrupt', seed: 5 });
      write(device, 1, 1);
      equal(await found(device), false, 'nothing is damaged before it is switched on');
      write(device, 1, 1);
      filters[0]!.set({ [setting]: 1 });
      equal(await found(device), true);
      ok((filters[0]!.report() as Record<string, number>)[report]! >= 1);
      filters[0]!.set({ enabled: false });
      write(device, 1, 1);
      equal(await found(device), false);
    });
  }
});

describe('settings of filters', () => {
  const refused: [FilterConfig | string, RegExp][] = [
    [{ kind: 'slow' }, /there is no filter "slow"; there are delay, error/],
    [{ kind: 'delay', reed: '5ms' }, /filter delay: there is no setting "reed"; there are read, write/],
    [{ kind: 'delay', read: '5 parsecs' }, /filter delay: read is a delay such as '5ms'/],
    [{ kind: 'delay', read: 'uniform 9ms 1ms' }, /read is a delay/],
    [{ kind: 'delay', hold: 'writes' }, /hold is some of read, write, flush/],
    [{ kind: 'error', probability: 1.5 }, /probability is a probability from 0 to 1, not 1.5/],
    [{ kind: 'error', lba: '9-3' }, /lba is a range such as 100-199/],
    [{ kind: 'rate', burst: 5 }, /burst needs iops/],
    [{ kind: 'stats', name: 'A B' }, /name is a word of small letters/],
    ['delay,read', /read is a delay/],
    ['delay,read=1ms,read=2ms', /read is given twice/],
    ['delay,=1', /'=1' is not KEY=VALUE/],
  ];
  for (const [filter, sentence] of refused) {
    it(`refuses ${JSON.stringify(filter)}`, () => {
      throws(
        () => (typeof filter === 'string' ? parseFilter(filter) : stackFilters(memoryDevice({ size: 4096 }), [filter])),
        (error) => error instanceof NvbraidError && error.code === 'EINVAL' && sentence.test(error.message),
      );
    });
  }

  it('reads the text of a command line', async () => {
    const filter = parseFilter('delay,read=p50=1ms p99=50ms,hold=write+flush,count=3,name=slow');
    const [handle] = (await stand(filter)).filters;
    equal(handle!.name, 'slow');
    const { seed, ...config } = handle!.config;
    ok(typeof seed === 'number', 'the seed is kept');
    deepEqual(config, { kind: 'delay', name: 'slow', read: 'p50=1ms p99=50ms', hold: 'write flush', count: 3 });
    const [again] = (await stand(handle!.config as FilterConfig)).filters;
    deepEqual(again!.config, handle!.config, 'what is shown makes the same filter');
  });

  it('a change that is refused changes nothing', async () => {
    const [handle] = (await stand({ kind: 'error', count: 3 })).filters;
    const before = handle!.settings;
    throws(() => handle!.set({ count: 5, what: 1 }), /no setting "what"/);
    deepEqual(handle!.settings, before);
    deepEqual(handle!.report(), { failed: 0, left: 3 });
    throws(() => handle!.act('release'), /filter error has no action "release"; it has none/);
  });

  it('gives filters of one kind names of their own', async () => {
    const { filters } = await stand(
      { kind: 'error' },
      { kind: 'error' },
      { kind: 'stats', name: 'error3' },
      { kind: 'error' },
    );
    deepEqual(
      filters.map(({ name }) => name),
      ['error', 'error2', 'error3', 'error4'],
    );
  });
});
