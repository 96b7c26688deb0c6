import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@nvbraid/base';
import { AnaState, DISCOVERY_NQN, PropertySqe, SQE_SIZE, Sqe } from '@nvbraid/wire';
import type { Controller } from '../src/index.ts';
import { CC_ENABLE, CC_SHUTDOWN, type FakeQueue, type FakeRequest, HOST, NQN, Rig } from './fake-queue.ts';

/*
 * Random admin commands, configuration changes and time against one target: nothing throws (the fakes also assert that
 * nothing completes twice and that data lengths are bounded), everything but event requests completes at once, and the
 * state fits together after every step.
 */

const STEPS = 3000;
const SEEDS = [1, 2, 3, Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32))];

interface Host {
  readonly queue: FakeQueue;
  readonly controller: Controller;
  readonly parked: Set<FakeRequest>;
}

const OPCODES = [0x02, 0x02, 0x02, 0x06, 0x06, 0x06, 0x08, 0x09, 0x09, 0x0a, 0x0a, 0x0c, 0x18, 0x7f, 0x7f];
const CC_VALUES = [0, CC_ENABLE, CC_ENABLE, CC_ENABLE, CC_SHUTDOWN, 0x460060 | 0x8000, CC_ENABLE | 0x80];
const LENGTHS = [0, 16, 512, 4096, 4096, 4096, 8192, 1 << 20, 0xffffffff];

function randomSqe(rng: Rng): Uint8Array {
  const sqe = new Uint8Array(SQE_SIZE);
  const view = new DataView(sqe.buffer);
  if (rng.chance(0.3)) rng.fill(sqe);
  sqe[0] = rng.chance(0.1) ? rng.below(256) : rng.pick(OPCODES);
  Sqe.cid.set(view, 0, 1 + rng.below(200));
  Sqe.sglLength.set(view, 0, rng.pick(LENGTHS));
  if (rng.chance(0.8)) {
    Sqe.nsid.set(view, 0, rng.pick([0, 0, 1, 2, 3, 1024, 1025, 0xffffffff]));
    Sqe.cdw10.set(
      view,
      0,
      rng.pick([rng.below(0x20), rng.below(0x20), rng.below(0x20), 0x70, 0x81, 0x84]) |
        (rng.chance(0.5) ? (rng.below(2048) << 16) >>> 0 : 0),
    );
    Sqe.cdw11.set(view, 0, rng.chance(0.7) ? rng.below(0x1000) : rng.u32());
    view.setUint32(48, rng.chance(0.8) ? rng.below(64) * 4 : rng.u32(), true);
    view.setUint32(52, rng.chance(0.9) ? 0 : rng.u32(), true);
    view.setUint32(56, rng.chance(0.9) ? 0 : rng.u32(), true);
  }
  if (sqe[0] === 0x7f && rng.chance(0.8)) {
    const set = rng.chance(0.7);
    PropertySqe.emit(view, 0, {
      cid: 1 + rng.below(200),
      fctype: set ? 0 : 4,
      attrib: rng.chance(0.9) ? 0 : rng.below(8),
      ofst: set && rng.chance(0.9) ? 0x14 : rng.below(32) * 4,
      value: BigInt(rng.chance(0.9) ? rng.pick(CC_VALUES) : rng.u32()),
    });
  }
  return sqe;
}

/** What a feature is set to. */
function randomData(rng: Rng): Uint8Array {
  const data = new Uint8Array(4096);
  if (rng.chance(0.5)) rng.fill(data);
  return data;
}

function check(rig: Rig, hosts: readonly Host[]): void {
  assert.equal(rig.target.controllerCount, rig.target.controllers.length);
  let alive = 0;
  for (const { queue, controller, parked } of hosts) {
    if (controller.state === 'gone') {
      assert.ok(queue.isClosed);
      if (controller.quiet) assert.equal(controller.deadlineMs, Number.POSITIVE_INFINITY);
      continue;
    }
    alive++;
    for (const request of parked) if (request.done) parked.delete(request);
    assert.equal(controller.events.outstanding, parked.size);
    assert.ok(parked.size <= 4 && controller.events.pending <= 4);
    assert.ok(parked.size === 0 || controller.events.pending === 0, 'an event waits although it was asked for');
    const rdy = controller.csts & 1;
    assert.ok(controller.csts <= 0xf);
    if (controller.state === 'ready' || controller.state === 'disabling') assert.equal(rdy, 1);
    if (controller.state === 'disabled' || controller.state === 'fatal') assert.equal(rdy, 0);
    assert.equal((controller.csts >> 1) & 1, controller.state === 'fatal' ? 1 : 0);
    if (controller.state === 'disabled') assert.equal(controller.ioQueueCount, 0);
    assert.ok(controller.ioQueueCount <= 128);
    assert.ok(controller.changedNamespaces.size <= 1024);
    assert.ok(controller.deadlineMs >= rig.target.nextDeadlineMs());
  }
  assert.equal(alive, rig.target.controllerCount);
}

function change(rig: Rig, rng: Rng): void {
  const nsid = 1 + rng.below(4);
  const { subsystem } = rig;
  switch (rng.below(9)) {
    case 0:
      if (subsystem.namespace(nsid) === undefined) {
        subsystem.addNamespace({ nsid, device: null, blockSize: 512, blockCount: 8 });
      }
      break;
    case 1:
      if (subsystem.namespace(nsid) !== undefined) subsystem.removeNamespace(nsid);
      break;
    case 2:
      if (subsystem.namespace(nsid) !== undefined) subsystem.resizeNamespace(nsid, 1 + rng.below(1000));
      break;
    case 3:
      rig.port.setAnaState(1 + rng.below(3), rng.pick(Object.values(AnaState)));
      break;
    case 4:
      rig.advance(rng.below(rng.chance(0.02) ? 130_000 : 200));
      break;
    case 5:
      if (rng.chance(0.1)) subsystem.setAccess(false, []);
      if (rng.chance(0.5)) subsystem.setAccess(true, []);
      else subsystem.setAccess(false, [HOST]);
      break;
    case 6:
      if (rng.chance(0.1)) rig.target.unlink(1, NQN);
      rig.target.link(1, NQN);
      break;
    case 7:
      administer(rig, rng, nsid);
      break;
    default:
      while (rig.heldCloses.length > 0) rig.heldCloses.shift()!();
      while (rig.heldFlushes.length > 0) rig.heldFlushes.shift()!();
      rig.holdClose = rng.chance(0.5);
      rig.holdFlush = rng.chance(0.5);
  }
}

/** The rest of what an operator can do. */
function administer(rig: Rig, rng: Rng, nsid: number): void {
  const { subsystem, port, target } = rig;
  const exists = subsystem.namespace(nsid) !== undefined;
  const grpid = 2 + rng.below(3);
  switch (rng.below(8)) {
    case 0:
      if (exists) subsystem.setEnabled(nsid, rng.chance(0.5));
      break;
    case 1:
      if (exists) subsystem.setVisibility(nsid, rng.pick([null, [], [HOST], ['another', HOST]]));
      break;
    case 2:
      if (exists) subsystem.setAnaGroup(nsid, grpid);
      break;
    case 3:
      if (port.anaGroups.has(grpid)) port.removeAnaGroup(grpid);
      else port.addAnaGroup(grpid);
      break;
    case 4:
      if (port.referrals.get('r') !== undefined) port.referrals.remove('r');
      else port.referrals.add('r', { trtype: 'tcp', adrfam: 'ipv4', traddr: '192.0.2.9', trsvcid: '8009' });
      break;
    case 5:
      target.setDiscoveryNqn(rng.pick([DISCOVERY_NQN, 'nqn.2024-01.example.com:discovery']));
      target.setDiscoveryScope(rng.pick(['all', 'port']));
      break;
    case 6:
      if (exists) subsystem.setWriteProtection(nsid, rng.below(3));
      break;
    default:
      if (rng.chance(0.9)) return;
      target.disablePort(port.portId);
      target.enablePort(port.portId);
      target.link(port.portId, NQN);
  }
}

for (const seed of SEEDS) {
  test(`random admin commands, seed ${seed}`, () => {
    const rng = new Rng(seed);
    const rig = new Rig();
    rig.subsystem.setAccess(false, [HOST]);
    let hosts: Host[] = [];
    const seen = new Set<string>();
    for (let step = 0; step < STEPS; step++) {
      hosts = hosts.filter((host) => host.controller.state !== 'gone');
      if (hosts.length < 3 && rng.chance(0.2)) {
        const data = { subnqn: rng.chance(0.3) ? DISCOVERY_NQN : NQN };
        const connected = rig.connect({ data, sqe: { kato: rng.pick([0, 500, 60_000]) } });
        if (rng.chance(0.9)) connected.queue.setCc(CC_ENABLE);
        hosts.push({ ...connected, parked: new Set() });
      }
      if (rng.chance(0.1)) change(rig, rng);
      if (hosts.length === 0) continue;
      const host = rng.pick(hosts);
      if (host.controller.state === 'gone') continue;
      if (rng.chance(0.03) && host.controller.subsystem !== null) {
        rig.connectIo(host.controller, 1 + rng.below(4));
      } else if (rng.chance(0.002)) {
        host.queue.disconnect();
      } else {
        const request = host.queue.submit(randomSqe(rng), randomData(rng));
        if (!request.done) {
          // A write cache that is switched off, or a write protection, is answered when the flush is done.
          const flushing = request.opcode === 0x09 && rig.heldFlushes.length > 0;
          assert.ok(request.opcode === 0x0c || flushing, `opcode ${request.opcode} stays`);
          if (!flushing) host.parked.add(request);
        }
        seen.add(`${request.opcode}/${request.status}`);
      }
      check(rig, hosts);
    }
    assert.ok(seen.size > 30, `the run was too tame: ${seen.size}`);
  });
}
