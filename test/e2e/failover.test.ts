/*
 * Failover, with real processes: two `nvbraid serve --config` share one file, `nvbraid bench` writes and verifies over both
 * paths, and meanwhile one target at a time is killed and started again, or tells other ANA states.
 * NVBRAID_LONG=1 makes each round a minute long.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { seed } from './story.ts';
import { NQN, nvbraid, type Serve, twoTargets } from './two-targets.ts';

const SECONDS = process.env.NVBRAID_LONG === '1' ? 60 : 6;

interface Result {
  readonly error: string | null;
  readonly total: { readonly ios: number; readonly errors: number };
  readonly verify: { readonly checked_blocks: number; readonly violation: object | null };
  readonly failover: {
    readonly stall_ms: number;
    readonly bound_ms: number;
    readonly formula: string;
    readonly failed_over: number;
    readonly failover_max_us: number;
    readonly held: number;
    readonly proven: number;
    readonly timed_out: number;
    readonly paths: readonly { readonly state: string; readonly resets: number; readonly reconnects: number }[];
  };
}

/** `nvbraid bench` over both; meanwhile `trouble` is made again and again. */
async function story(
  name: string,
  options: readonly string[],
  trouble: (targets: readonly Serve[], turn: number, over: () => boolean) => Promise<void>,
): Promise<Result> {
  const targets = await twoTargets(name);
  const bench = nvbraid([
    ...['bench', '-n', NQN, ...targets.flatMap(({ port }) => ['--path', `127.0.0.1:${port}`])],
    ...['--rw', 'randrw', '--verify', 'history', '--runtime', String(SECONDS), '--iodepth', '16', '--size', '1MiB'],
    ...['--keep-alive-tmo', '2', '--reconnect-delay', '1', '--seed', String(seed()), '-o', 'json', ...options],
  ]);
  let out = '';
  let err = '';
  let over = false;
  bench.stdout!.on('data', (text: Buffer) => {
    out += text;
  });
  const running = new Promise<void>((resolve) => {
    bench.stderr!.on('data', (text: Buffer) => {
      err += text;
      if (err.includes('randrw of')) resolve();
    });
    bench.once('exit', () => resolve());
  });
  const exit = once(bench, 'exit').then(([code]) => {
    over = true;
    return code as number;
  });
  await running;
  await sleep(500);
  for (let turn = 0; !over; turn++) await trouble(targets, turn, () => over);
  const code = await exit;
  assert.equal(code, 0, `${out}\n${err}`);
  for (const target of targets) await target.kill();
  const result = JSON.parse(out) as Result;
  const { failover, total, verify } = result;
  console.log(
    `${name}: ${total.ios} operations, ${verify.checked_blocks} blocks checked, ${failover.failed_over} failed over, ` +
      `${failover.held} held (${failover.proven} proven, ${failover.timed_out} by time), longest stall ` +
      `${failover.stall_ms} ms, failover at most ${(failover.failover_max_us / 1000).toFixed(1)} ms, bound ${failover.formula}`,
  );
  assert.equal(result.error, null);
  assert.equal(total.errors, 0);
  assert.equal(verify.violation, null);
  assert.ok(failover.stall_ms <= failover.bound_ms, 'the longest stall is within the bound');
  return result;
}

/** One target dies and comes back; the other is left alone until commands go to this one again. */
async function killOne(targets: readonly Serve[], turn: number, over: () => boolean): Promise<void> {
  const target = targets[turn % 2]!;
  await target.kill();
  await sleep(200);
  await target.start();
  while (!over() && (await target.readCommands()) === 0) await sleep(50);
  await sleep(500);
}

for (const safe of ['on', 'off']) {
  test(`targets that are killed one after the other lose no block and fail no call, safe failover ${safe}`, async () => {
    const { failover } = await story(`kill-${safe}`, ['--safe-failover', safe, '--iopolicy', 'round-robin'], killOne);
    assert.ok(failover.paths.some(({ resets }) => resets > 0));
    assert.ok(failover.failed_over > 0);
    if (safe === 'off') assert.equal(failover.held, 0);
    else assert.equal(failover.timed_out, 0, 'the end of a killed process is proven at once');
  });
}

const ANA_STATES = ['inaccessible', 'optimized', 'change', 'non-optimized', 'persistent-loss', 'optimized'];

for (const safe of ['on', 'off']) {
  test(`a target whose ANA state flaps loses no block and fails no call, safe failover ${safe}`, async () => {
    const states = new Set<string>();
    const options = ['--safe-failover', safe, '--iopolicy', 'round-robin'];
    const { failover } = await story(`ana-${safe}`, options, async ([target], turn) => {
      const state = ANA_STATES[turn % ANA_STATES.length]!;
      await target!.setAna(state);
      states.add(state);
      await sleep(turn % 7 === 0 ? 200 : 20);
    });
    assert.equal(states.size, 5, 'all states were there');
    assert.ok(failover.failed_over > 0, 'commands met a state');
    assert.equal(failover.held, 0, 'a command that was refused has not run: it waits for nothing');
    assert.ok(failover.paths.every(({ resets }) => resets === 0));
  });
}
