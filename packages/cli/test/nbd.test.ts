import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { memoryDevice } from '@nvbraid/blockdev';
import { createTarget, type Target } from 'nvbraid';
import { NbdClient } from '../../nvbraid/test/support/nbd-client.ts';
import { nvbraid } from './support/in-process.ts';
import { Sandbox } from './support/process.ts';

const NQN = 'nqn.2026-01.io.nvbraid:test:nbd';

describe('nvbraid nbd', { concurrency: false }, () => {
  const sandbox = new Sandbox();
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

  test('wrong command lines', async () => {
    for (const [argv, what] of [
      [['nbd'], /-a is missing/],
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
