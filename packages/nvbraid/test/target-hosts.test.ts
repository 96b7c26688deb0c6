import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { memoryDevice, type PreparedDevice } from '@nvbraid/blockdev';
import { IoOpcode, PduType } from '@nvbraid/wire';
import { connectController, createTarget, NvbraidError, type Target, type TargetOptions } from 'nvbraid';
import { HeldDevice } from './support/held-device.ts';
import { RawPeer, rw } from './support/raw-peer.ts';

/* What is known of each host, and what each may do, with real hosts on real sockets. */

const NQN = 'nqn.2026-01.org.nvbraid:hosts';
const RAW = 'nqn.2026-01.org.nvbraid:raw';
const { Read } = IoOpcode;

async function serving(options: TargetOptions, transport = 'tcp', device: object = memoryDevice({ size: 8 << 20 })) {
  const target = await createTarget(options);
  target.addSubsystem({ nqn: NQN });
  await target.addNamespace(NQN, { device: device as PreparedDevice });
  const { port } = await target.listen({ transport, address: '127.0.0.1', port: 0, subsystems: [NQN] });
  const attach = (name: string, more: object = {}) =>
    connectController({
      traddr: '127.0.0.1',
      trsvcid: port,
      nqn: NQN,
      hostnqn: `nqn.2026-01.org.nvbraid:${name}`,
      ...more,
    });
  return { target, port, attach };
}

/** Closing makes everything stable first, on a device that must be let go. */
async function closing(target: Target, device: HeldDevice, peers: readonly RawPeer[]): Promise<void> {
  for (const peer of peers) peer.reset();
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

for (const [reactors, transport] of [
  [0, 'tcp'],
  [0, 'net'],
  [2, 'tcp'],
] as const) {
  test(`hosts are counted apart, with ${reactors} reactors over ${transport}`, async () => {
    const { target, attach } = await serving({ reactors }, transport);
    const busy = await attach('busy', { nrIoQueues: 2 });
    const idle = await attach('idle');
    const block = Buffer.alloc(4096);
    for (let i = 0; i < 10; i++)
      await Promise.all([busy.namespace(1).write(i, block), busy.namespace(1).read(i, block)]);
    const of = (name: string) => target.hosts.list().find(({ hostnqn }) => hostnqn.endsWith(name))!;
    assert.equal(target.hosts.list().length, 2);
    // An answer is counted when it has been sent: the host may be quicker.
    while (of('busy').commandsUnderWay > 0 || of('busy').commands < 20) await turn();
    assert.equal(of('busy').controllers, 1);
    assert.equal(of('busy').queues, 2);
    assert.ok(of('busy').receivedBytes > 10 * 4096 && of('busy').sentBytes > 10 * 4096);
    assert.equal(of('idle').queues, 1);
    assert.ok(of('idle').receivedBytes < 4096, 'a Connect at most');
    await busy.disconnect();
    while (target.hosts.list().length > 1) await turn();
    await idle.disconnect();
    await target.close();
  });

  test(`a rate slows one host down and leaves the other alone, and can be changed, with ${reactors} reactors over ${transport}`, async () => {
    const slowNqn = 'nqn.2026-01.org.nvbraid:slow';
    const options = { reactors, hosts: { [slowNqn]: { iops: 100, iopsBurst: 1 } } };
    const { target, attach } = await serving(options, transport);
    const slow = await attach('slow');
    const quick = await attach('quick');
    const block = Buffer.alloc(4096);
    let done = 0;
    const reads = Array.from({ length: 300 }, async () => {
      await slow.namespace(1).read(0, block);
      done++;
    });
    for (let i = 0; i < 200; i++) await quick.namespace(1).read(0, block);
    assert.ok(done < 300, 'these would take three seconds');
    target.hosts.setOptions(slowNqn, null);
    await Promise.all(reads);
    const info = target.hosts.list().find(({ hostnqn }) => hostnqn === slowNqn)!;
    assert.ok(info.throttled > 0, `${info.throttled}`);
    assert.equal(target.hosts.list().find(({ hostnqn }) => hostnqn !== slowNqn)!.throttled, 0);
    await slow.disconnect();
    await quick.disconnect();
    await target.close();
  });
}

test('a host with as many commands as it may have is not read; when they end it goes on', async () => {
  const device = new HeldDevice();
  const { target, port, attach } = await serving({ reactors: 0, hosts: { [RAW]: { commands: 4 } } }, 'tcp', device);
  const { cntlid } = await RawPeer.admin(port, NQN);
  const first = await RawPeer.io(port, NQN, cntlid, 1);
  const second = await RawPeer.io(port, NQN, cntlid, 2);
  first.write(...Array.from({ length: 4 }, (_, i) => rw(Read, i, i, 1)));
  await device.started(4);
  second.write(rw(Read, 9, 9, 1));
  while (target.hosts.list()[0]!.held === 0) await turn();
  assert.equal(target.hosts.list()[0]!.commandsUnderWay, 4);
  assert.equal(target.hosts.list()[0]!.payloadBytes, 4 * 4096);
  const other = await attach('other');
  const read = other.namespace(1).read(0, Buffer.alloc(4096));
  await device.started(5);
  device.finish(1);
  await device.started(6);
  device.finish();
  await read;
  assert.equal((await second.pdu())[0], PduType.C2HData);
  await other.disconnect();
  await closing(target, device, [first, second]);
});

test('devices are told whose operations are whose, by hosts and not by queues, and with what weight', async () => {
  const device = new HeldDevice();
  const { target, port, attach } = await serving({ reactors: 0, hosts: { [RAW]: { weight: 7 } } }, 'tcp', device);
  const { cntlid } = await RawPeer.admin(port, NQN);
  const peers = [await RawPeer.io(port, NQN, cntlid, 1), await RawPeer.io(port, NQN, cntlid, 2)];
  for (const [i, peer] of peers.entries()) {
    peer.write(rw(Read, 1, 0, 1), rw(Read, 2, 0, 1));
    await device.started(2 * i + 2);
  }
  const other = await attach('other');
  const read = other.namespace(1).read(0, Buffer.alloc(4096));
  await device.started(5);
  const [mine, , , last, theirs] = device.held.map(({ owner }) => owner!);
  assert.equal(last, mine);
  assert.notEqual(theirs, mine);
  assert.deepEqual([mine!.weight, theirs!.weight], [7, 1]);
  target.hosts.setOptions(RAW, { weight: 2 });
  peers[0]!.write(rw(Read, 3, 0, 1));
  await device.started(6);
  assert.equal(mine!.weight, 2);
  device.finish();
  await read;
  await other.disconnect();
  await closing(target, device, peers);
});

test('the payload memory of one host is bounded, however many queues it has; others find theirs', async () => {
  const device = new HeldDevice();
  const limits = { payloadBytesPerHost: 1 << 20 };
  const { target, port, attach } = await serving({ reactors: 0, poolBytes: 8 << 20, limits }, 'tcp', device);
  const { cntlid } = await RawPeer.admin(port, NQN);
  const peers = [];
  for (let qid = 1; qid <= 8; qid++) {
    const peer = await RawPeer.io(port, NQN, cntlid, qid);
    peers.push(peer);
    peer.write(rw(Read, 1, 0, 128), rw(Read, 2, 0, 128));
  }
  // Twice the limit, since no queue held anything before; the pool has room for all sixteen.
  await device.started(4);
  const other = await attach('other');
  const read = other.namespace(1).read(0, Buffer.alloc(4096));
  await device.started(5);
  const raw = () => target.hosts.list().find(({ hostnqn }) => hostnqn === RAW)!;
  assert.equal(device.submitted, 5);
  assert.equal(raw().payloadBytes, 4 * 128 * 4096);
  device.finish();
  await read;
  while (device.submitted < 17) {
    assert.ok(raw().payloadBytes <= 2 << 20);
    device.finish();
    await turn();
  }
  await other.disconnect();
  await closing(target, device, peers);
});

test('what a subsystem has done counts when it is gone, and its name is not kept', async () => {
  const { target, attach } = await serving({ reactors: 1 });
  const host = await attach('passing', { ctrlLossTmo: 0 });
  await host.namespace(1).write(0, Buffer.alloc(4096));
  const before = target.stats();
  assert.equal(before.writeCommands, 1);
  await target.removeSubsystem(NQN);
  assert.deepEqual(
    { ...target.stats(), connections: 0, queues: 0, controllers: 0 },
    { ...before, connections: 0, queues: 0, controllers: 0 },
  );
  await host.disconnect().catch(() => {});
  await target.close();
});

test('options of a host that cannot be: a sentence names them and what is possible', async () => {
  const refused = (hosts: object, words: RegExp): Promise<void> =>
    assert.rejects(
      createTarget({ reactors: 0, hosts: { x: hosts } }),
      (error) => error instanceof NvbraidError && error.code === 'EINVAL' && words.test(error.message),
    );
  await refused({ wait: 3 }, /a host has no option wait: there are weight,/);
  await refused({ weight: 0 }, /weight of a host is a whole number from 1 to 100: 0/);
  await refused({ iops: 0.5 }, /iops of a host/);
});
