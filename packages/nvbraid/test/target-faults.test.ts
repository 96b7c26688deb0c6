import assert from 'node:assert/strict';
import { closeSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Memory } from '@nvbraid/base';
import {
  fileDevice,
  memoryDevice,
  type PreparedDevice,
  prepareDevice,
  releaseDevice,
  volatileCache,
} from '@nvbraid/blockdev';
import type { QueueHandoff, SubsystemSnapshot } from '@nvbraid/target';
import { type Connection, transport } from '@nvbraid/transport';
import { Cqe, DsmRange, DsmSqe, IoOpcode, PduType, Property, SglId, Status } from '@nvbraid/wire';
import { connectController, createTarget, type TargetOptions } from 'nvbraid';
import type { QueueOwner } from '../src/data-plane.ts';
import { QueueDriver, type StreamCore } from '../src/queue-driver.ts';
import { Reactor } from '../src/reactor.ts';
import { targetLimits } from '../src/target-limits.ts';
import { drivenPlane, snapshot } from './support/driven-plane.ts';
import { HeldDevice } from './support/held-device.ts';
import { capsule, connectCapsule, RawPeer, rw } from './support/raw-peer.ts';

/* What hosts, operators and devices did that a target had not expected: each test tells one such story. */

const NQN = 'nqn.2026-01.org.nvbraid:faults';
const { Read, Write } = IoOpcode;
const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-faults-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

async function serving(device: object, options: TargetOptions = {}) {
  const target = await createTarget({ reactors: 0, ...options });
  const logged: string[] = [];
  target.on('log', (message) => logged.push(message));
  target.addSubsystem({ nqn: NQN });
  const nsid = await target.addNamespace(NQN, { device: device as PreparedDevice });
  const { port, portid } = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
  return { target, nsid, port, portid, logged };
}

/** Closing makes everything stable first, on a device that must be let go. */
async function closing(target: { close(): Promise<void> }, device: HeldDevice): Promise<void> {
  let closed = false;
  const closes = target.close().then(() => {
    closed = true;
  });
  while (!closed) {
    device.finish();
    await turn();
  }
  await closes;
}

function deallocate(cid: number, ranges: { slba: number; nlb: number }[]): Uint8Array {
  const data = Buffer.concat(ranges.map((range) => DsmRange.toBytes(range)));
  const sgl = { psdt: 1, sglId: SglId.inCapsule, sglLength: data.length };
  const opc = IoOpcode.DatasetManagement;
  return capsule(DsmSqe.toBytes({ opc, cid, nsid: 1, nr: ranges.length - 1, ad: 1, ...sgl }), data);
}

const flush = (cid: number): Uint8Array => capsule(DsmSqe.toBytes({ opc: IoOpcode.Flush, cid, nsid: 1, psdt: 1 }));

// ---------------------------------------------------------------- hand-over to a reactor

test('hosts that reset right behind the Connect of an I/O queue: the target goes on', async () => {
  const { target, port } = await serving(memoryDevice({ size: 1 << 20 }), { reactors: 1 });
  const { admin, cntlid } = await RawPeer.admin(port, NQN);
  for (let i = 0; i < 30; i++) {
    const peer = await RawPeer.open(port);
    peer.write(connectCapsule(NQN, 1, cntlid));
    peer.reset();
  }
  assert.equal((await admin.property(Property.CSTS)) & 1, 1);
  await target.close();
});

test('a Connect with the beginning of the next PDU behind it, received straight to its place, is no hand-over yet', async () => {
  const { target, port } = await serving(memoryDevice({ size: 1 << 20 }), { reactors: 1 });
  const { admin, cntlid } = await RawPeer.admin(port, NQN);
  const peer = await RawPeer.open(port);
  const whole = connectCapsule(NQN, 1, cntlid, 127, 8192);
  peer.write(whole.subarray(0, 200));
  await admin.property(Property.CSTS); // by now the target waits for the rest
  const next = flush(9);
  peer.write(whole.subarray(200), next.subarray(0, 1));
  assert.equal((await peer.response()).status, 0);
  peer.write(next.subarray(1));
  // Whoever owns the queue by then answers: a command sent before the answer to Connect is out of sequence.
  assert.equal((await peer.response()).cid, 9);
  await target.close();
});

// ---------------------------------------------------------------- payload memory

test('reads that wait for memory run when a queue that is gone gives its memory back', async () => {
  const device = new HeldDevice();
  const { target, port } = await serving(device, { poolBytes: 1 << 20 });
  const { cntlid } = await RawPeer.admin(port, NQN);
  const holder = await RawPeer.io(port, NQN, cntlid, 1);
  const waiter = await RawPeer.io(port, NQN, cntlid, 2);
  for (let i = 0; i < 4; i++) holder.write(rw(Read, i, 0, 64));
  await device.started(4);
  // The first of a queue always gets its memory; the second must wait, which the Flush behind it shows.
  waiter.write(rw(Read, 8, 0, 64), rw(Read, 9, 0, 64), flush(10));
  await device.started(6);
  holder.reset();
  while (target.stats().queues === 2 && target.stats().connections === 3) await turn();
  device.finish(4);
  await device.started(7);
  await closing(target, device);
});

test('a host that is silent after its R2Ts does not keep others from their memory', async () => {
  const device = new HeldDevice();
  const { target, port } = await serving(device, { poolBytes: 1 << 20 });
  const { cntlid } = await RawPeer.admin(port, NQN);
  const silent = await RawPeer.io(port, NQN, cntlid, 1);
  const other = await RawPeer.io(port, NQN, cntlid, 2);
  silent.write(rw(Write, 1, 0, 256));
  assert.equal((await silent.pdu())[0], PduType.R2T);
  other.write(rw(Read, 9, 0, 1));
  await device.started(1);
  device.finish();
  assert.deepEqual(await other.response(), { cid: 9, status: 0, dw0: 0 });
  await closing(target, device);
});

test('a flood of writes with their data stops being read while the device is slow, and goes on afterwards', async () => {
  const device = new HeldDevice();
  const { plane, adopt } = drivenPlane({ poolBytes: 64 * 1024 });
  plane.update(snapshot([device]));
  const floods = [adopt(1, 512), adopt(2, 512)];
  const sent = [0, 0];
  while (sent[0]! < 200 || sent[1]! < 200 || device.held.length > 0) {
    for (const [i, connection] of floods.entries()) {
      for (let n = 0; n < 8 && sent[i]! < 200 && !connection.paused; n++) {
        connection.receive(rw(Write, sent[i]!++, 0, 2, new Uint8Array(8192)));
      }
    }
    assert.ok(plane.environment.pool.loanedBytes <= 64 * 1024 + 2 * 8192, 'no more than one write per queue beyond');
    device.finish(20);
    await turn();
  }
  assert.deepEqual(sent, [200, 200]);
  for (const connection of floods) {
    const bytes = connection.sent.reduce((sum, { length }) => sum + length, 0);
    assert.deepEqual([connection.paused, bytes], [false, 200 * 24], 'each is answered once and none is forgotten');
  }
  assert.equal(plane.environment.pool.loanedBytes, 0);
  await plane.close();
});

test('a flood whose connection ends while it is not being read leaves nothing behind', async () => {
  const device = new HeldDevice();
  const { plane, adopt, gone } = drivenPlane({ poolBytes: 64 * 1024 });
  plane.update(snapshot([device]));
  const [ending, other] = [adopt(1, 512), adopt(2, 512)];
  for (let cid = 0; !other.paused; cid++) {
    if (!ending.paused) ending.receive(rw(Write, cid, 0, 2, new Uint8Array(8192)));
    other.receive(rw(Write, cid, 0, 2, new Uint8Array(8192)));
  }
  ending.handler!.closed(null);
  assert.deepEqual(gone, [], 'the device still works for it');
  device.finish();
  await turn();
  assert.deepEqual([gone, other.paused, plane.environment.pool.loanedBytes], [[1], false, 0]);
  await plane.close();
});

// ---------------------------------------------------------------- namespaces that go

test('a namespace is removed when its device has finished, not before', async () => {
  const device = new HeldDevice();
  const { target, port, nsid } = await serving(device);
  const { cntlid } = await RawPeer.admin(port, NQN);
  const peer = await RawPeer.io(port, NQN, cntlid);
  peer.write(rw(Write, 1, 0, 1, new Uint8Array(4096)));
  await device.started(1);
  let removed = false;
  const removal = target.removeNamespace(NQN, nsid).then(() => {
    removed = true;
  });
  for (let i = 0; i < 5; i++) await turn();
  assert.equal(removed, false);
  device.finish();
  await removal;
  assert.equal((await peer.response()).status, 0);
  await target.close();
});

test('a namespace is removed when its device has finished in the reactor, not before', async () => {
  const device = memoryDevice({ size: 64 << 20 });
  const bytes = new Uint8Array(device.buffer).fill(0xff);
  const { target, port, nsid } = await serving(device, { reactors: 1 });
  const { cntlid } = await RawPeer.admin(port, NQN);
  const peer = await RawPeer.io(port, NQN, cntlid);
  peer.write(deallocate(1, [{ slba: 0, nlb: bytes.length / 4096 }]));
  while (bytes[0] !== 0) await turn(); // under way, in many turns of the reactor
  await target.removeNamespace(NQN, nsid);
  assert.equal(bytes.at(-1), 0);
  assert.equal((await peer.response()).cid, 1);
  await target.close();
});

test('writes to a removed namespace never reach the file that is opened next', async () => {
  const file = (name: string) =>
    fileDevice({ path: join(scratch, name), create: true, size: 16 << 20, blockSize: 4096 });
  const { target, port, nsid } = await serving(file('one'), { reactors: 1 });
  const host = await connectController({ traddr: '127.0.0.1', trsvcid: port, nqn: NQN, ctrlLossTmo: 0 });
  const ns = host.namespace(nsid);
  const data = Buffer.alloc(1 << 20, 0xab);
  const writes = Array.from({ length: 15 }, (_, i) =>
    ns.write(i * 256, data).then(
      () => i,
      () => -1,
    ),
  );
  await Promise.race(writes);
  await target.removeNamespace(NQN, nsid);
  await target.addNamespace(NQN, { nsid: 2, device: file('two') });
  const written = (await Promise.all(writes)).filter((i) => i >= 0);
  const one = readFileSync(join(scratch, 'one'));
  for (const i of written) assert.ok(one.subarray(i << 20, (i + 1) << 20).equals(data), 'acknowledged is written');
  assert.equal(readFileSync(join(scratch, 'two')).includes(0xab), false);
  await host.disconnect();
  await target.close();
});

test('a list of ranges is not continued on a namespace that has gone meanwhile', async () => {
  const device = new HeldDevice();
  const { target, port, nsid } = await serving(device);
  const { cntlid } = await RawPeer.admin(port, NQN);
  const peer = await RawPeer.io(port, NQN, cntlid);
  const ranges = [0, 5].map((slba) => ({ slba, nlb: 1 }));
  peer.write(deallocate(5, ranges));
  await device.started(1);
  const removal = target.removeNamespace(NQN, nsid);
  device.finish();
  await removal;
  assert.deepEqual(await peer.response(), { cid: 5, status: Status.NamespaceNotReady & 0x7ff, dw0: 0 });
  assert.equal(device.submitted, 1);
  await target.close();
});

test('a list of ranges is not continued by a thread that ends', async () => {
  const device = new HeldDevice();
  const { plane, adopt, gone } = drivenPlane();
  plane.update(snapshot([device]));
  const ranges = [0, 5].map((slba) => ({ slba, nlb: 1 }));
  adopt(1).receive(deallocate(5, ranges));
  const closed = plane.close();
  assert.deepEqual([device.closed, gone], [true, []], 'it waits for the range under way');
  device.finish();
  await closed;
  assert.deepEqual([device.submitted, gone], [1, [1]]);
});

test('long lists of ranges under a namespace that is removed: the reactor lives', async () => {
  const device = fileDevice({ path: join(scratch, 'ranges'), create: true, size: 16 << 20, blockSize: 4096 });
  const { target, port, nsid, logged } = await serving(device, { reactors: 1 });
  const other = await target.addNamespace(NQN, { device: memoryDevice({ size: 1 << 20 }) });
  const host = await connectController({ traddr: '127.0.0.1', trsvcid: port, nqn: NQN, nrIoQueues: 1, ctrlLossTmo: 0 });
  const ns = host.namespace(nsid);
  const ranges = Array.from({ length: 256 }, (_, i) => ({ slba: i * 16, blocks: 12 }));
  const lists = Array.from({ length: 8 }, () => ns.deallocate(ranges).catch(() => {}));
  await Promise.race(lists);
  await target.removeNamespace(NQN, nsid);
  await Promise.all(lists);
  await host.namespace(other).read(0, Buffer.alloc(4096));
  assert.deepEqual(logged, []);
  await host.disconnect();
  await target.close();
});

test('the last namespace goes and another comes: a queue that was connected all the time serves it', async () => {
  const [first, second] = [new HeldDevice(), new HeldDevice()];
  const { target, port, nsid } = await serving(first);
  const { cntlid } = await RawPeer.admin(port, NQN);
  const peer = await RawPeer.io(port, NQN, cntlid);
  await target.removeNamespace(NQN, nsid);
  await target.addNamespace(NQN, { nsid, device: second });
  peer.write(rw(Write, 1, 0, 1, new Uint8Array(4096)));
  await Promise.race([second.started(1), peer.response().then(({ status }) => assert.fail(`status ${status}`))]);
  await closing(target, second);
});

test('a subsystem that comes back under its old name has none of its old namespaces', async () => {
  const [old, fresh] = [new HeldDevice(), new HeldDevice()];
  const { target, port, portid, nsid } = await serving(old);
  const subsystem = target.core.subsystem(NQN)!;
  for (let i = 0; i < 4; i++) subsystem.setReadOnly(nsid, i % 2 === 0); // many versions
  const before = await RawPeer.admin(port, NQN);
  (await RawPeer.io(port, NQN, before.cntlid)).write(rw(Read, 1, 0, 1));
  await old.started(1); // so that a queue still knows the old table
  target.core.removeSubsystem(NQN);
  assert.equal(old.closed, true);
  target.addSubsystem({ nqn: NQN });
  await target.link(portid, NQN);
  await target.addNamespace(NQN, { device: fresh });
  const { cntlid } = await RawPeer.admin(port, NQN);
  const peer = await RawPeer.io(port, NQN, cntlid);
  peer.write(rw(Write, 1, 0, 1, new Uint8Array(4096)));
  await fresh.started(1);
  assert.equal(old.submitted, 1);
  old.finish();
  await closing(target, fresh);
});

test('a namespace that takes the number of one still being removed keeps its file, and gives it back with its subsystem', async () => {
  const device = new HeldDevice();
  const { target, port, nsid } = await serving(device);
  const { cntlid } = await RawPeer.admin(port, NQN);
  const peer = await RawPeer.io(port, NQN, cntlid);
  peer.write(rw(Read, 1, 0, 1));
  await device.started(1);
  const removal = target.removeNamespace(NQN, nsid);
  const file = fileDevice({ path: join(scratch, 'next'), create: true, size: 1 << 20, blockSize: 4096 });
  await target.addNamespace(NQN, { nsid, device: file });
  device.finish();
  await removal;
  await assert.rejects(prepareDevice(file), { code: 'EBUSY' });
  await target.removeSubsystem(NQN);
  await releaseDevice(await prepareDevice(file));
  await target.close();
});

test('a subsystem whose last port is closed keeps its devices for the next port', async () => {
  const device = new HeldDevice();
  const { target, portid, nsid } = await serving(device);
  target.core.unlink(portid, NQN);
  const { port } = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
  const { cntlid } = await RawPeer.admin(port, NQN);
  const peer = await RawPeer.io(port, NQN, cntlid);
  peer.write(rw(Read, 1, 0, 1));
  await device.started(1);
  device.finish();
  assert.equal((await peer.response()).status, 0);
  for (const each of target.core.ports) target.core.unlink(each.portId, NQN);
  assert.equal(device.closed, false);
  await target.removeNamespace(NQN, nsid);
  assert.equal(device.closed, true, 'removed without any port');
  await target.close();
});

test('a namespace whose device cannot be opened fails its own commands, and only those', async () => {
  const good = new HeldDevice();
  const { plane, adopt, logged } = drivenPlane();
  plane.update(snapshot([{ kind: 'no such thing' }, good]));
  assert.match(logged.join(), /namespace 1 cannot be opened/);
  const connection = adopt(1);
  connection.receive(rw(Write, 3, 0, 1, new Uint8Array(4096)));
  const { sct, sc, cid } = Cqe.parse(Memory.over(connection.sent[0]!).view, 8);
  assert.deepEqual([cid, sct * 256 + sc], [3, Status.InternalError]);
  await plane.close();

  const target = await createTarget({ reactors: 2 });
  target.on('log', (message) => assert.fail(message));
  target.addSubsystem({ nqn: NQN });
  const device = volatileCache(memoryDevice({ size: 1 << 20 }));
  await assert.rejects(
    target.addNamespace(NQN, { device }),
    /one thread/,
    'said to whoever adds it, not in the threads',
  );
  await target.close();
});

// ---------------------------------------------------------------- queues that go

test('a queue that is reset under a write exists once, and its identifier is free only when the write has ended', async () => {
  const device = new HeldDevice();
  const { target, port } = await serving(device);
  const { admin, cntlid } = await RawPeer.admin(port, NQN);
  const first = await RawPeer.io(port, NQN, cntlid);
  first.write(rw(Write, 1, 0, 1, new Uint8Array(4096)));
  await device.started(1);
  first.reset();
  while (target.stats().connections > 1) await turn();
  await admin.setProperty(Property.CC, 0x00460000);
  assert.equal((await admin.property(Property.CSTS)) & 1, 1, 'not reset while a device works for it');
  await assert.rejects(RawPeer.io(port, NQN, cntlid), /status/);
  device.finish();
  while (((await admin.property(Property.CSTS)) & 1) === 1) await turn();
  await admin.setProperty(Property.CC, 0x00460001);
  const second = await RawPeer.io(port, NQN, cntlid);
  await assert.rejects(RawPeer.io(port, NQN, cntlid), /status/, 'there is one queue 1');
  second.write(rw(Write, 2, 0, 1, new Uint8Array(4096)));
  await device.started(2);
  device.finish();
  assert.equal((await second.response()).cid, 2);
  await closing(target, device);
});

test('a queue that is told to close runs nothing any more, not even what has been received', () => {
  const device = new HeldDevice();
  let close = false;
  const { plane, adopt, gone } = drivenPlane({ beforeReceive: () => close && plane.closeQueue(1, 1) });
  plane.update(snapshot([device]));
  const connection = adopt(1);
  close = true;
  connection.receive(rw(Write, 1, 0, 1, new Uint8Array(4096)));
  assert.deepEqual([connection.destroyed, device.submitted, gone], [true, 0, [1]]);
});

test('what is published holds for a command whose data was received straight to its place', () => {
  const order: string[] = [];
  let left = 8192;
  const core: StreamCore = {
    receive() {},
    transmit: () => false,
    finished: false,
    get directLength() {
      return left;
    },
    directMemory: Memory.alloc(8192),
    directOffset: 0,
    directReceived(length) {
      left -= length;
      order.push('command');
    },
  };
  const connection = { backlogBytes: 0, start() {}, send() {} } as unknown as Connection;
  const driver = new QueueDriver(core, connection, { beforeReceive: () => order.push('published'), closed() {} });
  driver.directReceived(8192);
  assert.deepEqual(order, ['published', 'command']);
});

test('commands that waited for memory see what was published meanwhile', async () => {
  const device = new HeldDevice();
  let removed = false;
  const beforeReceive = (): void => {
    if (removed) plane.update(snapshot([]));
  };
  const { plane, adopt } = drivenPlane({ beforeReceive, poolBytes: 64 * 1024 });
  plane.update(snapshot([device]));
  const connection = adopt(1);
  for (let cid = 0; cid < 2; cid++) connection.receive(rw(Read, cid, 0, 16)); // the second finds no memory
  assert.equal(device.submitted, 1);
  removed = true;
  device.finish();
  await turn();
  const { sct, sc, cid } = Cqe.parse(Memory.over(connection.sent.at(-1)!).view, 8);
  assert.deepEqual([cid, sct * 256 + sc], [1, Status.InvalidNamespaceOrFormat & 0x7ff]);
  assert.equal(device.submitted, 1);
});

// ---------------------------------------------------------------- threads that die, targets that close

test('what a dead reactor had closed is left alone, whoever has got the number since', async () => {
  const failed = Promise.withResolvers<void>();
  const gone: number[] = [];
  const reactor = new Reactor({
    index: 0,
    poolBytes: 1 << 20,
    threads: 1,
    limits: targetLimits({}, 1 << 20),
    limitMet: () => {},
    forwarded: () => {},
    queueGone: (_association, qid) => gone.push(qid),
    log() {},
    failed: () => failed.resolve(),
  });
  await reactor.ready;
  const row = transport('tcp');
  const accepted: Connection[] = [];
  const listener = await row.listen({ address: '127.0.0.1', port: 0 }, (connection) => accepted.push(connection));
  const dial = () => row.connect({ address: '127.0.0.1', port: listener.local.port });
  const quiet = { received() {}, drained() {}, closed() {} };
  const open = async () => {
    const connection = await dial();
    connection.start(quiet);
    return connection.detach();
  };
  const publish = reactor.publish.bind(reactor);
  reactor.publish = () => {}; // the thread never gets them: what counts is what the main thread remembers
  const hand = (fd: number, qid: number) =>
    reactor.adopt('tcp', fd, { qid } as QueueHandoff, { association: 1 } as QueueOwner);
  const numbers = [await open(), await open()];
  numbers.forEach(hand);
  for (const fd of numbers) closeSync(fd); // as the reactor had done
  const file = openSync(import.meta.filename, 'r');
  const socket = await open();
  assert.deepEqual(new Set([file, socket]), new Set(numbers), 'the system gives the lowest free number');
  hand(1 << 20, 2); // never open
  publish({ kind: 'subsystem', snapshot: null as unknown as SubsystemSnapshot });
  await failed.promise;
  assert.deepEqual(gone, [0, 1, 2]);
  assert.equal(reactor.load, Number.POSITIVE_INFINITY, 'it gets no queues any more');
  assert.ok(fstatSync(file).isFile());
  assert.ok(fstatSync(socket).isSocket());
  closeSync(file);
  closeSync(socket);
  await listener.close();
  for (const connection of accepted) {
    connection.start(quiet);
    connection.destroy(null);
  }
});

for (const reactors of [0, 1, 2]) {
  test(`a target with ${reactors} reactors closes in the middle of everything`, async () => {
    const path = join(scratch, `busy${reactors}`);
    const device = fileDevice({ path, create: true, size: 16 << 20, blockSize: 4096 });
    const { target, nsid, port, logged } = await serving(device, { reactors });
    const host = await connectController({
      traddr: '127.0.0.1',
      trsvcid: port,
      nqn: NQN,
      nrIoQueues: 2,
      ctrlLossTmo: 0,
    });
    const ns = host.namespace(nsid);
    let done = 0;
    const enough = Promise.withResolvers<void>();
    const run = async (worker: number): Promise<void> => {
      const [slba, data] = [worker * 128, Buffer.alloc(512 << 10, worker)];
      for (let step = worker; ; step++) {
        if (step % 4 === 0) await ns.write(slba, data, { fua: step % 8 === 0 });
        else if (step % 4 === 1) await ns.read(slba, Buffer.alloc(data.length));
        else if (step % 4 === 2) await ns.flush();
        else
          await ns.deallocate([
            { slba, blocks: 64 },
            { slba: slba + 64, blocks: 64 },
          ]);
        if (++done === 100) enough.resolve();
      }
    };
    const workers = Array.from({ length: 30 }, (_, worker) => run(worker).catch(() => {}));
    await enough.promise;
    await target.close();
    await Promise.all(workers);
    assert.equal(
      logged.some((message) => /failed/.test(message)),
      false,
      logged.join('\n'),
    );
    const stats = target.stats();
    assert.deepEqual([stats.controllers, stats.queues, stats.connections], [0, 0, 0]);
    await host.disconnect();
    await prepareDevice(fileDevice({ path, blockSize: 4096 })); // nobody holds it any more
  });
}
