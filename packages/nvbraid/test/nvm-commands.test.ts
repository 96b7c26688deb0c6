import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type BlockDevice, type DeviceSpec, fileDevice, type Io, IoOp, memoryDevice } from '@nvbraid/blockdev';
import { NvmeError } from '@nvbraid/host';
import {
  AdminOpcode,
  AnaState,
  DNR,
  ERROR_LOG_ENTRY_SIZE,
  ErrorLogEntry,
  IdentifyController,
  IoOpcode,
  LbaStatusAction,
  LbaStatusDescriptor,
  LbaStatusList,
  LbaStatusLogHeader,
  Lid,
  Oncs,
  SmartLog,
  Status,
} from '@nvbraid/wire';
import { connectController } from '../src/connect.ts';
import { copyCommands } from '../src/copy-commands.ts';
import type { HostController } from '../src/host-controller.ts';
import type { HostNamespace } from '../src/host-namespace.ts';
import { pairDevice } from '../src/pair.ts';
import { createTarget, type Target, type TargetPort } from '../src/target.ts';

/* Compare, fused Compare and Write, Verify, Copy and Write Uncorrectable from the host's call to the device and back. */

const NQN = 'nqn.2024-01.example.com:commands';
const BLOCK = 512;
const directory = mkdtempSync(join(tmpdir(), 'nvbraid-commands-'));
const cleanups: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const cleanup of cleanups) await cleanup();
  rmSync(directory, { recursive: true, force: true });
});

interface Served {
  target: Target;
  port: TargetPort;
  /** Connects one more host. */
  join(options?: object): Promise<{ controller: HostController; disk: HostNamespace }>;
  close(): Promise<void>;
}

async function serve(device: DeviceSpec | BlockDevice, reactors: number): Promise<Served> {
  const target = await createTarget({ reactors });
  target.addSubsystem({ nqn: NQN });
  await target.addNamespace(NQN, { device: device as DeviceSpec });
  const port = await target.listen({ transport: 'tcp', address: '127.0.0.1', port: 0, subsystems: [NQN] });
  const controllers: HostController[] = [];
  cleanups.push(() => target.close());
  return {
    target,
    port,
    join: async (options = {}) => {
      const address = { transport: 'tcp', traddr: port.address, trsvcid: port.port, nqn: NQN } as const;
      const controller = await connectController({ ...address, nrIoQueues: 2, ...options });
      controllers.push(controller);
      return { controller, disk: controller.namespace(1) };
    },
    close: async () => {
      for (const controller of controllers) await controller.disconnect().catch(() => {});
      await target.close();
    },
  };
}

const filled = (value: number, blocks = 1): Uint8Array => new Uint8Array(blocks * BLOCK).fill(value);
const statusOf = (status: number) => (error: unknown) =>
  error instanceof NvmeError && (error.status & 0x7ff) === status;
let files = 0;
const file = (options: object = {}): DeviceSpec =>
  fileDevice({ path: join(directory, `${files++}.img`), size: 1 << 20, blockSize: BLOCK, create: true, ...options });

const DEVICES: [string, () => DeviceSpec][] = [
  ['memory', () => memoryDevice({ size: 1 << 20, blockSize: BLOCK })],
  ['a file', file],
];

for (const reactors of [0, 2]) {
  for (const [name, spec] of DEVICES) {
    test(`all commands of the NVM Command Set on ${name}, ${reactors} reactors`, async () => {
      const served = await serve(spec(), reactors);
      const { controller, disk } = await served.join();
      const { oncs, fuses } = IdentifyController.parse(new DataView(controller.identifyBytes.buffer));
      assert.equal(oncs & (Oncs.Compare | Oncs.WriteUncorrectable | Oncs.Verify | Oncs.Copy), 0x183);
      assert.equal(fuses, 1);
      await disk.write(0, filled(1, 300));
      assert.equal(await disk.compare(0, filled(1, 300)), true);
      const other = filled(1, 300);
      other[299 * BLOCK] = 2;
      assert.equal(await disk.compare(0, other), false);
      await assert.rejects(disk.compare(2000, filled(1, 100)), statusOf(Status.LbaOutOfRange));

      assert.equal(await disk.compareAndWrite(7, filled(1), filled(9)), true);
      assert.equal(await disk.compareAndWrite(7, filled(1), filled(8), { fua: true }), false);
      assert.equal(await disk.compare(7, filled(9)), true);
      await assert.rejects(
        disk.compareAndWrite(7, filled(9, 2), filled(9, 2)),
        statusOf(Status.AtomicWriteUnitExceeded),
      );
      await assert.rejects(disk.compareAndWrite(7, filled(9, 2), filled(9)), /two buffers of the same length/);

      await disk.copy(
        [
          { slba: 7, blocks: 1 },
          { slba: 20, blocks: 10 },
        ],
        1000,
        { fua: true },
      );
      assert.equal(await disk.compare(1000, filled(9)), true);
      assert.equal(await disk.compare(1001, filled(1, 10)), true);
      assert.equal(await disk.compare(1011, filled(0)), true);
      await assert.rejects(disk.copy([{ slba: 0, blocks: 8 }], 7), /which they overlap/);

      await disk.verify(0, 2048);
      await disk.writeUncorrectable(100, 3);
      await assert.rejects(disk.verify(0, 2048), statusOf(Status.UnrecoveredReadError));
      await assert.rejects(disk.read(101, filled(0)), statusOf(Status.UnrecoveredReadError));
      await assert.rejects(disk.compare(101, filled(0)), statusOf(Status.UnrecoveredReadError));
      await assert.rejects(disk.compareAndWrite(101, filled(1), filled(1)), statusOf(Status.UnrecoveredReadError));
      await disk.write(100, filled(4));
      await disk.writeZeroes(101, 1);
      await disk.deallocate(102, 1);
      assert.equal(await disk.compare(100, filled(4)), true);
      assert.equal(await disk.compare(101, filled(0, 2)), true);
      await disk.verify(0, 2048);
      await served.close();
    });
  }
}

for (const [name, spec] of DEVICES) {
  test(`hosts on two reactors lose no increment of a counter on ${name}`, async () => {
    const served = await serve(spec(), 2);
    const hosts = await Promise.all([served.join(), served.join(), served.join()]);
    const counter = (value: number): Uint8Array => new Uint8Array(new Uint32Array(BLOCK / 4).fill(value).buffer);
    let raised = 0;
    let counting = true;
    const raise = async (disk: HostNamespace): Promise<void> => {
      let value = 0;
      const found = new Uint8Array(BLOCK);
      for (let n = 0; n < 150; ) {
        if (await disk.compareAndWrite(1, counter(value), counter(value + 1))) {
          raised++;
          n++;
        }
        await disk.read(1, found);
        const values = new Set(new Uint32Array(found.buffer));
        assert.equal(values.size, 1, 'a block is whole');
        value = [...values][0]!;
      }
    };
    const disturb = async (disk: HostNamespace, block: number): Promise<void> => {
      while (counting) await disk.write(block, filled(block));
    };
    const disturbing = hosts.flatMap(({ disk }) => [disturb(disk, 0), disturb(disk, 2)]);
    await Promise.all(hosts.flatMap(({ disk }) => [raise(disk), raise(disk)]));
    counting = false;
    await Promise.all(disturbing);
    assert.equal(raised, 6 * 150);
    assert.equal(await hosts[0]!.disk.compare(1, counter(raised)), true);
    await served.close();
  });
}

test('marks of uncorrectable blocks are there when the target comes back', async () => {
  const spec = file();
  const first = await serve(spec, 2);
  const one = await first.join();
  await one.disk.write(0, filled(3, 8));
  await one.disk.writeUncorrectable(2, 2);
  await one.disk.write(2, filled(5));
  await first.close();
  const second = await serve(spec, 0);
  const two = await second.join();
  await assert.rejects(two.disk.read(0, filled(0, 8)), statusOf(Status.UnrecoveredReadError));
  assert.equal(await two.disk.compare(2, filled(5)), true);
  await assert.rejects(two.disk.read(3, filled(0)), statusOf(Status.UnrecoveredReadError));
  await second.close();
});

for (const reactors of [0, 1]) {
  test(`failed I/O commands stand in the error log and in SMART, and a flood of them stays bounded, ${reactors} reactors`, async () => {
    const served = await serve(memoryDevice({ size: 1 << 20, blockSize: BLOCK }), reactors);
    const { controller, disk } = await served.join();
    const log = async (): Promise<ErrorLogEntry[]> => {
      const page = await controller.getLogPage(Lid.Error, 128 * ERROR_LOG_ENTRY_SIZE);
      const view = new DataView(page.buffer, page.byteOffset, page.length);
      const entries = Array.from({ length: 128 }, (_, i) => ErrorLogEntry.parse(view, i * ERROR_LOG_ENTRY_SIZE));
      return entries.filter(({ ecnt }) => ecnt > 0);
    };
    const entries = async (count: number): Promise<ErrorLogEntry[]> => {
      for (;;) {
        const found = await log();
        if (found.length >= count) return found;
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    };
    await disk.writeUncorrectable(5, 1);
    await assert.rejects(disk.read(5, filled(0)));
    const [bad] = await entries(1);
    assert.deepEqual(
      [bad!.status >> 1, bad!.opc, bad!.nsid, bad!.lba],
      [Status.UnrecoveredReadError | DNR, IoOpcode.Read, 1, 5],
    );
    assert.ok(bad!.sqid > 0);
    assert.equal(await disk.compare(6, filled(1)), false);
    await assert.rejects(disk.write(4000, filled(1)));
    const [beyond] = await entries(2);
    assert.deepEqual(
      [beyond!.status >> 1, beyond!.lba],
      [Status.LbaOutOfRange | DNR, 4000],
      'a comparison is no error',
    );
    await Promise.all(Array.from({ length: 2000 }, () => assert.rejects(disk.read(5, filled(0)))));
    assert.equal((await entries(128)).length, 128);
    const smart = SmartLog.parse(new DataView((await controller.getLogPage(Lid.Smart, 512)).buffer));
    assert.ok(smart.mdie >= 2001n, `${smart.mdie} media errors`);
    assert.ok(smart.neile >= 128n);
    await served.close();
  });
}

const STATUS_BYTES = 4096;

/** Get LBA Status: the completion condition, then the ranges. */
async function lbaStatus(
  controller: HostController,
  atype: number,
  slba = 0,
  rl = 0,
  bytes = STATUS_BYTES,
): Promise<number | [cmpc: number, ...ranges: [number, number][]]> {
  const result = await controller.admin({
    opc: AdminOpcode.GetLbaStatus,
    nsid: 1,
    cdw10: slba,
    cdw12: bytes / 4 - 1,
    cdw13: rl | (atype << 24),
    dataLength: bytes,
  });
  if (result.status !== 0) return result.status & 0x7ff;
  const view = new DataView(result.data.buffer, result.data.byteOffset, result.data.byteLength);
  const { nlsd, cmpc } = LbaStatusList.parse(view, 0);
  const ranges = Array.from({ length: nlsd }, (_, i): [number, number] => {
    const { dslba, nlb } = LbaStatusDescriptor.parse(view, 8 + 16 * i);
    return [dslba, nlb];
  });
  return [cmpc, ...ranges];
}

test('Get LBA Status tells what is allocated and what is marked', async () => {
  for (const reactors of [0, 1]) {
    const served = await serve(file(), reactors);
    const { controller, disk } = await served.join();
    assert.deepEqual(await lbaStatus(controller, LbaStatusAction.Allocated), [2], 'a sparse file');
    await disk.write(256, filled(1, 256), { fua: true });
    await disk.write(1024, filled(1, 8), { fua: true });
    assert.deepEqual(await lbaStatus(controller, LbaStatusAction.Allocated), [2, [256, 256], [1024, 8]]);
    assert.deepEqual(await lbaStatus(controller, LbaStatusAction.Allocated, 300, 10), [2, [300, 10]]);
    assert.deepEqual(
      await lbaStatus(controller, LbaStatusAction.Allocated, 0, 0, 24),
      [1, [256, 256]],
      'no room for more',
    );
    await disk.deallocate(256, 256);
    assert.deepEqual(await lbaStatus(controller, LbaStatusAction.Allocated), [2, [1024, 8]]);
    for (const slba of [3, 5, 6, 100]) await disk.writeUncorrectable(slba, 1);
    for (const action of [LbaStatusAction.Untracked, LbaStatusAction.Tracked]) {
      assert.deepEqual(await lbaStatus(controller, action), [2, [3, 1], [5, 2], [100, 1]]);
      assert.deepEqual(await lbaStatus(controller, action, 6, 94), [2, [6, 1]]);
      assert.deepEqual(await lbaStatus(controller, action, 0, 0, 40), [1, [3, 1], [5, 2]]);
    }
    const log = await controller.getLogPage(Lid.LbaStatus, 16);
    assert.equal(LbaStatusLogHeader.estulb.get(new DataView(log.buffer, log.byteOffset, 16), 0), 4, 'and the log');
    assert.equal(await lbaStatus(controller, 0x12), Status.InvalidField);
    assert.equal(await lbaStatus(controller, LbaStatusAction.Tracked, 2048), Status.LbaOutOfRange);
    assert.equal(await lbaStatus(controller, LbaStatusAction.Tracked, 2047, 2), Status.LbaOutOfRange);
    assert.equal(await lbaStatus(controller, LbaStatusAction.Tracked, 0, 0, 4), Status.InvalidField);
    await served.close();
  }
});

test('of a device in memory all is allocated', async () => {
  const served = await serve(memoryDevice({ size: 1 << 20, blockSize: BLOCK }), 0);
  const { controller, disk } = await served.join();
  assert.deepEqual(await lbaStatus(controller, LbaStatusAction.Allocated), [2, [0, 2048]]);
  await disk.writeUncorrectable(9, 2);
  assert.deepEqual(await lbaStatus(controller, LbaStatusAction.Tracked), [2, [9, 2]]);
  await served.close();
});

test('a file that processes share offers neither fused commands nor Write Uncorrectable', async () => {
  const served = await serve(file({ shared: true }), 0);
  const { controller, disk } = await served.join();
  const { oncs, fuses } = IdentifyController.parse(new DataView(controller.identifyBytes.buffer));
  assert.deepEqual([oncs & Oncs.WriteUncorrectable, fuses], [0, 0]);
  await assert.rejects(disk.writeUncorrectable(0, 1), statusOf(Status.InvalidOpcode));
  await assert.rejects(disk.compareAndWrite(0, filled(0), filled(1)), statusOf(Status.InvalidField));
  assert.equal(await disk.compare(0, filled(0)), true);
  await served.close();
});

/** Holds Compare and Writes back, and counts them. */
class Holder implements BlockDevice {
  readonly lower = pairDevice();
  readonly blockSize = this.lower.blockSize;
  readonly blockCount = this.lower.blockCount;
  readonly readOnly = false;
  readonly volatileWriteCache = false;
  readonly thin = false;
  readonly compareAndWrite = true;
  readonly memory = null;
  readonly held: Io[] = [];
  hold = false;
  pairs = 0;

  submit(io: Io): boolean {
    if (io.op !== IoOp.CompareAndWrite) return this.lower.submit(io);
    this.pairs++;
    if (!this.hold) return this.lower.submit(io);
    this.held.push(io);
    return false;
  }

  async close(): Promise<void> {}
}

test('a Compare and Write is repeated as a pair when it did not run, and not when nobody knows', async () => {
  const device = new Holder();
  const served = await serve(device, 0);
  const { disk, controller } = await served.join({ reconnectDelay: 0.01 });
  served.target.core.port(served.port.portid)!.setAnaState(1, AnaState.Inaccessible);
  const retries = controller.stats().retries;
  await assert.rejects(disk.compareAndWrite(0, filled(0), filled(1)), statusOf(Status.AnaInaccessible));
  assert.ok(controller.stats().retries > retries);
  assert.equal(device.pairs, 0);
  served.target.core.port(served.port.portid)!.setAnaState(1, AnaState.Optimized);
  assert.equal(await disk.compareAndWrite(0, filled(0), filled(1)), true);

  device.hold = true;
  const lost = disk.compareAndWrite(0, filled(1), filled(2));
  while (device.held.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  const gone = assert.rejects(lost, statusOf(Status.HostPathingError));
  for (const target of served.target.core.controllers) target.adminQueue.close();
  await gone;
  device.hold = false;
  for (const io of device.held.splice(0)) {
    device.lower.submit(io);
    io.done(io);
  }
  await disk.flush();
  assert.equal(device.pairs, 2, 'not sent a second time');
  assert.equal(await disk.compareAndWrite(0, filled(2), filled(3)), true, 'the one that was lost had run');
  await served.close();
});

test('a pair that is given up takes no other command with it', async () => {
  const device = new Holder();
  const served = await serve(device, 0);
  const { disk } = await served.join();
  device.hold = true;
  const stop = new AbortController();
  const call = disk.compareAndWrite(0, filled(0), filled(1), { signal: stop.signal });
  while (device.held.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  stop.abort();
  await assert.rejects(call, /aborted/);
  device.hold = false;
  for (const io of device.held.splice(0)) {
    device.lower.submit(io);
    io.done(io);
  }
  await disk.write(5, filled(1));
  assert.equal(await disk.compareAndWrite(0, filled(1), filled(2)), true);
  await served.close();
});

test('a copy is cut where the limits of the namespace are', () => {
  const limits = { mssrl: 10, mcl: 25, msrc: 2 };
  const cut = (...ranges: [number, number][]): [number, ...[number, number][]][] =>
    copyCommands(
      ranges.map(([slba, blocks]) => ({ slba, blocks })),
      100,
      limits,
    ).map((command) => [command.sdlba, ...command.ranges.map(({ slba, blocks }): [number, number] => [slba, blocks])]);
  assert.deepEqual(cut([0, 10]), [[100, [0, 10]]]);
  assert.deepEqual(cut([0, 0]), []);
  assert.deepEqual(cut([0, 32]), [
    [100, [0, 10], [10, 10], [20, 5]],
    [125, [25, 7]],
  ]);
  assert.deepEqual(cut([0, 1], [5, 1], [9, 1], [7, 1]), [
    [100, [0, 1], [5, 1], [9, 1]],
    [103, [7, 1]],
  ]);
});
