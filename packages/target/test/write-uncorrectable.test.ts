import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Memory, Rng, Slab } from '@nvbraid/base';
import {
  type BlockDevice,
  type Io,
  IoOp,
  IoResult,
  type MarkedRanges,
  marksBuffer,
  memoryDevice,
  openDevice,
  prepareDevice,
  UncorrectableMarks,
  type VolatileCache,
  volatileCache,
} from '@nvbraid/blockdev';
import { CopyRange, CopySqe, DNR, DsmRange, IoOpcode, RwSqe, Sqe, Status } from '@nvbraid/wire';
import { IoCommands } from '../src/io/io-commands.ts';
import { Counter, IoCounters } from '../src/io/io-counters.ts';
import { NamespaceTable } from '../src/namespace-table.ts';
import { IoRequest } from './io-request.ts';

const BLOCK = 512;
const BLOCKS = 64;

class Reading extends IoRequest {
  readonly slab = new Slab(8192, 13);
  override replyBuffer(): Slab {
    return this.slab;
  }
}

/** A disk with a volatile write cache and marks whose saving takes its time. */
class Disk implements BlockDevice {
  readonly blockSize = BLOCK;
  readonly blockCount = BLOCKS;
  readonly readOnly = false;
  readonly volatileWriteCache = true;
  readonly thin = false;
  readonly compareAndWrite = true;
  readonly memory = null;
  readonly cache: VolatileCache;
  readonly marks: UncorrectableMarks;
  /** What was saved last. */
  saved: MarkedRanges = [];
  readonly log: string[] = [];
  delay: () => Promise<void> = async () => {};
  canSave = true;

  constructor(cache: VolatileCache, initial: MarkedRanges = []) {
    this.cache = cache;
    this.marks = new UncorrectableMarks(marksBuffer(), BLOCK, async (ranges) => {
      await this.delay();
      if (!this.canSave) throw new Error('no space');
      this.log.push('save');
      this.saved = ranges;
      await this.delay();
    });
    this.marks.load(initial);
    this.saved = initial;
  }

  static async make(): Promise<Disk> {
    const prepared = await prepareDevice(volatileCache(memoryDevice({ size: BLOCK * BLOCKS, blockSize: BLOCK })));
    return new Disk(openDevice(prepared, { threads: 1 }) as VolatileCache);
  }

  submit(io: Io): boolean {
    this.log.push(`${Object.entries(IoOp).find(([, op]) => op === io.op)![0]}${io.fua ? ' fua' : ''}`);
    return this.cache.submit(io);
  }

  async close(): Promise<void> {}
}

let index = 0;

function connect(device: BlockDevice) {
  const table = new NamespaceTable(() => device);
  const namespace = { nsid: 1, instance: 1, blockSize: BLOCK, blockCount: BLOCKS, readOnly: false, pathStatus: 0 };
  const rest = { volatileWriteCache: true, thin: false, anaGroupId: 1, device: null };
  table.update({ nqn: 'x', portId: 1, version: 1, namespaces: [{ ...namespace, ...rest }] });
  const counters = new IoCounters();
  const commands = new IoCommands(table, counters);
  const send = (request: IoRequest): Promise<number> =>
    new Promise((resolve) => {
      const complete = request.complete.bind(request);
      request.complete = (status: number, dw0?: number) => {
        complete(status, dw0);
        resolve(status & ~DNR);
      };
      const status = commands.admit(request);
      if (status !== 0) request.complete(status);
      else commands.execute(request);
    });
  const range = (opcode: number, slba: number, blocks: number, fill = 0): Promise<number> => {
    const moves = opcode === IoOpcode.Write || opcode === IoOpcode.Compare;
    const data = new Uint8Array(moves ? blocks * BLOCK : 0).fill(fill);
    const request = new IoRequest(index++ % 512, opcode, data);
    RwSqe.emit(request.sqeView, 0, { opc: opcode, nsid: 1, slba, nlb: blocks - 1, sglLength: data.length });
    return send(request);
  };
  const read = async (slba: number, blocks = 1): Promise<number> => {
    const request = new Reading(index++ % 512, IoOpcode.Read, new Uint8Array(blocks * BLOCK));
    RwSqe.emit(request.sqeView, 0, { opc: IoOpcode.Read, nsid: 1, slba, nlb: blocks - 1 });
    const status = await send(request);
    return status === 0 ? request.slab.bytes[0]! : -status;
  };
  const trim = (slba: number, blocks: number): Promise<number> => {
    const data = Memory.alloc(16);
    DsmRange.emit(data.view, 0, { slba, nlb: blocks });
    const request = new IoRequest(index++ % 512, IoOpcode.DatasetManagement, data.bytes);
    Sqe.emit(request.sqeView, 0, { opc: IoOpcode.DatasetManagement, nsid: 1, cdw11: 4 });
    return send(request);
  };
  const copy = (from: number, to: number, blocks: number): Promise<number> => {
    const data = Memory.alloc(32);
    CopyRange.emit(data.view, 0, { slba: from, nlb: blocks - 1 });
    const request = new IoRequest(index++ % 512, IoOpcode.Copy, data.bytes);
    CopySqe.emit(request.sqeView, 0, { opc: IoOpcode.Copy, nsid: 1, sdlba: to });
    return send(request);
  };
  const fused = async (slba: number): Promise<number[]> => {
    const halves = [IoOpcode.Compare, IoOpcode.Write].map((opcode) => {
      const request = new IoRequest(index++ % 512, opcode, new Uint8Array(BLOCK));
      RwSqe.emit(request.sqeView, 0, { opc: opcode, nsid: 1, slba });
      return request;
    });
    commands.executeFused(halves[0]!, halves[1]!);
    return halves.map((half) => half.status & ~DNR);
  };
  return { range, read, trim, copy, fused, counters };
}

const UNREADABLE = -Status.UnrecoveredReadError;

test('marked blocks cannot be read, compared, verified or copied from until they are written', async () => {
  const disk = await Disk.make();
  const { range, read, copy, fused, counters } = connect(disk);
  await range(IoOpcode.Write, 4, 4, 7);
  assert.equal(await range(IoOpcode.WriteUncorrectable, 5, 2), 0);
  assert.deepEqual(
    [await read(4), await read(5), await read(6), await read(7), await read(4, 4)],
    [7, UNREADABLE, UNREADABLE, 7, UNREADABLE],
  );
  assert.equal(counters.words[Counter.mediaErrors], 3);
  assert.equal(await range(IoOpcode.Compare, 4, 4, 7), Status.UnrecoveredReadError);
  assert.equal(await range(IoOpcode.Verify, 0, 32), Status.UnrecoveredReadError);
  assert.equal(await copy(5, 20, 1), Status.UnrecoveredReadError);
  assert.deepEqual(await fused(5), [Status.UnrecoveredReadError, Status.FailedFusedCommand]);
  assert.equal(await range(IoOpcode.Write, 5, 1, 8), 0);
  assert.deepEqual([await read(5), await read(6)], [8, UNREADABLE]);
});

test('whatever writes a block makes it readable: Write, Write Zeroes, deallocation, the destination of a Copy', async () => {
  const disk = await Disk.make();
  const { range, read, trim, copy } = connect(disk);
  await range(IoOpcode.Write, 0, 16, 7);
  await range(IoOpcode.WriteUncorrectable, 0, 8);
  assert.equal(await range(IoOpcode.Write, 0, 1, 9), 0);
  assert.equal(await range(IoOpcode.WriteZeroes, 1, 1), 0);
  assert.equal(await trim(2, 1), 0);
  assert.equal(await copy(8, 3, 1), 0);
  const seen = await Promise.all([0, 1, 2, 3, 4].map((slba) => read(slba)));
  assert.deepEqual(seen, [9, 0, 0, 7, UNREADABLE]);
  assert.deepEqual(disk.saved, [[4 * BLOCK, 8 * BLOCK]]);
});

test('data is stable before the mark goes, and the mark is gone for good before the write is answered', async () => {
  const disk = await Disk.make();
  const { range } = connect(disk);
  await range(IoOpcode.WriteUncorrectable, 5, 2);
  disk.log.length = 0;
  assert.equal(await range(IoOpcode.Write, 5, 1, 1), 0);
  assert.deepEqual(disk.log, ['Write fua', 'save']);
  assert.equal(await range(IoOpcode.Write, 8, 1, 1), 0);
  assert.deepEqual(disk.log.slice(2), ['Write'], 'others pay nothing');
  disk.canSave = false;
  assert.equal(await range(IoOpcode.Write, 6, 1, 1), Status.WriteFault);
  assert.equal(await range(IoOpcode.WriteUncorrectable, 9, 1), Status.WriteFault);
  disk.canSave = true;
  assert.equal(await range(IoOpcode.Write, 6, 1, 1), 0);
  assert.equal(disk.marks.any, false);
});

test('Write Uncorrectable is refused where no marks are kept, behind the end, beyond its limit and when there are too many', async () => {
  const disk = await Disk.make();
  const { range } = connect(disk);
  assert.equal(await range(IoOpcode.WriteUncorrectable, 63, 2), Status.LbaOutOfRange);
  assert.equal(await range(IoOpcode.WriteUncorrectable, 0, 2049), Status.InvalidField);
  const full: MarkedRanges = Array.from({ length: 8192 }, (_, i) => [(2 * i + 100) * BLOCK, (2 * i + 101) * BLOCK]);
  const crowded = connect(new Disk(disk.cache, full));
  assert.equal(await crowded.range(IoOpcode.WriteUncorrectable, 0, 1), Status.CapacityExceeded);
  assert.equal(await crowded.range(IoOpcode.Write, 0, 1), 0);
  const plain: BlockDevice = {
    blockSize: BLOCK,
    blockCount: BLOCKS,
    readOnly: false,
    volatileWriteCache: false,
    thin: false,
    memory: null,
    submit: () => assert.fail('not asked'),
    close: async () => {},
  };
  assert.equal(await connect(plain).range(IoOpcode.WriteUncorrectable, 0, 1), Status.InvalidOpcode);
});

test('reads from memory without a copy meet the marks too', async () => {
  const device = openDevice(memoryDevice({ size: BLOCK * BLOCKS, blockSize: BLOCK }), { threads: 1 });
  assert.ok(device.memory !== null);
  const { range, read } = connect(device);
  await range(IoOpcode.WriteUncorrectable, 5, 1);
  assert.deepEqual([await read(5), await read(4)], [UNREADABLE, 0]);
});

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);

test(`the power fails at any moment: nothing answered turns into an error, nothing marked into old data, SEED=${SEED}`, async () => {
  console.log(`write uncorrectable: SEED=${SEED}`);
  for (let round = 0; round < 60; round++) {
    const rng = new Rng(SEED + round);
    const disk = await Disk.make();
    disk.delay = async () => {
      for (let n = rng.below(3); n > 0; n--) await new Promise((resolve) => setImmediate(resolve));
    };
    const { range } = connect(disk);
    let value = 0;
    let off = false;
    /** What each block must be, as far as the host has been told, and the values that are on their way to it. */
    const told: (number | 'marked' | 'plain')[] = Array(8).fill('plain');
    const coming: Set<number | 'marked'>[] = Array.from({ length: 8 }, () => new Set());
    /** One host per block, so that commands on it do not overlap. */
    const host = async (block: number): Promise<void> => {
      while (!off) {
        const marking = rng.chance(0.4);
        const next = marking ? 'marked' : (value = (value % 250) + 1);
        const before = told[block]!;
        coming[block]!.add(next);
        const status = await range(marking ? IoOpcode.WriteUncorrectable : IoOpcode.Write, block, 1, next as number);
        if (off) return;
        assert.equal(status, 0);
        coming[block]!.delete(next);
        // A write of a block that was not marked may be lost: nobody has flushed.
        told[block] = marking
          ? 'marked'
          : before === 'plain'
            ? 'plain'
            : before === 'marked'
              ? (next as number)
              : 'plain';
        await disk.delay();
      }
    };
    const hosts = told.map((_, block) => host(block));
    for (let n = rng.below(30); n > 0; n--) await new Promise((resolve) => setImmediate(resolve));
    off = true;
    const saved = disk.saved; // what is on the disk at this moment
    await disk.cache.crash();
    const after = connect(new Disk(disk.cache, saved));
    for (const [block, expected] of told.entries()) {
      const seen = await after.read(block);
      const story = `round ${round}, block ${block}: told ${expected}, under way ${[...coming[block]!]}, read ${seen}`;
      if (seen === UNREADABLE) assert.ok(expected === 'marked' || coming[block]!.has('marked'), story);
      else if (expected === 'marked') assert.ok(coming[block]!.has(seen), story);
      else if (typeof expected === 'number') assert.ok(seen === expected || coming[block]!.has(seen), story);
    }
    await Promise.race([Promise.all(hosts), new Promise((resolve) => setTimeout(resolve, 50))]);
  }
});

test('a device that fails a write leaves the marks alone', async () => {
  const disk = await Disk.make();
  const { range, read } = connect(disk);
  await range(IoOpcode.WriteUncorrectable, 5, 1);
  const submit = disk.submit.bind(disk);
  disk.submit = (io) => {
    io.result = IoResult.MediaError;
    return true;
  };
  assert.equal(await range(IoOpcode.Write, 5, 1, 1), Status.WriteFault);
  disk.submit = submit;
  assert.equal(await read(5), UNREADABLE);
});
