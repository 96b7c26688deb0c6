import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AdminOpcode, ConnectData, ConnectSqe, DISCOVERY_NQN, Sqe } from '@nvbraid/wire';
import { MAX_KEEP_ALIVE_MS } from '../src/limits.ts';
import { CC_ENABLE, CC_SHUTDOWN, type ConnectValues, connectOn, FakeQueue, HOST, NQN, Rig } from './fake-queue.ts';

const OTHER_HOST = 'nqn.2014-08.org.nvmexpress:uuid:99999999-2222-3333-4444-555555555555';
const DNR = 0x4000;
const IN_DATA = 0x10000;

/** An admin Connect to a fresh rig that must fail. */
function refused(values: ConnectValues, status: number, dw0: number, prepare?: (rig: Rig) => void): void {
  const rig = new Rig();
  prepare?.(rig);
  const queue = rig.queue();
  const connect = connectOn(queue, values);
  assert.equal(connect.status!.toString(16), status.toString(16));
  assert.equal(connect.dw0.toString(16), dw0.toString(16));
  assert.equal(queue.qid, -1);
  assert.equal(rig.target.controllerCount, 0);
}

test('an admin Connect answers the cntlid and binds the queue', () => {
  const rig = new Rig();
  const queue = rig.queue();
  const connect = connectOn(queue, { sqe: { sqsize: 63, cattr: 4, kato: 5000 } });
  assert.equal(connect.status, 0);
  assert.equal(connect.dw0, 1);
  assert.equal(queue.qid, 0);
  assert.equal(queue.sqSize, 64);
  assert.equal(queue.sqFlowControl, false);
  assert.equal(rig.subsystem.controllers.get(1)!.keepAliveMs, 5000);
  assert.equal(rig.subsystem.controllers.get(1)!.hostnqn, HOST);
  assert.deepEqual(rig.log.slice(-1), ['controllerCreated 1']);
  assert.equal(rig.connect().queue.sqFlowControl, true);
});

test('an unknown record format is told with its place in the SQE', () => {
  refused({ sqe: { recfmt: 1 } }, 0x180 | DNR, 40);
});

test('queue sizes of 0 and beyond MQES are refused', () => {
  refused({ sqe: { sqsize: 0 } }, 0x182 | DNR, 44);
  refused({ sqe: { sqsize: 1024 } }, 0x182 | DNR, 44);
  const rig = new Rig();
  assert.equal(rig.connect({ sqe: { sqsize: 1023 } }).queue.sqSize, 1024);
  assert.equal(rig.connect({ sqe: { sqsize: 1 } }).queue.sqSize, 2);
});

test('names that cannot be names are refused', () => {
  refused({ data: { subnqn: '' } }, 0x182 | DNR, IN_DATA | 256);
  refused({ data: { subnqn: 'n'.repeat(224) } }, 0x182 | DNR, IN_DATA | 256);
  refused({ data: { hostnqn: '' } }, 0x182 | DNR, IN_DATA | 512);
  refused({ data: { hostnqn: 'h'.repeat(256) } }, 0x182 | DNR, IN_DATA | 512); // not ended by a NUL
  refused({ data: { hostnqn: 'a host' } }, 0x182 | DNR, IN_DATA | 512);
  const invalid = ConnectData.toBytes({ cntlid: 0xffff, subnqn: NQN, hostnqn: 'host' });
  invalid[513] = 0xff; // not UTF-8
  refused({ raw: invalid }, 0x182 | DNR, IN_DATA | 512);
});

test('unknown subsystems, and those that the port does not lead to, are refused alike', () => {
  refused({ data: { subnqn: 'nqn.2024-01.example.com:other' } }, 0x182 | DNR, IN_DATA | 256);
  refused({}, 0x182 | DNR, IN_DATA | 256, (rig) => rig.target.unlink(rig.port.portId, NQN));
  refused({}, 0x182 | DNR, IN_DATA | 256, (rig) => rig.target.removeSubsystem(NQN));
});

test('a host that is not allowed is refused as such', () => {
  const closed = (rig: Rig): void => rig.subsystem.setAllowAnyHost(false);
  refused({}, 0x184 | DNR, IN_DATA | 512, closed);
  const rig = new Rig();
  closed(rig);
  rig.subsystem.allowHost(HOST);
  rig.connect();
  assert.equal(connectOn(rig.queue(), { data: { hostnqn: OTHER_HOST } }).status, 0x184 | DNR);
});

test('an admin Connect must not ask for a controller by number', () => {
  refused({ data: { cntlid: 1 } }, 0x182 | DNR, IN_DATA | 16);
  refused({ data: { cntlid: 0xfffe } }, 0x182 | DNR, IN_DATA | 16);
});

test('a Keep Alive Timeout beyond the limit is refused', () => {
  refused({ sqe: { kato: MAX_KEEP_ALIVE_MS + 1 } }, 0x182 | DNR, 48);
});

test('Connect data must have its length', () => {
  refused({ sqe: { sglLength: 1023 } }, 0x0f | DNR, 0);
  refused({ sqe: { sglLength: 1025 } }, 0x0f | DNR, 0);
});

test('before Connect nothing else is understood', () => {
  const rig = new Rig();
  const queue = rig.queue();
  assert.equal(queue.admin(AdminOpcode.Identify, { sglLength: 4096 }).status, 0x0c | DNR);
  assert.equal(queue.propertyGet(0x1c).status, 0x0c | DNR);
  assert.equal(queue.admin(AdminOpcode.KeepAlive).status, 0x0c | DNR);
  connectOn(queue); // and the connection is as good as before
  assert.equal(queue.qid, 0);
});

test('a refused Connect can be tried again, a successful one cannot', () => {
  const rig = new Rig();
  const queue = rig.queue();
  const commands = queue.commands;
  assert.equal(connectOn(queue, { sqe: { recfmt: 7 } }).status, 0x180 | DNR);
  assert.equal(connectOn(queue).status, 0);
  assert.equal(connectOn(queue).status, 0x0c | DNR);
  // A second Connect that was already on its way when the first succeeded.
  queue.commands = commands;
  assert.equal(connectOn(queue).status, 0x0c | DNR);
  assert.equal(rig.target.controllerCount, 1);
});

test('a subsystem hands out its identifiers in turn and says busy when there is none', () => {
  const rig = new Rig();
  const small = rig.target.addSubsystem({ nqn: 'nqn.2024-01.example.com:small', cntlidMin: 5, cntlidMax: 7 });
  rig.target.link(rig.port.portId, small.nqn);
  const data = { data: { subnqn: small.nqn } };
  const first = rig.connect(data);
  const second = rig.connect(data);
  assert.deepEqual([first.controller.cntlid, second.controller.cntlid], [5, 6]);
  first.queue.disconnect();
  assert.equal(rig.connect(data).controller.cntlid, 7, 'not the one that was just freed');
  assert.equal(rig.connect(data).controller.cntlid, 5);
  const busy = connectOn(rig.queue(), data);
  assert.equal(busy.status, 0x181, 'Controller Busy, may be tried again');
  second.queue.disconnect();
  assert.equal(rig.connect(data).controller.cntlid, 6);
});

test('a closed target takes nobody', () => {
  const rig = new Rig();
  const { controller } = rig.connect();
  rig.target.close();
  assert.equal(controller.state, 'gone');
  assert.equal(connectOn(rig.queue()).status, 0x181);
});

test('an I/O Connect binds the queue to its controller', () => {
  const rig = new Rig();
  const { controller } = rig.ready();
  const queue = rig.queue();
  const connect = connectOn(queue, { sqe: { qid: 3, sqsize: 127, cattr: 4 }, data: { cntlid: controller.cntlid } });
  assert.equal(connect.status, 0);
  assert.equal(connect.dw0, controller.cntlid);
  assert.equal(queue.qid, 3);
  assert.equal(queue.sqSize, 128);
  assert.equal(queue.sqFlowControl, false);
  assert.equal(controller.ioQueueCount, 1);
  assert.deepEqual(rig.log.slice(-1), ['queueBound 1/3']);
});

test('an I/O Connect must name its controller, and be of the same host', () => {
  const rig = new Rig();
  const { controller } = rig.ready();
  const fails = (values: ConnectValues, status: number, dw0: number): void => {
    const connect = rig.connectIo(controller, 1, values);
    assert.equal(connect.status, status);
    assert.equal(connect.dw0, dw0);
    assert.equal(controller.ioQueueCount, 0);
  };
  fails({ data: { cntlid: 99 } }, 0x182 | DNR, IN_DATA | 16);
  fails({ data: { cntlid: 0xffff } }, 0x182 | DNR, IN_DATA | 16);
  fails({ data: { hostnqn: OTHER_HOST } }, 0x182 | DNR, IN_DATA | 512);
  fails({ data: { hostid: '99999999-2222-3333-4444-555555555555' } }, 0x182 | DNR, IN_DATA | 0);
  fails({ data: { subnqn: 'nqn.2024-01.example.com:other' } }, 0x182 | DNR, IN_DATA | 256);
  fails({ sqe: { sqsize: 0 } }, 0x182 | DNR, 44);
  fails({ sqe: { recfmt: 1 } }, 0x180 | DNR, 40);
});

test('a controller is reached by the port that made it', () => {
  const rig = new Rig();
  const second = rig.target.addPort({ trtype: 'tcp', adrfam: 'ipv4', traddr: '127.0.0.2', trsvcid: '4420' });
  rig.target.link(second.portId, NQN);
  const { controller } = rig.ready();
  const connect = rig.connectIo(controller, 1, {}, second);
  assert.equal(connect.status, 0x182 | DNR);
  assert.equal(connect.dw0, IN_DATA | 16);
});

test('queue identifiers: up to the number granted, each once at a time', () => {
  const rig = new Rig();
  const { queue, controller } = rig.ready();
  assert.equal(rig.connectIo(controller, 128).status, 0, 'all, while the host has not asked');
  const beyond = rig.connectIo(controller, 129);
  assert.deepEqual([beyond.status, beyond.dw0], [0x182 | DNR, 42]);
  controller.ioQueueClosed(128);
  assert.equal(queue.setFeature(7, 0x0001_0001).status, 0);
  assert.equal(rig.connectIo(controller, 3).status, 0x182 | DNR);
  assert.equal(rig.connectIo(controller, 2).status, 0);
  assert.equal(rig.connectIo(controller, 2).status, 0x0c | DNR, 'twice');
  controller.ioQueueClosed(2);
  assert.equal(rig.connectIo(controller, 2).status, 0, 'free again');
});

test('no I/O queue before CC.EN, after CC.SHN, or while a reset waits', () => {
  const rig = new Rig();
  const { queue, controller } = rig.connect();
  assert.equal(rig.connectIo(controller, 1).status, 0x0c | DNR);
  queue.setCc(CC_ENABLE);
  assert.equal(rig.connectIo(controller, 1).status, 0);
  rig.holdClose = true;
  queue.setCc(0);
  assert.equal(controller.state, 'disabling');
  assert.equal(rig.connectIo(controller, 2).status, 0x0c | DNR);
  rig.heldCloses.shift()!();
  queue.setCc(CC_ENABLE);
  queue.setCc(CC_SHUTDOWN);
  assert.equal(rig.connectIo(controller, 2).status, 0x0c | DNR);
});

test('a controller that is gone is unknown', () => {
  const rig = new Rig();
  const { queue, controller } = rig.ready();
  queue.disconnect();
  const connect = rig.connectIo(controller, 1);
  assert.deepEqual([connect.status, connect.dw0], [0x182 | DNR, IN_DATA | 16]);
});

test('the discovery subsystem has no I/O queues', () => {
  const rig = new Rig();
  const { queue, controller } = rig.connect({ data: { subnqn: DISCOVERY_NQN } });
  queue.setCc(CC_ENABLE);
  const connect = rig.connectIo(controller, 1, { data: { subnqn: DISCOVERY_NQN } });
  assert.deepEqual([connect.status, connect.dw0], [0x182 | DNR, IN_DATA | 256]);
});

test('a connection that closes before Connect leaves nothing behind', () => {
  const rig = new Rig();
  rig.queue().disconnect();
  assert.equal(rig.target.controllerCount, 0);
});

test('layout offsets that IPO values name', () => {
  // The numbers in this file are written out: a change of the layouts must not change what hosts are told.
  assert.deepEqual(
    [ConnectSqe.recfmt.offset, ConnectSqe.qid.offset, ConnectSqe.sqsize.offset, ConnectSqe.kato.offset],
    [40, 42, 44, 48],
  );
  assert.equal(Sqe.size, 64);
  assert.ok(new FakeQueue().qid === -1);
});
