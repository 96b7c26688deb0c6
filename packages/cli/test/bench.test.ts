import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { HostNamespace } from 'nvbraid';
import { Timeline } from '../src/bench/timeline.ts';
import { makeVerifier, type VerifyMode } from '../src/bench/verifier.ts';
import { type Rw, Workload } from '../src/bench/workload.ts';
import { nvbraid } from './support/in-process.ts';

const BLOCK = 4096;
const BLOCKS = 64;

/** A namespace in memory that lies from time to time. */
class Lying {
  readonly blockSize = BLOCK;
  readonly bytes = new Uint8Array(BLOCK * BLOCKS);
  readonly #lie: (namespace: Lying, slba: number, buffer: Uint8Array) => boolean;
  writes = 0;
  reads = 0;

  constructor(lie: (namespace: Lying, slba: number, buffer: Uint8Array) => boolean = () => false) {
    this.#lie = lie;
  }

  async read(slba: number, buffer: Uint8Array): Promise<void> {
    await new Promise(setImmediate);
    this.reads++;
    buffer.set(this.bytes.subarray(slba * BLOCK, slba * BLOCK + buffer.length));
  }

  async write(slba: number, buffer: Uint8Array): Promise<void> {
    await new Promise(setImmediate);
    this.writes++;
    if (!this.#lie(this, slba, buffer)) this.bytes.set(buffer, slba * BLOCK);
  }
}

async function work(namespace: Lying, mode: VerifyMode, rw: Rw = 'randrw', ios = 4000): Promise<Workload> {
  const verifier = makeVerifier(mode, BLOCK, 77, 'zero');
  const options = {
    rw,
    rwmixread: 50,
    blockBytes: BLOCK,
    iodepth: 8,
    sizeBytes: BLOCK * BLOCKS,
    seed: 7,
    ios,
    verifier,
  };
  const workload = new Workload(namespace as unknown as HostNamespace, options);
  workload.start();
  await workload.ended();
  if (workload.error === null) await workload.verifyWritten(new AbortController().signal);
  return workload;
}

describe('a workload', () => {
  for (const mode of ['none', 'crc32c', 'history'] as const) {
    test(`on an honest namespace, verify ${mode}`, async () => {
      const workload = await work(new Lying(), mode);
      assert.equal(workload.error, null);
      assert.equal(workload.read.ios + workload.write.ios, 4000);
      assert.ok(Math.abs(workload.read.ios - 2000) < 300, `${workload.read.ios} reads`);
    });
  }

  test('sequential reads and writes cover everything in order', async () => {
    const namespace = new Lying();
    const workload = await work(namespace, 'history', 'write', BLOCKS);
    assert.equal(workload.error, null);
    assert.equal(workload.writtenPositions, BLOCKS);
    assert.equal(namespace.reads, BLOCKS);
  });

  test('counts what ends within its time, and knows its errors and its longest operation all the same', async () => {
    const verifier = makeVerifier('none', BLOCK, 77, 'any');
    const options = {
      rw: 'randread',
      rwmixread: 50,
      blockBytes: BLOCK,
      iodepth: 4,
      sizeBytes: BLOCK * BLOCKS,
    } as const;
    const workload = new Workload(new Lying() as unknown as HostNamespace, { ...options, seed: 7, verifier });
    const { read } = workload;
    workload.start();
    while (read.ios < 100) await new Promise(setImmediate);
    read.restart();
    assert.equal(read.ios, 0);
    assert.equal(read.latency.count, 0);
    while (read.ios < 10) await new Promise(setImmediate);
    read.freeze();
    const { ios, bytes } = read;
    await workload.stop();
    assert.equal(read.ios, ios, 'what was under way at the end is not counted');
    assert.equal(read.bytes, bytes);
    assert.ok(read.longestMs > 0);
  });

  test('a timeline knows the longest time in which nothing ended, and the bytes of each stretch', () => {
    const timeline = new Timeline(1000, 100);
    for (const ms of [1010, 1050, 1199, 1650, 1660]) timeline.record(BLOCK, ms);
    assert.equal(timeline.longestGapMs, 451);
    assert.deepEqual(
      timeline.bytes,
      [2, 1, 0, 0, 0, 0, 2].map((ios) => ios * BLOCK),
    );
    const none = new Timeline(0);
    none.record(BLOCK, 5);
    assert.deepEqual([none.longestGapMs, none.bytes], [5, []]);
  });

  const torn = (namespace: Lying, slba: number, buffer: Uint8Array): boolean => {
    if (namespace.writes !== 300) return false;
    namespace.bytes.set(buffer.subarray(0, 512), slba * BLOCK);
    return true;
  };
  const lost = (namespace: Lying): boolean => namespace.writes === 300;
  const elsewhere = (namespace: Lying, slba: number, buffer: Uint8Array): boolean => {
    if (namespace.writes === 300) namespace.bytes.set(buffer, ((slba + 1) % BLOCKS) * BLOCK);
    return namespace.writes === 300;
  };

  for (const [name, lie, mode, message] of [
    ['torn', torn, 'crc32c', /torn/],
    ['torn', torn, 'history', /torn/],
    ['misplaced', elsewhere, 'crc32c', /what was written to LBA/],
    ['misplaced', elsewhere, 'history', /wrote to LBA|overwritten|replaced/],
    ['lost', lost, 'history', /overwritten before it began|replaced|cannot be there any more/],
  ] as const) {
    test(`a ${name} write is caught by ${mode}`, async () => {
      // The block may be overwritten before anybody reads it: only writes to the end make sure that somebody does.
      const workload = await work(new Lying(lie), mode, 'randrw', 601);
      const found = workload.error ?? (await work(new Lying(lie), mode, 'write', 300)).error;
      assert.ok(found !== null);
      assert.match(found.message, message);
    });
  }

  test('the first error ends it', async () => {
    const namespace = new Lying(() => {
      throw new Error('no more');
    });
    const workload = await work(namespace, 'history', 'randwrite');
    assert.match(workload.error!.message, /no more/);
    assert.ok(workload.write.errors >= 1 && workload.write.errors <= 8);
  });
});

describe('nvbraid bench --self', { concurrency: false }, () => {
  test('history, with JSON', async () => {
    const { code, out, err } = await nvbraid([
      'bench',
      '--self',
      '--verify',
      'history',
      '--runtime',
      '0.5',
      '--size',
      '256k',
      '-i',
      '2',
      '--seed',
      '1',
      '-o',
      'json',
    ]);
    assert.equal(code, 0, err);
    const result = JSON.parse(out);
    assert.equal(result.settings.rw, 'randrw');
    assert.equal(result.settings.seed, 1);
    assert.equal(result.error, null);
    assert.ok(result.read.ios > 0 && result.write.ios > 0);
    assert.ok(result.verify.checked_blocks >= result.read.ios);
    for (const key of ['ios', 'iops', 'bytes', 'mb_per_s', 'errors']) assert.ok(key in result.total, key);
    assert.deepEqual(Object.keys(result.read.latency_us), ['mean', 'p50', 'p99', 'p99_9', 'max']);
  });

  test('text, on the portable transport', async () => {
    const { code, out, err } = await nvbraid([
      'bench',
      '--self',
      '-t',
      'net',
      '--rw',
      'write',
      '--bs',
      '128k',
      '--runtime',
      '0.2',
      '--size',
      '1MiB',
      '--verify',
      'crc32c',
    ]);
    assert.equal(code, 0, err);
    assert.match(out, /^write: .* IOPS, .* MB\/s, p50 .*, p99 .*, p99\.9 .*, max .*, 0 errors$/m);
    assert.match(out, /^verify \(crc32c\): \d+ blocks checked, all of them as they must be$/m);
    assert.doesNotMatch(out, /^read:/m);
  });

  test('a lead and stretches of time, with JSON', async () => {
    const args = ['--self', '--runtime', '0.2', '--ramp-time', '0.1', '--bwavgtime', '50', '--size', '1MiB'];
    const { code, out, err } = await nvbraid(['bench', ...args, '-o', 'json']);
    assert.equal(code, 0, err);
    const { read, seconds, samples, longest_gap_ms } = JSON.parse(out);
    assert.equal(samples.every_ms, 50);
    assert.ok(Date.parse(samples.start) > 0);
    const all = samples.bytes.reduce((sum: number, bytes: number) => sum + bytes, 0);
    assert.ok(all > read.bytes, 'the stretches are those of the whole run');
    assert.ok(Math.abs(read.mb_per_s - read.bytes / 1e6 / seconds) < 0.05 * read.mb_per_s);
    assert.ok(longest_gap_ms > 0);
  });

  test('what does not fit is a sentence', async () => {
    const big = await nvbraid(['bench', '--self', '--bs', '1MiB', '--size', '512k', '--reactors', '0']);
    assert.equal(big.code, 2);
    assert.match(big.err, /--bs 1 MiB is more than the 512 KiB to be used/);
    const odd = await nvbraid(['bench', '--self', '--bs', '1000', '--reactors', '0']);
    assert.equal(odd.code, 1);
    assert.match(odd.err, /--bs 1000 is not a multiple of the block size 512/);
  });
});
