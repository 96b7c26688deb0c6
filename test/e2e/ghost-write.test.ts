/*
 * The ghost write, between processes: two `nvbraid serve --config` share one file, and the filter of one holds a write. The
 * network breaks on the side of the host alone, so that this target goes on; a newer write of the same blocks is completed
 * by the other one; then the old one is let go.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, HistoryChecker } from 'nvbraid';
import { NQN, type Serve, twoTargets, wireTo } from './two-targets.ts';

const SLBA = 9;
const BLOCKS = 8;
const heldBy = async (target: Serve): Promise<number> => {
  const [{ filters }] = (await target.call('filter-list')) as [{ filters: { report: { held: number } }[] }];
  return filters[0]!.report.held;
};

async function until(reached: () => Promise<boolean>): Promise<void> {
  for (let i = 0; !(await reached()); i++) {
    assert.ok(i < 1000, 'it did not happen');
    await sleep(10);
  }
}

interface Story {
  readonly safeFailover: boolean;
  readonly keepAliveTmo: number;
  /** When the old write is let go: while the host waits for its end, or when the newer one has been completed. */
  readonly release: 'meanwhile' | 'after';
  /** Commands that the host held back; associations whose end was proven, and those of which time had to tell it. */
  readonly fences: readonly [held: number, proven: number, timedOut: number];
}

/** Answers what judged the reads at the end. */
async function story(t: TestContext, name: string, options: Story): Promise<HistoryChecker> {
  const [a, b] = await twoTargets(name);
  // Commands go by A while it is there.
  await b.setAna('non-optimized');
  const wire = await wireTo(a);
  const head = await connect({
    nqn: NQN,
    paths: [wire.port, b.port].map((trsvcid) => ({ traddr: '127.0.0.1', trsvcid })),
    keepAliveTmo: options.keepAliveTmo,
    safeFailover: options.safeFailover,
  });
  t.after(async () => {
    await head.subsystem.disconnect(0);
    for (const target of [a, b]) await target.kill();
  });
  const { fences } = head.subsystem.core;
  const release = async (): Promise<void> => {
    await a.call('filter-run', { name: 'delay', action: 'release' });
    await until(async () => (await heldBy(a)) === 0);
  };
  const { blockSize } = head;
  const history = new HistoryChecker({ blockSize, run: 1 });
  const write = async (): Promise<void> => {
    const block = Buffer.alloc(BLOCKS * blockSize);
    const ticket = history.beginWrite(0, SLBA, BLOCKS, block);
    await head.write(SLBA, block);
    history.completeWrite(ticket);
  };
  const read = async (): Promise<void> => {
    const block = Buffer.alloc(BLOCKS * blockSize);
    const ticket = history.beginRead(SLBA, BLOCKS);
    await head.read(SLBA, block);
    history.completeRead(ticket, block);
  };
  await a.call('filter-set', { name: 'delay', settings: { hold: 'write', count: 1 } });
  const old = write();
  await until(async () => (await heldBy(a)) === 1);
  wire.cut();
  if (options.release === 'meanwhile') {
    await until(async () => fences.pending.length === 1);
    await release();
  }
  await old;
  assert.notEqual(head.subsystem.controllers[0]!.state, 'live', 'A is lost');
  await write();
  await read();
  assert.equal(history.violation, null);
  if (options.release === 'after') await release();
  for (let i = 0; i < 20; i++) {
    await read();
    await sleep(10);
  }
  assert.deepEqual([fences.heldCount, fences.proven, fences.timedOut], options.fences);
  return history;
}

/** KATO 2 s: the host waits for 3 x KATO + CQT. */
test('a write that a lost target holds past its time never shows after a newer one by the other target', async (t) => {
  const options: Story = { safeFailover: true, keepAliveTmo: 2, release: 'after', fences: [1, 0, 1] };
  const { violation } = await story(t, 'ghost-time', options);
  assert.equal(violation, null, violation?.history.join('\n'));
});

test('a write that a lost target lets go while the host waits never shows after a newer one', async (t) => {
  const options: Story = { safeFailover: true, keepAliveTmo: 30, release: 'meanwhile', fences: [1, 1, 0] };
  const { violation } = await story(t, 'ghost-proof', options);
  assert.equal(violation, null, violation?.history.join('\n'));
});

/** KATO 30 s: the target that is cut off does not notice before the story is over. */
test('without safe failover the old write does show, and the checker says so: the story can fail', async (t) => {
  const options: Story = { safeFailover: false, keepAliveTmo: 30, release: 'after', fences: [0, 0, 0] };
  const { violation } = await story(t, 'ghost-off', options);
  assert.equal(violation?.kind, 'stale');
});
