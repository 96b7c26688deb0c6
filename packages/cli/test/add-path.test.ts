import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { memoryDevice } from '@nvbraid/blockdev';
import { call } from '@nvbraid/manage';
import { createTarget, type NvbraidError, type Target } from 'nvbraid';
import { nvbraid, ok } from './support/in-process.ts';
import { type Cli, Sandbox } from './support/process.ts';

const NQN = 'nqn.2026-01.io.nvbraid:test:add-path';
const OTHER = 'nqn.2026-01.io.nvbraid:test:add-path-other';

describe('nvbraid add-path', { concurrency: false }, () => {
  const sandbox = new Sandbox();
  process.env.NVBRAID_RUNTIME_DIR = sandbox.env.NVBRAID_RUNTIME_DIR;
  const ports: string[] = [];
  let target: Target;
  let cli: Cli;
  let socket: string;

  before(async () => {
    target = await createTarget({ reactors: 0 });
    for (const nqn of [NQN, OTHER]) {
      target.addSubsystem({ nqn });
      await target.addNamespace(nqn, { device: memoryDevice({ size: 1 << 20, blockSize: 4096 }) });
    }
    for (const subsystems of [[NQN], [NQN, OTHER]]) {
      ports.push(`127.0.0.1:${(await target.listen({ address: '127.0.0.1', port: 0, subsystems })).port}`);
    }
    cli = sandbox.start(['connect', '--path', ports[0]!, '-n', NQN, '-c', '1', '-i', '2', '-q', 'nqn.2026-01.x:host']);
    socket = (await cli.printed(/control socket (.*)\n/))[1]!;
  });
  after(async () => {
    await sandbox.close();
    await target.close();
  });

  const controllers = async (): Promise<{ Name: string; State: string }[]> =>
    JSON.parse(await ok('list-subsys', '-o', 'json', '-n', NQN))[0].Subsystems[0].Paths;

  test('a path is added, used when the other one goes, and taken away again', async () => {
    assert.match(
      await ok('add-path', ports[1]!),
      new RegExp(`^connected to ${NQN} at ${ports[1]}, nvme2, controller \\d+: a path of nvme0n1\n$`),
    );
    await cli.printed(new RegExp(`nvme2 at ${ports[1]} has come, controller \\d+`));
    const all = [...target.core.subsystem(NQN)!.controllers.values()];
    assert.deepEqual(
      all.map(({ hostnqn }) => hostnqn),
      ['nqn.2026-01.x:host', 'nqn.2026-01.x:host'],
      'the same host by both',
    );
    const data = randomBytes(4096).toString('base64');
    await call(socket, 'write', { nsid: 1, slba: 3, data });
    assert.equal(await ok('disconnect', '-d', 'nvme1'), 'disconnected nvme1\n');
    assert.deepEqual(
      (await controllers()).map(({ Name, State }) => [Name, State]),
      [['nvme2', 'live']],
    );
    assert.deepEqual(await call(socket, 'read', { nsid: 1, slba: 3, bytes: 4096 }), { data });
    // And the first one comes back under another name, with the options of the process.
    const added = JSON.parse(await ok('add-path', ports[0]!, '-n', NQN, '-o', 'json'));
    assert.deepEqual([added.name, added.nrIoQueues, added.heads], ['nvme3', 2, ['nvme0n1']]);
    assert.deepEqual(JSON.parse(await ok('disconnect', '-d', '/dev/nvme3', '-o', 'json')), {
      disconnected: 1,
      controller: 'nvme3',
    });
  });

  test('what cannot be added is told, and changes nothing', async () => {
    const before = await controllers();
    for (const [argv, code, what] of [
      [[ports[1]!], 1, /is connected by this path already \(duplicate-connect allows it\)/],
      [['127.0.0.1:1'], 1, /cannot connect to 127\.0\.0\.1:1: .*; start a target there/],
      [[ports[1]!, '-n', OTHER], 1, /no nvbraid connect here is connected to nqn\..*other/],
      [[ports[1]!, '--socket', socket, '-n', OTHER], 1, /is connected to nqn\..*add-path, not to nqn/],
      [['127.0.0.1:0'], 2, /^nvbraid add-path: ADDR\[:PORT\]\[,\.\.\.\]: '0' in '127\.0\.0\.1:0' is not a port/],
      [[`${ports[1]},colour=red`], 2, /'colour=red' is none of transport=/],
      [[], 2, /add-path/],
    ] as const) {
      const result = await nvbraid(['add-path', ...argv]);
      assert.equal(result.code, code, `${argv}: ${result.err}`);
      assert.match(result.err, what);
    }
    assert.deepEqual(await controllers(), before);
    assert.match(await ok('add-path', '-D', ports[1]!), /controller \d+: a path of nvme0n1/);
    assert.equal((await controllers()).length, 2);
    assert.match((await nvbraid(['disconnect', '-d', 'nvme1'])).err, /has no controller nvme1: it has nvme2, nvme\d/);
    for (const params of [
      { transport: 'tcp', traddr: '', trsvcid: 4420 },
      { transport: 'tcp', traddr: '127.0.0.1', trsvcid: '4420' },
      { transport: 'carrier-pigeon', traddr: '127.0.0.1', trsvcid: 4420 },
      { transport: 'tcp', traddr: '127.0.0.1', trsvcid: 4420, hostIface: 7 },
    ]) {
      await assert.rejects(call(socket, 'add-path', params), (error: NvbraidError) =>
        ['EINVAL', 'ENOTSUP'].includes(error.code),
      );
    }
  });

  test('a second connect says how to add a path instead; several connections to one name must be told apart', async () => {
    const second = sandbox.start(['connect', '--path', ports[0]!, '-n', NQN]);
    await second.printed(/Ctrl-C disconnects/);
    assert.match(second.err, new RegExp(`process ${cli.child.pid} is connected to ${NQN}, too: nvbraid add-path adds`));
    const unclear = await nvbraid(['add-path', ports[0]!, '-n', NQN, '-D']);
    assert.match(unclear.err, /is connected 2 times; choose one with --socket/);
    second.signal('SIGTERM');
    assert.equal(await second.exit(), 0);
  });
});
