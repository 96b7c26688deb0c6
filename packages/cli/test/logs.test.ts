import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { memoryDevice } from '@nvbraid/blockdev';
import { call } from '@nvbraid/manage';
import { AnaState } from '@nvbraid/wire';
import { createTarget, type NvbraidError, type Target, type TargetPort } from 'nvbraid';
import { nvbraid, ok } from './support/in-process.ts';
import { Sandbox } from './support/process.ts';

const NQN = 'nqn.2026-01.io.nvbraid:test:logs';

describe('log pages and properties', { concurrency: false }, () => {
  const sandbox = new Sandbox();
  let target: Target;
  let ports: TargetPort[];
  let socket: string;
  process.env.NVBRAID_RUNTIME_DIR = sandbox.env.NVBRAID_RUNTIME_DIR;

  before(async () => {
    target = await createTarget({ reactors: 0 });
    target.addSubsystem({ nqn: NQN });
    for (let i = 0; i < 3; i++) {
      await target.addNamespace(NQN, { device: memoryDevice({ size: 1024 * 1024, blockSize: 4096 }) });
    }
    ports = [];
    for (let i = 0; i < 2; i++) {
      ports.push(await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] }));
    }
    target.core.port(ports[1]!.portid)!.setAnaState(1, AnaState.NonOptimized);
    const [first, second] = ports.map(({ port }) => `127.0.0.1:${port}`) as [string, string];
    const cli = sandbox.start(['connect', '--path', first, '--path', second, '-n', NQN]);
    socket = (await cli.printed(/control socket (.*)\n/))[1]!;
  });
  after(async () => {
    await sandbox.close();
    await target.close();
  });

  const direct = (port: TargetPort): string[] => ['-a', '127.0.0.1', '-s', String(port.port), '-n', NQN];
  /** The controller of the running process that goes by this port. */
  const deviceBy = async ({ port }: TargetPort): Promise<string> => {
    const [host] = JSON.parse(await ok('list-subsys', '-o', 'json'));
    const paths: { Name: string; Address: string }[] = host.Subsystems[0].Paths;
    return paths.find(({ Address }) => Address.endsWith(`trsvcid=${port}`))!.Name;
  };

  test('ana-log tells what each controller says, by the process or by an address', async () => {
    const states: string[] = [];
    for (const port of ports) {
      const device = await deviceBy(port);
      const text = await ok('ana-log', device);
      assert.match(text, new RegExp(`^Asymmetric Namespace Access Log for NVMe device: ${device}\n`));
      assert.match(
        text,
        /^grpid {3}: 1\nnnsids {2}: 3\nchgcnt {2}: \d+\nstate {3}: .*\n\tnsid {4}: 1\n\tnsid {4}: 2\n/m,
      );
      states.push(/^state {3}: (.*)$/m.exec(text)![1]!);
      const json = JSON.parse(await ok('ana-log', '-o', 'json', ...direct(port)));
      const [group] = json['ANA DESC LIST '];
      assert.equal(group.state, states.at(-1));
      assert.deepEqual(group.NSIDS, [{ nsid: 1 }, { nsid: 2 }, { nsid: 3 }]);
    }
    assert.deepEqual(states, ['optimized', 'non-optimized']);
    const [group] = JSON.parse(await ok('ana-log', '--groups', '-o', 'json'))['ANA DESC LIST '];
    assert.deepEqual([group.nnsids, group.NSIDS], [0, []]);
  });

  test('an ANA log longer than one command moves is read to its end', async () => {
    const large = await createTarget({ reactors: 0 });
    try {
      large.addSubsystem({ nqn: NQN });
      for (let i = 0; i < 1024; i++) {
        await large.addNamespace(NQN, { device: memoryDevice({ size: 4096, blockSize: 4096 }) });
      }
      const port = await large.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
      const [group] = JSON.parse(await ok('ana-log', '-o', 'json', ...direct(port)))['ANA DESC LIST '];
      assert.equal(group.NSIDS.length, 1024);
    } finally {
      await large.close();
    }
  });

  test('smart-log has the words and the numbers of nvme-cli', async () => {
    await call(socket, 'read', { nsid: 1, slba: 0, bytes: 4096 });
    const device = await deviceBy(ports[0]!);
    const text = await ok('smart-log', device);
    assert.match(text, new RegExp(`^Smart Log for NVME device:${device} namespace-id:ffffffff\n`));
    assert.match(text, /^critical_warning +: 0$/m);
    assert.match(text, /^temperature +: \d+ °C \(\d+ K\)$/m);
    const json = JSON.parse(await ok('smart-log', '-o', 'json'));
    assert.equal(json.avail_spare, 100);
    assert.ok(json.host_read_commands >= 1, 'commands of the target are counted');
  });

  test('error-log shows the last errors of a controller first', async () => {
    const device = await deviceBy(ports[0]!);
    const before = JSON.parse(await ok('error-log', '-o', 'json', device)).errors.length;
    await assert.rejects(call(socket, 'log-page', { lid: 0xff, bytes: 512, nsid: 0, lsp: 0, controller: device }));
    const { errors } = JSON.parse(await ok('error-log', '-o', 'json', device));
    assert.equal(errors.length, before + 1);
    assert.equal(errors[0].opcode, 2);
    assert.equal(errors[0].sqid, 0);
    const text = await ok('error-log', '-e', '1', device);
    assert.match(text, new RegExp(`^Error Log Entries for device:${device} entries:1\n`));
    assert.match(text, /^opcode +: 0x2$/m);
    assert.match(text, /^status_field +: 0x\w+ \(Invalid Log Page\)$/m);
  });

  test('show-regs reads the properties, exactly, and leaves no error behind', async () => {
    const device = await deviceBy(ports[1]!);
    const before = await ok('error-log', device);
    const text = await ok('show-regs', device);
    assert.match(text, /^cap {5}: [0-9a-f]+\nversion : 20100\ncc {6}: 460061\ncsts {4}: 1$/m);
    const json = await ok('show-regs', '-o', 'json', ...direct(ports[1]!));
    const cap = BigInt(/"cap": (\d+)/.exec(json)![1]!);
    assert.equal(cap.toString(16), /^cap {5}: ([0-9a-f]+)$/m.exec(text)![1]);
    assert.match(await ok('show-regs', '-H'), /^\tmqes {4}: \d+$/m);
    assert.equal(await ok('error-log', device), before);
  });

  for (const name of ['ana-log', 'smart-log', 'error-log', 'show-regs']) {
    test(`${name}: a controller that is not there, and what is no controller`, async () => {
      const missing = await nvbraid([name, 'nvme9']);
      assert.match(missing.err, /has no controller nvme9: it has nvme\d, nvme\d/);
      assert.equal(missing.code, 1);
      const namespace = await nvbraid([name, 'nvme0n1']);
      assert.match(namespace.err, /'nvme0n1' is no controller such as nvme1/);
      assert.equal(namespace.code, 2);
      const both = await nvbraid([name, 'nvme1', '-a', '127.0.0.1']);
      assert.match(both.err, /it excludes the address of a target/);
      assert.equal(both.code, 2);
    });
  }

  for (const [method, params] of [
    ['log-page', { lid: 2, bytes: 2 ** 30, nsid: 0, lsp: 0 }],
    ['log-page', { lid: 2, bytes: 6, nsid: 0, lsp: 0 }],
    ['log-page', { lid: 300, bytes: 512, nsid: 0, lsp: 0 }],
    ['log-page', { lid: 2, bytes: 512, nsid: 0, lsp: 0, controller: 5 }],
    ['property', { offset: -1 }],
    ['reset', { controller: {} }],
    ['remove-controller', {}],
  ] as const) {
    test(`nonsense on the control socket is refused: ${method} ${JSON.stringify(params)}`, async () => {
      await assert.rejects(call(socket, method, params), (error: NvbraidError) => error.code === 'EINVAL');
    });
  }
});
