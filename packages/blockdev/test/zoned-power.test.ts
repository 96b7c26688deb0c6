import { equal, ok } from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Rng } from '@nvbraid/base';
import {
  type BlockDevice,
  type Io,
  IoOp,
  IoRequest,
  IoResult,
  memoryDevice,
  openDevice,
  runIo,
  type VolatileCache,
  volatileCache,
  zonedDevice,
} from '../src/index.ts';
import { ZoneKept, type ZoneRecord, type ZoneStore } from '../src/zoned/zone-store.ts';
import { ZoneTable } from '../src/zoned/zone-table.ts';
import { ZonedDevice } from '../src/zoned/zoned-device.ts';
import type { PreparedZoned } from '../src/zoned/zoned-spec.ts';
import { blockTag, fillBlocks } from './support/blocks.ts';

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);
const BLOCK = 512;
const ZONE_BLOCKS = 16;
const ZONES = 3;
const GEOMETRY = { zoneBlocks: ZONE_BLOCKS, zoneCapacity: ZONE_BLOCKS, zoneCount: ZONES, maxOpen: 0, maxActive: 0 };

/** Records in a page cache: what was written since the last sync may or may not be there after a loss of power. */
class FragileStore implements ZoneStore {
  readonly stable: ZoneRecord[];
  readonly #since: ZoneRecord[][] = Array.from({ length: ZONES }, () => []);
  readonly #rng: Rng;
  #off = false;

  constructor(records: readonly ZoneRecord[], rng: Rng) {
    this.stable = [...records];
    this.#rng = rng;
  }

  write(zone: number, record: ZoneRecord): boolean {
    this.#since[zone]!.push({ ...record });
    return true;
  }

  sync(done: (failed: boolean) => void): void {
    const covered = this.#since.map((records) => new Set(records));
    setImmediate(() => {
      if (this.#off) return done(true);
      covered.forEach((records, zone) => {
        const since = this.#since[zone]!;
        while (since.length > 0 && records.has(since[0]!)) this.stable[zone] = since.shift()!;
      });
      done(false);
    });
  }

  /** One of the versions of each record that the kernel may have written back by now. */
  afterPowerLoss(): ZoneRecord[] {
    this.#off = true;
    return this.stable.map((record, zone) => this.#rng.pick([record, ...this.#since[zone]!]));
  }

  close(): void {}
}

interface Machine {
  device: ZonedDevice;
  cache: VolatileCache;
  store: FragileStore;
}

function start(spec: ReturnType<typeof volatileCache>, records: readonly ZoneRecord[], rng: Rng): Machine {
  const cache = openDevice(spec, { threads: 1 }) as VolatileCache;
  const table = ZoneTable.memory(GEOMETRY);
  const store = new FragileStore(records, rng);
  const zones = new ZoneTable(GEOMETRY, table);
  records.forEach(({ kept, written, stable }, zone) => {
    const full = kept === ZoneKept.Finished || written === ZONE_BLOCKS;
    zones.restore(zone, full ? 4 : written > 0 ? 3 : 0, written, stable);
  });
  const { blockSize, blockCount, readOnly, volatileWriteCache } = cache;
  const prepared = {
    ...zonedDevice(spec, { zoneSize: ZONE_BLOCKS * BLOCK }),
    ...{ blockSize, blockCount, readOnly, volatileWriteCache, thin: true, zoneGeometry: GEOMETRY, table },
    failed: new SharedArrayBuffer(4),
  } as unknown as PreparedZoned;
  return { device: new ZonedDevice(prepared, cache, store, { threads: 1 }), cache, store };
}

/** What a host knows of a zone: the blocks that it was told are written, and how far it was told they are stable. */
class Known {
  /** What is in each block, acknowledged or not; a reset starts over. */
  tags: number[] = [];
  stable = 0;
  finished = false;
  /** A reset has been sent and not been answered. */
  resetting = false;
  /** What the zone was when the reset was sent. */
  before: number[] = [];
}

async function run(seed: number): Promise<number> {
  const rng = new Rng(seed);
  const spec = volatileCache(memoryDevice({ size: ZONES * ZONE_BLOCKS * BLOCK, blockSize: BLOCK }));
  let records: ZoneRecord[] = Array.from({ length: ZONES }, () => ({
    kept: ZoneKept.Sequential,
    written: 0,
    stable: 0,
    epoch: 0,
  }));
  let tag = 0;
  let stableSeen = 0;
  for (let crash = 0; crash < 6; crash++) {
    const { device, cache, store } = start(spec, records, rng);
    const known: Known[] = [];
    for (let zone = 0; zone < ZONES; zone++) {
      const one = new Known();
      one.tags = await tagsOf(device, zone, device.zones.written(zone));
      // What a start finds may have come back from the disk's cache: nobody has flushed it.
      one.stable = device.zones.stable(zone);
      one.finished = device.zones.condition(zone) === 4;
      known.push(one);
    }
    const under: Promise<void>[] = [];
    let dead = false;
    const send = (op: IoOp, zone: number, blocks: number, fua: boolean): void => {
      const one = known[zone]!;
      const bytes = new Uint8Array(blocks * BLOCK);
      const mine = ++tag;
      fillBlocks(bytes, mine);
      const flushed = known.map(({ tags }) => tags.length);
      const epochs = [...known];
      if (op === IoOp.ZoneReset) {
        const next = new Known();
        next.before = one.tags;
        next.resetting = true;
        known[zone] = next;
      }
      under.push(
        new Promise((resolve) => {
          const io = new IoRequest().set(op, { memory: bytes, offset: zone * ZONE_BLOCKS * BLOCK, fua });
          io.onDone = (ended: Io) => {
            resolve();
            if (dead || ended.result !== IoResult.Ok) return;
            if (op === IoOp.ZoneReset) known[zone]!.resetting = false;
            // A zone that was written full is as full as its blocks are stable.
            if (op === IoOp.ZoneFinish && one.tags.length < ZONE_BLOCKS) one.finished = true;
            if (op === IoOp.ZoneAppend) {
              const at = (ended.offset - zone * ZONE_BLOCKS * BLOCK) / BLOCK;
              for (let n = 0; n < blocks; n++) one.tags[at + n] = mine;
              if (fua) one.stable = Math.max(one.stable, at + blocks);
            }
            if (op === IoOp.Flush) {
              epochs.forEach((each, n) => {
                each.stable = Math.max(each.stable, flushed[n]!);
              });
            }
          };
          if (device.submit(io)) io.onDone(io);
        }),
      );
    };
    const steps = rng.between(5, 40);
    for (let step = 0; step < steps; step++) {
      const zone = rng.below(ZONES);
      if (known[zone]!.resetting) await Promise.all(under.splice(0));
      const kind = rng.below(12);
      if (kind < 7) send(IoOp.ZoneAppend, zone, rng.between(1, 3), rng.chance(0.2));
      else if (kind < 9) send(IoOp.Flush, 0, 0, false);
      else if (kind < 11) {
        // One at a time with what comes before it: a host does not reset a zone that it writes to.
        await Promise.all(under.splice(0));
        send(IoOp.ZoneReset, zone, 0, false);
      } else {
        await Promise.all(under.splice(0));
        send(IoOp.ZoneFinish, zone, 0, false);
      }
      if (rng.chance(0.5)) await new Promise((resolve) => setImmediate(resolve));
    }
    // The power fails, with whatever is under way.
    dead = true;
    records = store.afterPowerLoss().map((record) => ({ ...record, written: Math.min(record.stable, record.written) }));
    await cache.crash({ keep: rng.pick([0, 0.5, 1]), seed: rng.u32() });
    await Promise.all(under);
    const after = start(spec, records, rng).device;
    for (let zone = 0; zone < ZONES; zone++) {
      const { tags, stable, finished, resetting, before } = known[zone]!;
      const written = after.zones.written(zone);
      const found = await tagsOf(after, zone, written);
      const what = `seed ${seed}, crash ${crash}, zone ${zone}`;
      if (resetting && written > 0) {
        for (let n = 0; n < written; n++)
          equal(found[n], before[n], `${what}: block ${n} of a zone that is being reset`);
        continue;
      }
      ok(written >= stable, `${what}: ${stable} blocks were flushed, ${written} are there`);
      for (let n = 0; n < written; n++) {
        ok(found[n]! > 0, `${what}: block ${n} is lost, the write pointer is at ${written}`);
        if (tags[n] !== undefined) equal(found[n], tags[n], `${what}: block ${n}`);
      }
      if (finished) equal(after.zones.condition(zone), 4, `${what}: finished`);
      stableSeen += stable;
    }
  }
  return stableSeen;
}

async function tagsOf(device: BlockDevice, zone: number, count: number): Promise<number[]> {
  const bytes = new Uint8Array(ZONE_BLOCKS * BLOCK);
  equal(await runIo(device, IoOp.Read, { memory: bytes, offset: zone * ZONE_BLOCKS * BLOCK }), IoResult.Ok);
  return Array.from({ length: count }, (_, n) => blockTag(bytes, n * BLOCK, BLOCK));
}

describe('zones and a loss of power at any moment', () => {
  it('what was flushed is there, and no write pointer lies behind a block that is lost', async (t) => {
    t.diagnostic(`seed ${SEED}`);
    let stable = 0;
    for (let round = 0; round < 150; round++) stable += await run(SEED + round);
    ok(stable > 1000, 'hardly anything was flushed');
  });
});
