import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, openSync, rmSync, statSync, truncateSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { delayFilter, fileDevice } from '@nvbraid/blockdev';
import { connectSubsystem, createTarget, type HostSubsystem, NbdServer, offerHeads, type Target } from 'nvbraid';
import { missing, type Outcome, program } from '../support/programs.ts';

const NQN = 'nqn.2026-01.org.nvbraid:nbd-e2e';
const GIB = 1024 ** 3;
const MIB = 1024 ** 2;
const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-nbd-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

/** A sparse file with some data in it. */
function sparseFile(name: string, bytes: number, places: readonly number[]): string {
  const path = join(scratch, name);
  const file = openSync(path, 'w');
  for (const at of places) writeSync(file, Buffer.alloc(MIB, `data at ${at}, `), 0, MIB, at);
  truncateSync(path, bytes);
  return path;
}

const allocated = (path: string): number => statSync(path).blocks * 512;

/** Programs that know NBD and nothing of NVMe, on a namespace that is reached by two paths. */
describe('NBD clients', { concurrency: false }, () => {
  const served = join(scratch, 'served.img');
  const socket = join(scratch, 'nbd.sock');
  let target: Target;
  let subsystem: HostSubsystem;
  let server: NbdServer;
  const uri = (name = ''): string => `nbd+unix:///${name}?socket=${socket}`;

  const ok = async (name: string, ...argv: string[]): Promise<string> => {
    const { code, out, err }: Outcome = await program(name, argv, scratch);
    assert.equal(code, 0, `${name} ${argv.join(' ')}:\n${out}${err}`);
    return out;
  };

  before(async () => {
    target = await createTarget({ reactors: 1 });
    target.addSubsystem({ nqn: NQN });
    await target.addNamespace(NQN, { device: fileDevice({ path: served, size: GIB, create: true, blockSize: 512 }) });
    const paths = [];
    for (let i = 0; i < 2; i++) {
      const port = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
      paths.push({ traddr: port.address, trsvcid: port.port });
    }
    subsystem = await connectSubsystem({ nqn: NQN, paths, reconnectDelay: 1, iopolicy: 'round-robin' });
    server = new NbdServer();
    offerHeads(server, subsystem);
    await server.listen({ path: socket });
  });
  after(async () => {
    await server.close();
    await subsystem.disconnect();
    await target.close();
  });

  test('nbdinfo sees what a namespace is, by both its names', { skip: missing('nbdinfo') }, async () => {
    const [head] = subsystem.heads.values();
    const list = JSON.parse(await ok('nbdinfo', '--json', '--list', uri()));
    assert.deepEqual(
      list.exports.map((one: Record<string, unknown>) => one['export-name']),
      [head!.name],
    );
    for (const name of [head!.name, `${NQN}/1`]) {
      const [one] = JSON.parse(await ok('nbdinfo', '--json', uri(name))).exports;
      assert.equal(one['export-size'], GIB);
      assert.equal(one.description, `namespace 1 of ${NQN}`);
      const { is_read_only, can_flush, can_fua, can_trim, can_zero, can_multi_conn } = one;
      assert.deepEqual(
        { is_read_only, can_flush, can_fua, can_trim, can_zero, can_multi_conn },
        { is_read_only: false, can_flush: true, can_fua: true, can_trim: true, can_zero: true, can_multi_conn: true },
      );
      assert.deepEqual([one.block_size_minimum, one.block_size_preferred], [512, 4096]);
      assert.deepEqual(one.contexts, ['base:allocation']);
    }
  });

  test('nbdcopy takes a sparse image in and out, and holes stay holes', {
    skip: missing('nbdcopy', 'nbdinfo', 'cmp'),
  }, async () => {
    const places = [0, 100 * MIB, GIB - MIB];
    const image = sparseFile('in.img', GIB, places);
    await ok('nbdcopy', '--flush', image, uri());
    assert.ok(allocated(served) <= 8 * MIB, `${allocated(served)} bytes of the served file are allocated`);
    const map = JSON.parse(await ok('nbdinfo', '--json', '--map', uri()));
    const data = map.filter((extent: { type: number }) => extent.type === 0);
    assert.deepEqual(
      data.map(({ offset, length }: { offset: number; length: number }) => [offset, length]),
      places.map((at) => [at, MIB]),
    );
    assert.ok(map.every(({ type }: { type: number }) => type === 0 || type === 3));
    const out = join(scratch, 'out.img');
    await ok('nbdcopy', uri(), out);
    await ok('cmp', image, out);
    assert.ok(allocated(out) <= 8 * MIB, `${allocated(out)} bytes of the copy are allocated`);
  });

  test('qemu-img looks, maps, compares and converts', { skip: missing('qemu-img') }, async () => {
    const image = sparseFile('q.img', GIB, [MIB, 512 * MIB]);
    await ok('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', image, uri());
    const info = JSON.parse(await ok('qemu-img', 'info', '--output=json', '-f', 'raw', uri()));
    assert.equal(info['virtual-size'], GIB);
    await ok('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', image, uri());
    const map = JSON.parse(await ok('qemu-img', 'map', '--output=json', '-f', 'raw', uri()));
    const data = map.filter((one: { data: boolean }) => one.data);
    assert.ok(
      data.some(({ start }: { start: number }) => start === 512 * MIB),
      JSON.stringify(map),
    );
    const bytes = data.reduce((sum: number, one: { length: number }) => sum + one.length, 0);
    assert.ok(bytes <= 8 * MIB, `${bytes} bytes are data to qemu`);
    const copy = join(scratch, 'q.qcow2');
    await ok('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', uri(), copy);
    await ok('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', image, copy);
  });

  test('qemu-io patterns: writes, FUA, zeroes, discards and flushes', { skip: missing('qemu-io') }, async () => {
    const steps = [
      'write -P 0x5a 1M 3M',
      'write -f -P 0xa5 2M 64k',
      'write -z 3M 512k',
      'write -z -u 3584k 512',
      'discard 1M 4k',
      'flush',
      'read -P 0x5a 1028k 1020k',
      'read -P 0xa5 2M 64k',
      'read -P 0x5a 2112k 960k',
      'read -P 0 3M 512k',
      'read -P 0 3584k 512',
      'read -P 0 1M 4k',
      // 512 bytes are a block here; qemu makes less of them by itself.
      'write -P 0x77 5000001 777',
      'read -P 0x77 5000001 777',
    ];
    const argv = steps.flatMap((step) => ['-c', step]);
    const out = await ok('qemu-io', '-f', 'raw', ...argv, uri());
    assert.doesNotMatch(out, /failed|Pattern verification/i);
  });

  test('fio verifies what it wrote while paths go and come back', { skip: missing('fio') }, async () => {
    // Commands take a while here, so that some are under way whenever a controller goes.
    const slow = delayFilter(fileDevice({ path: join(scratch, 'slow.img'), size: 16 * MIB, create: true }), {
      read: '2ms',
      write: '2ms',
    });
    await target.addNamespace(NQN, { nsid: 2, device: slow });
    if (!subsystem.heads.has(2)) await once(subsystem, 'head-added');
    let failovers = 0;
    subsystem.heads.get(2)!.on('failover', () => failovers++);
    const work = program(
      'fio',
      `--name=nbd --ioengine=nbd --uri=${uri(`${NQN}/2`)} --rw=randwrite --bs=4k --size=16M --io_size=64M --iodepth=16 --verify=crc32c --do_verify=1 --verify_fatal=1 --randseed=7 --rate_iops=4000`.split(
        ' ',
      ),
      scratch,
    );
    let running = true;
    void work.finally(() => {
      running = false;
    });
    for (let turn = 0; running; turn++) {
      await sleep(200);
      const controllers = [...target.core.subsystem(NQN)!.controllers.values()];
      // Never the last one: what is left must carry the load until the other is back.
      if (controllers.length > 1) controllers[turn % 2]!.remove('connection closed');
    }
    const { code, out, err } = await work;
    assert.equal(code, 0, `${out}${err}`);
    assert.match(out, /err= 0/);
    assert.ok(failovers > 0, 'no command met a failure');
  });
});
