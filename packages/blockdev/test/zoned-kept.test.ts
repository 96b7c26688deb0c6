import { deepEqual, equal, ok, rejects } from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  type BlockDevice,
  failZone,
  fileDevice,
  IoOp,
  IoResult,
  openDevice,
  prepareDevice,
  releaseDevice,
  runIo,
  ZoneCondition,
  zoneConditionName,
  zonedDevice,
} from '../src/index.ts';
import { prepareZoned } from '../src/zoned/prepare-zoned.ts';
import type { PreparedZoned } from '../src/zoned/zoned-spec.ts';
import { freshPath } from './support/backends.ts';
import { blockTag, fillBlocks } from './support/blocks.ts';

const BLOCK = 4096;
const ZONE_BLOCKS = 16;
const ZONE = ZONE_BLOCKS * BLOCK;
const ZONES = 4;

function fileOf(): string {
  const path = freshPath();
  writeFileSync(path, '');
  truncateSync(path, ZONES * ZONE);
  return path;
}

interface Opened {
  device: BlockDevice;
  prepared: PreparedZoned;
  close(): Promise<void>;
}

/** @param boot another boot means: the machine was without power in between */
async function open(path: string, boot = 'first'): Promise<Opened> {
  const lower = await prepareDevice(fileDevice({ path }));
  let prepared: PreparedZoned;
  try {
    prepared = await prepareZoned(zonedDevice(fileDevice({ path }), { zoneSize: ZONE }), lower, boot);
  } catch (error) {
    await releaseDevice(lower);
    throw error;
  }
  const device = openDevice(prepared, { threads: 1 });
  return {
    device,
    prepared,
    close: async () => {
      await device.close();
      await releaseDevice(prepared);
    },
  };
}

async function write(device: BlockDevice, block: number, count: number, tag: number, fua = false): Promise<void> {
  const bytes = new Uint8Array(count * BLOCK);
  fillBlocks(bytes, tag);
  equal(await runIo(device, IoOp.Write, { memory: bytes, offset: block * BLOCK, fua }), IoResult.Ok);
}

async function tagAt(device: BlockDevice, block: number): Promise<number> {
  const bytes = new Uint8Array(BLOCK).fill(0xee);
  equal(await runIo(device, IoOp.Read, { memory: bytes, offset: block * BLOCK }), IoResult.Ok);
  return blockTag(bytes, 0, BLOCK);
}

function zonesOf({ device }: Opened): string[] {
  const { zones } = device;
  return Array.from({ length: ZONES }, (_, n) => `${zoneConditionName(zones!.condition(n))} ${zones!.written(n)}`);
}

/** What the process leaves behind when it is killed: nothing is flushed any more. */
function kill(opened: Opened, path: string): Buffer[] {
  return [readFileSync(path), readFileSync(opened.prepared.zonesPath!)];
}

function put(path: string, [data, zones]: Buffer[]): void {
  writeFileSync(path, data!);
  writeFileSync(`${path}.nvbraid/zones`, zones!);
}

describe('the zones of a file', () => {
  it('are there after an orderly restart, also on a machine that was off; open ones are closed', async () => {
    const path = fileOf();
    let opened = await open(path);
    await write(opened.device, 0, 3, 1);
    await write(opened.device, ZONE_BLOCKS, ZONE_BLOCKS, 2);
    equal(await runIo(opened.device, IoOp.ZoneOpen, { offset: 2 * ZONE }), IoResult.Ok);
    equal(await runIo(opened.device, IoOp.ZoneFinish, { offset: 3 * ZONE }), IoResult.Ok);
    deepEqual(zonesOf(opened), ['implicitly-opened 3', 'full 16', 'explicitly-opened 0', 'full 0']);
    await opened.close();
    opened = await open(path, 'second');
    deepEqual(zonesOf(opened), ['closed 3', 'full 16', 'empty 0', 'full 0']);
    equal(opened.device.zones!.activeCount, 1);
    equal(await tagAt(opened.device, 2), 1);
    equal(await tagAt(opened.device, ZONE_BLOCKS), 2);
    await opened.close();
  });

  it('killed: everything acknowledged is there; without power: everything flushed, and no more', async () => {
    const path = fileOf();
    let opened = await open(path);
    await write(opened.device, 0, 3, 1);
    equal(await runIo(opened.device, IoOp.Flush), IoResult.Ok);
    await write(opened.device, 3, 2, 2);
    await write(opened.device, ZONE_BLOCKS, 1, 3);
    const left = kill(opened, path);
    await opened.close();
    put(path, left);
    opened = await open(path);
    deepEqual(zonesOf(opened).slice(0, 2), ['closed 5', 'closed 1']);
    const again = kill(opened, path);
    await opened.close();
    put(path, again);
    opened = await open(path, 'second');
    deepEqual(zonesOf(opened).slice(0, 2), ['closed 3', 'empty 0'], 'killed, started, and then the power failed');
    equal(await tagAt(opened.device, 3), 0);
    await opened.close();
  });

  it('FUA is as good as a flush, for the zone and for those before it', async () => {
    const path = fileOf();
    let opened = await open(path);
    await write(opened.device, 0, 2, 1);
    await write(opened.device, ZONE_BLOCKS, 1, 2, true);
    await write(opened.device, 2, 1, 3);
    const left = kill(opened, path);
    await opened.close();
    put(path, left);
    opened = await open(path, 'second');
    deepEqual(zonesOf(opened).slice(0, 2), ['closed 2', 'closed 1']);
    await opened.close();
  });

  it('reset, finish and offline are stable when they are done', async () => {
    const path = fileOf();
    let opened = await open(path);
    await write(opened.device, 0, 3, 1);
    await write(opened.device, ZONE_BLOCKS, 3, 2);
    equal(await runIo(opened.device, IoOp.Flush), IoResult.Ok);
    equal(await runIo(opened.device, IoOp.ZoneReset, { offset: 0 }), IoResult.Ok);
    equal(await runIo(opened.device, IoOp.ZoneFinish, { offset: ZONE }), IoResult.Ok);
    equal(await failZone(opened.prepared, 2, 'fail'), true);
    equal(await failZone(opened.prepared, 3, 'fail'), true);
    equal(await failZone(opened.prepared, 3, 'fail'), false);
    equal(await runIo(opened.device, IoOp.ZoneOffline, { offset: 3 * ZONE }), IoResult.Ok);
    const left = kill(opened, path);
    await opened.close();
    put(path, left);
    opened = await open(path, 'second');
    deepEqual(zonesOf(opened), ['empty 0', 'full 3', 'read-only 0', 'offline 0']);
    equal(await runIo(opened.device, IoOp.ZoneResetAll), IoResult.Ok);
    deepEqual(zonesOf(opened), ['empty 0', 'empty 0', 'read-only 0', 'offline 0']);
    await opened.close();
  });

  it('a reset gives the space back', async () => {
    const path = fileOf();
    const opened = await open(path);
    if (opened.device.thin) {
      await write(opened.device, 0, ZONE_BLOCKS, 1);
      equal(await runIo(opened.device, IoOp.Flush), IoResult.Ok);
      const before = statSync(path).blocks;
      equal(await runIo(opened.device, IoOp.ZoneReset, { offset: 0 }), IoResult.Ok);
      ok(statSync(path).blocks < before);
    }
    await opened.close();
  });

  it('kill -9 at any moment loses nothing that was acknowledged', async () => {
    const writer = fileURLToPath(new URL('./support/zone-writer.ts', import.meta.url));
    for (const lines of [1, 20, 150, 400]) {
      const path = fileOf();
      const child = spawn(process.execPath, [writer, path, String(ZONE)], { stdio: ['ignore', 'pipe', 'inherit'] });
      let output = '';
      child.stdout.setEncoding('latin1').on('data', (text: string) => {
        output += text;
        if (output.split('\n').length > lines) child.kill('SIGKILL');
      });
      const [, signal] = await once(child, 'close');
      equal(signal, 'SIGKILL');
      const tags = new Map<number, number>();
      const whole = output.slice(0, output.lastIndexOf('\n')).split('\n');
      let resetAfter = -1;
      for (const line of whole) {
        const [what, where, tag] = line.split(' ') as [string, string, string | undefined];
        if (what === 'block') tags.set(Number(where), Number(tag));
        else for (let n = 0; n < ZONE_BLOCKS; n++) tags.delete(Number(where) * ZONE_BLOCKS + n);
      }
      // The reset that comes next may have begun.
      const last = whole.at(-1)!.split(' ');
      if (last[0] === 'block' && (Number(last[1]) + 1) % ZONE_BLOCKS === 0) {
        resetAfter = ((Number(last[1]) + 1) / ZONE_BLOCKS) % ZONES;
      }
      const lower = await prepareDevice(fileDevice({ path }));
      const prepared = await prepareZoned(zonedDevice(fileDevice({ path }), { zoneSize: ZONE }), lower);
      const device = openDevice(prepared, { threads: 1 });
      for (const [block, tag] of tags) {
        if (Math.floor(block / ZONE_BLOCKS) === resetAfter) continue;
        equal(await tagAt(device, block), tag, `block ${block} after ${whole.length} acknowledgements`);
      }
      for (let zone = 0; zone < ZONES; zone++) {
        const written = device.zones!.written(zone);
        for (let n = 0; n < written; n++) ok((await tagAt(device, zone * ZONE_BLOCKS + n)) > 0, 'a hole');
      }
      await device.close();
      await releaseDevice(prepared);
    }
  });
});

describe('a file of zones that is not what it should be', () => {
  async function made(): Promise<{ path: string; zones: string }> {
    const path = fileOf();
    const opened = await open(path);
    await write(opened.device, 0, 3, 1);
    await opened.close();
    return { path, zones: `${path}.nvbraid/zones` };
  }

  it('damaged, torn or foreign: a sentence, and nothing is touched', async () => {
    const { path, zones } = await made();
    const good = readFileSync(zones);
    const cases: [RegExp, (bytes: Buffer) => Buffer][] = [
      [/the record of zone 0 is damaged/, (bytes) => bytes.fill(7, 4096 + 8, 4096 + 9)],
      [/the checksum of its head is wrong/, (bytes) => bytes.fill(7, 20, 21)],
      [/4 zones make 4352 bytes, it has 4300/, (bytes) => bytes.subarray(0, 4300)],
      [/it has only 0 bytes/, () => Buffer.alloc(0)],
      [/it is not a file of zones/, () => Buffer.alloc(4352, 'x')],
    ];
    for (const [message, change] of cases) {
      const bad = change(Buffer.from(good));
      writeFileSync(zones, bad);
      await rejects(open(path), message);
      await rejects(open(path), /restore it from a copy, or give up the data/);
      deepEqual(readFileSync(zones), bad);
    }
    writeFileSync(zones, good);
    const opened = await open(path);
    equal(opened.device.zones!.written(0), 3);
    await opened.close();
  });

  it('of other zones: says which', async () => {
    const { path } = await made();
    const spec = zonedDevice(fileDevice({ path }), { zoneSize: 2 * ZONE });
    await rejects(
      prepareDevice(spec),
      /has 4 zones of 65536 bytes with a capacity of 65536 and blocks of 4096: give the/,
    );
    const opened = await open(path);
    await opened.close();
  });

  it('missing beside data: says how to begin anew, and what it says works', async () => {
    const { path, zones } = await made();
    rmSync(zones);
    await rejects(open(path), /has data, but no zones .*bring that file back, or empty this one with `truncate -s 0/);
    truncateSync(path, 0);
    truncateSync(path, ZONES * ZONE);
    const opened = await open(path);
    equal(opened.device.zones!.condition(0), ZoneCondition.Empty);
    await opened.close();
  });
});
