import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { memoryDevice } from '@nvbraid/blockdev';
import { createTarget, type Target } from 'nvbraid';
import { nvbraid } from './support/in-process.ts';
import { Sandbox } from './support/process.ts';

const A = 'nqn.2026-01.io.nvbraid:test:a';
const B = 'nqn.2026-01.io.nvbraid:test:b';
const C = 'nqn.2026-01.io.nvbraid:test:c';

describe('nvbraid connect-all', { concurrency: false }, () => {
  const sandbox = new Sandbox();
  process.env.NVBRAID_RUNTIME_DIR = sandbox.env.NVBRAID_RUNTIME_DIR;
  const directory = sandbox.file('nvme');
  process.env.NVBRAID_NVME_DIR = directory;
  let target: Target;
  let port = 0;
  let portid = 0;

  async function add(nqn: string): Promise<void> {
    target.addSubsystem({ nqn });
    await target.addNamespace(nqn, { device: memoryDevice({ size: 1 << 20, blockSize: 4096 }) });
  }

  before(async () => {
    target = await createTarget({ reactors: 0 });
    await add(A);
    await add(B);
    ({ port, portid } = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [A, B] }));
    await target.listen({ address: '127.0.0.1', port: 0, subsystems: [A] });
  });
  after(async () => {
    await sandbox.close();
    await target.close();
  });

  test('persistent: all subsystems with all paths, later ones too; list, read, disconnect -n, disconnect-all', async () => {
    const cli = sandbox.start(['connect-all', '-a', '127.0.0.1', '-s', String(port), '--persistent', '-c', '1']);
    await cli.printed(/2 subsystems connected\. Ctrl-C disconnects\./);
    assert.equal(cli.out.match(new RegExp(`^connected to ${A} at 127`, 'gm'))!.length, 2, 'two paths');
    const [, socket] = await cli.printed(new RegExp(`${B}: control socket (.*)\n`));
    assert.match((await nvbraid(['id-ctrl', '--socket', socket!])).out, new RegExp(B));
    const { out } = await nvbraid(['list', '-o', 'json']);
    assert.deepEqual(
      JSON.parse(out)
        .Devices.map((device: { SubsystemNQN: string }) => device.SubsystemNQN)
        .sort(),
      [A, B],
    );

    await add(C);
    await target.link(portid, C);
    await cli.printed(new RegExp(`${C}: control socket`));
    const one = await nvbraid(['disconnect', '-n', B]);
    assert.equal(one.code, 0, one.err);
    await cli.printed(new RegExp(`${B} is disconnected`));
    const all = await nvbraid(['disconnect-all']);
    assert.match(all.out, /disconnected 3 controllers/);
    await cli.printed(new RegExp(`${A} is disconnected`));
    cli.signal('SIGINT');
    assert.equal(await cli.exit(), 0);
  });

  test('without -a: the files; what fails is told of, and the end of the last subsystem is the end', async () => {
    mkdirSync(directory);
    writeFileSync(join(directory, 'discovery.conf'), `-t tcp -a 127.0.0.1 -s ${port}\n-t rdma -a 192.0.2.1\n`);
    const dead = [{ subsystems: [{ nqn: 'nqn.2026-01.x:dead', ports: [{ traddr: '127.0.0.1', trsvcid: '1' }] }] }];
    writeFileSync(join(directory, 'config.json'), JSON.stringify(dead));
    const cli = sandbox.start(['connect-all']);
    await cli.printed(/3 subsystems connected/);
    assert.match(cli.err, /discovery\.conf:2: left out, transport rdma/);
    assert.match(cli.err, /failed: nqn\.2026-01\.x:dead at 127\.0\.0\.1:1: cannot connect/);
    assert.equal((await nvbraid(['disconnect-all'])).code, 0);
    assert.equal(await cli.exit(), 0);
    writeFileSync(join(directory, 'discovery.conf'), 'nonsense\n');
    const torn = await nvbraid(['connect-all']);
    assert.equal(torn.code, 1);
    assert.match(torn.err, /discovery\.conf:1: "nonsense" is no option of connect-all/);
    rmSync(directory, { recursive: true });
    const nothing = await nvbraid(['connect-all']);
    assert.equal(nothing.code, 1);
    assert.match(nothing.err, /name a discovery controller with -a/);
  });

  test('nobody there; JSON', async () => {
    const nobody = await nvbraid(['connect-all', '-a', '127.0.0.1', '-s', '1']);
    assert.equal(nobody.code, 1);
    assert.match(nobody.err, /cannot connect to 127\.0\.0\.1:1/);
    const cli = sandbox.start(['connect-all', '-a', '127.0.0.1', '-s', String(port), '-o', 'json']);
    await cli.printed(/"event":"started"/);
    cli.signal('SIGTERM');
    assert.equal(await cli.exit(), 0);
    const events = cli.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.equal(events.filter(({ event, outcome }) => event === 'path' && outcome === 'connected').length, 4);
  });

  test('discover --referrals asks who is referred to, and skips who does not answer', async () => {
    const other = await createTarget({ reactors: 0 });
    const there = await other.listen({ address: '127.0.0.1', port: 0, subsystems: [] });
    const { referrals } = target.core.port(portid)!;
    const address = { trtype: 'tcp', adrfam: 'ipv4', traddr: '127.0.0.1' };
    referrals.add('other', { ...address, trsvcid: String(there.port) });
    referrals.add('dead', { ...address, trsvcid: '1' });
    const line = ['discover', '-a', '127.0.0.1', '-s', String(port), '--referrals'];
    try {
      const text = await nvbraid(line);
      assert.equal(text.code, 0);
      assert.match(
        text.out,
        new RegExp(`Referral to 127\\.0\\.0\\.1:${there.port}\n\nDiscovery Log Number of Records 1`),
      );
      assert.match(text.err, /^referral skipped: cannot connect to 127\.0\.0\.1:1/);
      const json = JSON.parse((await nvbraid([...line, '-o', 'json'])).out);
      assert.equal(json.referrals.length, 2);
      assert.match(json.referrals[1].error, /cannot connect/);
    } finally {
      referrals.remove('other');
      referrals.remove('dead');
      await other.close();
    }
  });

  test('gen-hostnqn prints, and writes only when asked; show-hostnqn', async () => {
    rmSync(directory, { recursive: true, force: true });
    assert.match((await nvbraid(['gen-hostnqn'])).out, /^nqn\.2014-08\.org\.nvmexpress:uuid:[0-9a-f-]{36}\n$/);
    assert.equal((await nvbraid(['show-hostnqn'])).code, 1);
    const made = await nvbraid(['gen-hostnqn', '--write']);
    assert.equal(made.code, 0, made.err);
    assert.equal((await nvbraid(['show-hostnqn'])).out, made.out);
    assert.ok(made.out.trim().endsWith(readFileSync(join(directory, 'hostid'), 'utf8').trim()));
    const again = await nvbraid(['gen-hostnqn', '--write']);
    assert.equal(again.code, 1);
    assert.match(again.err, /exists and is not changed/);
    assert.equal((await nvbraid(['show-hostnqn'])).out, made.out);
    rmSync(directory, { recursive: true });
  });
});
