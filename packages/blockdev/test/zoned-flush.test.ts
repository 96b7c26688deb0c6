import { equal } from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { type BlockDevice, type Io, IoOp, IoResult, memoryDevice, openDevice, zonedDevice } from '../src/index.ts';
import type { ZoneRecord, ZoneStore } from '../src/zoned/zone-store.ts';
import { ZoneTable } from '../src/zoned/zone-table.ts';
import { ZonedDevice } from '../src/zoned/zoned-device.ts';
import type { PreparedZoned } from '../src/zoned/zoned-spec.ts';
import { Op } from './support/op.ts';

const BLOCK = 512;
const ZONE = 8 * BLOCK;
const GEOMETRY = { zoneBlocks: 8, zoneCapacity: 8, zoneCount: 2, maxOpen: 0, maxActive: 0 };

/** A device whose flushes end when the test says so. */
class SlowFlush implements BlockDevice {
  readonly blockSize = BLOCK;
  readonly blockCount = 16;
  readonly readOnly = false;
  readonly volatileWriteCache = true;
  readonly thin = false;
  readonly memory = null;
  readonly flushes: Io[] = [];
  readonly #lower = openDevice(memoryDevice({ size: 2 * ZONE, blockSize: BLOCK }), { threads: 1 });

  submit(io: Io): boolean {
    if (io.op !== IoOp.Flush) return this.#lower.submit(io);
    this.flushes.push(io);
    return false;
  }

  end(result: IoResult): void {
    const io = this.flushes.shift()!;
    io.result = result;
    io.done(io);
  }

  async close(): Promise<void> {}
}

/** Records whose syncs end when the test says so. */
class SlowStore implements ZoneStore {
  readonly syncs: ((failed: boolean) => void)[] = [];
  failing = false;

  write(_zone: number, _record: ZoneRecord): boolean {
    return !this.failing;
  }

  sync(done: (failed: boolean) => void): void {
    this.syncs.push(done);
  }

  close(): void {}
}

interface Thread {
  device: ZonedDevice;
  lower: SlowFlush;
  store: SlowStore;
}

/** Threads that share the zones of one device. */
function threads(count: number): Thread[] {
  const shared = { table: ZoneTable.memory(GEOMETRY), failed: new SharedArrayBuffer(4) };
  return Array.from({ length: count }, () => {
    const lower = new SlowFlush();
    const store = new SlowStore();
    const { blockSize, blockCount, readOnly, volatileWriteCache, thin } = lower;
    const prepared = {
      ...zonedDevice({ kind: 'slow' }, { zoneSize: ZONE }),
      ...{ blockSize, blockCount, readOnly, volatileWriteCache, thin, zoneGeometry: GEOMETRY, ...shared },
    } as unknown as PreparedZoned;
    return { device: new ZonedDevice(prepared, lower, store, { threads: count }), lower, store };
  });
}

const append = (device: BlockDevice, blocks = 1): Op =>
  new Op(device, IoOp.ZoneAppend, { memory: new Uint8Array(blocks * BLOCK), offset: 0 });

describe('a flush of zones', () => {
  it('is done when the records are stable, not when only the data is', () => {
    const [{ device, lower, store }] = threads(1) as [Thread];
    equal(append(device, 3).state, 'Ok');
    const flush = new Op(device, IoOp.Flush);
    equal(device.zones.stable(0), 0);
    lower.end(IoResult.Ok);
    equal(flush.state, 'pending');
    equal(device.zones.stable(0), 3);
    store.syncs.shift()!(false);
    equal(flush.state, 'Ok');
  });

  it('waits for the records also when another thread has made them', () => {
    const [one, two] = threads(2) as [Thread, Thread];
    equal(append(one.device).state, 'Ok');
    const first = new Op(one.device, IoOp.Flush);
    one.lower.end(IoResult.Ok);
    const second = new Op(two.device, IoOp.Flush);
    two.lower.end(IoResult.Ok);
    equal(second.state, 'pending', 'the record of the zone is not stable yet');
    two.store.syncs.shift()!(false);
    equal(second.state, 'Ok');
    equal(first.state, 'pending');
  });

  it('that the device fails makes nothing stable', () => {
    const [{ device, lower, store }] = threads(1) as [Thread];
    append(device);
    const flush = new Op(device, IoOp.Flush);
    lower.end(IoResult.MediaError);
    equal(flush.state, 'MediaError');
    equal(device.zones.stable(0), 0);
    equal(store.syncs.length, 0);
  });

  it('does not take for stable what was written after a reset that overtook it', async () => {
    const [{ device, lower, store }] = threads(1) as [Thread];
    append(device, 3);
    const flush = new Op(device, IoOp.Flush);
    const reset = new Op(device, IoOp.ZoneReset, { offset: 0 });
    store.syncs.shift()!(false);
    await turn();
    equal(reset.state, 'Ok');
    equal(append(device, 4).state, 'Ok');
    lower.end(IoResult.Ok);
    equal(device.zones.stable(0), 0);
    store.syncs.shift()!(false);
    equal(flush.state, 'Ok');
  });

  it('covers what was written before it, not what comes while it runs', () => {
    const [{ device, lower, store }] = threads(1) as [Thread];
    append(device, 2);
    const flush = new Op(device, IoOp.Flush);
    append(device, 1);
    lower.end(IoResult.Ok);
    store.syncs.shift()!(false);
    equal(flush.state, 'Ok');
    equal(device.zones.stable(0), 2);
  });
});

describe('zones that cannot be kept', () => {
  it('fail the write, and everything after it, in all threads', () => {
    const [one, two] = threads(2) as [Thread, Thread];
    one.store.failing = true;
    equal(append(one.device).state, 'MediaError');
    equal(append(two.device).state, 'MediaError');
    equal(new Op(two.device, IoOp.Flush).state, 'MediaError');
    equal(new Op(two.device, IoOp.ZoneReset, { offset: 0 }).state, 'MediaError');
    equal(new Op(two.device, IoOp.ZoneFinish, { offset: 0 }).state, 'MediaError');
    const bytes = new Uint8Array(BLOCK);
    equal(new Op(two.device, IoOp.Read, { memory: bytes }).state, 'Ok', 'what is there can be read');
  });

  it('fail the flush when their records do not become stable', () => {
    const [{ device, lower, store }] = threads(1) as [Thread];
    append(device);
    const flush = new Op(device, IoOp.Flush);
    lower.end(IoResult.Ok);
    store.syncs.shift()!(true);
    equal(flush.state, 'MediaError');
    equal(append(device).state, 'MediaError');
  });
});
