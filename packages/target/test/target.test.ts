import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, NvbraidError } from '@nvbraid/base';
import { AnaState, DISCOVERY_NQN } from '@nvbraid/wire';
import { type NamespaceOptions, nqnProblem, Target } from '../src/index.ts';
import { CC_ENABLE, connectOn, HOST, IdleCommands, NQN, Rig } from './fake-queue.ts';

function fails(code: string, call: () => unknown, message: RegExp): void {
  assert.throws(call, (error) => error instanceof NvbraidError && error.code === code && message.test(error.message));
}

const DISK = { device: null, blockSize: 512, blockCount: 8 };
const ADDRESS = { trtype: 'tcp', adrfam: 'ipv4', traddr: '127.0.0.1', trsvcid: '4420' };

test('names', () => {
  assert.equal(nqnProblem('nqn.2014-08.org.nvmexpress:uuid:x'), null);
  assert.equal(nqnProblem('blktests-subsystem-1'), null, 'as lenient as Linux');
  assert.equal(nqnProblem('ü'.repeat(111)), null, '222 bytes');
  assert.match(nqnProblem('ü'.repeat(112))!, /longer than 223 bytes/);
  assert.match(nqnProblem('')!, /empty/);
  for (const bad of ['a b', 'a\0', 'a\n', 'a\x7f', '\ufffd']) assert.match(nqnProblem(bad)!, /invalid character/);
});

test('subsystems that cannot be', () => {
  const { target } = new Rig();
  fails('EINVAL', () => target.addSubsystem({ nqn: '' }), /subsystem NQN is empty/);
  fails('EINVAL', () => target.addSubsystem({ nqn: 'n'.repeat(224) }), /longer than 223/);
  fails('EINVAL', () => target.addSubsystem({ nqn: DISCOVERY_NQN }), /discovery subsystem/);
  fails('EBUSY', () => target.addSubsystem({ nqn: NQN }), /exists/);
  fails('EINVAL', () => target.addSubsystem({ nqn: 'a', serial: 's'.repeat(21) }), /serial/);
  fails('EINVAL', () => target.addSubsystem({ nqn: 'a', model: 'ü' }), /model/);
  fails('EINVAL', () => target.addSubsystem({ nqn: 'a', firmware: '123456789' }), /firmware/);
  fails('EINVAL', () => target.addSubsystem({ nqn: 'a', cntlidMin: 0 }), /cntlid/);
  fails('EINVAL', () => target.addSubsystem({ nqn: 'a', cntlidMin: 9, cntlidMax: 8 }), /cntlid/);
  fails('EINVAL', () => target.addSubsystem({ nqn: 'a', cntlidMax: 0xfff0 }), /cntlid/);
  fails('EINVAL', () => target.addSubsystem({ nqn: 'a', maxIoQueues: 129 }), /queues/);
  fails('EINVAL', () => target.addSubsystem({ nqn: 'a', maxIoQueues: 0 }), /queues/);
  fails('EINVAL', () => target.addSubsystem({ nqn: 'a', allowedHosts: ['a b'] }), /host NQN/);
  fails('ENOENT', () => target.removeSubsystem('a'), /no subsystem a/);
  assert.equal(target.subsystem('a'), undefined);
  const a = target.addSubsystem({ nqn: 'a' });
  assert.match(a.serial, /^[0-9a-f]{20}$/);
  assert.notEqual(target.addSubsystem({ nqn: 'b' }).serial, a.serial);
  assert.deepEqual(
    [...target.subsystems].map((subsystem) => subsystem.nqn),
    [NQN, 'a', 'b'],
  );
});

test('how many subsystems and hosts there can be', () => {
  const target = new Target(new FakeClock(), { ioCommands: () => new IdleCommands() });
  for (let i = 0; i < 1024; i++) target.addSubsystem({ nqn: `n${i}` });
  fails('EINVAL', () => target.addSubsystem({ nqn: 'one more' }), /subsystem NQN contains/);
  fails('EINVAL', () => target.addSubsystem({ nqn: 'one-more' }), /at most 1024 subsystems/);
  const subsystem = target.subsystem('n0')!;
  subsystem.setAllowAnyHost(false);
  for (let i = 0; i < 1024; i++) subsystem.allowHost(`h${i}`);
  fails('EINVAL', () => subsystem.allowHost('one-more'), /at most 1024 hosts/);
  subsystem.allowHost('h5');
  assert.equal(subsystem.allowedHosts.size, 1024);
  for (let p = 1; p <= 4; p++) {
    target.addPort({ ...ADDRESS, portId: p });
    for (let i = 0; i < 1024; i++) target.link(p, `n${i}`);
  }
  target.addPort({ ...ADDRESS, portId: 5 });
  fails('EINVAL', () => target.link(5, 'n0'), /at most 4096/);
});

test('ports that cannot be', () => {
  const { target } = new Rig();
  fails('EINVAL', () => target.addPort({ ...ADDRESS, portId: -1 }), /0 to 65535/);
  fails('EINVAL', () => target.addPort({ ...ADDRESS, portId: 65536 }), /0 to 65535/);
  fails('EBUSY', () => target.addPort({ ...ADDRESS, portId: 1 }), /exists/);
  fails('EINVAL', () => target.addPort({ ...ADDRESS, trtype: 'carrier-pigeon' }), /trtype/);
  fails('EINVAL', () => target.addPort({ ...ADDRESS, adrfam: 'ipv5' }), /adrfam/);
  fails('EINVAL', () => target.addPort({ ...ADDRESS, traddr: 'x'.repeat(257) }), /traddr/);
  fails('EINVAL', () => target.addPort({ ...ADDRESS, trsvcid: 'x'.repeat(33) }), /trsvcid/);
  fails('ENOENT', () => target.removePort(9), /no port 9/);
  fails('ENOENT', () => target.link(9, NQN), /no port 9/);
  fails('ENOENT', () => target.link(1, 'a'), /no subsystem a/);
  fails('ENOENT', () => target.unlink(1, 'a'), /no subsystem a/);
  assert.equal(target.addPort(ADDRESS).portId, 2);
  assert.equal([...target.ports].length, 2);
});

test('namespaces that cannot be', () => {
  const { subsystem } = new Rig();
  const refuse = (options: Partial<NamespaceOptions>, message: RegExp): void =>
    fails('EINVAL', () => subsystem.addNamespace({ ...DISK, ...options }), message);
  refuse({ nsid: 0 }, /nsid is 1 to 1024/);
  refuse({ nsid: 1025 }, /nsid is 1 to 1024/);
  refuse({ nsid: 1.5 }, /nsid is 1 to 1024/);
  refuse({ blockSize: 256 }, /block size/);
  refuse({ blockSize: 520 }, /block size/);
  refuse({ blockSize: 131072 }, /block size/);
  refuse({ blockCount: 0 }, /at least one block/);
  refuse({ blockCount: 2 ** 50 }, /2\^53/);
  refuse({ uuid: 'x' }, /uuid/);
  refuse({ uuid: '00000000-0000-0000-0000-000000000000' }, /nil/);
  refuse({ nguid: '12' }, /nguid/);
  refuse({ nguid: '0'.repeat(32) }, /nguid/);
  refuse({ eui64: 'x'.repeat(16) }, /eui64/);
  refuse({ anaGroupId: 0 }, /ANA group/);
  refuse({ anaGroupId: 129 }, /ANA group/);
  fails('EBUSY', () => subsystem.addNamespace({ ...DISK, nsid: 1 }), /exists/);
  fails('ENOENT', () => subsystem.removeNamespace(2), /no namespace 2/);
  fails('ENOENT', () => subsystem.resizeNamespace(2, 1), /no namespace 2/);
  fails('ENOENT', () => subsystem.setReadOnly(2, true), /no namespace 2/);
  fails('ENOENT', () => subsystem.setAnaGroup(2, 1), /no namespace 2/);
  fails('EINVAL', () => subsystem.setAnaGroup(1, 200), /ANA group/);
  fails('EINVAL', () => subsystem.resizeNamespace(1, 0), /at least one block/);
  assert.equal(subsystem.namespaces.length, 1);
  for (let nsid = 2; nsid <= 1024; nsid++) assert.equal(subsystem.addNamespace(DISK).nsid, nsid);
  fails('EBUSY', () => subsystem.addNamespace(DISK), /1024 namespaces already/);
  subsystem.removeNamespace(77);
  assert.equal(subsystem.addNamespace(DISK).nsid, 77, 'the lowest that is free');
});

test('a snapshot shows a subsystem as one port leads to it', () => {
  const rig = new Rig();
  const device = { kind: 'a device' };
  rig.subsystem.addNamespace({ ...DISK, nsid: 3, device, anaGroupId: 2, readOnly: true, thin: true });
  rig.port.setAnaState(2, AnaState.PersistentLoss);
  const snapshot = rig.subsystem.snapshot(1);
  assert.deepEqual([snapshot.nqn, snapshot.portId], [NQN, 1]);
  assert.deepEqual(snapshot.namespaces, [
    {
      nsid: 1,
      instance: 1,
      blockSize: 4096,
      blockCount: 1000,
      readOnly: false,
      volatileWriteCache: false,
      thin: false,
      anaGroupId: 1,
      pathStatus: 0,
      device: 'device 1',
    },
    {
      nsid: 3,
      instance: 2,
      blockSize: 512,
      blockCount: 8,
      readOnly: true,
      volatileWriteCache: false,
      thin: true,
      anaGroupId: 2,
      pathStatus: 0x301,
      device,
    },
  ]);
  assert.equal(rig.subsystem.snapshot(99).namespaces[1]!.pathStatus, 0);
  structuredClone(snapshot); // can be posted
});

test('every change makes a new version and tells the runtime', () => {
  const rig = new Rig();
  const changes: (() => unknown)[] = [
    () => rig.subsystem.addNamespace({ ...DISK, nsid: 2 }),
    () => rig.subsystem.resizeNamespace(2, 9),
    () => rig.subsystem.setReadOnly(2, true),
    () => rig.subsystem.setAnaGroup(2, 4),
    () => rig.port.setAnaState(4, AnaState.Change),
    () => rig.subsystem.removeNamespace(2),
  ];
  for (const change of changes) {
    const { version } = rig.subsystem;
    rig.log.length = 0;
    change();
    assert.ok(rig.subsystem.version > version);
    assert.equal(rig.log[0], `namespacesChanged ${rig.subsystem.version}`);
  }
  const { version } = rig.subsystem;
  rig.subsystem.resizeNamespace(1, 1000);
  rig.subsystem.setReadOnly(1, false);
  rig.subsystem.setAnaGroup(1, 1);
  rig.port.setAnaState(4, AnaState.Change);
  assert.equal(rig.subsystem.version, version, 'nothing has changed');
});

test('a namespace that takes the place of another is another instance', () => {
  const rig = new Rig();
  const before = rig.subsystem.namespace(1)!.instance;
  rig.subsystem.removeNamespace(1);
  rig.subsystem.addNamespace({ ...DISK, nsid: 1 });
  assert.ok(rig.subsystem.namespace(1)!.instance > before);
});

test('each access state as the data plane sees it', () => {
  const rig = new Rig();
  const status = (): number => rig.subsystem.snapshot(1).namespaces[0]!.pathStatus;
  for (const [state, expected] of [
    [AnaState.NonOptimized, 0],
    [AnaState.Inaccessible, 0x302],
    [AnaState.PersistentLoss, 0x301],
    [AnaState.Change, 0x303],
    [AnaState.Optimized, 0],
  ] as const) {
    rig.port.setAnaState(1, state);
    assert.equal(status(), expected);
  }
  fails('EINVAL', () => rig.port.setAnaState(0, AnaState.Optimized), /ANA group/);
  fails('EINVAL', () => rig.port.setAnaState(129, AnaState.Optimized), /ANA group/);
});

test('a host that is not allowed any more loses its controllers', () => {
  const rig = new Rig();
  const { queue } = rig.ready();
  const other = rig.ready({ data: { hostnqn: 'nqn.2024-01.example.com:other' } });
  rig.subsystem.setAccess(false, [HOST]);
  assert.ok(!queue.isClosed);
  assert.equal(other.controller.state, 'gone');
  assert.deepEqual(rig.log.slice(-1), ['controllerGone 2 host not allowed']);
  rig.subsystem.removeHost(HOST);
  assert.ok(queue.isClosed);
});

test('controllers go with their way: unlink, port, subsystem', () => {
  for (const [end, reason] of [
    [(rig: Rig) => rig.target.unlink(1, NQN), 'port unlinked'],
    [(rig: Rig) => rig.target.removePort(1), 'port unlinked'],
    [(rig: Rig) => rig.target.removeSubsystem(NQN), 'subsystem removed'],
    [(rig: Rig) => rig.target.close(), 'target closed'],
  ] as const) {
    const rig = new Rig();
    const other = rig.target.addPort({ ...ADDRESS, portId: 2 });
    rig.target.link(2, NQN);
    const { queue, controller } = rig.ready();
    const there = rig.ready({}, other);
    rig.connectIo(controller, 1);
    rig.log.length = 0;
    end(rig);
    assert.ok(queue.isClosed);
    assert.deepEqual(
      rig.log.filter((line) => line.includes(' 1')),
      ['closeQueue 1/1', `controllerGone 1 ${reason}`],
    );
    assert.equal(there.queue.isClosed, reason !== 'port unlinked');
  }
});

test('without a hook I/O queues are closed directly', () => {
  const rig = new Rig();
  delete rig.hooks.closeQueue;
  delete rig.hooks.flush;
  const { queue, controller } = rig.ready();
  const io = rig.queue();
  connectOn(io, { sqe: { qid: 1 }, data: { cntlid: controller.cntlid } });
  queue.setCc(CC_ENABLE | 0x4000);
  assert.equal(controller.state, 'shutdown-complete');
  queue.setCc(0);
  assert.ok(io.isClosed);
  assert.equal(controller.state, 'disabled');
});

test('a queue that is reported gone late does no harm', () => {
  const rig = new Rig();
  const { queue, controller } = rig.ready();
  rig.connectIo(controller, 1);
  rig.holdClose = true;
  queue.disconnect();
  assert.equal(controller.ioQueueCount, 1);
  rig.heldCloses.shift()!();
  assert.equal(controller.ioQueueCount, 0);
  controller.ioQueueClosed(1);
  controller.remove('target closed');
  controller.writeCc(CC_ENABLE);
  assert.equal(controller.state, 'gone');
});
