import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { memoryDevice } from '@nvbraid/blockdev';
import { call } from '@nvbraid/manage';
import { AnaState } from '@nvbraid/wire';
import { createTarget, type Target, type TargetPort } from 'nvbraid';
import { nvbraid } from './support/in-process.ts';
import { Sandbox } from './support/process.ts';

const NQN = 'nqn.2026-01.io.nvbraid:test:path-counters';

interface Path {
  readonly name: string;
  readonly state: string;
  readonly usable: boolean;
  readonly commands: number;
  readonly failovers: number;
  readonly retries: number;
  readonly errors: number;
  readonly resets: number;
  readonly reconnects: number;
}

interface Head {
  readonly queued: number;
  readonly requeues: number;
  readonly failures: number;
  readonly failoverLatency: { readonly count: number };
  readonly paths: readonly Path[];
}

describe('row 60: what happens to paths is counted, and shown', { concurrency: false }, () => {
  const sandbox = new Sandbox();
  process.env.NVBRAID_RUNTIME_DIR = sandbox.env.NVBRAID_RUNTIME_DIR;
  const socket = sandbox.file('counters.sock');
  let target: Target;
  let ports: TargetPort[];
  /** The path that is used; numa keeps to it. */
  let name: string;

  before(async () => {
    target = await createTarget({ reactors: 0 });
    target.addSubsystem({ nqn: NQN });
    await target.addNamespace(NQN, { device: memoryDevice({ size: 1024 * 1024, blockSize: 4096 }) });
    const listen = () => target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
    ports = [await listen(), await listen()];
    const paths = ports.flatMap(({ port }) => ['--path', `127.0.0.1:${port}`]);
    const options = ['--data-digest', '-c', '1', '--fast-io-fail-tmo', '1', '--iopolicy', 'numa'];
    const host = sandbox.start(['connect', ...paths, '-n', NQN, ...options, '--socket', socket]);
    await host.printed(/Ctrl-C disconnects/);
  });
  after(async () => {
    await sandbox.close();
    await target.close();
  });

  const read = (): Promise<unknown> => call(socket, 'read', { nsid: 1, slba: 0, bytes: 4096 });
  const show = async (...argv: string[]): Promise<string> => {
    const { code, out, err } = await nvbraid([...argv, '--socket', socket]);
    assert.equal(code, 0, err);
    return out;
  };
  const head = async (): Promise<Head> =>
    JSON.parse(await show('list-subsys', '-v', '-o', 'json'))[0].Subsystems[0].Heads[0];
  const pathOf = ({ paths }: { readonly paths: readonly Path[] }): Path => paths.find((path) => path.name === name)!;
  const counters = async (): Promise<readonly number[]> => {
    const { failovers, retries, errors, resets, reconnects } = pathOf(await head());
    return [failovers, retries, errors, resets, reconnects];
  };
  async function until(what: string, reached: (head: Head) => boolean): Promise<void> {
    for (let tries = 0; !reached(await head()); tries++) {
      assert.ok(tries < 600, `${what}: ${JSON.stringify(await head())}`);
      await sleep(50);
    }
  }
  async function readUnder(fault: Parameters<Target['faults']['add']>[0]): Promise<void> {
    const { id } = target.faults.add(fault);
    await read();
    target.faults.remove(id);
  }

  test('nothing has happened yet', async () => {
    await read();
    const { paths, requeues, failures } = await head();
    assert.deepEqual([requeues, failures], [0, 0]);
    name = paths.find(({ commands }) => commands === 1)!.name;
    assert.deepEqual(await counters(), [0, 0, 0, 0, 0]);
  });

  test('an error after which the same path is tried again: error and retry', async () => {
    await readUnder({ action: 'data-digest', pdu: 'C2HData', qid: '1-65535', count: 1 });
    assert.deepEqual(await counters(), [0, 1, 1, 0, 0]);
    assert.match(
      await show('list-subsys', '-v'),
      new RegExp(`${name} .*: commands 3, failovers 0, retries 1, errors 1`),
    );
  });

  test('a connection that breaks under a command: error, failover, reset and reconnect', async () => {
    await readUnder({ action: 'kill-queue', pdu: 'CapsuleCmd', opcode: 'read', qid: '1-65535', count: 1 });
    await until('the path is back', (now) => pathOf(now).usable);
    assert.deepEqual(await counters(), [1, 1, 2, 1, 1]);
    const { failoverLatency, paths } = await head();
    assert.equal(failoverLatency.count, 1);
    const other = paths.find((path) => path.name !== name)!;
    assert.deepEqual(
      [other.commands, other.failovers, other.errors],
      [1, 0, 0],
      'the other path has served the command',
    );
    const text = await show('list-subsys', '-v');
    assert.match(text, new RegExp(`${name} .*: commands \\d+, failovers 1, retries 1, errors 2`));
    assert.match(text, /resets 1, reconnects 1/);
    assert.match(text, /failover of 1 command: p50/);
  });

  test('a command that waits for a path: requeue', async () => {
    for (const { portid } of ports) target.core.port(portid)!.setAnaState(1, AnaState.Inaccessible);
    await until('no path can be used', ({ paths }) => paths.every(({ usable }) => !usable));
    const waiting = read();
    await until('the command waits', ({ queued }) => queued === 1);
    for (const { portid } of ports) target.core.port(portid)!.setAnaState(1, AnaState.Optimized);
    await waiting;
    const { requeues, failures } = await head();
    assert.ok(requeues >= 1, `${requeues} requeues`);
    assert.equal(failures, 0);
    assert.match(await show('list-subsys', '-v'), new RegExp(`requeues ${requeues}, failures 0, errors 0`));
  });

  test('a command for which no path is left: failure', async () => {
    for (const port of ports) await port.close();
    await until('nobody waits any more', ({ paths }) => paths.every(({ state }) => state !== 'live'));
    await assert.rejects(read(), /Host Pathing Error/);
    const { failures } = await head();
    assert.ok(failures >= 1, `${failures} failures`);
    assert.match(await show('list-subsys', '-v'), new RegExp(`failures ${failures}, errors 1`));
  });

  test('top shows the same counters', async () => {
    const now = await head();
    const [sample] = (await show('top', '-n', '1', '-o', 'json')).trimEnd().split('\n');
    const [shown] = JSON.parse(sample!).subsystems[0].heads;
    assert.deepEqual([shown.requeues, shown.failures, shown.errors], [now.requeues, now.failures, 1]);
    assert.equal(shown.failoverLatency.count, now.failoverLatency.count);
    for (const field of ['failovers', 'retries', 'errors', 'resets', 'reconnects'] as const) {
      assert.equal(pathOf(shown)[field], pathOf(now)[field], field);
    }
    const text = await show('top', '-n', '1');
    const { failovers, retries, errors } = pathOf(now);
    assert.match(text, /Path +Address .*Failovers +Retries +Errors +Resets +Back/);
    assert.match(text, new RegExp(`${name} .* ${failovers} +${retries} +${errors} +\\d+ +\\d+$`, 'm'));
  });
});
