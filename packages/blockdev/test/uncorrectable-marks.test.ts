import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { Rng } from '@nvbraid/base';
import {
  cowFilter,
  fileDevice,
  IoResult,
  type MarkedRanges,
  marksBuffer,
  memoryDevice,
  nullDevice,
  openDevice,
  type PreparedDevice,
  prepareDevice,
  releaseDevice,
  statePath,
  UncorrectableMarks,
  volatileCache,
  zonedDevice,
} from '../src/index.ts';
import { MAX_MARKS } from '../src/limits.ts';
import { freshPath } from './support/backends.ts';

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);
const BLOCK = 512;

const mark = (marks: UncorrectableMarks, first: number, count = 1): Promise<IoResult> =>
  new Promise((resolve) => marks.mark(first * BLOCK, count * BLOCK, resolve));
const clear = (marks: UncorrectableMarks, first: number, count = 1): Promise<IoResult> =>
  new Promise((resolve) => marks.clear(first * BLOCK, count * BLOCK, resolve));
const blocks = (marks: UncorrectableMarks): [number, number][] =>
  marks.within(0, Number.MAX_SAFE_INTEGER).map(([start, end]) => [start / BLOCK, end / BLOCK]);

describe('marks of uncorrectable blocks', () => {
  it(`are what a set of blocks would be (SEED=${SEED})`, async () => {
    const rng = new Rng(SEED);
    const marks = new UncorrectableMarks(marksBuffer(), BLOCK);
    const model = new Set<number>();
    for (let step = 0; step < 600; step++) {
      const first = rng.below(200);
      const count = rng.between(1, 20);
      const marking = rng.chance(0.5);
      equal(await (marking ? mark : clear)(marks, first, count), IoResult.Ok);
      for (let n = first; n < first + count; n++) marking ? model.add(n) : model.delete(n);
      equal(marks.any, model.size > 0);
      for (let n = 0; n < 225; n++) equal(marks.overlaps(n * BLOCK, BLOCK), model.has(n), `block ${n}, step ${step}`);
      const ranges = blocks(marks);
      ok(
        ranges.every(([start], i) => i === 0 || start > ranges[i - 1]![1]),
        'neighbours are one range',
      );
      const from = rng.below(200);
      const inside = marks.within(from * BLOCK, 10 * BLOCK).reduce((sum, [start, end]) => sum + end - start, 0) / BLOCK;
      equal(inside, [...model].filter((n) => n >= from && n < from + 10).length);
    }
    equal(marks.overlaps(0, 0), false);
  });

  it('are refused when there are too many, and can then still be taken away in any pieces', async () => {
    const marks = new UncorrectableMarks(marksBuffer(), BLOCK);
    equal(await mark(marks, 10, 2 * MAX_MARKS), IoResult.Ok);
    equal(await mark(marks, 0), IoResult.NoSpace);
    equal(await mark(marks, 20, 5), IoResult.Ok, 'nothing new');
    deepEqual(blocks(marks), [[10, 10 + 2 * MAX_MARKS]], 'a refusal changes nothing');
    for (let n = 11; n < 2 * MAX_MARKS; n += 1024) equal(await clear(marks, n), IoResult.Ok);
    const full = new UncorrectableMarks(marksBuffer(), BLOCK);
    const holes: MarkedRanges = Array.from({ length: MAX_MARKS }, (_, i) => [2 * i * BLOCK, (2 * i + 1) * BLOCK]);
    ok(full.load(holes));
    equal(await mark(full, 2 * MAX_MARKS + 5), IoResult.NoSpace);
    equal(await clear(full, 0, 3), IoResult.Ok);
    equal(full.load([...holes, [1e9, 1e9 + BLOCK]]), false);
  });

  it('change for everybody only after they have been saved, one change after the other', async () => {
    const buffer = marksBuffer();
    const saves: { ranges: MarkedRanges; seen: boolean; end(error?: Error): void }[] = [];
    const make = (): UncorrectableMarks =>
      new UncorrectableMarks(buffer, BLOCK, (ranges) => {
        const seen = reader.overlaps(5 * BLOCK, BLOCK);
        return new Promise((resolve, reject) => {
          saves.push({ ranges, seen, end: (error) => (error === undefined ? resolve() : reject(error)) });
        });
      });
    const reader = new UncorrectableMarks(buffer, BLOCK);
    const [one, two] = [make(), make()];
    const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));
    const marking = mark(one, 5);
    const second = mark(two, 9);
    await turn();
    deepEqual([saves.length, reader.any], [1, false], 'not marked before it is saved; the other thread waits');
    saves[0]!.end();
    equal(await marking, IoResult.Ok);
    ok(reader.overlaps(5 * BLOCK, BLOCK));
    await turn();
    deepEqual(saves[1]!.ranges, [
      [5 * BLOCK, 6 * BLOCK],
      [9 * BLOCK, 10 * BLOCK],
    ]);
    saves[1]!.end();
    equal(await second, IoResult.Ok);
    const clearing = clear(one, 5);
    await turn();
    ok(reader.overlaps(5 * BLOCK, BLOCK), 'still marked while it is being saved');
    saves[2]!.end(new Error('disk full'));
    equal(await clearing, IoResult.MediaError);
    ok(reader.overlaps(5 * BLOCK, BLOCK), 'and for good when it was not');
    const again = clear(two, 5);
    await turn();
    saves[3]!.end();
    equal(await again, IoResult.Ok);
    deepEqual(blocks(reader), [[9, 10]]);
  });

  it('are seen whole by threads that look while others change them', async () => {
    const buffer = marksBuffer();
    const worker = new Worker(new URL('./support/marks-worker.ts', import.meta.url), { workerData: buffer });
    const marks = new UncorrectableMarks(buffer, BLOCK);
    let looks = 0;
    let over = false;
    worker.once('message', () => {
      over = true;
    });
    // The worker moves one mark that covers block 100 all the time, and others around it.
    while (!marks.any) await new Promise((resolve) => setImmediate(resolve));
    while (!over) {
      for (let n = 0; n < 1000; n++) {
        looks++;
        ok(marks.overlaps(100 * BLOCK, BLOCK), `look ${looks}`);
        ok(!marks.overlaps(1000 * BLOCK, BLOCK), `look ${looks}`);
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    await worker.terminate();
    ok(looks > 1000);
  });
});

async function opened(path: string, options: object = {}) {
  const prepared = await prepareDevice(
    fileDevice({ path, size: 64 * BLOCK, blockSize: BLOCK, create: true, ...options }),
  );
  const logged: string[] = [];
  const device = openDevice(prepared, { threads: 1, log: (message) => logged.push(message) });
  return {
    prepared,
    logged,
    marks: device.marks!,
    close: async () => {
      await device.close();
      await releaseDevice(prepared);
    },
  };
}

describe('marks of a file', () => {
  it('lie beside it, survive, and are the same with another block size', async () => {
    const path = freshPath();
    const kept = statePath(path, false, 'uncorrectable')!;
    const first = await opened(path);
    ok(!existsSync(dirname(kept)), 'nothing is made before there is a mark');
    equal(first.prepared.uncorrectable, true);
    equal(await mark(first.marks, 3, 2), IoResult.Ok);
    equal(await mark(first.marks, 60), IoResult.Ok);
    equal(await clear(first.marks, 3), IoResult.Ok);
    await first.close();
    const second = await opened(path);
    deepEqual(blocks(second.marks), [
      [4, 5],
      [60, 61],
    ]);
    await second.close();
    const larger = await opened(path, { blockSize: 4096 });
    ok(larger.marks.overlaps(0, 4096), 'a block is bad when a part of it is');
    await new Promise((resolve) => larger.marks.clear(0, 4096, resolve));
    await larger.close();
    const third = await opened(path);
    deepEqual(blocks(third.marks), [[60, 61]]);
    await third.close();
  });

  it('that is new has none, whatever an older one of its name has left', async () => {
    const path = freshPath();
    const first = await opened(path);
    await mark(first.marks, 3);
    await first.close();
    rmSync(path);
    const second = await opened(path);
    equal(second.marks.any, false);
    await second.close();
    const third = await opened(path);
    equal(third.marks.any, false);
    await third.close();
  });

  it('are never given up silently: a damaged file, one that cannot be read, and sharing', async () => {
    const path = freshPath();
    const first = await opened(path);
    await mark(first.marks, 3);
    await first.close();
    const kept = statePath(path, false, 'uncorrectable')!;
    await rejects(opened(path, { shared: true }), /marked uncorrectable.*serve it without `shared`/s);
    const good = readFileSync(kept, 'utf8');
    const ranges = (list: string): string => good.replace(/"ranges":.*\]\]/, `"ranges":${list}`);
    for (const bad of [
      '',
      good.slice(0, 20),
      'null',
      good.replace('uncorrectable 1', 'uncorrectable 2'),
      ranges('[[0,-1]]'),
      ranges('[[0,512],[100,512]]'),
      ranges('[[0,512],[512]]'),
      ranges('[["0",512]]'),
      ranges('[[9007199254740991,9007199254740991]]'),
    ]) {
      writeFileSync(kept, bad);
      await rejects(opened(path), /is damaged.*restore it, or remove it/s, bad);
    }
    rmSync(kept);
    mkdirSync(kept);
    await rejects(opened(path), /cannot read .*uncorrectable/);
    rmSync(kept, { recursive: true });
    const shared = await opened(path, { shared: true });
    deepEqual([shared.marks, shared.prepared.uncorrectable], [null, false]);
    await shared.close();
  });

  it('keep layers away that would give them up', async () => {
    const path = freshPath();
    const first = await opened(path);
    await mark(first.marks, 3);
    await first.close();
    const below = fileDevice({ path, blockSize: BLOCK });
    await rejects(
      prepareDevice(cowFilter(below)),
      /marked uncorrectable, the first at byte 1536, which cow does not keep/,
    );
    await rejects(prepareDevice(zonedDevice(below, { zoneSize: 16 * BLOCK })), /which zoned does not keep/);
    const again = await opened(path);
    await clear(again.marks, 3);
    await again.close();
    await releaseDevice(await prepareDevice(cowFilter(below)));
  });

  it('that cannot be saved stay as they were, and the operator hears of it', async () => {
    const path = freshPath();
    const { marks, logged, close } = await opened(path);
    writeFileSync(dirname(statePath(path, false, 'uncorrectable')!), 'a file where the directory should be');
    equal(await mark(marks, 3), IoResult.MediaError);
    equal(marks.any, false);
    match(logged[0]!, /stay as they were marked/);
    await close();
  });

  it('can be kept by every device but those that say so, through filters too', async () => {
    const size = 16 * BLOCK;
    for (const spec of [
      memoryDevice({ size, blockSize: BLOCK }),
      nullDevice({ size, blockSize: BLOCK }),
      volatileCache(memoryDevice({ size, blockSize: BLOCK })),
    ]) {
      const prepared: PreparedDevice = await prepareDevice(spec);
      const [one, two] = [openDevice(prepared, { threads: 1 }), openDevice(prepared, { threads: 1 })];
      equal(prepared.uncorrectable, true);
      await mark(one.marks!, 2);
      ok(two.marks!.overlaps(2 * BLOCK, BLOCK));
    }
  });
});
