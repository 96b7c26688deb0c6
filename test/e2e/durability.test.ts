import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Rng } from '@nvbraid/base';
import {
  fileDevice,
  openDevice,
  prepareDevice,
  releaseDevice,
  type VolatileCache,
  volatileCache,
} from '@nvbraid/blockdev';
import { HistoryChecker } from 'nvbraid';
import { attach, explain, hammer, NQN, readBack, seed, serve } from './story.ts';

const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-durability-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

const REGION = 64;

test('a crash of a volatile cache loses no write whose Flush or FUA was acknowledged', async () => {
  const start = seed();
  for (let round = 0; round < 4; round++) {
    const rng = new Rng(start + round);
    const path = join(scratch, `crash-${round}.img`);
    const file = fileDevice({ path, size: 1 << 20, create: true, blockSize: 4096 });
    const prepared = await prepareDevice(volatileCache(file));
    const cache = openDevice(prepared, { threads: 1 }) as VolatileCache;
    const history = new HistoryChecker({ blockSize: 4096, run: start + round, volatileCache: true });
    const first = await serve({ device: cache }, { reactors: 0 });
    const host = await attach(first.port);
    const ns = host.namespace(1);
    assert.equal((host.identify as { vwc: number }).vwc & 1, 1, 'the cache is announced');
    let left = 500;
    await hammer(ns, { history, rng, writers: 8, region: REGION, fua: 0.1, flushes: 0.05, running: () => left-- > 0 });
    await cache.crash({ keep: 0.3, seed: start });
    history.crash();
    await readBack(ns, history, REGION);
    assert.equal(history.violation, null, explain(history));
    await host.disconnect();
    await first.target.close();
    await releaseDevice(prepared);
  }
});

test('the story above notices a Flush that is only claimed', async () => {
  const path = join(scratch, 'liar.img');
  const prepared = await prepareDevice(
    volatileCache(fileDevice({ path, size: 1 << 20, create: true, blockSize: 4096 })),
  );
  const cache = openDevice(prepared, { threads: 1 }) as VolatileCache;
  const history = new HistoryChecker({ blockSize: 4096, run: 1, volatileCache: true });
  const { target, port } = await serve({ device: cache }, { reactors: 0 });
  const host = await attach(port);
  const ns = host.namespace(1);
  const block = Buffer.alloc(4096);
  const write = history.beginWrite(0, 5, 1, block);
  await ns.write(5, block);
  history.completeWrite(write);
  history.completeFlush(history.beginFlush());
  await cache.crash();
  history.crash();
  await readBack(ns, history, 8);
  assert.equal(history.violation?.kind, 'stale');
  await host.disconnect();
  await target.close();
  await releaseDevice(prepared);
});

/** A target process of its own that can be killed. */
async function startTarget(
  path: string,
  wrap: string[] = [],
): Promise<{ child: ChildProcess; port: number; pid: number }> {
  const script = join(import.meta.dirname, 'file-target.ts');
  const [command, ...args] = [...wrap, process.execPath, script, path, NQN];
  const child = spawn(command!, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  process.on('exit', () => child.kill('SIGKILL'));
  const [line] = (await once(child.stdout!, 'data')) as [Buffer];
  const [port, pid] = String(line).split(' ').map(Number) as [number, number];
  return { child, port, pid };
}

test('kill -9 of the target during writes is survived by a file namespace', async () => {
  const start = seed();
  const path = join(scratch, 'killed.img');
  fileDevice({ path, size: 1 << 20, blockSize: 4096 });
  const history = new HistoryChecker({ blockSize: 4096, run: start });
  for (let round = 0; round < 3; round++) {
    const { child, port } = await startTarget(path);
    const host = await attach({ address: '127.0.0.1', port }, { ctrlLossTmo: 0 });
    const ns = host.namespace(1);
    await readBack(ns, history, REGION);
    assert.equal(history.violation, null, explain(history));
    let alive = true;
    const killer = setTimeout(() => child.kill('SIGKILL'), 150);
    child.on('exit', () => {
      alive = false;
    });
    const rng = new Rng(start + round);
    await hammer(ns, { history, rng, writers: 8, region: REGION, running: () => alive });
    clearTimeout(killer);
    await host.disconnect().catch(() => {});
    if (alive) await once(child, 'exit');
  }
  assert.ok(history.checkedBlocks > REGION * 3);
});

const strace = spawnSync('strace', ['-V']).status === 0;
test('fdatasync stands before every completion of a Flush and of a write with FUA', {
  skip: strace ? false : 'strace is not installed',
}, async () => {
  const path = join(scratch, 'traced.img');
  const log = join(scratch, 'strace.log');
  const { child, port, pid } = await startTarget(path, [
    'strace',
    '-f',
    '-e',
    'trace=fdatasync,sendmsg,pwrite64',
    '-o',
    log,
  ]);
  const host = await attach({ address: '127.0.0.1', port });
  const ns = host.namespace(1);
  const block = Buffer.alloc(4096, 1);
  await ns.write(0, block); // neither
  const count = (): number => (readFileSync(log, 'utf8').match(/fdatasync(\(\d+\)| resumed>\)) *= 0/g) ?? []).length;
  const before = count();
  for (let i = 1; i <= 5; i++) {
    // The host knows of the completion: by then the call has returned, and it is in the log.
    await ns.write(i, block, { fua: true });
    assert.ok(count() >= before + 2 * i - 1, `no fdatasync before the completion of FUA write ${i}`);
    await ns.flush();
    assert.ok(count() >= before + 2 * i, `no fdatasync before the completion of Flush ${i}`);
  }
  await ns.write(9, block);
  assert.equal(count(), before + 10, 'a plain write pays for none');
  await host.disconnect();
  process.kill(pid, 'SIGTERM'); // the target, not strace
  await once(child, 'exit');
});
