import { deepEqual, equal, fail, ok } from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Rng } from '@nvbraid/base';
import {
  IoOp,
  IoResult,
  ioResultName,
  memoryDevice,
  openDevice,
  prepareDevice,
  runIo,
  ZoneCondition,
  type ZoneConditionName,
  zoneConditionName,
  zonedDevice,
} from '../src/index.ts';
import { blockTag, fillBlocks } from './support/blocks.ts';

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);
const BLOCK = 512;
const ZONE_BLOCKS = 16;
const CAPACITY = 12;
const ZONES = 8;
const MAX_OPEN = 3;
const MAX_ACTIVE = 5;

interface ModelZone {
  state: ZoneConditionName;
  tags: number[];
}

/** What zones do, written down a second time, as plainly as possible. */
class Model {
  readonly zones: ModelZone[] = Array.from({ length: ZONES }, () => ({ state: 'empty', tags: [] }));

  count(...states: ZoneConditionName[]): number {
    return this.zones.filter((zone) => states.includes(zone.state)).length;
  }

  /** Ok, or why not; closes an implicitly opened zone by `choose` when it must. */
  #open(zone: ModelZone, to: ZoneConditionName, makeRoom: () => void): string {
    const opened = (state: ZoneConditionName): boolean =>
      state === 'implicitly-opened' || state === 'explicitly-opened';
    if (zone.state === 'empty' && this.count('implicitly-opened', 'explicitly-opened', 'closed') === MAX_ACTIVE) {
      return 'TooManyActiveZones';
    }
    if (!opened(zone.state) && this.count('implicitly-opened', 'explicitly-opened') === MAX_OPEN) {
      if (this.count('implicitly-opened') === 0) return 'TooManyOpenZones';
      makeRoom();
    }
    zone.state = to;
    return 'Ok';
  }

  write(zone: ModelZone, at: number, count: number, tag: number, makeRoom: () => void): string {
    if (zone.state === 'full') return 'ZoneFull';
    if (zone.state === 'read-only') return 'ZoneReadOnly';
    if (zone.state === 'offline') return 'ZoneOffline';
    if (at !== zone.tags.length) return 'ZoneInvalidWrite';
    if (at + count > CAPACITY) return 'ZoneBoundary';
    if (zone.state !== 'explicitly-opened') {
      const result = this.#open(zone, 'implicitly-opened', makeRoom);
      if (result !== 'Ok') return result;
    }
    for (let n = 0; n < count; n++) zone.tags.push(tag);
    if (zone.tags.length === CAPACITY) zone.state = 'full';
    return 'Ok';
  }

  open(zone: ModelZone, makeRoom: () => void): string {
    if (['full', 'read-only', 'offline'].includes(zone.state)) return 'InvalidZoneTransition';
    return this.#open(zone, 'explicitly-opened', makeRoom);
  }

  close(zone: ModelZone): string {
    if (!['implicitly-opened', 'explicitly-opened', 'closed'].includes(zone.state)) return 'InvalidZoneTransition';
    zone.state = 'closed';
    return 'Ok';
  }

  finish(zone: ModelZone): string {
    if (['read-only', 'offline'].includes(zone.state)) return 'InvalidZoneTransition';
    zone.state = 'full';
    return 'Ok';
  }

  reset(zone: ModelZone): string {
    if (['read-only', 'offline'].includes(zone.state)) return 'InvalidZoneTransition';
    zone.state = 'empty';
    zone.tags = [];
    return 'Ok';
  }

  offline(zone: ModelZone): string {
    if (!['read-only', 'offline'].includes(zone.state)) return 'InvalidZoneTransition';
    zone.state = 'offline';
    return 'Ok';
  }
}

async function run(seed: number, steps: number): Promise<void> {
  const rng = new Rng(seed);
  const prepared = await prepareDevice(
    zonedDevice(memoryDevice({ size: ZONES * ZONE_BLOCKS * BLOCK, blockSize: BLOCK }), {
      zoneSize: ZONE_BLOCKS * BLOCK,
      zoneCapacity: CAPACITY * BLOCK,
      maxOpen: MAX_OPEN,
      maxActive: MAX_ACTIVE,
    }),
  );
  const device = openDevice(prepared, { threads: 1 });
  const table = device.zones!;
  const model = new Model();
  let tag = 0;
  const told: string[] = [];

  /** The device may choose which implicitly opened zone to close: one it must have been. */
  const makeRoom = (except: ModelZone) => (): void => {
    const closed = model.zones.filter(
      (zone, n) => zone !== except && zone.state === 'implicitly-opened' && table.condition(n) === ZoneCondition.Closed,
    );
    if (closed.length !== 1) fail(`seed ${seed}: ${closed.length} zones were closed to make room\n${told.join('\n')}`);
    closed[0]!.state = 'closed';
  };

  for (let step = 0; step < steps; step++) {
    const n = rng.below(ZONES);
    const zone = model.zones[n]!;
    const offset = n * ZONE_BLOCKS * BLOCK;
    const count = rng.between(1, rng.chance(0.9) ? 4 : 14);
    let expected: string;
    let found: string;
    const kind = rng.below(20);
    if (kind < 9) {
      const append = kind < 4;
      const at = append ? zone.tags.length : rng.chance(0.8) ? zone.tags.length % ZONE_BLOCKS : rng.below(ZONE_BLOCKS);
      const zeroes = !append && rng.chance(0.2);
      const bytes = new Uint8Array(count * BLOCK);
      fillBlocks(bytes, ++tag);
      const where = append ? offset : offset + at * BLOCK;
      const op = append ? IoOp.ZoneAppend : zeroes ? IoOp.WriteZeroes : IoOp.Write;
      told.push(`${step}: ${append ? 'append to' : 'write'} zone ${n} (${zone.state}) at ${at}, ${count} blocks`);
      found = ioResultName(await runIo(device, op, { memory: bytes, offset: where, fua: rng.chance(0.2) }));
      expected = model.write(zone, at, count, zeroes ? 0 : tag, makeRoom(zone));
    } else if (kind === 9) {
      // By itself: rarely, since there is no way back.
      if (!rng.chance(0.05)) continue;
      const event = rng.pick(['fail', 'lose'] as const);
      if (zone.state === 'offline') continue;
      told.push(`${step}: zone ${n} ${event}s`);
      found = ioResultName(table.change(n, event));
      zone.state = event === 'fail' ? 'read-only' : 'offline';
      expected = 'Ok';
    } else if (kind < 18) {
      const [op, act] = rng.pick([
        [IoOp.ZoneOpen, () => model.open(zone, makeRoom(zone))],
        [IoOp.ZoneClose, () => model.close(zone)],
        [IoOp.ZoneFinish, () => model.finish(zone)],
        [IoOp.ZoneReset, () => model.reset(zone)],
        [IoOp.ZoneReset, () => model.reset(zone)],
        [IoOp.ZoneOffline, () => model.offline(zone)],
      ] as const);
      told.push(`${step}: operation ${op} on zone ${n} (${zone.state})`);
      found = ioResultName(await runIo(device, op, { offset }));
      expected = act();
    } else {
      ({ found, expected } = await all(rng));
    }
    if (found !== expected) fail(`seed ${seed}: expected ${expected}, came ${found}\n${told.slice(-12).join('\n')}`);
    check();
    if (step % 7 === 0) await read(rng);
  }
  await device.close();

  async function all(random: Rng): Promise<{ found: string; expected: string }> {
    const which = random.below(5);
    told.push(`all: ${which}`);
    if (which === 0) {
      const closed = model.count('closed');
      const result = await runIo(device, IoOp.ZoneOpenAll);
      const room = model.count('explicitly-opened') + closed <= MAX_OPEN;
      if (room && closed > 0) {
        for (const zone of model.zones) if (zone.state === 'closed') zone.state = 'explicitly-opened';
        // As many implicitly opened ones as the limit asks for have been closed.
        const surplus = model.count('implicitly-opened', 'explicitly-opened') - MAX_OPEN;
        const now = model.zones.filter(
          (zone, n) => zone.state === 'implicitly-opened' && table.condition(n) === ZoneCondition.Closed,
        );
        equal(now.length, Math.max(0, surplus), `seed ${seed}: closed to make room for all`);
        for (const zone of now) zone.state = 'closed';
      }
      return { found: ioResultName(result), expected: room || closed === 0 ? 'Ok' : 'TooManyOpenZones' };
    }
    const [op, from, to] = (
      [
        [IoOp.ZoneCloseAll, ['implicitly-opened', 'explicitly-opened'], 'closed'],
        [IoOp.ZoneFinishAll, ['implicitly-opened', 'explicitly-opened', 'closed'], 'full'],
        [IoOp.ZoneResetAll, ['implicitly-opened', 'explicitly-opened', 'closed', 'full'], 'empty'],
        [IoOp.ZoneOfflineAll, ['read-only'], 'offline'],
      ] as const
    )[which - 1]!;
    for (const zone of model.zones) {
      if (!(from as readonly string[]).includes(zone.state)) continue;
      zone.state = to;
      if (to === 'empty') zone.tags = [];
    }
    return { found: ioResultName(await runIo(device, op)), expected: 'Ok' };
  }

  function check(): void {
    const states = model.zones.map((_, n) => `${zoneConditionName(table.condition(n))} ${table.written(n)}`);
    deepEqual(
      states,
      model.zones.map(({ state, tags }) => `${state} ${tags.length}`),
      `seed ${seed}\n${told.slice(-12).join('\n')}`,
    );
    equal(table.openedCount, model.count('implicitly-opened', 'explicitly-opened'));
    equal(table.activeCount, model.count('implicitly-opened', 'explicitly-opened', 'closed'));
    ok(table.openedCount <= MAX_OPEN && table.activeCount <= MAX_ACTIVE);
  }

  async function read(random: Rng): Promise<void> {
    const length = random.between(1, 40);
    const first = random.below(ZONES * ZONE_BLOCKS - length + 1);
    const bytes = new Uint8Array(length * BLOCK).fill(0xee);
    const result = await runIo(device, IoOp.Read, { memory: bytes, offset: first * BLOCK });
    const touched = model.zones.filter(
      (_, n) => n >= Math.floor(first / ZONE_BLOCKS) && n <= Math.floor((first + length - 1) / ZONE_BLOCKS),
    );
    if (touched.some(({ state }) => state === 'offline')) {
      equal(result, IoResult.ZoneOffline);
      return;
    }
    equal(result, IoResult.Ok);
    for (let n = 0; n < length; n++) {
      const zone = model.zones[Math.floor((first + n) / ZONE_BLOCKS)]!;
      const expected = zone.tags[(first + n) % ZONE_BLOCKS] ?? 0;
      equal(
        blockTag(bytes, n * BLOCK, BLOCK),
        expected,
        `seed ${seed}: block ${first + n}\n${told.slice(-12).join('\n')}`,
      );
    }
  }
}

describe('zones against a model', () => {
  it('states, write pointers, resources and data agree after every step', async (t) => {
    t.diagnostic(`seed ${SEED}`);
    for (let round = 0; round < 40; round++) await run(SEED + round, 400);
  });
});
