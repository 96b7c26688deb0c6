import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { memoryDevice } from '@nvbraid/blockdev';
import { AnaState } from '@nvbraid/wire';
import { connect, connectSubsystem } from '../src/connect.ts';
import { HistoryChecker } from '../src/history.ts';
import { createTarget, type Target, type TargetPort } from '../src/target.ts';

const NQN = 'nqn.2026-01.io.nvbraid:head-test';
const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Rig {
  readonly target: Target;
  readonly ports: TargetPort[];
}

async function rig(count = 2, reactors = 1): Promise<Rig> {
  const target = await createTarget({ reactors });
  cleanups.push(() => target.close());
  target.addSubsystem({ nqn: NQN });
  await target.addNamespace(NQN, { device: memoryDevice({ size: 4 << 20 }) });
  const ports: TargetPort[] = [];
  for (let i = 0; i < count; i++) {
    ports.push(await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] }));
  }
  return { target, ports };
}

const paths = (ports: readonly TargetPort[]) => ports.map(({ port }) => ({ traddr: '127.0.0.1', trsvcid: port }));
const FAST = { keepAliveTmo: 1, reconnectDelay: 0.2 };

async function connected(ports: readonly TargetPort[], options: object = {}) {
  const head = await connect({ nqn: NQN, paths: paths(ports), ...FAST, ...options });
  cleanups.push(() => head.disconnect());
  return head;
}

describe('a head over real sockets', () => {
  test('reads what was written, by both paths, and every other command', async () => {
    const { ports } = await rig();
    const head = await connected(ports, { iopolicy: 'round-robin' });
    const { blockSize } = head;
    const blocks = Array.from({ length: 16 }, (_, i) => Buffer.alloc(blockSize, i + 1));
    await Promise.all(blocks.map((block, i) => head.write(i, block, { fua: i % 2 === 0 })));
    await head.flush();
    const long = Buffer.alloc(16 * blockSize);
    await head.read(0, long);
    assert.ok(long.equals(Buffer.concat(blocks)));
    await head.writeZeroes(0, 4, { deallocate: true });
    await head.deallocate([{ slba: 4, blocks: 2 }]);
    assert.equal(await head.compare(8, blocks[8]!), true);
    assert.equal(await head.compare(8, blocks[9]!), false);
    assert.equal(await head.compareAndWrite(8, blocks[8]!, blocks[1]!), true);
    assert.equal(await head.compareAndWrite(8, blocks[8]!, blocks[1]!), false);
    await head.verify(0, 16);
    const back = Buffer.alloc(blockSize);
    await head.read(8, back);
    assert.ok(back.equals(blocks[1]!));
    const [status] = head.subsystem.status();
    assert.equal(status!.paths.length, 2);
    for (const path of status!.paths) {
      assert.ok(path.commands > 4, `${path.name} took ${path.commands} commands`);
      assert.deepEqual([path.state, path.anaState, path.usable], ['live', 'optimized', true]);
    }
    await assert.rejects(head.read(head.blockCount, back), {
      code: 'ENVME',
      statusName: 'LBA Out of Range',
      dnr: true,
    });
  });

  test('one path may fail to connect, all must not; the same path twice is refused', async () => {
    const { ports } = await rig(1);
    const [good] = paths(ports);
    const logs: string[] = [];
    const closed = { traddr: '127.0.0.1', trsvcid: 1 };
    const subsystem = await connectSubsystem({ nqn: NQN, paths: [good!, closed], ...FAST });
    cleanups.push(() => subsystem.disconnect());
    subsystem.on('log', (message) => logs.push(message));
    assert.equal(subsystem.controllers.length, 1);
    await until(() => logs.some((log) => /a path was not connected: .*refused/.test(log)));
    await assert.rejects(subsystem.addPath({ ...good!, ...FAST }), { code: 'EBUSY', message: /duplicate-connect/ });
    await subsystem.addPath({ ...good!, ...FAST, duplicateConnect: true });
    assert.equal(subsystem.head(1).core.paths.length, 2);
    await assert.rejects(connectSubsystem({ nqn: NQN, paths: [closed], ...FAST }), { code: 'ECONNREFUSED' });
    await assert.rejects(connect({ nqn: NQN, paths: [good!], nsid: 7, ...FAST }), { code: 'ENOENT' });
  });

  test('events tell of paths, of ANA and of failovers', async () => {
    const { target, ports } = await rig();
    const head = await connected(ports);
    const events: string[] = [];
    head.on('ana-change', (path, before, after) => events.push(`${path} ${before} -> ${after}`));
    head.on('path-state', (path, state) => events.push(`${path} ${state}`));
    target.core.port(ports[0]!.portid)!.setAnaState(1, AnaState.Inaccessible);
    await head.read(0, Buffer.alloc(head.blockSize));
    await until(() => events.some((event) => event.endsWith('optimized -> inaccessible')));
    await ports[1]!.close();
    await until(() => events.some((event) => event.endsWith(' connecting')));
  });

  for (const safeFailover of [true, false]) {
    test(`ports that close one after the other never reach the caller (safe failover ${safeFailover})`, async () => {
      const { target, ports } = await rig();
      const head = await connected(ports, { safeFailover });
      let failovers = 0;
      head.on('failover', () => failovers++);
      const { blockSize } = head;
      const checker = new HistoryChecker({ blockSize, run: 1 });
      const until = performance.now() + 3000;
      const work = Array.from({ length: 8 }, async (_, worker) => {
        const block = Buffer.alloc(blockSize);
        for (let i = 0; performance.now() < until; i++) {
          const slba = (worker * 7 + i * 3) % 32;
          if (i % 2 === 0) {
            const ticket = checker.beginWrite(worker, slba, 1, block);
            await head.write(slba, block);
            checker.completeWrite(ticket);
          } else {
            const ticket = checker.beginRead(slba, 1);
            await head.read(slba, block);
            checker.completeRead(ticket, block);
          }
        }
      });
      let turn = 0;
      while (performance.now() < until) {
        const controllers = [...target.core.subsystem(NQN)!.controllers.values()];
        controllers[turn++ % controllers.length]?.remove('connection closed');
        await sleep(300);
      }
      await Promise.all(work);
      assert.equal(checker.violation, null, JSON.stringify(checker.violation));
      assert.ok(failovers > 0);
    });
  }

  test('calls wait while all paths are gone, and end when one is back', async () => {
    const { target, ports } = await rig();
    const head = await connected(ports);
    const numbers = ports.map(({ port }) => port);
    await Promise.all(ports.map((port) => port.close()));
    await until(() => head.subsystem.controllers.every(({ state }) => state === 'connecting'));
    let ended = false;
    const call = head.write(0, Buffer.alloc(head.blockSize, 9)).then(() => (ended = true));
    await sleep(300);
    assert.ok(!ended);
    await target.listen({ address: '127.0.0.1', port: numbers[1]!, subsystems: [NQN] });
    await call;
    const [status] = head.subsystem.status();
    assert.ok(status!.requeues > 0);
  });

  test('an aborted call ends at once, wherever it waits, and is not executed later', async () => {
    const { target, ports } = await rig();
    const head = await connected(ports);
    const numbers = ports.map(({ port }) => port);
    await Promise.all(ports.map((port) => port.close()));
    await until(() => head.subsystem.controllers.every(({ state }) => state === 'connecting'));
    const abort = new AbortController();
    const call = head.write(3, Buffer.alloc(head.blockSize, 0xee), { signal: abort.signal });
    abort.abort();
    await assert.rejects(call, { code: 'EABORTED' });
    await target.listen({ address: '127.0.0.1', port: numbers[0]!, subsystems: [NQN] });
    const block = Buffer.alloc(head.blockSize, 1);
    await head.read(3, block);
    assert.ok(block.every((byte) => byte === 0));
  });

  test('the bound on a stall is told with its formula', async () => {
    const { ports } = await rig();
    const head = await connected(ports);
    const { ms, formula } = head.subsystem.stallBound();
    assert.match(formula, /keep-alive-tmo.*CQT/);
    assert.ok(ms !== null && ms > 1000);
    // Nothing tells that a path is silent: there is no bound, rather than one of 0.
    const blind = await connected(ports, { keepAliveTmo: 0, safeFailover: false });
    assert.equal(blind.subsystem.stallBound().ms, null);
  });
});

async function until(reached: () => boolean): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (reached()) return;
    await sleep(10);
  }
  assert.fail('it did not happen');
}
