import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NvbraidError } from '@nvbraid/base';
import { DISCOVERY_NQN } from '@nvbraid/wire';
import { connectOn, HOST, Rig } from './fake-queue.ts';

/* What one host, and all together, may make a target remember. Refusals are Controller Busy: a host may try again. */

const CONTROLLER_BUSY = 0x181;
const OTHER = 'nqn.2014-08.org.nvmexpress:uuid:99999999-2222-3333-4444-555555555555';
const of = (hostnqn: string) => ({ data: { hostnqn } });

test('a host has so many controllers, discovery included, and others are not concerned', () => {
  const rig = new Rig({ controllersPerHost: 2 });
  const first = rig.connect();
  rig.connect({ data: { subnqn: DISCOVERY_NQN } });
  assert.equal(connectOn(rig.queue()).status, CONTROLLER_BUSY);
  assert.equal(connectOn(rig.queue(), { data: { subnqn: DISCOVERY_NQN } }).status, CONTROLLER_BUSY);
  assert.deepEqual(rig.hostLog.slice(-2), [
    `limitMet controllersPerHost ${HOST}`,
    `limitMet controllersPerHost ${HOST}`,
  ]);
  rig.connect(of(OTHER));
  first.queue.disconnect();
  rig.connect();
});

test('a target knows so many hosts; one that has nothing any more makes room', () => {
  const rig = new Rig({ hosts: 1 });
  const { queue } = rig.connect();
  rig.connect();
  assert.equal(connectOn(rig.queue(), of(OTHER)).status, CONTROLLER_BUSY);
  assert.equal(rig.hostLog.at(-1), `limitMet hosts ${OTHER}`);
  queue.disconnect();
  assert.equal(connectOn(rig.queue(), of(OTHER)).status, CONTROLLER_BUSY, 'it has one controller left');
  rig.target.controllers[0]!.remove('connection closed');
  assert.ok(rig.hostLog.includes(`hostGone ${HOST}`));
  rig.connect(of(OTHER));
  assert.deepEqual(
    [...rig.target.hosts.values()].map(({ hostnqn }) => hostnqn),
    [OTHER],
  );
});

test('a host has so many I/O queues over all its controllers', () => {
  const rig = new Rig({ queuesPerHost: 3 });
  const a = rig.ready();
  const b = rig.ready();
  for (const qid of [1, 2]) assert.equal(rig.connectIo(a.controller, qid).status, 0);
  assert.equal(rig.connectIo(b.controller, 1).status, 0);
  assert.equal(rig.connectIo(b.controller, 2).status, CONTROLLER_BUSY);
  assert.equal(rig.hostLog.at(-1), `limitMet queuesPerHost ${HOST}`);
  const other = rig.ready(of(OTHER));
  assert.equal(rig.connectIo(other.controller, 1, of(OTHER)).status, 0);
  a.controller.ioQueueClosed(2);
  a.controller.ioQueueClosed(2);
  assert.equal(rig.connectIo(b.controller, 2).status, 0);
});

test('a host exists until the last of its queues has ended in the devices', () => {
  const rig = new Rig();
  rig.holdClose = true;
  const { controller } = rig.ready();
  rig.connectIo(controller, 1);
  controller.remove('connection closed');
  assert.equal(rig.target.hosts.get(HOST)!.queues, 1);
  assert.ok(!rig.hostLog.includes(`hostGone ${HOST}`));
  rig.heldCloses.shift()!();
  assert.equal(rig.target.hosts.size, 0);
  assert.equal(rig.hostLog.at(-1), `hostGone ${HOST}`);
});

test('limits of one host differ from those of all, at once, and what it has stays', () => {
  const rig = new Rig({ controllersPerHost: 2, queuesPerHost: 1 });
  rig.target.hosts.setOwn(HOST, { controllersPerHost: 1, queuesPerHost: 2 });
  const { controller } = rig.ready();
  assert.equal(connectOn(rig.queue()).status, CONTROLLER_BUSY);
  for (const qid of [1, 2]) assert.equal(rig.connectIo(controller, qid).status, 0);
  rig.target.hosts.setOwn(HOST, null);
  rig.connect();
  assert.equal(controller.ioQueueCount, 2);
  assert.equal(rig.connectIo(controller, 3).status, CONTROLLER_BUSY);
});

test('a target and a subsystem have so many controllers, and say which of the two it was', () => {
  const rig = new Rig({ controllers: 3 });
  rig.target.addSubsystem({ nqn: 'nqn.2024-01.example.com:small', maxControllers: 1 });
  rig.target.link(rig.port.portId, 'nqn.2024-01.example.com:small');
  const small = { data: { subnqn: 'nqn.2024-01.example.com:small' } };
  rig.connect(small);
  assert.equal(connectOn(rig.queue(), small).status, CONTROLLER_BUSY);
  assert.equal(rig.hostLog.at(-1), `limitMet subsystemControllers ${HOST}`);
  rig.connect();
  rig.connect();
  assert.equal(connectOn(rig.queue()).status, CONTROLLER_BUSY);
  assert.equal(rig.hostLog.at(-1), `limitMet controllers ${HOST}`);
  for (const maxControllers of [0, 1.5, 1025]) {
    const options = { nqn: 'nqn.2024-01.example.com:x', maxControllers };
    assert.throws(
      () => rig.target.addSubsystem(options),
      (error) => error instanceof NvbraidError && error.code === 'EINVAL' && /maxControllers/.test(error.message),
    );
  }
});
