/* `npm run netns` as a user runs it: the arguments of the selftest, its criteria, and that nothing is left behind. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { failures, Load } from '../../bench/netns/load.ts';
import { listeningOn, Served } from '../../bench/netns/served.ts';
import { cleanShape } from '../../bench/netns/shape.ts';
import { Topology } from '../../bench/netns/topology.ts';
import { program } from '../support/programs.ts';
import { COMMON, RATE_MBIT, skipped } from './bed.ts';

const NETNS = join(import.meta.dirname, '../../bench/netns/netns.ts');
const QUICK = ['--rate', String(RATE_MBIT), '--seconds', '0.5', '--ramp', '0.5', '--depth', '16'];
const skipTcp = skipped({ mptcp: false, impairment: null });
const skipMptcp = skipped({ mptcp: true, impairment: null });

const netns = (...args: readonly string[]) => program(process.execPath, [NETNS, ...args]);

/** Namespaces that a process has made and not removed. */
function leftBy(pid: number): string[] {
  const { stdout } = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' });
  return stdout.split('\n').filter((line) => line.startsWith(`nvb-${pid}-`));
}

test('row 29: the arguments of the selftest, over TCP', { skip: skipTcp }, async () => {
  const { code, out, err } = await netns('tcp', '2', 'queue-depth', '0', ...QUICK, '--json');
  assert.equal(code, 0, err);
  console.log(out);
  const results = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    results.map(({ transport, paths, iopolicy, loss, op }) => [transport, paths, iopolicy, loss, op]),
    ['read', 'write'].map((op) => ['tcp', 2, 'queue-depth', 0, op]),
  );
  for (const { mib_s, queues, depth } of results) assert.ok(mib_s > 0 && queues === 1 && depth === 16);
});

test('row 29: the arguments of the selftest, over MPTCP, with IPv6', { skip: skipMptcp }, async () => {
  const { code, out, err } = await netns('mptcp', '1', 'numa', '0', '--adrfam', 'ipv6', ...QUICK);
  assert.equal(code, 0, err);
  console.log(out);
  assert.match(out, /^\| 1 +\| any +\| +- \| +- \| +\d+\.\d \| +\d+\.\d \|/m);
});

test('row 29: a lost path fails the run although nobody saw an error', { skip: skipTcp }, async () => {
  const shape = cleanShape(RATE_MBIT);
  const topology = await Topology.create({ ...COMMON, links: 2, endpoints: 0, shape, lossUnit: 'segments' });
  try {
    const served = await Served.start(topology, listeningOn('tcp', 2));
    const load = new Load(topology, served, {
      ...{ iopolicy: 'round-robin', rw: 'randwrite', blockBytes: 131072, depth: 16, queues: 1 },
      ...{ seconds: 4, keepAliveTmo: 1, reconnectDelay: 1, seed: 1 },
    });
    await load.started();
    await topology.linkDown(2);
    await sleep(3000);
    await topology.linkUp(2);
    const result = await load.result();
    assert.equal(result.total.errors, 0);
    const wrong = failures(result, load.log, served.log);
    console.log(wrong);
    assert.ok(
      wrong.some((text) => /was lost 1 times/.test(text)),
      wrong.join('\n'),
    );
    assert.ok(
      wrong.some((text) => /keep alive/.test(text)),
      wrong.join('\n'),
    );
    await served.stop();
  } finally {
    await topology.remove();
  }
});

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`${signal} leaves nothing behind`, { skip: skipTcp }, async () => {
    const child = spawn(process.execPath, [NETNS, 'tcp', '4', '--seconds', '60'], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const gone = once(child, 'exit');
    const until = async (there: () => boolean): Promise<void> => {
      for (; !there(); await sleep(50)) assert.equal(child.exitCode, null, 'it has ended by itself');
    };
    await until(() => leftBy(child.pid!).length >= 2);
    const namespace = leftBy(child.pid!)[0]!.split(' ')[0]!;
    const inside = (): string[] =>
      spawnSync('ip', ['netns', 'pids', namespace], { encoding: 'utf8' })
        .stdout.split('\n')
        .filter((pid) => pid !== '');
    await until(() => inside().length > 0);
    const pids = inside();
    child.kill(signal);
    const [code] = await gone;
    assert.equal(code, signal === 'SIGINT' ? 130 : 143);
    assert.deepEqual(leftBy(child.pid!), []);
    for (const pid of pids) {
      // It was killed; whoever adopts it may take a moment to bury it.
      const alive = spawnSync('sh', ['-c', `grep -v '^State:.*Z' /proc/${pid}/status | grep '^State:'`], {
        encoding: 'utf8',
      });
      assert.equal(alive.stdout, '', `process ${pid}`);
    }
  });
}

test('without root it says what is missing', { skip: skipTcp }, async (t) => {
  const child = spawn(process.execPath, [NETNS, 'tcp'], { uid: 65534, gid: 65534, stdio: ['ignore', 'pipe', 'pipe'] });
  let err = '';
  child.stderr.on('data', (text) => {
    err += text;
  });
  const [code] = await once(child, 'close');
  if (/EACCES|MODULE_NOT_FOUND/.test(err)) return t.skip('user nobody cannot read this repository');
  assert.equal(code, 1, err);
  assert.equal(err, 'netns: making network namespaces needs root: run it with sudo\n');
});
