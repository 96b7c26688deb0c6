import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { memoryDevice } from '@nvbraid/blockdev';
import { call } from '@nvbraid/manage';
import { createTarget, type Target } from 'nvbraid';
import { NbdClient } from '../../nvbraid/test/support/nbd-client.ts';
import { nvbraid, ok } from './support/in-process.ts';
import { Sandbox } from './support/process.ts';

const NQN = 'nqn.2026-01.io.nvbraid:test:nbd';

describe('nvbraid nbd', { concurrency: false }, () => {
  const sandbox = new Sandbox();
  process.env.NVBRAID_RUNTIME_DIR = sandbox.env.NVBRAID_RUNTIME_DIR;
  const ports: number[] = [];
  let target: Target;
  before(async () => {
    target = await createTarget({ reactors: 0 });
    target.addSubsystem({ nqn: NQN });
    for (let i = 0; i < 2; i++) await target.addNamespace(NQN, { device: memoryDevice({ size: 1 << 20 }) });
    for (let i = 0; i < 2; i++) {
      ports.push((await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] })).port);
    }
  });
  after(async () => {
    await sandbox.close();
    await target.close();
  });
  const paths = (): string[] => ports.flatMap((port) => ['--path', `127.0.0.1:${port}`]);

  test('offers namespaces on a socket of its user alone, and ends in order', async () => {
    const cli = sandbox.start(['nbd', ...paths()]);
    const [, socket] = (await cli.printed(/nbd\+unix:\/\/\/nvme0n1\?socket=(\S+)/)) as unknown as [string, string];
    await cli.printed(/Ctrl-C stops/);
    assert.equal(statSync(socket).mode & 0o777, 0o600);
    assert.match(cli.out, new RegExp(`^offering ${NQN} by NBD$`, 'm'));
    assert.match(cli.out, /^ {2}nvme0n2: 1 MiB in blocks of 4096 bytes$/m);
    assert.match(cli.out, /nbd-client -unix \S+ -N nvme0n1 \/dev\/nbd0/);
    const client = await NbdClient.connect(`nbd+unix:///?socket=${socket}`, `${NQN}/2`);
    await client.write(4096, Buffer.alloc(4096, 6));
    assert.deepEqual(await client.read(4096, 4096), Buffer.alloc(4096, 6));
    cli.signal('SIGINT');
    await client.closed;
    assert.equal(await cli.exit(), 0, cli.err);
    assert.match(cli.out, /flushed and disconnected/);
    assert.ok(!existsSync(socket));
  });

  test('TCP, several threads and JSON', async () => {
    const cli = sandbox.start(['nbd', ...paths(), '--listen', '127.0.0.1:0', '--threads', '2', '-o', 'json']);
    const [line] = await cli.printed(/^\{"event":"listening".*$/m);
    const { nqn, exports } = JSON.parse(line);
    assert.equal(nqn, NQN);
    assert.deepEqual(
      exports.map(({ name, thread }: { name: string; thread: number }) => [name, thread]),
      [
        ['nvme0n1', 0],
        ['nvme0n2', 1],
      ],
    );
    for (const { server, name } of exports) {
      const client = await NbdClient.connect(server, name);
      assert.equal(client.size, 1 << 20);
      client.end();
    }
    cli.signal('SIGTERM');
    assert.equal(await cli.exit(), 0, cli.err);
  });

  test('the control socket: one subsystem over all threads', async () => {
    const cli = sandbox.start(['nbd', '--path', `127.0.0.1:${ports[0]}`, '--threads', '2', '-c', '1']);
    const [, nbdSocket] = (await cli.printed(/nvme0n2\?socket=(\S+)/)) as unknown as [string, string];
    const [, socket] = (await cli.printed(/control socket (\S+)/)) as unknown as [string, string];
    await cli.printed(/Ctrl-C stops/);
    assert.match(await ok('list'), new RegExp(`^ *${cli.child.pid} +nbd +${NQN} +1 .*live\\n.* nbd +${NQN} +2 `, 'm'));
    const client = await NbdClient.connect(`nbd+unix:///?socket=${nbdSocket}`, 'nvme0n2');
    const data = randomBytes(4096);
    await client.write(8192, data);
    const read = { nsid: 2, slba: 2, bytes: 4096 };
    assert.deepEqual(await call(socket, 'read', read), { data: data.toString('base64') });
    assert.match(await ok('list', '-v'), /export {3}nbd\+unix:\S+nvme0n2\S+, 1 connection\n/);

    // Every thread adds it, and all can be told apart.
    assert.match(await ok('add-path', `127.0.0.1:${ports[1]}`), /: a path of nvme0n1, nvme0n2/);
    const subsystem = async () => JSON.parse(await ok('list-subsys', '-v', '-o', 'json'))[0].Subsystems[0];
    const { Paths, Heads } = await subsystem();
    assert.deepEqual(
      Paths.map(({ Name, State }: { Name: string; State: string }) => [Name, State]),
      ['nvme1', 'nvme2', 'nvme3', 'nvme4'].map((name) => [name, 'live']),
    );
    assert.deepEqual(
      Heads.map(({ paths }: { paths: { name: string }[] }) => paths.map(({ name }) => name)),
      [
        ['nvme0c1n1', 'nvme0c3n1'],
        ['nvme0c2n2', 'nvme0c4n2'],
      ],
    );
    assert.equal(await ok('set', 'iopolicy', 'round-robin'), 'round-robin\n');
    assert.match(await ok('ana-log', 'nvme4'), /state +: optimized/);
    assert.match(await ok('smart-log'), /host_read_commands/i);
    assert.match((await nvbraid(['ana-log', 'nvme9'])).err, /has no controller nvme9: it has nvme1, nvme3/);
    assert.match((await nvbraid(['read', '--namespace-id', '9'])).err, /has no namespace 9/);
    assert.equal(await ok('disconnect', '-d', 'nvme2'), 'disconnected nvme2\n');
    await client.write(0, data);
    assert.deepEqual(
      (await subsystem()).Heads[1].paths.map(({ name }: { name: string }) => name),
      ['nvme0c4n2'],
    );
    assert.match(await ok('top', '-n', '1'), /nvme0c4n2 .* live/);
    assert.match(await ok('disconnect', '-n', NQN), /disconnected 3 controllers/);
    await client.closed;
    assert.equal(await cli.exit(), 0, cli.err);
    assert.match(cli.out, /flushed and disconnected/);
    assert.ok(!existsSync(socket));
  });

  test('a file and memory of its own, without a target', async () => {
    const file = sandbox.file('disk.img');
    const uri = /nbd\+unix:\/\/\/nvme0n1\?socket=(\S+)/;
    const cli = sandbox.start(['nbd', file, '--size', '1MiB']);
    const [, socket] = (await cli.printed(uri)) as unknown as [string, string];
    await cli.printed(/Ctrl-C stops/);
    assert.match(cli.out, new RegExp(`^offering ${file} by NBD\n {2}nvme0n1: 1 MiB in blocks of 512 bytes\n`));
    const client = await NbdClient.connect(`nbd+unix:///?socket=${socket}`, 'nvme0n1');
    await client.write(512, Buffer.alloc(1024, 7));
    assert.match(await ok('list-subsys'), /nvme1 loop traddr=local,trsvcid=4420 live optimized/);
    assert.match((await nvbraid(['add-path', '127.0.0.1'])).err, /what this process serves itself has no other path/);
    cli.signal('SIGTERM');
    await client.closed;
    assert.equal(await cli.exit(), 0, cli.err);
    assert.deepEqual(
      readFileSync(file).subarray(0, 2048),
      Buffer.concat([512, 1024, 512].map((n, i) => Buffer.alloc(n, i === 1 ? 7 : 0))),
    );

    const both = sandbox.start(['nbd', file, sandbox.file('new.img'), '--size', '1MiB', '--read-only']);
    await both.exit();
    assert.match(both.err, /new\.img does not exist, and --read-only cannot make it/);
    const readOnly = sandbox.start(['nbd', file, '--read-only', '-o', 'json']);
    const listening = JSON.parse((await readOnly.printed(/^\{"event":"listening".*$/m))[0]);
    assert.equal(listening.exports[0].readOnly, true);
    readOnly.signal('SIGINT');
    assert.equal(await readOnly.exit(), 0);

    const memory = sandbox.start(['nbd', '--size', '2MiB', '--listen', '127.0.0.1:0']);
    const [, server] = (await memory.printed(/(nbd:\/\/127\.0\.0\.1:\d+)\/nvme0n1/)) as unknown as [string, string];
    const other = await NbdClient.connect(server, 'nvme0n1');
    assert.equal(other.size, 2 << 20);
    memory.signal('SIGINT');
    await other.closed;
    assert.equal(await memory.exit(), 0, memory.err);
  });

  test('Ctrl-C while it connects to somebody who does not answer', async () => {
    const silent = createServer((socket) => {
      socket.on('error', () => {});
      socket.resume().unref();
    }).unref();
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as AddressInfo;
    const asked = once(silent, 'connection');
    const cli = sandbox.start(['nbd', '-a', '127.0.0.1', '-s', String(port), '-n', NQN]);
    await asked;
    cli.signal('SIGINT');
    assert.equal(await cli.exit(), 1, cli.err);
    assert.match(cli.err, /connecting to .* was aborted/);
  });

  test('wrong command lines', async () => {
    for (const [argv, what] of [
      [['nbd'], /name a FILE to offer, or with -a the address of a target/],
      [['nbd', '--read-only'], /name a FILE/],
      [['nbd', 'x', '-a', 'y'], /FILE and --traddr exclude each other/],
      [['nbd', 'x', '--threads', '2'], /FILE and --threads exclude each other/],
      [['nbd', '--size', '1MiB', '--path', 'y'], /--size and --path exclude each other/],
      [['nbd', '-a', 'x', '--block-size', '512'], /--block-size is for a FILE/],
      [['nbd', 'x', '--block-size', '1000'], /not a power of two/],
      [['nbd', '-a', 'x', '-U', 'y', '-L', 'z'], /exclude each other/],
      [['nbd', '-a', 'x', '-L', '1:2:3'], /is not an address/],
      [['nbd', '-a', 'x', '-L', '127.0.0.1:99999'], /is not an address/],
    ] as const) {
      const { code, err } = await nvbraid(argv);
      assert.equal(code, 2, err);
      assert.match(err, what);
    }
  });
});
