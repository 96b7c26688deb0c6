import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NvbraidError } from '@nvbraid/base';
import {
  AnaState,
  CapProperty,
  Cns,
  DISCOVERY_NQN,
  IdentifyController,
  Lid,
  Property,
  parseAnaLog,
  propertyFields,
} from '@nvbraid/wire';
import { versionText } from '../src/index.ts';
import { connectOn, type FakeQueue, HOST, NQN, Rig } from './fake-queue.ts';

/*
 * Attributes of subsystems, ports and namespaces as an operator changes them: what each rule refuses, with which code and
 * sentence, and what hosts see of what was taken.
 */

const DNR = 0x4000;
const ADDRESS = { trtype: 'tcp', adrfam: 'ipv4', traddr: '127.0.0.1', trsvcid: '4420' };

function fails(code: string, call: () => unknown, message: RegExp): void {
  assert.throws(call, (error) => error instanceof NvbraidError && error.code === code && message.test(error.message));
}

function identify(queue: FakeQueue): IdentifyController {
  return IdentifyController.parse(new DataView(queue.identify(Cns.Controller).reply!.buffer));
}

test('what hosts recognize a subsystem by can be changed while none is connected', () => {
  const rig = new Rig();
  const { subsystem } = rig;
  const identity = {
    serial: 'S2',
    model: 'M2',
    firmware: 'F2',
    ieeeOui: 0x010203,
    version: '1.4',
    vendorId: 0x1af4,
    subsystemVendorId: 0x1b36,
  };
  subsystem.setIdentity(identity);
  const { queue, controller } = rig.ready();
  const id = identify(queue);
  assert.deepEqual([id.sn, id.mn, id.fr, id.vid, id.ssvid, id.ver], ['S2', 'M2', 'F2', 0x1af4, 0x1b36, 0x10400]);
  assert.deepEqual([...id.ieee], [3, 2, 1], 'least significant byte first');
  assert.equal(queue.propertyGet(Property.VS).dw0, 0x10400);
  fails('EBUSY', () => subsystem.setIdentity({ serial: 'S3' }), /hosts are connected.*disconnect/);
  controller.remove('target closed');
  subsystem.setIdentity({ serial: 'S3' });
  assert.deepEqual([subsystem.serial, subsystem.model], ['S3', 'M2'], 'the rest stays');
});

test('identities that cannot be', () => {
  const { subsystem } = new Rig();
  const before = subsystem.identity;
  for (const [change, message] of [
    [{ serial: 'x'.repeat(21) }, /serial/],
    [{ model: 'x'.repeat(41) }, /model/],
    [{ firmware: 'ü' }, /firmware/],
    [{ ieeeOui: 0x1000000 }, /OUI/],
    [{ ieeeOui: -1 }, /OUI/],
    [{ vendorId: 0x10000 }, /vendor/],
    [{ subsystemVendorId: 1.5 }, /vendor/],
    [{ version: '1.2' }, /1\.2\.1 to 2\.1/],
    [{ version: '2.2' }, /1\.2\.1 to 2\.1/],
    [{ version: '1' }, /major/],
    [{ version: '1.4.256' }, /major/],
    [{ version: '99999.1' }, /major/],
    [{ version: 'x' }, /major/],
  ] as const) {
    fails('EINVAL', () => subsystem.setIdentity({ model: 'lost', ...change }), message);
  }
  assert.equal(subsystem.identity, before, 'nothing was taken over');
  for (const text of ['1.2.1', '1.3', '1.4', '2.0', '2.0.1', '2.1']) {
    subsystem.setIdentity({ version: text });
    assert.equal(versionText(subsystem.identity.version), text);
  }
});

test('any host or a list of hosts, not both', () => {
  const rig = new Rig();
  const { subsystem, target } = rig;
  fails('EINVAL', () => subsystem.allowHost(HOST), /any host or those on its list, not both/);
  subsystem.setAllowAnyHost(false);
  subsystem.allowHost(HOST);
  fails('EINVAL', () => subsystem.setAllowAnyHost(true), /not both/);
  fails('EINVAL', () => target.addSubsystem({ nqn: 'a', allowAnyHost: true, allowedHosts: [HOST] }), /not both/);
  assert.equal(target.addSubsystem({ nqn: 'a', allowedHosts: [HOST] }).allowAnyHost, false);
  assert.equal(target.addSubsystem({ nqn: 'b' }).allowAnyHost, true);
  assert.equal(target.addSubsystem({ nqn: 'c', allowAnyHost: false }).allows(HOST), false);
  const { controller } = rig.ready();
  subsystem.setAccess(true, []);
  subsystem.setAccess(false, [HOST, 'other']);
  assert.equal(controller.state, 'ready', 'the host was allowed all the time');
  subsystem.setAccess(false, ['other']);
  assert.equal(controller.state, 'gone');
});

test('a new number of queues sends hosts back to negotiate', () => {
  const rig = new Rig();
  const { controller } = rig.ready();
  rig.subsystem.setMaxIoQueues(128);
  assert.equal(controller.state, 'ready', 'the same number');
  fails('EINVAL', () => rig.subsystem.setMaxIoQueues(129), /1 to 128/);
  fails('EINVAL', () => rig.subsystem.setMaxIoQueues(0), /1 to 128/);
  rig.subsystem.setMaxIoQueues(3);
  assert.equal(controller.state, 'gone');
  assert.equal(rig.log.at(-1), 'controllerGone 1 reconfigured');
  assert.equal(rig.ready().queue.getFeature(7).dw0, 0x20002);
});

test('a range of controller identifiers', () => {
  const rig = new Rig();
  const first = rig.ready().controller;
  rig.subsystem.setCntlidRange(100, 101);
  assert.deepEqual([rig.ready().controller.cntlid, rig.ready().controller.cntlid], [100, 101]);
  const refused = connectOn(rig.queue());
  assert.equal(refused.status, 0x181, 'all are taken');
  assert.equal(first.state, 'ready', 'one from before stays');
  rig.subsystem.setCntlidRange(1, 2);
  assert.equal(rig.ready().controller.cntlid, 2);
  fails('EINVAL', () => rig.subsystem.setCntlidRange(0, 2), /cntlid range 0 to 2/);
  fails('EINVAL', () => rig.subsystem.setCntlidRange(3, 2), /cntlid range/);
  fails('EINVAL', () => rig.subsystem.setCntlidRange(1, 0xfff0), /cntlid range/);
});

test('the address of a port is fixed while it is enabled', () => {
  const { target } = new Rig();
  const port = target.addPort({ ...ADDRESS, portId: 2, enabled: false });
  fails('EACCES', () => target.link(2, NQN), /port 2 is disabled: enable it/);
  port.configure({ traddr: '::1', adrfam: 'ipv6', trsvcid: '4421' });
  assert.deepEqual([port.traddr, port.adrfam, port.trsvcid, port.trtype], ['::1', 2, '4421', 3]);
  fails('EINVAL', () => port.configure({ traddr: '::2', trtype: 'pigeon' }), /trtype/);
  assert.equal(port.traddr, '::1', 'nothing was taken over');
  target.enablePort(2);
  target.link(2, NQN);
  fails('EACCES', () => port.configure({ traddr: '::2' }), /port 2 is enabled: unlink/);
  target.disablePort(2);
  assert.equal(port.subsystems.size, 0);
  port.configure({ traddr: '::2' });
  fails('ENOENT', () => target.enablePort(9), /no port 9/);
  fails('ENOENT', () => target.disablePort(9), /no port 9/);
});

test('a port that is disabled takes its controllers with it, and no new ones', () => {
  const rig = new Rig();
  const { controller } = rig.ready();
  const discovery = rig.ready({ data: { subnqn: DISCOVERY_NQN } });
  const waiting = [rig.queue(), rig.queue()] as const;
  rig.target.disablePort(1);
  assert.deepEqual([controller.state, discovery.controller.state], ['gone', 'gone']);
  assert.equal(connectOn(waiting[0]).status, 0x182 | DNR);
  assert.equal(connectOn(waiting[1], { data: { subnqn: DISCOVERY_NQN } }).status, 0x182 | DNR);
});

test('parameters of a port are what its controllers tell', () => {
  const rig = new Rig();
  const port = rig.target.addPort({ ...ADDRESS, portId: 2, inCapsuleBytes: 16384, maxQueueSize: 16, mdts: 5 });
  rig.target.link(2, NQN);
  const { queue, controller } = rig.ready({ sqe: { sqsize: 31 } }, port); // MQES is not for admin queues
  const id = identify(queue);
  assert.deepEqual([id.ioccsz, id.maxcmd, id.mdts], [(64 + 16384) / 16, 16, 5]);
  const cap = queue.propertyGet(Property.CAP, true);
  const value = (BigInt(cap.dw1) << 32n) | BigInt(cap.dw0);
  assert.equal(propertyFields(CapProperty, value).mqes, 15);
  assert.equal(rig.connectIo(controller, 1, { sqe: { sqsize: 16 } }, port).status, 0x182 | DNR);
  assert.equal(rig.connectIo(controller, 1, { sqe: { sqsize: 15 } }, port).status, 0);
  const plain = identify(rig.ready().queue);
  assert.deepEqual([plain.ioccsz, plain.maxcmd, plain.mdts], [(64 + 8192) / 16, 1024, 8]);
  const add = (options: object) => rig.target.addPort({ ...ADDRESS, portId: 3, ...options });
  fails('EINVAL', () => add({ inCapsuleBytes: 65552 }), /in-capsule data size is 0 to 65536/);
  fails('EINVAL', () => add({ inCapsuleBytes: 24 }), /multiple of 16/);
  fails('EINVAL', () => add({ maxQueueSize: 15 }), /queue size is 16 to 1024/);
  fails('EINVAL', () => add({ maxQueueSize: 1025 }), /queue size is 16 to 1024/);
  fails('EINVAL', () => add({ mdts: 0 }), /mdts is 1 to 8/);
  fails('EINVAL', () => add({ mdts: 9 }), /mdts is 1 to 8/);
});

test('ANA groups of a port are made and removed', () => {
  const rig = new Rig();
  const port = rig.target.addPort({ ...ADDRESS, portId: 2, defaultAnaState: AnaState.Inaccessible });
  rig.target.link(2, NQN);
  rig.subsystem.addNamespace({ nsid: 2, device: null, blockSize: 512, blockCount: 8, anaGroupId: 3 });
  const { queue } = rig.ready({}, port);
  const groups = (): [number, number, readonly number[]][] => {
    const log = parseAnaLog(queue.getLog(Lid.Ana, 4096).reply!);
    assert.ok(log.ok);
    return log.value.groups.map(({ grpid, state, nsids }) => [grpid, state, nsids]);
  };
  const status = (): number => rig.subsystem.snapshot(2).namespaces[1]!.pathStatus;
  assert.deepEqual(groups(), [
    [1, AnaState.Optimized, [1]],
    [3, AnaState.Inaccessible, [2]],
  ]);
  assert.equal(status(), 0x302, 'as Linux: a group that nobody made is inaccessible');
  port.addAnaGroup(3, AnaState.Optimized);
  assert.equal(status(), 0);
  port.addAnaGroup(7);
  assert.deepEqual(groups()[2], [7, AnaState.Inaccessible, []]);
  fails('EBUSY', () => port.addAnaGroup(7), /ANA group 7 exists/);
  port.removeAnaGroup(7);
  assert.equal(groups().length, 2);
  port.removeAnaGroup(3);
  assert.deepEqual(groups()[1], [3, AnaState.Inaccessible, [2]]);
  assert.equal(status(), 0x302);
  fails('EINVAL', () => port.removeAnaGroup(1), /cannot be removed/);
  fails('ENOENT', () => port.removeAnaGroup(3), /no ANA group 3/);
  fails('EINVAL', () => port.addAnaGroup(129), /1 to 128/);
});

test('a group that stays in change for longer than ANATT is told to the operator, once', () => {
  const rig = new Rig();
  const late: string[] = [];
  rig.hooks.anaChangeOverdue = (port, grpid) => late.push(`${port.portId}/${grpid}`);
  rig.port.setAnaState(2, AnaState.Change);
  assert.ok(rig.target.nextDeadlineMs() <= rig.clock.nowMs() + 10_000);
  rig.advance(9999);
  assert.deepEqual(late, []);
  rig.port.setAnaState(3, AnaState.Change);
  rig.advance(1);
  assert.deepEqual(late, ['1/2']);
  rig.port.setAnaState(3, AnaState.Optimized);
  rig.advance(60_000);
  assert.deepEqual(late, ['1/2']);
  rig.port.setAnaState(2, AnaState.Optimized);
  rig.port.setAnaState(2, AnaState.Change);
  rig.advance(10_000);
  assert.deepEqual(late, ['1/2', '1/2'], 'another change, another deadline');
});
