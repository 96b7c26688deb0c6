import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, connect as dial, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileDevice, memoryDevice, volatileCache } from '@nvbraid/blockdev';
import { Ccrs } from '@nvbraid/wire';
import { connectController, createTarget, type HostController } from 'nvbraid';
import type { SharedTargetOptions } from './support/shared-target.ts';

/*
 * One subsystem, one file, two processes; a host that has lost the path to one of them asks the other to end its
 * controller there. Ghost writes are what must never happen: a write through the lost path that arrives after newer
 * data.
 */

const NQN = 'nqn.2026-01.org.nvbraid:shared';
const HOST = { hostnqn: 'nqn.2014-08.org.nvmexpress:uuid:4f4d4242-0000-4000-8000-000000000001' };
const HOSTID = '4f4d4242-0000-4000-8000-000000000001';
const BLOCK = 4096;
const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-shared-'));
const children = new Set<ChildProcess>();
const paths = new Set<Path>();
after(() => {
  for (const child of children) child.kill('SIGKILL');
  for (const path of paths) path.close();
  rmSync(scratch, { recursive: true, force: true });
});

let files = 0;
const newFile = (): string => join(scratch, `disk${++files}.img`);
const block = (value: number): Buffer => Buffer.alloc(BLOCK, value);
const onDisk = (path: string): number => readFileSync(path)[0]!;

/** A target in a process of its own. */
class TargetProcess {
  readonly child: ChildProcess;
  readonly logged: string[] = [];
  readonly #said: Record<string, unknown>[] = [];
  #wake: () => void = () => {};
  port = 0;

  constructor(options: SharedTargetOptions) {
    const script = new URL('./support/shared-target.ts', import.meta.url).pathname;
    const stdio = ['pipe', 'pipe', 'inherit'] as const;
    this.child = spawn(process.execPath, [script, JSON.stringify(options)], { stdio: [...stdio] });
    children.add(this.child);
    createInterface({ input: this.child.stdout! }).on('line', (line) => {
      const said = JSON.parse(line) as Record<string, unknown>;
      if (typeof said.log === 'string') this.logged.push(said.log);
      this.#said.push(said);
      this.#wake();
    });
  }

  static async start(path: string, cntlidMin: number, cntlidMax: number, reactors: number): Promise<TargetProcess> {
    const target = new TargetProcess({ path, nqn: NQN, cntlidMin, cntlidMax, reactors });
    const first = await target.said((said) => 'port' in said || 'failed' in said);
    assert.equal(first.failed, undefined);
    target.port = first.port as number;
    return target;
  }

  /** The next line that is looked for; those before it are forgotten. */
  async said(which: (said: Record<string, unknown>) => boolean): Promise<Record<string, unknown>> {
    for (;;) {
      const said = this.#said.shift();
      if (said === undefined) await new Promise<void>((resolve) => (this.#wake = resolve));
      else if (which(said)) return said;
    }
  }

  async tell(word: string): Promise<void> {
    this.child.stdin!.write(`${word}\n`);
    await this.said((said) => said.done === word);
  }

  /** Until its filter holds an operation. */
  async holds(): Promise<void> {
    for (;;) {
      this.child.stdin!.write('report\n');
      const { held } = await this.said((said) => 'held' in said);
      if ((held as { held: number }).held > 0) return;
    }
  }

  async kill(): Promise<void> {
    const exit = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await exit;
    children.delete(this.child);
  }

  async close(): Promise<void> {
    await this.tell('close');
    this.child.stdin!.end();
    await once(this.child, 'exit');
    children.delete(this.child);
  }
}

/** A way to a port that can be cut: nothing gets through any more, and nobody is told. */
class Path {
  readonly #server = createServer((near) => this.#join(near));
  readonly #sockets = new Set<Socket>();
  readonly #to: number;
  cut = false;
  port = 0;

  constructor(to: number) {
    this.#to = to;
  }

  static async open(to: number): Promise<Path> {
    const path = new Path(to);
    paths.add(path);
    path.#server.listen(0, '127.0.0.1');
    await once(path.#server, 'listening');
    path.port = (path.#server.address() as { port: number }).port;
    return path;
  }

  #join(near: Socket): void {
    const far = dial(this.#to, '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from);
      from.setNoDelay(true);
      from.on('error', () => {});
      from.on('data', (data: Buffer) => this.cut || to.write(data));
      from.on('end', () => this.cut || to.end());
      from.on('close', () => this.cut || to.destroy());
    }
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** A host that gives a lost controller up, and sends nothing again by itself. */
function attach(port: number, keepAliveTmo = 0): Promise<HostController> {
  const once = { ctrlLossTmo: 0, maxRetries: 0, keepAliveTmo, nrIoQueues: 1 };
  return connectController({ traddr: '127.0.0.1', trsvcid: port, nqn: NQN, ...HOST, hostid: HOSTID, ...once });
}

/** Until the log page says that the reset is over. */
async function resetEnds(b: HostController): Promise<number> {
  for (;;) {
    const [entry] = await b.crossControllerResets();
    assert.ok(entry !== undefined);
    if (entry.ccrs !== Ccrs.InProgress) return entry.ccrs;
    await sleep(10);
  }
}

for (const reactors of [0, 2]) {
  const how = reactors === 0 ? 'without reactors' : 'with reactors';

  test(`a write that A still holds never lands once B has said that A is quiet, ${how}`, async () => {
    const path = newFile();
    const [targetA, targetB] = [
      await TargetProcess.start(path, 1, 100, reactors),
      await TargetProcess.start(path, 101, 200, reactors),
    ];
    const way = await Path.open(targetA.port);
    const [a, b] = [await attach(way.port), await attach(targetB.port)];
    await targetA.tell('hold');
    const lost = a.namespace(1).write(0, block(0xaa));
    lost.catch(() => {});
    await targetA.holds();
    way.cut = true; // A knows nothing of it: its sockets look well

    assert.equal(await b.crossControllerReset(a.instance), false, 'a device of A still has the write');
    const [entry] = await b.crossControllerResets();
    assert.deepEqual([entry!.icid, entry!.ccrs], [a.cntlid, Ccrs.InProgress]);
    await assert.rejects(b.crossControllerReset(a.instance), /Cross-Controller Reset in Progress/);
    const told = once(b, 'aen');
    await targetA.tell('release');
    assert.equal(await resetEnds(b), Ccrs.Success);
    assert.equal((await told)[0].dw0, 0x1ef402);
    assert.equal(onDisk(path), 0, 'what the device of A had not begun has not happened');

    await b.namespace(1).write(0, block(0xbb));
    await targetA.tell('release');
    const read = block(0);
    await b.namespace(1).read(0, read);
    assert.equal(read[0], 0xbb, 'the old data does not come after the new');
    assert.equal(await b.crossControllerReset(a.instance), true, 'it is over, whoever asks');
    way.close();
    await Promise.all([a.disconnect(), b.disconnect()]);
    await Promise.all([targetA.close(), targetB.close()]);
    await assert.rejects(lost);
  });
}

test('only the connections of A are cut: what it held is dropped, and B is told at once', async () => {
  const path = newFile();
  const targetA = await TargetProcess.start(path, 1, 100, 1);
  const targetB = await TargetProcess.start(path, 101, 200, 1);
  const way = await Path.open(targetA.port);
  const [a, b] = [await attach(way.port), await attach(targetB.port)];
  await targetA.tell('hold');
  const lost = a.namespace(1).write(0, block(0xaa));
  lost.catch(() => {});
  await targetA.holds();
  way.close();
  await targetA.said((said) => said.gone === a.cntlid);
  const first = await b.crossControllerReset(a.instance);
  assert.equal(first, false, 'gone, and not quiet');
  await targetA.tell('release');
  assert.equal(await resetEnds(b), Ccrs.Success);
  assert.equal(onDisk(path), 0);
  await Promise.all([a.disconnect(), b.disconnect()]);
  await Promise.all([targetA.close(), targetB.close()]);
});

test('A is killed: B says so at once, and A comes back and does not know its old controllers', async () => {
  const path = newFile();
  let targetA = await TargetProcess.start(path, 1, 100, 1);
  const targetB = await TargetProcess.start(path, 101, 200, 1);
  const [a, b] = [await attach(targetA.port), await attach(targetB.port)];
  const { instance } = a;
  await targetA.tell('hold');
  a.namespace(1)
    .write(0, block(0xaa))
    .catch(() => {});
  await targetA.holds();
  await targetA.kill();
  assert.equal(await b.crossControllerReset(instance), true);
  assert.equal(onDisk(path), 0);
  targetA = await TargetProcess.start(path, 1, 100, 1);
  assert.equal(await b.crossControllerReset(instance), true, 'its successor does not have it');
  const again = await attach(targetA.port);
  // The same identifier again; one time in 255 the same uniquifier too, and then the random number is not the right one.
  if (again.instance.ciu !== instance.ciu) assert.equal(await b.crossControllerReset(instance), true);
  assert.equal(again.state, 'live');
  await Promise.all([a.disconnect(), b.disconnect(), again.disconnect()]);
  await Promise.all([targetA.close(), targetB.close()]);
});

test('A is stopped: no proof, no success, until it goes on and ends its controller or is killed', async () => {
  for (const then of ['SIGCONT', 'SIGKILL'] as const) {
    const path = newFile();
    const targetA = await TargetProcess.start(path, 1, 100, 1);
    const targetB = await TargetProcess.start(path, 101, 200, 1);
    const [a, b] = [await attach(targetA.port), await attach(targetB.port)];
    const { instance } = a;
    targetA.child.kill('SIGSTOP');
    assert.equal(await b.crossControllerReset(instance), false);
    if (then === 'SIGCONT') {
      const waits = 'gives no proof that the commands have ended: continue it if it is stopped, or end it';
      await targetB.said((said) => typeof said.log === 'string' && said.log.includes(waits));
      assert.match(targetB.logged.at(-1)!, new RegExp(`controller ${a.cntlid} .* process ${targetA.child.pid}`));
    }
    assert.equal((await b.crossControllerResets())[0]!.ccrs, Ccrs.InProgress, 'however long it takes');
    // What A has received while it slept must not win over what comes after the proof.
    const lost = a.namespace(1).write(0, block(0xaa));
    lost.catch(() => {});
    if (then === 'SIGCONT') targetA.child.kill(then);
    else await targetA.kill();
    assert.equal(await resetEnds(b), Ccrs.Success);
    await b.namespace(1).write(0, block(0xbb));
    await a.disconnect();
    assert.equal(onDisk(path), 0xbb);
    await b.disconnect();
    await Promise.all(then === 'SIGCONT' ? [targetA.close(), targetB.close()] : [targetB.close()]);
  }
});

for (const reactors of [0, 1]) {
  const how = reactors === 0 ? 'without reactors' : 'with reactors';

  test(`A sleeps through the end of Keep Alive: what it finds in its sockets afterwards is not run, ${how}`, async () => {
    const path = newFile();
    const targetA = await TargetProcess.start(path, 1, 100, reactors);
    const targetB = await TargetProcess.start(path, 101, 200, reactors);
    const way = await Path.open(targetA.port);
    const a = await attach(way.port, 1);
    const b = await attach(targetB.port);
    targetA.child.kill('SIGSTOP');
    const lost = Array.from({ length: 8 }, (_, n) => a.namespace(1).write(n, block(0xaa)));
    for (const write of lost) write.catch(() => {});
    await sleep(200); // the writes are in A's sockets
    way.cut = true;
    await sleep(2500); // a host without Cross-Controller Reset waits: two times Keep Alive, and then CQT
    await b.namespace(1).write(0, block(0xbb));
    targetA.child.kill('SIGCONT');
    await targetA.said((said) => said.gone === a.cntlid);
    assert.equal(await b.crossControllerReset(a.instance), true);
    const bytes = readFileSync(path);
    assert.deepEqual(
      Array.from({ length: 8 }, (_, n) => bytes[n * BLOCK]),
      [0xbb, 0, 0, 0, 0, 0, 0, 0],
    );
    way.close();
    await Promise.all([a.disconnect(), b.disconnect()]);
    await Promise.all([targetA.close(), targetB.close()]);
  });
}

// ---------------------------------------------------------------- in one process

async function served(path: string, cntlidMin: number, cntlidMax: number, nqn = NQN) {
  const target = await createTarget({ reactors: 0 });
  const logged: string[] = [];
  target.on('log', (message) => logged.push(message));
  target.addSubsystem({ nqn, cntlidMin, cntlidMax });
  const nsid = await target.addNamespace(nqn, {
    device: fileDevice({ path, size: 1 << 20, create: true, shared: true }),
  });
  const { port } = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [nqn] });
  return { target, nsid, port, logged };
}

test('what a subsystem may ask of those who share its file, and what they refuse', async () => {
  const path = newFile();
  const one = await served(path, 1, 100);
  await assert.rejects(served(path, 50, 150), { code: 'EBUSY', message: /give each process a range of its own/ });
  const two = await served(path, 101, 200);
  const [a, b] = [await attach(one.port), await attach(two.port)];
  const stranger = await connectController({ traddr: '127.0.0.1', trsvcid: two.port, nqn: NQN, nrIoQueues: 1 });
  await assert.rejects(stranger.crossControllerReset(a.instance), /Invalid Field/, 'the controller of another host');
  await assert.rejects(
    b.crossControllerReset({ ...a.instance, cntlid: 201 }),
    /Invalid Field/,
    'nobody has claimed 201',
  );
  await assert.rejects(b.crossControllerReset({ ...a.instance, cirn: 1n }), /Invalid Field/);
  assert.equal(a.state, 'live');
  assert.equal(await b.crossControllerReset({ ...a.instance, cntlid: 77 }), true, 'a free identifier of the other');
  assert.equal(await b.crossControllerReset(a.instance), true);
  // Both ways, and while the target that was asked for is going.
  const a2 = await attach(one.port);
  assert.equal(await a2.crossControllerReset(b.instance), true);
  await Promise.all([a.disconnect(), a2.disconnect(), b.disconnect(), stranger.disconnect()]);
  await one.target.close();
  const b2 = await attach(two.port);
  assert.equal(await b2.crossControllerReset(a2.instance), true, 'it has left in order');
  await b2.disconnect();
  await two.target.close();
});

test('a target is registered for as long as it has a namespace on the file, and its range stays meanwhile', async () => {
  const path = newFile();
  const one = await served(path, 1, 100);
  const second = await one.target.addNamespace(NQN, { device: fileDevice({ path, shared: true }) });
  const subsystem = one.target.core.subsystem(NQN)!;
  assert.throws(() => subsystem.setCntlidRange(1, 50), { code: 'EBUSY', message: /count on its range of cntlids/ });
  await one.target.removeNamespace(NQN, one.nsid);
  await assert.rejects(served(path, 1, 100), { code: 'EBUSY' });
  await one.target.removeNamespace(NQN, second);
  subsystem.setCntlidRange(1, 50);
  const two = await served(path, 1, 100);
  await Promise.all([one.target.close(), two.target.close()]);
});

test('what cannot be fenced is not served', async () => {
  const path = newFile();
  const target = await createTarget({ reactors: 0 });
  target.addSubsystem({ nqn: NQN });
  const file = fileDevice({ path, size: 1 << 20, create: true, shared: true });
  await assert.rejects(target.addNamespace(NQN, { device: volatileCache(file) }), {
    code: 'EINVAL',
    message: /a volatile cache cannot stand on .* which is shared/,
  });
  process.env.UV_USE_IO_URING = '1';
  await assert.rejects(target.addNamespace(NQN, { device: file }), {
    code: 'ENOTSUP',
    message: /unset UV_USE_IO_URING/,
  });
  delete process.env.UV_USE_IO_URING;
  await target.addNamespace(NQN, { device: fileDevice({ path, shared: true, readOnly: true }) });
  await target.addNamespace(NQN, { device: memoryDevice({ size: 1 << 20 }) });
  assert.equal(existsSync(`${path}.nvbraid`), false, 'who does not write has nothing to register for');
  await target.close();
});
