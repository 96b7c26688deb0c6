import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect as netConnect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { NvbraidError } from '@nvbraid/base';
import { fileDevice, memoryDevice, openDevice, prepareDevice } from '@nvbraid/blockdev';
import { AnaState, Status } from '@nvbraid/wire';
import { connectController, createTarget, discover, type HostController, NvmeError, type Target } from 'nvbraid';
import { Reactor } from '../src/reactor.ts';
import type { ToReactor } from '../src/reactor-messages.ts';
import { targetLimits } from '../src/target-limits.ts';

const NQN = 'nqn.2026-01.org.nvbraid:runtime';
const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-target-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

async function serving(reactors: number, transport = 'tcp') {
  const target = await createTarget({ reactors });
  target.addSubsystem({ nqn: NQN });
  await target.addNamespace(NQN, { device: memoryDevice({ size: 1 << 20, blockSize: 4096 }) });
  const address = transport === 'loop' ? 'target-test' : '127.0.0.1';
  const port = await target.listen({ transport, address, port: 0, subsystems: [NQN] });
  const attach = (more: object = {}): Promise<HostController> =>
    connectController({ transport, traddr: port.address, trsvcid: port.port, nqn: NQN, ...more });
  return { target, port, attach };
}

const status = (expected: number) => (error: unknown) =>
  error instanceof NvmeError && (error.status & 0x7ff) === expected;

for (const [reactors, transport] of [
  [0, 'tcp'],
  [1, 'tcp'],
  [3, 'tcp'],
  [0, 'net'],
  [0, 'loop'],
] as const) {
  test(`${reactors} reactors over ${transport}: data, several hosts and queues, counters, clean close`, async () => {
    const { target, attach } = await serving(reactors, transport);
    const hosts = await Promise.all([attach({ nrIoQueues: 3 }), attach({ hdrDigest: true, dataDigest: true })]);
    const data = Buffer.from(Array.from({ length: 65536 }, (_, i) => (i * 7) & 0xff));
    await hosts[0].namespace(1).write(4, data);
    const back = Buffer.alloc(data.length);
    await hosts[1].namespace(1).read(4, back);
    assert.ok(back.equals(data));
    await hosts[0].namespace(1).writeZeroes(4, 1);
    await hosts[0].namespace(1).deallocate(5, 1);
    await hosts[0].namespace(1).flush();
    await hosts[1].namespace(1).read(4, back);
    assert.ok(back.subarray(0, 8192).every((byte) => byte === 0));
    const stats = target.stats();
    assert.deepEqual([stats.controllers, stats.queues, stats.connections], [2, 4, 6]);
    assert.equal(stats.writtenBytes, 65536);
    assert.ok(stats.readCommands >= 2 && stats.otherCommands >= 3);
    const gone = once(target, 'controller-gone');
    await hosts[0].disconnect();
    assert.equal((await gone)[1], 'connection closed');
    const closed = once(hosts[1], 'closed');
    await target.close();
    await Promise.race([closed, hosts[1].disconnect()]);
    assert.deepEqual(
      [target.stats().controllers, target.stats().queues, target.stats().connections],
      [0, 0, 0],
      'nothing is left',
    );
  });
}

test('what is published holds for the next command', async () => {
  for (const reactors of [0, 2]) {
    const { target, attach } = await serving(reactors);
    const subsystem = target.core.subsystem(NQN)!;
    const port = [...target.core.ports][0]!;
    const host = await attach({ nrIoQueues: 2 });
    const ns = host.namespace(1);
    const block = Buffer.alloc(4096);
    for (let i = 0; i < 50; i++) {
      subsystem.setReadOnly(1, true);
      await assert.rejects(ns.write(0, block), status(Status.NamespaceIsWriteProtected));
      subsystem.setReadOnly(1, false);
      await ns.write(0, block);
      port.setAnaState(1, AnaState.Inaccessible);
      await assert.rejects(ns.read(0, block), status(Status.AnaInaccessible));
      port.setAnaState(1, AnaState.Optimized);
      await ns.read(0, block);
    }
    await target.removeNamespace(NQN, 1);
    await assert.rejects(ns.read(0, block));
    await host.disconnect();
    await target.close();
  }
});

test('a host that is silent beyond its Keep Alive Timeout is gone, with its queues', async () => {
  const { target, port } = await serving(1);
  // A host that connects and then never runs: a raw association of our own host, stopped by hand.
  const host = await connectController({
    traddr: port.address,
    trsvcid: port.port,
    nqn: NQN,
    keepAliveTmo: 0.3,
    ctrlLossTmo: 0,
  });
  const gone = once(target, 'controller-gone');
  const busyUntil = performance.now() + 200;
  while (performance.now() < busyUntil); // late, but within the time
  await host.namespace(1).read(0, Buffer.alloc(4096));
  target.core.controllers[0]!.restartTimer(); // the read was traffic, which counts as Keep Alive
  target.core.tick(performance.now() + 60_000);
  assert.equal((await gone)[1], 'keep alive timeout');
  const end = performance.now() + 5000;
  while (target.stats().queues > 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(target.stats().queues, 0);
  await host.disconnect().catch(() => {});
  await target.close();
});

test('discovery answers on every port and names the address that asked', async () => {
  const target = await createTarget({ reactors: 0 });
  target.addSubsystem({ nqn: NQN });
  const any = await target.listen({ address: '0.0.0.0', port: 0, subsystems: [NQN] });
  const bare = await target.listen({ address: '127.0.0.1', port: 0 });
  const log = await discover({ traddr: '127.0.0.1', trsvcid: bare.port });
  const entry = log.records.find((record) => record.subnqn === NQN)!;
  assert.deepEqual([entry.traddr, entry.trsvcid], ['127.0.0.1', String(any.port)]);
  await any.close();
  const after = await discover({ traddr: '127.0.0.1', trsvcid: bare.port });
  assert.equal(
    after.records.some((record) => record.subnqn === NQN),
    false,
  );
  assert.notEqual(after.genctr, log.genctr);
  await target.close();
});

test('errors of an operator: codes and sentences', async () => {
  const { target, port } = await serving(1);
  const code = (expected: string, sentence: RegExp) => (error: unknown) =>
    error instanceof NvbraidError && error.code === expected && sentence.test(error.message);
  const listen = { address: '127.0.0.1', subsystems: [NQN] };
  await assert.rejects(target.listen({ ...listen, port: port.port }), code('EADDRINUSE', /in use/));
  await assert.rejects(target.listen({ ...listen, port: 0, transport: 'net' }), code('ENOTSUP', /without reactors/));
  await assert.rejects(target.listen({ ...listen, port: 0, transport: 'rdma' }), code('EINVAL', /rdma/));
  await assert.rejects(
    target.listen({ ...listen, port: 0, subsystems: ['nqn.2026-01.x:none'] }),
    code('ENOENT', /none/),
  );
  await assert.rejects(
    target.addNamespace(NQN, { device: fileDevice({ path: join(scratch, 'absent.img'), blockSize: 4096 }) }),
    code('ENOENT', /absent\.img/),
  );
  const open = openDevice(await prepareDevice(memoryDevice({ size: 1 << 20 })), { threads: 1 });
  await assert.rejects(target.addNamespace(NQN, { device: open }), code('EINVAL', /reactors/));
  await assert.rejects(createTarget({ reactors: -1 }), code('EINVAL', /reactors/));
  const path = join(scratch, 'twice.img');
  const device = () => fileDevice({ path, size: 1 << 20, create: true, blockSize: 4096 });
  await target.addNamespace(NQN, { nsid: 7, device: device() });
  await assert.rejects(target.addNamespace(NQN, { device: device() }), code('EBUSY', /twice\.img/));
  await assert.rejects(
    target.addNamespace(NQN, { nsid: 7, device: memoryDevice({ size: 1 << 20 }) }),
    code('EBUSY', /7/),
  );
  await target.removeNamespace(NQN, 7);
  assert.equal(await target.addNamespace(NQN, { nsid: 7, device: device() }), 7, 'the file is free again');
  await target.close();
  assert.ok(existsSync(path));
});

test('a peer that breaks the protocol is told, counted and closed; others go on', async () => {
  const { target, port, attach } = await serving(1);
  const host = await attach();
  const socket = netConnect(port.port, port.address);
  const answer = once(socket, 'data') as Promise<[Buffer]>;
  socket.write(Buffer.alloc(64, 0xee));
  assert.equal((await answer)[0][0], 3, 'C2HTermReq');
  await once(socket, 'end');
  socket.end();
  await host.namespace(1).read(0, Buffer.alloc(4096));
  assert.equal(target.stats().fatalErrors, 1);
  await host.disconnect();
  await target.close();
});

test('a reactor that fails gives its queues back and is reported', async () => {
  const failed = Promise.withResolvers<Error>();
  const gone: number[] = [];
  const reactor = new Reactor({
    index: 0,
    poolBytes: 1 << 20,
    threads: 1,
    limits: targetLimits({}, 1 << 20),
    limitMet: () => {},
    forwarded: () => {},
    queueGone: (association) => gone.push(association),
    log: () => {},
    failed: (_reactor, error) => failed.resolve(error),
  });
  await reactor.ready;
  await reactor.barrier();
  reactor.publish({ kind: 'subsystem', snapshot: null } as unknown as ToReactor);
  assert.match((await failed.promise).message, /null/);
  await reactor.barrier();
  await reactor.stop();
  assert.deepEqual(gone, []);
});

test('a target without connections does not keep the process alive after close, and close may be called twice', async () => {
  const target: Target = await createTarget({ reactors: 2 });
  await target.close();
  await target.close();
});

test('128 I/O queues of depth 1024 on two reactors, over IPv6', async () => {
  const target = await createTarget({ reactors: 2 });
  target.addSubsystem({ nqn: NQN });
  await target.addNamespace(NQN, { device: memoryDevice({ size: 16 << 20, blockSize: 512 }) });
  const port = await target.listen({ address: '::1', port: 0, subsystems: [NQN] });
  const host = await connectController({
    traddr: '::1',
    trsvcid: port.port,
    nqn: NQN,
    nrIoQueues: 128,
    queueSize: 1024,
  });
  assert.equal(target.stats().queues, 128);
  const ns = host.namespace(1);
  const blocks = Array.from({ length: 8192 }, (_, i) => Buffer.alloc(512, i * 37));
  await Promise.all(blocks.map((block, i) => ns.write(i, block)));
  const back = blocks.map(() => Buffer.alloc(512));
  await Promise.all(back.map((block, i) => ns.read(i, block)));
  assert.ok(back.every((block, i) => block.equals(blocks[i]!)));
  await host.disconnect();
  await target.close();
});

test('when a reactor dies its hosts lose their connections at once and find a new one', async () => {
  const { target, attach } = await serving(1);
  const logged = once(target, 'log');
  const host = await attach({ reconnectDelay: 0.1 });
  const ns = host.namespace(1);
  await ns.write(3, Buffer.alloc(4096, 3));
  // A snapshot that no reactor can take: a programmer error, as far as the reactor is concerned.
  const subsystem = target.core.subsystem(NQN)!;
  const good = subsystem.snapshot.bind(subsystem);
  subsystem.snapshot = () => null as unknown as ReturnType<typeof good>;
  const lost = once(host, 'state');
  subsystem.setReadOnly(1, true);
  subsystem.snapshot = good;
  assert.match(String((await logged)[0]), /reactor 0 failed/);
  await lost;
  subsystem.setReadOnly(1, false);
  const back = Buffer.alloc(4096);
  await ns.read(3, back);
  assert.equal(back[100], 3);
  await host.disconnect();
  await target.close();
});
