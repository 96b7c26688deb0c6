import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { memoryDevice } from '@nvbraid/blockdev';
import { createTarget, type Target } from 'nvbraid';
import { nvbraid } from './support/in-process.ts';
import { type Cli, Sandbox } from './support/process.ts';

const A = 'nqn.2026-01.io.nvbraid:test:one';
const B = 'nqn.2026-01.io.nvbraid:test:two';

describe('nvbraid discover --persistent', { concurrency: false }, () => {
  const sandbox = new Sandbox();
  let target: Target;
  let other: Target;
  let place: { port: number; portid: number };
  let there: { port: number; portid: number };

  async function add(to: Target, nqn: string): Promise<void> {
    to.addSubsystem({ nqn });
    await to.addNamespace(nqn, { device: memoryDevice({ size: 1 << 20, blockSize: 4096 }) });
  }
  const refer = (from: Target, portid: number, name: string, port: number): void => {
    const address = { trtype: 'tcp', adrfam: 'ipv4', traddr: '127.0.0.1', trsvcid: String(port) } as const;
    from.core.port(portid)!.referrals.add(name, address);
  };
  before(async () => {
    target = await createTarget({ reactors: 0 });
    await add(target, A);
    place = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [A] });
    other = await createTarget({ reactors: 0 });
    there = await other.listen({ address: '127.0.0.1', port: 0, subsystems: [] });
  });
  after(async () => {
    await sandbox.close();
    await target.close();
    await other.close();
  });
  const start = (...argv: string[]): Cli =>
    sandbox.start(['discover', '-a', '127.0.0.1', '-s', String(place.port), '-p', ...argv]);
  const events = (cli: Cli) =>
    cli.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));

  test('prints the log, then what comes and goes, until Ctrl-C', async () => {
    const cli = start();
    await cli.printed(/Waiting for changes\. Ctrl-C ends\./);
    assert.match(cli.out, new RegExp(`Discovery Log Number of Records 2,[^]*subnqn: +${A}`));
    await add(target, B);
    await target.link(place.portid, B);
    await cli.printed(
      new RegExp(
        `^[\\d:]{8} \\+ tcp 127\\.0\\.0\\.1:${place.port} ${B} \\(nvme subsystem\\), told by 127\\.0\\.0\\.1:\\d+$`,
        'm',
      ),
    );
    await target.unlink(place.portid, B);
    await cli.printed(new RegExp(`^[\\d:]{8} - tcp .* ${B} `, 'm'));
    cli.signal('SIGINT');
    assert.equal(await cli.exit(), 0, cli.err);
  });

  test('follows referrals, also in a circle and as they come; JSON', async () => {
    refer(target, place.portid, 'there', there.port);
    refer(other, there.portid, 'back', place.port);
    const cli = start('--referrals', '-o', 'json');
    await cli.printed(new RegExp(`"event":"discovered".*"trsvcid":${there.port},`));
    await add(other, B);
    await other.link(there.portid, B);
    await cli.printed(/"event":"changed"/);
    const all = events(cli);
    assert.deepEqual(
      all.filter(({ event }) => event === 'discovered').map(({ trsvcid, depth }) => [trsvcid, depth]),
      [
        [place.port, 0],
        [there.port, 1],
      ],
      'each service once',
    );
    const { added, removed } = all.find(({ event }) => event === 'changed');
    assert.deepEqual(
      added.map(({ from, subnqn }: Record<string, unknown>) => [from, subnqn]),
      [[`127.0.0.1:${there.port}`, B]],
    );
    assert.deepEqual(removed, []);
    // Without --referrals nobody asks there.
    const plain = start('-o', 'json');
    await plain.printed(/"event":"discovered"/);
    assert.equal(events(plain).filter(({ event }) => event === 'discovered').length, 1);
    for (const one of [cli, plain]) {
      one.signal('SIGTERM');
      assert.equal(await one.exit(), 0, one.err);
    }
  });

  test('a target that goes and comes back; one that is not there at all', async () => {
    const first = await createTarget({ reactors: 0 });
    const { port } = await first.listen({ address: '127.0.0.1', port: 0, subsystems: [] });
    const line = ['discover', '-a', '127.0.0.1', '-s', String(port), '--persistent'];
    const cli = sandbox.start(line);
    await cli.printed(/Ctrl-C ends/);
    await first.close();
    await cli.printed(new RegExp(`discovery at 127\\.0\\.0\\.1:${port} (resetting|connecting)`));
    const nobody = await nvbraid(line);
    assert.equal(nobody.code, 1);
    assert.match(nobody.err, /cannot connect to 127\.0\.0\.1:\d+.*start a target there/);
    const second = await createTarget({ reactors: 0 });
    await add(second, B);
    await second.listen({ address: '127.0.0.1', port, subsystems: [B] });
    await cli.printed(new RegExp(`discovery at 127\\.0\\.0\\.1:${port} live`));
    await cli.printed(new RegExp(`\\+ tcp .* ${B} `));
    cli.signal('SIGINT');
    assert.equal(await cli.exit(), 0, cli.err);
    await second.close();
  });
});
