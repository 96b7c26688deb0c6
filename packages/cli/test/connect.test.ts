import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { memoryDevice } from '@nvbraid/blockdev';
import { call } from '@nvbraid/manage';
import { createTarget, type NvbraidError, type Target } from 'nvbraid';
import { nvbraid, ok } from './support/in-process.ts';
import { type Cli, Sandbox } from './support/process.ts';

const NQN = 'nqn.2026-01.io.nvbraid:test:memory';

describe('nvbraid connect', { concurrency: false }, () => {
  const sandbox = new Sandbox();
  const device = memoryDevice({ size: 4 * 1024 * 1024, blockSize: 4096 });
  let target: Target;
  let port = 0;
  let cli: Cli;
  let socket: string;
  process.env.NVBRAID_RUNTIME_DIR = sandbox.env.NVBRAID_RUNTIME_DIR;

  async function startTarget(): Promise<void> {
    target = await createTarget({ reactors: 0 });
    target.addSubsystem({ nqn: NQN });
    await target.addNamespace(NQN, { device });
    port = (await target.listen({ address: '127.0.0.1', port, subsystems: [NQN] })).port;
  }

  before(async () => {
    await startTarget();
    const address = ['-a', '127.0.0.1', '-s', String(port)];
    cli = sandbox.start(['connect', ...address, '-i', '2', '-c', '1', '-g', '-G', '--fast-io-fail-tmo', '60']);
    socket = (await cli.printed(/control socket (.*)\n/))[1]!;
  });
  after(async () => {
    await sandbox.close();
    await target.close();
  });

  test('finds the only subsystem and says what it has', () => {
    assert.match(cli.out, new RegExp(`^connected to ${NQN} at 127\\.0\\.0\\.1:${port}, controller \\d+$`, 'm'));
    assert.match(cli.out, /^ {2}2 I\/O queues of 128 entries, at most .* per command$/m);
    assert.match(cli.out, /^ {2}namespace 1: 4 MiB in blocks of 4096 bytes$/m);
  });

  test('times that exclude each other are told by their options', async () => {
    for (const command of ['connect', 'connect-all', 'nbd', 'bench']) {
      const { code, err } = await nvbraid([command, '-a', 'x', '-l', '30', '--fast-io-fail-tmo', '31']);
      assert.equal(code, 2);
      assert.match(err, /--fast-io-fail-tmo 31 is longer than --ctrl-loss-tmo 30, after which/);
    }
    const all = await nvbraid(['connect-all', '-a', 'x', '--disconnect-removed']);
    assert.match(all.err, /--disconnect-removed needs --persistent/);
  });

  test('list shows it as nvme-cli does', async () => {
    const [device] = JSON.parse(await ok('list', '-o', 'json')).Devices;
    assert.equal(device.NameSpace, 1);
    assert.equal(device.PhysicalSize, 4 * 1024 * 1024);
    assert.equal(device.SectorSize, 4096);
    assert.equal(device.MaximumLBA, 1024);
    assert.equal(device.SubsystemNQN, NQN);
    assert.equal(device.State, 'live');
    assert.match(await ok('list', '-v'), /connect +nqn.*live\n[\s\S]*queues +2 of 128 entries/);
  });

  test('id-ctrl, id-ns, read and write go through it', async () => {
    const before = target.stats().connections;
    assert.equal(JSON.parse(await ok('id-ctrl', '-o', 'json')).subnqn, NQN);
    const fields = await ok('id-ctrl');
    for (const line of [/^cqt +: 5100$/m, /^ciu +: 0x[0-9a-f]+$/m, /^cirn +: 0x[0-9a-f]+$/m, /^ccrl +: 4$/m]) {
      assert.match(fields, line, 'what a host needs for failover');
    }
    assert.equal(JSON.parse(await ok('id-ns', '-o', 'json')).nsze, 1024);
    const data = randomBytes(1280 * 1024);
    writeFileSync(sandbox.file('in.bin'), data);
    await ok('write', '--start-block', '3', '--data', sandbox.file('in.bin'));
    const back = JSON.parse(await ok('read', '--start-block', '3', '-z', '1280KiB', '-o', 'json', '--socket', socket));
    assert.ok(Buffer.from(back.data, 'base64').equals(data));
    assert.equal(target.stats().connections, before, 'no association of their own');
  });

  test('an error status comes through by name', async () => {
    const work = call(socket, 'read', { nsid: 1, slba: 1024, bytes: 4096 });
    await assert.rejects(work, (error: NvbraidError) => {
      assert.equal(error.code, 'ENVME');
      assert.deepEqual(error.context, { sct: 0, sc: 0x80, dnr: true, name: 'LBA Out of Range' });
      return true;
    });
  });

  for (const [method, params] of [
    ['read', {}],
    ['read', { nsid: 1, slba: -1, bytes: 512 }],
    ['read', { nsid: 1, slba: 0, bytes: 2 ** 40 }],
    ['read', { nsid: 1, slba: 0, bytes: 100 }],
    ['read', { nsid: 1, slba: 2 ** 60, bytes: 4096 }],
    ['write', { nsid: 1, slba: 0, data: 5 }],
    ['write', { nsid: 1, slba: 0.5, data: '' }],
    ['identify', { cns: 'x', nsid: 1 }],
    ['flush', { nsid: 0 }],
  ] as const) {
    test(`nonsense on the control socket is refused: ${method} ${JSON.stringify(params)}`, async () => {
      await assert.rejects(call(socket, method, params), (error: NvbraidError) => error.code === 'EINVAL');
    });
  }

  test('a second connection to the same subsystem needs -D', async () => {
    const again = await nvbraid(['connect', '-a', '127.0.0.1', '-s', String(port), '-n', NQN]);
    assert.equal(again.code, 1);
    assert.match(again.err, /process \d+ is connected to .* already; -D connects once more/);
  });

  test('commands go to the only connect, also beside serve, and ask where there are two', async () => {
    const serve = sandbox.start(['serve', '--size', '1MiB', '-s', '0', '--no-discovery']);
    await serve.printed(/Ctrl-C stops/);
    assert.equal(JSON.parse(await ok('id-ctrl', '-o', 'json')).subnqn, NQN);
    const second = sandbox.start(['connect', '-D', '-a', '127.0.0.1', '-s', String(port)]);
    await second.printed(/Ctrl-C disconnects/);
    const which = await nvbraid(['id-ctrl']);
    assert.equal(which.code, 1);
    assert.match(
      which.err,
      /nvbraid connect is running 2 times; choose one with --socket: .*connect-\d+\.sock, .*connect-\d+\.sock/,
    );
    assert.equal(JSON.parse(await ok('id-ctrl', '-o', 'json', '--socket', socket)).subnqn, NQN);
    for (const process of [second, serve]) {
      process.signal('SIGINT');
      assert.equal(await process.exit(), 0);
    }
  });

  test('a lost target is connected to again', async () => {
    await target.close();
    await cli.printed(/resetting|connecting/);
    await startTarget();
    await cli.printed(/(resetting|connecting)[\s\S]*\blive\n/);
    assert.equal(JSON.parse(await ok('id-ns', '-o', 'json')).nsze, 1024);
  });

  test('disconnect ends it in order', async () => {
    assert.match(await ok('disconnect', '-n', NQN), /disconnected 1 controller/);
    assert.equal(await cli.exit(), 0);
    assert.match(cli.out, /disconnected after .*: 1\.25 MiB read, 1\.25 MiB written/);
    while (target.stats().controllers > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  });

  test('Ctrl-C disconnects', async () => {
    const other = sandbox.start(['connect', '-a', '127.0.0.1', '-s', String(port), '-n', NQN, '-o', 'json']);
    await other.printed(/"event":"connected"/);
    other.signal('SIGINT');
    assert.equal(await other.exit(), 0);
    assert.equal(JSON.parse(other.out.trimEnd().split('\n').at(-1)!).event, 'disconnected');
  });

  test('a target that is gone for good ends it with a sentence', async () => {
    const other = sandbox.start(['connect', '-a', '127.0.0.1', '-s', String(port), '-n', NQN, '-l', '0']);
    await other.printed(/Ctrl-C disconnects/);
    await target.close();
    assert.equal(await other.exit(), 1);
    assert.match(other.err, /^nvbraid connect: .+$/m);
    assert.doesNotMatch(other.err, /\bat .*:\d+:\d+/);
  });
});
