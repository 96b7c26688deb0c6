import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NEVER } from '@nvbraid/base';
import {
  AdminOpcode,
  Cns,
  Ctratt,
  DISCOVERY_NQN,
  FabricsType,
  IdentifyController,
  IdentifyNamespace,
  Property,
  PropertySqe,
  parseNamespaceDescriptors,
} from '@nvbraid/wire';
import { CONTROLLER_STATES } from '../src/index.ts';
import { CC_ENABLE, CC_SHUTDOWN, Rig } from './fake-queue.ts';

const DNR = 0x4000;
const INVALID_FIELD = 0x02 | DNR;
const SEQUENCE_ERROR = 0x0c | DNR;

test('a host connects, enables, identifies and sees a namespace', () => {
  const rig = new Rig();
  const { queue, controller } = rig.connect();
  assert.equal(queue.sqSize, 32);
  assert.equal(queue.csts, 0);
  assert.equal(queue.setCc(CC_ENABLE).status, 0);
  assert.equal(queue.csts, 1);
  const id = queue.identify(Cns.Controller);
  assert.equal(IdentifyController.parse(new DataView(id.reply!.buffer)).cntlid, controller.cntlid);
  const list = queue.identify(Cns.ActiveNamespaceList);
  assert.deepEqual([...new Uint32Array(list.reply!.buffer, 0, 3)], [1, 0, 0]);
  const ns = IdentifyNamespace.parse(new DataView(queue.identify(Cns.Namespace, { nsid: 1 }).reply!.buffer));
  assert.equal(ns.nsze, 1000);
  const ids = parseNamespaceDescriptors(queue.identify(Cns.NamespaceDescriptorList, { nsid: 1 }).reply!);
  assert.ok(ids.ok && ids.value.uuid === rig.subsystem.namespace(1)!.uuid && ids.value.csi === 0);
  assert.equal(queue.setFeature(7, 0x0003_0003).dw0, 0x0003_0003);
  for (let qid = 1; qid <= 4; qid++) assert.equal(rig.connectIo(controller, qid).status, 0);
  queue.disconnect();
  assert.equal(controller.state, 'gone');
  assert.deepEqual(rig.log.slice(-5), [
    'closeQueue 1/1',
    'closeQueue 1/2',
    'closeQueue 1/3',
    'closeQueue 1/4',
    'controllerGone 1 connection closed',
  ]);
});

test('the states of a controller', (t) => {
  t.assert.snapshot(CONTROLLER_STATES.describe().split('\n'));
});

test('properties have their values and their sizes', () => {
  const rig = new Rig();
  const { queue } = rig.connect();
  const cap = queue.propertyGet(Property.CAP, true);
  // 1024 entries, contiguous queues, TO 15 (7.5 s); NVM command set, Identify tells more (CSS 41h); ready with media.
  assert.deepEqual([cap.status, cap.dw0, cap.dw1], [0, 0x0f0103ff, 0x08000820]);
  assert.deepEqual([queue.propertyGet(Property.VS).dw0, queue.propertyGet(Property.VS).dw1], [0x20100, 0]);
  assert.equal(queue.propertyGet(Property.CRTO).dw0, 15);
  assert.equal(queue.propertyGet(Property.CC).dw0, 0);
  queue.setCc(0x460060);
  assert.equal(queue.propertyGet(Property.CC).dw0, 0x460060);
  assert.equal(queue.propertyGet(Property.CAP).status, INVALID_FIELD, 'CAP is 8 bytes');
  assert.equal(queue.propertyGet(Property.VS, true).status, INVALID_FIELD, 'VS is 4 bytes');
  for (const offset of [4, 0x0c, 0x10, Property.NSSR, 0x24, 0x28, 0x30, 0x1000, 0xfffffffc]) {
    assert.equal(queue.propertyGet(offset).status, INVALID_FIELD, `offset ${offset}`);
    assert.equal(queue.propertyGet(offset, true).status, INVALID_FIELD, `offset ${offset}`);
  }
  const odd = { fctype: FabricsType.PropertyGet, ofst: Property.VS, attrib: 2 };
  assert.equal(queue.send(PropertySqe, odd).status, INVALID_FIELD);
});

test('CC is the only property to be set', () => {
  const rig = new Rig();
  const { queue, controller } = rig.ready();
  for (const offset of [Property.CAP, Property.VS, Property.CSTS, Property.CRTO, 0x28]) {
    assert.equal(queue.propertySet(offset, 0).status, INVALID_FIELD);
  }
  assert.equal(queue.propertySet(Property.NSSR, 0x4e564d65).status, INVALID_FIELD, 'no subsystem reset');
  assert.equal(queue.propertySet(Property.CC, 0, 1).status, INVALID_FIELD, 'CC is 4 bytes');
  assert.equal(controller.state, 'ready');
});

test('before CC.EN only properties are understood', () => {
  const rig = new Rig();
  const { queue } = rig.connect();
  assert.equal(queue.identify(Cns.Controller).status, SEQUENCE_ERROR);
  assert.equal(queue.admin(AdminOpcode.KeepAlive).status, SEQUENCE_ERROR);
  assert.equal(queue.asyncEventRequest().status, SEQUENCE_ERROR);
  queue.setCc(CC_ENABLE);
  assert.equal(queue.identify(Cns.Controller).status, 0);
});

test('a configuration that is not supported is fatal until it is taken back', () => {
  const bad = [
    CC_ENABLE | 0x80, // MPS 1
    CC_ENABLE | 0x800, // AMS 1
    (CC_ENABLE & ~0xf0000) | 0x70000, // IOSQES 7
    (CC_ENABLE & ~0xf00000) | 0x500000, // IOCQES 5
    CC_ENABLE & ~0xf0000, // none
    CC_ENABLE | 0x10, // CSS 7
    (CC_ENABLE & ~0x70) | 0x10, // CSS 1
  ];
  for (const cc of bad) {
    const rig = new Rig();
    const { queue, controller } = rig.connect();
    assert.equal(queue.setCc(cc).status, 0);
    assert.equal(queue.csts, 2, `CC ${cc.toString(16)}`);
    assert.equal(controller.state, 'fatal');
    assert.equal(queue.identify(Cns.Controller).status, SEQUENCE_ERROR);
    queue.setCc(0);
    assert.equal(queue.csts, 0);
    queue.setCc(CC_ENABLE);
    assert.equal(queue.csts, 1);
  }
  for (const cc of [CC_ENABLE & ~0x70, CC_ENABLE]) {
    const { queue } = new Rig().connect();
    queue.setCc(cc);
    assert.equal(queue.csts, 1);
  }
});

test('a discovery controller does not mind entry sizes', () => {
  const rig = new Rig();
  const { queue } = rig.connect({ data: { subnqn: DISCOVERY_NQN } });
  queue.setCc(1);
  assert.equal(queue.csts, 1);
});

test('CC.EN = 0 closes the I/O queues; CSTS.RDY falls when the last one is gone', () => {
  const rig = new Rig();
  const { queue, controller } = rig.ready();
  queue.setFeature(7, 0x0001_0001);
  rig.connectIo(controller, 1);
  rig.connectIo(controller, 2);
  const event = queue.asyncEventRequest();
  rig.holdClose = true;
  assert.equal(queue.setCc(CC_ENABLE & ~1).status, 0);
  assert.deepEqual(rig.log.slice(-2), ['closeQueue 1/1', 'closeQueue 1/2']);
  assert.equal(event.status, 0x08, 'ended with its queue');
  assert.equal(queue.csts, 1, 'still finishing');
  assert.equal(queue.identify(Cns.Controller).status, SEQUENCE_ERROR);
  rig.heldCloses.shift()!();
  assert.equal(queue.csts, 1);
  rig.heldCloses.shift()!();
  assert.equal(queue.csts, 0);
  assert.equal(controller.state, 'disabled');
  queue.setCc(CC_ENABLE);
  assert.equal(controller.ioQueuesGranted, 128, 'features start afresh');
  assert.equal(rig.connectIo(controller, 1).status, 0);
});

test('an enable during a reset waits for its end', () => {
  const rig = new Rig();
  const { queue, controller } = rig.ready();
  rig.connectIo(controller, 1);
  rig.holdClose = true;
  queue.setCc(0);
  queue.setCc(CC_ENABLE);
  assert.equal(controller.state, 'disabling');
  rig.heldCloses.shift()!();
  assert.equal(controller.state, 'ready');
});

test('CC.SHN flushes before CSTS.SHST says complete', () => {
  const rig = new Rig();
  const { queue, controller } = rig.ready();
  rig.holdFlush = true;
  assert.equal(queue.setCc(CC_SHUTDOWN).status, 0);
  assert.equal(queue.csts, 1 | (1 << 2));
  assert.equal(controller.state, 'shutdown-processing');
  queue.setCc(CC_SHUTDOWN);
  assert.equal(rig.heldFlushes.length, 1, 'once');
  rig.heldFlushes.shift()!();
  assert.equal(queue.csts, 1 | (2 << 2));
  queue.setCc(0);
  assert.equal(queue.csts, 0);
  queue.setCc(CC_ENABLE);
  assert.equal(queue.csts, 1);
});

test('an abrupt shutdown flushes as well, also of a controller that is not enabled', () => {
  const rig = new Rig();
  const { queue } = rig.connect();
  queue.setCc(0x460060 | 0x8000);
  assert.equal(queue.csts, 2 << 2);
  assert.deepEqual(rig.log.slice(-1), [`flush ${rig.subsystem.nqn}`]);
  queue.setCc(CC_ENABLE);
  assert.equal(queue.csts, 1, 'and it can be used again');
});

test('a flush that ends after the reset that overtook it says nothing', () => {
  const rig = new Rig();
  const { queue, controller } = rig.ready();
  rig.holdFlush = true;
  queue.setCc(CC_SHUTDOWN);
  queue.setCc(0);
  queue.setCc(CC_ENABLE);
  queue.setCc(CC_SHUTDOWN);
  rig.heldFlushes.shift()!();
  assert.equal(controller.state, 'shutdown-processing');
  rig.heldFlushes.shift()!();
  assert.equal(controller.state, 'shutdown-complete');
});

test('a fatal controller can be shut down', () => {
  const rig = new Rig();
  const { queue } = rig.connect();
  queue.setCc(CC_ENABLE | 0x80);
  queue.setCc(CC_ENABLE | 0x80 | 0x4000);
  assert.equal(queue.csts, 2 << 2);
});

test('a discovery controller shuts down at once', () => {
  const rig = new Rig();
  const { queue } = rig.ready({ data: { subnqn: DISCOVERY_NQN } });
  queue.setCc(CC_SHUTDOWN);
  assert.equal(queue.csts, 1 | (2 << 2));
  assert.ok(!rig.log.some((line) => line.startsWith('flush')));
});

test('opcodes and fabrics commands that are not supported', () => {
  const rig = new Rig();
  const { queue } = rig.ready();
  const supported = new Set([0x02, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x18, 0x38, 0x7f, 0x86]);
  for (let opc = 0; opc < 256; opc++) {
    if (!supported.has(opc)) assert.equal(queue.admin(opc).status, 0x01 | DNR, `opcode ${opc}`);
  }
  for (let fctype = 0; fctype < 256; fctype++) {
    if (fctype === 0 || fctype === 4) continue;
    const expected = fctype === FabricsType.Connect ? SEQUENCE_ERROR : 0x01 | DNR;
    assert.equal(queue.send(PropertySqe, { fctype }).status, expected, `fabrics type ${fctype}`);
  }
});

// ---------------------------------------------------------------- time

test('a host that keeps silent longer than its Keep Alive Timeout is gone, with all its queues', () => {
  const rig = new Rig();
  const { queue, controller } = rig.ready({ sqe: { kato: 5000 } });
  rig.connectIo(controller, 1);
  rig.advance(4999);
  assert.equal(controller.state, 'ready');
  assert.equal(queue.admin(AdminOpcode.KeepAlive).status, 0);
  rig.advance(4999);
  assert.equal(controller.state, 'ready');
  rig.advance(1);
  assert.equal(controller.state, 'gone');
  assert.ok(queue.isClosed);
  assert.deepEqual(rig.log.slice(-2), ['closeQueue 1/1', 'controllerGone 1 keep alive timeout']);
  assert.equal(rig.target.controllerCount, 0);
  assert.equal(rig.target.nextDeadlineMs(), NEVER);
});

test('the timeout is rounded up to 100 ms', () => {
  const rig = new Rig();
  const { queue, controller } = rig.ready({ sqe: { kato: 1 } });
  assert.equal(controller.keepAliveMs, 100);
  assert.equal(queue.getFeature(0x0f).dw0, 100);
  queue.admin(AdminOpcode.KeepAlive);
  rig.advance(99);
  assert.equal(controller.state, 'ready');
  rig.advance(1);
  assert.equal(controller.state, 'gone');
});

test('traffic counts as Keep Alive, on whichever queue it comes', () => {
  const rig = new Rig();
  const { queue, controller } = rig.ready({ sqe: { kato: 5000 } });
  const ctratt = IdentifyController.parse(new DataView(queue.identify(Cns.Controller).reply!.buffer)).ctratt;
  assert.equal(ctratt & Ctratt.Tbkas, Ctratt.Tbkas);
  rig.advance(5000);
  assert.equal(controller.state, 'ready', 'Identify came within the interval');
  rig.advance(4000);
  controller.traffic[0] = 1; // as a reactor does for each batch that it receives
  rig.advance(1000);
  assert.equal(controller.state, 'ready');
  rig.advance(4999);
  assert.equal(controller.state, 'ready');
  rig.advance(1);
  assert.equal(controller.state, 'gone', 'a whole interval without anything');
});

test('Keep Alive starts the time anew and is no traffic that counts twice', () => {
  const rig = new Rig();
  const { queue, controller } = rig.ready({ sqe: { kato: 5000 } });
  queue.identify(Cns.Controller);
  rig.advance(1000);
  queue.admin(AdminOpcode.KeepAlive);
  rig.advance(5000);
  assert.equal(controller.state, 'gone');
});

test('without a timeout an enabled controller stays for ever', () => {
  const rig = new Rig();
  const { controller } = rig.ready();
  assert.equal(controller.deadlineMs, NEVER);
  rig.advance(1e9);
  assert.equal(controller.state, 'ready');
});

test('Keep Alive does not count before CC.EN, nor after CC.SHN', () => {
  const rig = new Rig();
  const { queue, controller } = rig.connect({ sqe: { kato: 1000 } });
  rig.advance(100_000);
  assert.equal(controller.state, 'disabled');
  queue.setCc(CC_ENABLE);
  rig.advance(900);
  queue.setCc(CC_SHUTDOWN);
  rig.advance(100_000);
  assert.equal(controller.state, 'shutdown-complete');
});

test('a host that connects and does not enable its controller is gone after two minutes, whatever it says', () => {
  const rig = new Rig();
  const { queue, controller } = rig.connect({ sqe: { kato: 1_000_000 } });
  rig.advance(100_000);
  queue.propertyGet(Property.CSTS);
  queue.admin(AdminOpcode.KeepAlive);
  queue.setCc(0);
  rig.advance(19_999);
  assert.equal(controller.state, 'disabled');
  rig.advance(1);
  assert.equal(controller.state, 'gone');
  assert.deepEqual(rig.log.slice(-1), ['controllerGone 1 enable timeout']);
});

test('a controller that has been enabled may idle disabled for two minutes after the last command', () => {
  const rig = new Rig();
  const { queue, controller } = rig.ready();
  rig.advance(1_000_000);
  queue.setCc(0);
  rig.advance(100_000);
  queue.propertyGet(Property.CSTS);
  rig.advance(119_999);
  assert.equal(controller.state, 'disabled');
  rig.advance(1);
  assert.deepEqual(rig.log.slice(-1), ['controllerGone 1 idle timeout']);
});

test('discovery without Keep Alive ends two minutes after the last command', () => {
  const rig = new Rig();
  const { queue, controller } = rig.ready({ data: { subnqn: DISCOVERY_NQN } });
  rig.advance(119_000);
  queue.getLog(0x70, 1024);
  rig.advance(119_999);
  assert.equal(controller.state, 'ready');
  rig.advance(1);
  assert.equal(controller.state, 'gone');
});

test('the next deadline is the earliest of all controllers', () => {
  const rig = new Rig();
  assert.equal(rig.target.nextDeadlineMs(), NEVER);
  const slow = rig.ready({ sqe: { kato: 60_000 } });
  const fast = rig.ready({ sqe: { kato: 1000 } });
  rig.ready();
  fast.queue.admin(AdminOpcode.KeepAlive);
  const now = rig.clock.nowMs();
  assert.equal(rig.target.nextDeadlineMs(), now + 1000);
  rig.advance(1000);
  assert.equal(fast.controller.state, 'gone');
  assert.equal(slow.controller.state, 'ready');
  assert.equal(rig.target.nextDeadlineMs(), now + 60_000);
  slow.queue.setFeature(0x0f, 2000);
  assert.equal(rig.target.nextDeadlineMs(), now + 3000);
});

test('Set Features changes the Keep Alive Timeout and starts it anew', () => {
  const rig = new Rig();
  const { queue, controller } = rig.ready({ sqe: { kato: 1000 } });
  rig.advance(900);
  assert.equal(queue.setFeature(0x0f, 1950).status, 0);
  assert.equal(queue.getFeature(0x0f).dw0, 2000);
  rig.advance(1999);
  assert.equal(controller.state, 'ready');
  assert.equal(queue.setFeature(0x0f, 0).status, 0);
  rig.advance(1e8);
  assert.equal(controller.state, 'ready');
  assert.equal(queue.setFeature(0x0f, 0xffffffff).status, 0x1a | DNR);
  assert.equal(controller.keepAliveMs, 0);
});
