import { equal, ok, rejects, throws } from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type BlockDevice,
  fileDevice,
  IoOp,
  IoResult,
  memoryDevice,
  openDevice,
  prepareDevice,
  runIo,
  volatileCache,
  ZONE_STATES,
  ZoneCondition,
  type ZonedOptions,
  zonedDevice,
} from '../src/index.ts';
import { ZoneTable } from '../src/zoned/zone-table.ts';
import { ZonedDevice } from '../src/zoned/zoned-device.ts';
import type { PreparedZoned } from '../src/zoned/zoned-spec.ts';
import { freshPath } from './support/backends.ts';
import { blockTag, fillBlocks } from './support/blocks.ts';
import { Op } from './support/op.ts';

const BLOCK = 512;
const ZONE = 8 * BLOCK;

async function zoned(options: Partial<ZonedOptions> = {}, zones = 4): Promise<BlockDevice> {
  const lower = memoryDevice({ size: zones * ZONE, blockSize: BLOCK });
  return openDevice(await prepareDevice(zonedDevice(lower, { zoneSize: ZONE, ...options })), { threads: 1 });
}

function blocks(count: number, tag: number): Uint8Array {
  const bytes = new Uint8Array(count * BLOCK);
  fillBlocks(bytes, tag);
  return bytes;
}

const write = (device: BlockDevice, block: number, count: number, tag = 1): Promise<IoResult> =>
  runIo(device, IoOp.Write, { memory: blocks(count, tag), offset: block * BLOCK });

async function tagAt(device: BlockDevice, block: number): Promise<number> {
  const bytes = new Uint8Array(BLOCK).fill(0xee);
  equal(await runIo(device, IoOp.Read, { memory: bytes, offset: block * BLOCK }), IoResult.Ok);
  return blockTag(bytes, 0, BLOCK);
}

describe('the state machine of a zone', () => {
  it('is the one of the specification', (t) => {
    t.assert.snapshot(ZONE_STATES.describe().split('\n'));
  });
});

describe('writing to zones', () => {
  it('only at the write pointer, within the capacity, not to full zones', async () => {
    const device = await zoned({ zoneCapacity: 6 * BLOCK });
    equal(await write(device, 1, 1), IoResult.ZoneInvalidWrite);
    equal(await write(device, 0, 4), IoResult.Ok);
    equal(await write(device, 0, 1), IoResult.ZoneInvalidWrite);
    equal(await write(device, 4, 3), IoResult.ZoneBoundary);
    equal(await write(device, 4, 2), IoResult.Ok);
    equal(device.zones!.condition(0), ZoneCondition.Full);
    equal(await write(device, 6, 1), IoResult.ZoneFull);
    equal(await write(device, 8, 1), IoResult.Ok, 'the next zone');
    equal(await tagAt(device, 5), 1);
    equal(await tagAt(device, 6), 0, 'between capacity and size');
  });

  it('an append says where it went', async () => {
    const device = await zoned();
    for (const [count, place] of [
      [3, 8],
      [1, 11],
      [4, 12],
    ]) {
      const op = new Op(device, IoOp.ZoneAppend, { memory: blocks(count!, 7), offset: ZONE });
      equal(op.state, 'Ok');
      equal(op.io.offset, place! * BLOCK);
    }
    equal(await runIo(device, IoOp.ZoneAppend, { memory: blocks(1, 7), offset: ZONE }), IoResult.ZoneFull);
  });

  it('an open limit closes the zones that nobody opened on purpose, one after the other', async () => {
    const device = await zoned({ maxOpen: 2, maxActive: 3 });
    const { zones } = device;
    equal(await runIo(device, IoOp.ZoneOpen, { offset: 0 }), IoResult.Ok);
    equal(await write(device, 8, 1), IoResult.Ok);
    equal(await write(device, 16, 1), IoResult.Ok);
    equal(zones!.condition(1), ZoneCondition.Closed);
    equal(await write(device, 24, 1), IoResult.TooManyActiveZones);
    equal(await runIo(device, IoOp.ZoneOpen, { offset: 2 * ZONE }), IoResult.Ok);
    equal(await write(device, 9, 1), IoResult.TooManyOpenZones, 'both were opened on purpose');
    equal(await runIo(device, IoOp.ZoneFinish, { offset: 0 }), IoResult.Ok);
    equal(await write(device, 9, 1), IoResult.Ok);
  });

  it('equal limits are a limit of active zones', async () => {
    const device = await zoned({ maxOpen: 1, maxActive: 1 });
    equal(await runIo(device, IoOp.ZoneOpen, { offset: 0 }), IoResult.Ok);
    equal(await write(device, 8, 1), IoResult.TooManyActiveZones);
  });

  it('what waits for a zone runs in the order it came, each at the write pointer that it meets', async () => {
    const lower = new HeldDevice(openDevice(memoryDevice({ size: 4 * ZONE, blockSize: BLOCK }), { threads: 1 }));
    const device = over(lower);
    lower.hold = true;
    const ops = [0, 1, 2, 3].map((n) => new Op(device, IoOp.Write, { memory: blocks(1, n + 1), offset: n * BLOCK }));
    const append = new Op(device, IoOp.ZoneAppend, { memory: blocks(1, 9), offset: 0 });
    const other = new Op(device, IoOp.Write, { memory: blocks(1, 8), offset: ZONE });
    equal(lower.held.length, 2, 'one write per zone is under way');
    equal(device.zones!.written(0), 0, 'nothing is written before it is');
    lower.hold = false;
    lower.release();
    for (const op of [...ops, append, other]) equal(op.state, 'Ok');
    equal(append.io.offset, 4 * BLOCK);
    equal(device.zones!.written(0), 5);
    for (let n = 0; n < 4; n++) equal(await tagAt(device, n), n + 1);
  });

  it('what still waits when its host has been given up is not written', async () => {
    const lower = new HeldDevice(openDevice(memoryDevice({ size: 4 * ZONE, blockSize: BLOCK }), { threads: 1 }));
    const device = over(lower);
    lower.hold = true;
    const first = new Op(device, IoOp.ZoneAppend, { memory: blocks(1, 1), offset: 0 });
    const second = new Op(device, IoOp.ZoneAppend, { memory: blocks(1, 2), offset: 0 });
    const third = new Op(device, IoOp.ZoneAppend, { memory: blocks(1, 3), offset: 0 });
    second.io.revoked = true;
    lower.hold = false;
    lower.release();
    equal(`${first.state} ${second.state} ${third.state}`, 'Ok Failed Ok');
    equal(device.zones!.written(0), 2);
    equal(await tagAt(device, 1), 3);
  });

  it('a write that the device fails leaves the write pointer where it was', async () => {
    const lower = new HeldDevice(openDevice(memoryDevice({ size: 4 * ZONE, blockSize: BLOCK }), { threads: 1 }));
    const device = over(lower);
    equal(await write(device, 0, 2), IoResult.Ok);
    lower.failing = true;
    equal(await write(device, 2, 2, 5), IoResult.MediaError);
    equal(device.zones!.written(0), 2);
    equal(device.zones!.condition(0), ZoneCondition.ImplicitlyOpened);
    lower.failing = false;
    equal(await tagAt(device, 2), 0, 'what the failed write left behind cannot be read');
    equal(await write(device, 2, 1, 6), IoResult.Ok);
    equal(await tagAt(device, 2), 6);
  });

  it('a zone that fails by itself can be read, one that is lost cannot', async () => {
    const device = await zoned();
    equal(await write(device, 0, 2, 4), IoResult.Ok);
    equal(device.zones!.change(0, 'fail'), IoResult.Ok);
    equal(await write(device, 2, 1), IoResult.ZoneReadOnly);
    equal(await tagAt(device, 1), 4);
    equal(await runIo(device, IoOp.ZoneReset, { offset: 0 }), IoResult.InvalidZoneTransition);
    equal(await runIo(device, IoOp.ZoneOffline, { offset: 0 }), IoResult.Ok);
    equal(await write(device, 2, 1), IoResult.ZoneOffline);
    const across = { memory: new Uint8Array(2 * BLOCK), offset: 7 * BLOCK };
    equal(await runIo(device, IoOp.Read, across), IoResult.ZoneOffline);
  });
});

describe('a zone that two threads want', () => {
  it('goes to and fro; who does not come loses its turn', () => {
    const geometry = { zoneBlocks: 8, zoneCapacity: 8, zoneCount: 2, maxOpen: 0, maxActive: 0 };
    const memory = ZoneTable.memory(geometry);
    const [one, two] = [new ZoneTable(geometry, memory), new ZoneTable(geometry, memory)] as const;
    ok(one.tryTake(0));
    ok(!two.tryTake(0));
    two.want(0, true);
    one.give(0);
    ok(!one.tryTake(0), 'it is the turn of the other');
    ok(!one.tryTake(0, false), 'however often it asks');
    ok(one.tryTake(1), 'another zone is free');
    ok(two.tryTake(0, true));
    two.give(0);
    one.want(0, true);
    ok(!two.tryTake(0, true), 'two has had it last, and one wants it');
    ok(two.tryTake(0, true, true), 'one does not come');
    two.give(0);
    two.want(0, false);
    ok(one.tryTake(0, true));
    one.give(0);
    ok(one.tryTake(0, true), 'nobody else wants it');
  });
});

describe('blocks behind the write pointer', () => {
  it('read as zeroes, whatever the device has there; giving them back changes nothing', async () => {
    const memory = memoryDevice({ size: 4 * ZONE, blockSize: BLOCK });
    new Uint8Array(memory.buffer).fill(0x77);
    const device = openDevice(await prepareDevice(zonedDevice(memory, { zoneSize: ZONE })), { threads: 1 });
    equal(await write(device, 0, 2, 3), IoResult.Ok);
    const bytes = new Uint8Array(12 * BLOCK).fill(0xee);
    equal(await runIo(device, IoOp.Read, { memory: bytes, offset: BLOCK }), IoResult.Ok);
    for (let n = 0; n < 12; n++) equal(blockTag(bytes, n * BLOCK, BLOCK), n === 0 ? 3 : 0, `block ${n + 1}`);
    equal(await runIo(device, IoOp.Deallocate, { offset: 0, length: ZONE }), IoResult.Ok);
    equal(await tagAt(device, 1), 3);
    equal(await runIo(device, IoOp.Deallocate, { offset: 0, length: BLOCK }), IoResult.Ok);
    equal(await tagAt(device, 0), 0);
  });
});

describe('what cannot be cut into zones', () => {
  it('is refused with a sentence', async () => {
    const lower = memoryDevice({ size: 4 * ZONE, blockSize: BLOCK });
    throws(() => zonedDevice(lower, { zoneSize: 3000 }), /zone size 3000 is not a power of two/);
    throws(() => zonedDevice(lower, { zoneSize: ZONE, zoneCapacity: 2 * ZONE }), /zone capacity 8192 is not from/);
    throws(
      () => zonedDevice(lower, { zoneSize: ZONE, maxOpen: 4, maxActive: 2 }),
      /with at most 2 active zones, 4 open/,
    );
    throws(() => zonedDevice(lower, { zoneSize: ZONE, size: 1 } as ZonedOptions), /no option "size"/);
    throws(
      () => zonedDevice(fileDevice({ path: 'x', shared: true }), { zoneSize: ZONE }),
      /a shared file cannot have zones/,
    );
    throws(() => zonedDevice(zonedDevice(lower, { zoneSize: ZONE }), { zoneSize: ZONE }), /cut into zones once more/);
    const over = volatileCache(zonedDevice(lower, { zoneSize: ZONE }));
    await rejects(prepareDevice(over), /zones belong on top/);
    await rejects(
      prepareDevice(zonedDevice(lower, { zoneSize: 8 * ZONE })),
      /not a whole number of zones of 32768 bytes/,
    );
    await rejects(prepareDevice(zonedDevice(lower, { zoneSize: 256 })), /less than a block/);
    await rejects(prepareDevice(zonedDevice(lower, { zoneSize: ZONE, maxOpen: 5 })), /there are only 4 zones/);
    await rejects(
      prepareDevice(zonedDevice(fileDevice({ path: freshPath(), size: 5 * 4096, create: true }), { zoneSize: 8192 })),
      /use 16384/,
    );
  });
});

/** A device over another one that holds writes back, or fails them. */
class HeldDevice implements BlockDevice {
  readonly blockSize = BLOCK;
  readonly blockCount: number;
  readonly readOnly = false;
  readonly volatileWriteCache = false;
  readonly thin = false;
  readonly memory = null;
  hold = false;
  failing = false;
  readonly held: Parameters<BlockDevice['submit']>[0][] = [];
  readonly #lower: BlockDevice;

  constructor(lower: BlockDevice) {
    this.#lower = lower;
    this.blockCount = lower.blockCount;
  }

  submit(io: Parameters<BlockDevice['submit']>[0]): boolean {
    if (io.op !== IoOp.Write) return this.#lower.submit(io);
    if (this.hold) {
      this.held.push(io);
      return false;
    }
    const done = this.#lower.submit(io);
    ok(done);
    if (this.failing) io.result = IoResult.MediaError;
    return true;
  }

  release(): void {
    for (const io of this.held.splice(0)) {
      ok(this.#lower.submit(io));
      io.done(io);
    }
  }

  close(): Promise<void> {
    return this.#lower.close();
  }
}

function over(lower: BlockDevice): ZonedDevice {
  const zoneGeometry = { zoneBlocks: 8, zoneCapacity: 8, zoneCount: 4, maxOpen: 0, maxActive: 0 };
  const { blockSize, blockCount, readOnly, volatileWriteCache, thin } = lower;
  const prepared = {
    ...zonedDevice({ kind: 'held' }, { zoneSize: ZONE }),
    ...{ blockSize, blockCount, readOnly, volatileWriteCache, thin, zoneGeometry },
    table: ZoneTable.memory(zoneGeometry),
    failed: new SharedArrayBuffer(4),
  } as unknown as PreparedZoned;
  return new ZonedDevice(prepared, lower, null, { threads: 1 });
}
