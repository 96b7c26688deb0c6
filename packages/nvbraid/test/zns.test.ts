import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openDevice, prepareDevice } from '@nvbraid/blockdev';
import type { NvmeError } from '@nvbraid/host';
import { AsyncEventBit, Fid, Status } from '@nvbraid/wire';
import {
  connectController,
  createTarget,
  fileDevice,
  type HostController,
  memoryDevice,
  type Target,
  type ZonedNamespace,
  zonedDevice,
} from '../src/index.ts';

const NQN = 'nqn.2024-01.org.example:zoned';
const BLOCK = 4096;
const ZONE_BLOCKS = 64;
const ZONE = ZONE_BLOCKS * BLOCK;
const ZONES = 8;

const directory = mkdtempSync(join(tmpdir(), 'nvbraid-zns-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
let files = 0;

interface Story {
  target: Target;
  port: number;
  hosts: HostController[];
  zones: ZonedNamespace;
  close(): Promise<void>;
}

async function story(reactors: number, path: string | null, hostCount = 1, zoneCapacity = ZONE): Promise<Story> {
  const target = await createTarget({ reactors });
  target.addSubsystem({ nqn: NQN });
  const device =
    path === null ? memoryDevice({ size: ZONES * ZONE }) : fileDevice({ path, size: ZONES * ZONE, create: true });
  await target.addNamespace(NQN, { device, zoned: { zoneSize: ZONE, zoneCapacity, maxOpen: 3, maxActive: 5 } });
  const { port } = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
  const hosts: HostController[] = [];
  for (let n = 0; n < hostCount; n++) {
    hosts.push(
      await connectController({ traddr: '127.0.0.1', trsvcid: port, nqn: NQN, nrIoQueues: 2, transport: 'tcp' }),
    );
  }
  const zones = await hosts[0]!.zoned(1);
  return {
    target,
    port,
    hosts,
    zones,
    close: async () => {
      for (const host of hosts) await host.disconnect();
      await target.close();
    },
  };
}

const blocks = (count: number, fill: number): Uint8Array => new Uint8Array(count * BLOCK).fill(fill);

function status(code: number): (error: unknown) => boolean {
  return (error) => {
    assert.equal(((error as NvmeError).status ?? 0) & 0x7ff, code, String(error));
    return true;
  };
}

for (const reactors of [0, 1, 2]) {
  test(`a host appends, reports, opens, closes, finishes and resets; reactors: ${reactors}`, async () => {
    const { zones, hosts, close } = await story(reactors, join(directory, `story-${files++}.img`), 1, 60 * BLOCK);
    const { namespace } = zones;
    assert.deepEqual(
      [zones.zoneBlocks, zones.zoneCount, zones.maxOpen, zones.maxActive, namespace.descriptors.csi],
      [ZONE_BLOCKS, ZONES, 3, 5, 2],
    );
    assert.equal(await zones.append(0, blocks(3, 1)), 0);
    assert.equal(await zones.append(0, blocks(2, 2), { fua: true }), 3);
    await namespace.write(ZONE_BLOCKS, blocks(60, 3));
    await assert.rejects(namespace.write(3, blocks(1, 9)), status(Status.ZoneInvalidWrite));
    await assert.rejects(namespace.write(5, blocks(56, 9)), status(Status.ZonedBoundaryError));
    await assert.rejects(zones.append(ZONE_BLOCKS, blocks(1, 9)), status(Status.ZoneIsFull));
    await zones.open(2 * ZONE_BLOCKS);
    await zones.close(0);
    await zones.finish(3 * ZONE_BLOCKS);
    await namespace.flush();
    const report = await zones.report();
    assert.deepEqual(
      report.map(({ state, writePointer }) => [state, writePointer]),
      [
        ['Closed', 5],
        ['Full', null],
        ['ExplicitlyOpened', 128],
        ['Full', null],
        ...[4, 5, 6, 7].map((zone) => ['Empty', zone * ZONE_BLOCKS]),
      ],
    );
    assert.equal(report[0]!.capacity, 60);
    assert.deepEqual(
      (await zones.report({ state: 'Empty', slba: 300, limit: 2 })).map(({ zslba }) => zslba),
      [256, 320],
    );
    const bytes = new Uint8Array(7 * BLOCK).fill(0xee);
    await namespace.read(0, bytes);
    assert.deepEqual(
      Array.from({ length: 7 }, (_, n) => bytes[n * BLOCK]),
      [1, 1, 1, 2, 2, 0, 0],
    );
    await assert.rejects(zones.reset(1), status(Status.InvalidField));
    await assert.rejects(zones.offline(0), status(Status.InvalidZoneStateTransition));
    await zones.reset(0);
    await namespace.read(0, bytes);
    assert.ok(bytes.every((byte) => byte === 0));
    await zones.reset('all');
    assert.ok((await zones.report()).every(({ state }) => state === 'Empty'));
    assert.equal(hosts[0]!.io.counters.writtenBytes, 65 * BLOCK);
    await close();
  });
}

test('two hosts on two reactors append to one zone: every block has one owner, and lies below the write pointer', async () => {
  const { zones, hosts, close } = await story(2, join(directory, `race-${files++}.img`), 2);
  const others = await hosts[1]!.zoned(1);
  const places = new Map<number, number>();
  const run = async (by: ZonedNamespace, mark: number): Promise<void> => {
    for (let n = 0; n < ZONE_BLOCKS / 2; n++) {
      const place = await by.append(0, blocks(1, mark));
      assert.ok(!places.has(place), `block ${place} was given away twice`);
      places.set(place, mark);
    }
  };
  await Promise.all([run(zones, 1), run(others, 2)]);
  assert.equal(places.size, ZONE_BLOCKS);
  assert.equal((await zones.report({ limit: 1 }))[0]!.state, 'Full');
  const bytes = new Uint8Array(ZONE_BLOCKS * BLOCK);
  await zones.namespace.read(0, bytes);
  for (const [place, mark] of places) assert.equal(bytes[place * BLOCK], mark, `block ${place}`);
  await close();
});

test('zones outlive the target', async () => {
  const path = join(directory, `kept-${files++}.img`);
  const first = await story(1, path);
  await first.zones.append(0, blocks(5, 7));
  await first.zones.open(ZONE_BLOCKS);
  await first.close();
  assert.ok(readFileSync(`${path}.nvbraid/zones`).length > 4096);
  const second = await story(2, path);
  const report = await second.zones.report({ limit: 2 });
  assert.deepEqual(
    report.map(({ state, writePointer }) => [state, writePointer]),
    [
      ['Closed', 5],
      ['Empty', ZONE_BLOCKS],
    ],
  );
  assert.equal(await second.zones.append(0, blocks(1, 8)), 5);
  await second.close();
});

test('a zone that fails by itself: hosts are told, and read which one it is', async () => {
  const { target, zones, hosts, close } = await story(1, null);
  const [host] = hosts as [HostController];
  await zones.append(2 * ZONE_BLOCKS, blocks(1, 1));
  const set = await host.admin({ opc: 0x09, cdw10: Fid.AsyncEventConfiguration, cdw11: AsyncEventBit.ZoneDescriptor });
  assert.equal(set.status, 0);
  const told = new Promise<number>((resolve) => host.on('aen', ({ lid }) => resolve(lid)));
  await target.failZone(NQN, 1, 2 * ZONE_BLOCKS + 3, 'read-only');
  assert.equal(await told, 0xbf);
  const page = await host.admin({
    ...{ opc: 0x02, nsid: 1, cdw10: 0xbf | (1023 << 16), cdw14: 2 << 24, dataLength: 4096 },
  });
  assert.equal(page.data![0], 1);
  assert.equal(new DataView(page.data!.buffer, page.data!.byteOffset).getUint32(8, true), 2 * ZONE_BLOCKS);
  await assert.rejects(zones.append(2 * ZONE_BLOCKS, blocks(1, 1)), status(Status.ZoneIsReadOnly));
  await zones.offline('all');
  assert.equal((await zones.report({ state: 'Offline' })).length, 1);
  await assert.rejects(target.failZone(NQN, 1, ZONES * ZONE_BLOCKS, 'offline'), /has no block/);
  await assert.rejects(target.failZone(NQN, 2, 0, 'offline'), /has no namespace 2/);
  await close();
});

test('an open device with zones is a zoned namespace, too', async () => {
  const prepared = await prepareDevice(zonedDevice(memoryDevice({ size: ZONES * ZONE }), { zoneSize: ZONE }));
  const target = await createTarget({ reactors: 0 });
  target.addSubsystem({ nqn: NQN });
  const nsid = await target.addNamespace(NQN, { device: openDevice(prepared, { threads: 1 }) });
  const { port } = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
  const host = await connectController({ traddr: '127.0.0.1', trsvcid: port, nqn: NQN });
  assert.equal(await (await host.zoned(nsid)).append(ZONE_BLOCKS, blocks(1, 1)), ZONE_BLOCKS);
  await assert.rejects(target.failZone(NQN, nsid, 0, 'offline'), /is an open device/);
  await host.disconnect();
  await target.close();
});

test('what cannot be zoned is refused where it is added', async () => {
  const target = await createTarget({ reactors: 1 });
  target.addSubsystem({ nqn: NQN });
  const add = (device: ReturnType<typeof memoryDevice>, zoned: object): Promise<number> =>
    target.addNamespace(NQN, { device, zoned: zoned as never });
  await assert.rejects(add(memoryDevice({ size: 10 * ZONE }), { zoneSize: 4 * ZONE }), /not a whole number of zones/);
  await assert.rejects(add(memoryDevice({ size: ZONE }), { zoneSize: ZONE, maximum: 3 }), /no option "maximum"/);
  const shared = fileDevice({ path: join(directory, 'shared.img'), size: ZONE, create: true, shared: true });
  await assert.rejects(add(shared as never, { zoneSize: ZONE }), /a shared file cannot have zones/);
  const nsid = await target.addNamespace(NQN, { device: memoryDevice({ size: ZONE }) });
  const { port } = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
  const host = await connectController({ traddr: '127.0.0.1', trsvcid: port, nqn: NQN });
  await assert.rejects(host.zoned(nsid), /namespace 1 is not zoned/);
  await assert.rejects(host.zoned(9), /has no namespace 9/);
  await host.disconnect();
  await target.close();
});
