import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AdminOpcode,
  CCR_LSP_RMC,
  Ccrs,
  Cns,
  CrossControllerResetSqe,
  DNR,
  IdentifyController,
  Lid,
  parseCrossControllerResetLog,
  Status,
} from '@nvbraid/wire';
import type { Controller, InstanceFate } from '../src/index.ts';
import { CCR_LIMIT, CCR_LOG_ENTRIES, CCR_PATIENCE_MS, DEFAULT_CQT_MS, OVERDUE_REPEAT_MS } from '../src/limits.ts';
import { CC_ENABLE, connectOn, type FakeQueue, type FakeRequest, NQN, Rig } from './fake-queue.ts';

const OTHER_HOST = { hostnqn: 'nqn.2014-08.org.nvmexpress:uuid:99999999-2222-3333-4444-555555555555' };
const OTHER_ID = { hostid: '99999999-2222-3333-4444-555555555555' };
const INVALID_FIELD = Status.InvalidField | DNR;

interface Named {
  readonly icid: number;
  readonly ciu: number;
  readonly cirn: bigint;
}

/** What Identify Controller told the host while it could still reach the controller. */
function nameOf(queue: FakeQueue): Named {
  const page = queue.identify(Cns.Controller).reply!;
  const { cntlid, ciu, cirn } = IdentifyController.parse(new DataView(page.buffer));
  return { icid: cntlid, ciu, cirn };
}

function reset(queue: FakeQueue, named: Named): FakeRequest {
  return queue.send(CrossControllerResetSqe, { opc: AdminOpcode.CrossControllerReset, ...named });
}

function logOf(queue: FakeQueue, fields = {}): { icid: number; ciu: number; ccrs: number }[] {
  const page = parseCrossControllerResetLog(queue.getLog(Lid.CrossControllerReset, 4096, fields).reply!);
  assert.ok(page.ok);
  return page.value.map(({ icid, ciu, ccrs }) => ({ icid, ciu, ccrs }));
}

/** A source, and an impacted controller with I/O queues that end only when told. */
function paths(queues = 1): { rig: Rig; source: FakeQueue; impacted: Controller; named: Named } {
  const rig = new Rig();
  const { queue: source } = rig.ready();
  const { queue, controller: impacted } = rig.ready();
  for (let qid = 1; qid <= queues; qid++) assert.equal(rig.connectIo(impacted, qid).status, 0);
  rig.holdClose = true;
  return { rig, source, impacted, named: nameOf(queue) };
}

test('Cross-Controller Reset of a controller without commands under way is over at once', () => {
  const { rig, source, impacted, named } = paths();
  rig.holdClose = false;
  const request = reset(source, named);
  assert.deepEqual([request.status, request.dw0], [0, 1], 'Immediate Reset Successful');
  assert.equal(impacted.state, 'gone');
  assert.ok((impacted.adminQueue as FakeQueue).isClosed);
  assert.ok(rig.log.includes(`controllerGone ${impacted.cntlid} cross-controller reset`));
  assert.deepEqual(logOf(source), [], 'there is nothing to look up');
});

test('Cross-Controller Reset waits for every queue, in whichever order they end', () => {
  const { rig, source, named } = paths(3);
  const request = reset(source, named);
  rig.heldCloses.pop()!();
  rig.heldCloses.shift()!();
  assert.equal(request.done, false, 'a device still works for the third');
  rig.heldCloses.pop()!();
  assert.deepEqual([request.status, request.dw0], [0, 1]);
});

test('a reset that takes long is answered without success, and log page and event tell of its end', () => {
  const { rig, source, named } = paths();
  source.setFeature(0x0b, 0x100000);
  const event = source.asyncEventRequest();
  const request = reset(source, named);
  rig.advance(CCR_PATIENCE_MS - 1);
  assert.equal(request.done, false);
  rig.advance(1);
  assert.deepEqual([request.status, request.dw0], [0, 0]);
  const { icid, ciu } = named;
  assert.deepEqual(logOf(source), [{ icid, ciu, ccrs: Ccrs.InProgress }]);
  assert.equal(event.done, false);
  rig.advance(10 * DEFAULT_CQT_MS);
  assert.deepEqual(logOf(source), [{ icid, ciu, ccrs: Ccrs.InProgress }], 'no time makes a device that hangs safe');
  rig.heldCloses.pop()!();
  assert.equal(event.dw0, 0x1ef402, 'notice F4h, log page 1Eh');
  assert.deepEqual(logOf(source), [{ icid, ciu, ccrs: Ccrs.Success }]);
});

test('the runtime is told when a controller that is gone is not quiet after CQT, and when it is', () => {
  const { rig, source, impacted, named } = paths();
  const told: string[] = [];
  rig.hooks.overdue = (controller, lateMs) => told.push(`${controller.cntlid} overdue ${lateMs}`);
  rig.hooks.quiet = (controller, tookMs) => told.push(`${controller.cntlid} quiet ${tookMs}`);
  reset(source, named);
  rig.advance(DEFAULT_CQT_MS - 1);
  assert.deepEqual(told, []);
  rig.advance(1);
  rig.advance(OVERDUE_REPEAT_MS);
  rig.heldCloses.pop()!();
  rig.advance(OVERDUE_REPEAT_MS);
  const { cntlid } = impacted;
  const late = DEFAULT_CQT_MS + OVERDUE_REPEAT_MS;
  assert.deepEqual(told, [
    `${cntlid} overdue ${DEFAULT_CQT_MS}`,
    `${cntlid} overdue ${late}`,
    `${cntlid} quiet ${late}`,
  ]);
  assert.equal(impacted.deadlineMs, Number.POSITIVE_INFINITY);
});

test('a controller that is gone already is waited for just the same', () => {
  for (const end of [
    (controller: Controller) => (controller.adminQueue as FakeQueue).disconnect(),
    (controller: Controller) => controller.remove('keep alive timeout'),
  ]) {
    const { rig, source, impacted, named } = paths();
    end(impacted);
    const request = reset(source, named);
    assert.equal(request.done, false, 'its queue is closing');
    rig.heldCloses.pop()!();
    assert.deepEqual([request.status, request.dw0], [0, 1]);
    assert.deepEqual([reset(source, named).status, reset(source, named).dw0], [0, 1], 'gone without a trace');
  }
});

test('a controller in the middle of its own reset ends, and is waited for', () => {
  const { rig, source, impacted, named } = paths();
  (impacted.adminQueue as FakeQueue).setCc(CC_ENABLE & ~1);
  assert.equal(impacted.state, 'disabling');
  const request = reset(source, named);
  assert.equal(request.done, false);
  while (rig.heldCloses.length > 0) rig.heldCloses.pop()!();
  assert.deepEqual([request.status, request.dw0], [0, 1]);
});

test('an instance that its controller has left behind by a reset is over, and the controller stays', () => {
  const { rig, source, impacted, named } = paths();
  rig.holdClose = false;
  const queue = impacted.adminQueue as FakeQueue;
  queue.setCc(CC_ENABLE & ~1);
  queue.setCc(CC_ENABLE);
  const now = nameOf(queue);
  assert.equal(now.ciu, (named.ciu % 255) + 1, 'CIU goes on when CSTS.RDY rises');
  assert.notEqual(now.cirn, named.cirn);
  assert.deepEqual([reset(source, named).status, reset(source, named).dw0], [0, 1]);
  assert.equal(impacted.state, 'ready');
});

test('CIU is never 0, and no two controllers tell the same random number', () => {
  const rig = new Rig();
  const { queue } = rig.ready();
  const cirns = new Set<bigint>();
  for (let i = 0; i < 600; i++) {
    queue.setCc(CC_ENABLE & ~1);
    queue.setCc(CC_ENABLE);
    const { ciu, cirn } = nameOf(queue);
    assert.ok(ciu >= 1 && ciu <= 255);
    cirns.add(cirn);
  }
  assert.equal(cirns.size, 600);
});

test('who and what Cross-Controller Reset refuses', () => {
  const rig = new Rig();
  const { queue: source, controller } = rig.ready();
  const { queue, controller: impacted } = rig.ready();
  const named = nameOf(queue);
  assert.equal(reset(source, nameOf(source)).status, INVALID_FIELD, 'itself');
  assert.equal(
    reset(source, { ...named, cirn: named.cirn ^ 1n }).status,
    INVALID_FIELD,
    'a number that was never told',
  );
  assert.equal(reset(source, { ...named, icid: 0 }).status, INVALID_FIELD);
  assert.equal(reset(source, { ...named, icid: 0xffff }).status, INVALID_FIELD);
  for (const data of [OTHER_HOST, OTHER_ID]) {
    const { queue: stranger } = rig.ready({ data });
    assert.equal(reset(stranger, named).status, INVALID_FIELD, 'the controller of another host');
  }
  const discovery = rig.ready({ data: { subnqn: 'nqn.2014-08.org.nvmexpress.discovery' } });
  assert.equal(reset(discovery.queue, named).status, Status.InvalidOpcode | DNR);
  assert.deepEqual([controller.state, impacted.state], ['ready', 'ready']);
  const free = reset(source, { ...named, icid: 4000 });
  assert.deepEqual([free.status, free.dw0], [0, 1], 'our identifier, and nobody has it');
});

test('the limits of Cross-Controller Reset', () => {
  const rig = new Rig();
  const { queue: source } = rig.ready();
  rig.hooks.endElsewhere = () => {}; // never ends
  const small = rig.target.addSubsystem({ nqn: `${NQN}2`, cntlidMin: 10, cntlidMax: 60000 });
  rig.target.link(rig.port.portId, small.nqn);
  const { queue } = rig.ready({ data: { subnqn: small.nqn } });
  const elsewhere = (icid: number, ciu = 1): FakeRequest => reset(queue, { icid, ciu, cirn: 1n });
  for (let icid = 1; icid <= CCR_LIMIT; icid++) assert.equal(elsewhere(icid).done, false);
  assert.equal(elsewhere(1).status, Status.CrossControllerResetInProgress);
  assert.equal(elsewhere(9).status, Status.CrossControllerResetLimitExceeded);
  assert.equal(elsewhere(1, 2).status, Status.CrossControllerResetLimitExceeded, 'another instance is another reset');
  queue.setCc(CC_ENABLE & ~1);
  queue.setCc(CC_ENABLE);
  assert.deepEqual(logOf(queue), [], 'a controller that was reset has forgotten them');
  // Completed ones fill the log until they are read with RMC.
  const ends: ((fate: InstanceFate) => void)[] = [];
  rig.hooks.endElsewhere = (_subsystem, _instance, _host, done) => ends.push(done);
  for (let n = 0; n < CCR_LOG_ENTRIES; n++) {
    assert.equal(elsewhere(1 + (n % 9), n % 256).done, false);
    rig.advance(CCR_PATIENCE_MS);
    ends.pop()!('quiet');
  }
  assert.equal(elsewhere(1, 0).status, Status.CrossControllerResetLogPageFull);
  assert.equal(logOf(queue).length, CCR_LOG_ENTRIES);
  assert.equal(queue.getLog(Lid.CrossControllerReset, 16, { lsp: CCR_LSP_RMC }).status, 0);
  assert.equal(logOf(queue).length, CCR_LOG_ENTRIES - 1, 'what was returned whole is forgotten');
  assert.equal(queue.getLog(Lid.CrossControllerReset, 12, { lsp: CCR_LSP_RMC }).status, 0);
  assert.equal(logOf(queue).length, CCR_LOG_ENTRIES - 1, 'half an entry is none');
  assert.equal(logOf(queue, { lsp: CCR_LSP_RMC }).length, CCR_LOG_ENTRIES - 1);
  assert.deepEqual(logOf(queue), []);
  assert.equal(reset(source, { icid: 4000, ciu: 1, cirn: 1n }).dw0, 1, 'each controller has limits of its own');
});

test('what another process says becomes the status of the command, or of the entry', () => {
  for (const fate of ['quiet', 'refused', 'unknown'] as const) {
    for (const late of [false, true]) {
      const rig = new Rig();
      const small = rig.target.addSubsystem({ nqn: `${NQN}2`, cntlidMin: 10 });
      rig.target.link(rig.port.portId, small.nqn);
      const { queue, controller } = rig.ready({ data: { subnqn: small.nqn } });
      let end: (fate: InstanceFate) => void = () => assert.fail('not asked');
      rig.hooks.endElsewhere = (subsystem, instance, host, done) => {
        assert.deepEqual([subsystem, instance], [small, { cntlid: 3, ciu: 2, cirn: 0xffffffffffffffffn }]);
        assert.deepEqual(host, { hostnqn: controller.hostnqn, hostid: controller.hostid });
        end = done;
      };
      const request = reset(queue, { icid: 3, ciu: 2, cirn: 0xffffffffffffffffn });
      if (late) rig.advance(CCR_PATIENCE_MS);
      end(fate);
      if (late) {
        assert.deepEqual([request.status, request.dw0], [0, 0]);
        const ccrs = fate === 'quiet' ? Ccrs.Success : Ccrs.Failed;
        assert.deepEqual(logOf(queue), [{ icid: 3, ciu: 2, ccrs }]);
      } else {
        assert.deepEqual([request.status, request.dw0], fate === 'quiet' ? [0, 1] : [INVALID_FIELD, 0]);
      }
    }
  }
});

test('a source that is itself reset or gone ends its command, not the reset', () => {
  const { rig, source, impacted, named } = paths();
  const first = reset(source, named);
  source.setCc(CC_ENABLE & ~1);
  assert.equal(first.status, Status.SqDeletionAbort);
  assert.equal(impacted.state, 'gone');
  source.setCc(CC_ENABLE);
  const second = reset(source, named);
  source.disconnect();
  rig.heldCloses.pop()!();
  assert.equal(second.done, false, 'nobody is there to hear it');
  assert.ok(impacted.quiet);
});

test('two controllers may ask for the same reset', () => {
  const { rig, source, named } = paths();
  const { queue: third } = rig.ready();
  const requests = [reset(source, named), reset(third, named)];
  assert.deepEqual(
    requests.map(({ done }) => done),
    [false, false],
  );
  rig.heldCloses.pop()!();
  assert.deepEqual(
    requests.map(({ dw0 }) => dw0),
    [1, 1],
  );
});

test('an identifier is not used again, and counts, before its controller is quiet', () => {
  const rig = new Rig();
  const small = rig.target.addSubsystem({ nqn: `${NQN}2`, cntlidMin: 5, cntlidMax: 6 });
  rig.target.link(rig.port.portId, small.nqn);
  const data = { subnqn: small.nqn };
  const first = rig.ready({ data });
  const values = { data: { ...data, cntlid: first.controller.cntlid } };
  assert.equal(rig.connectIo(first.controller, 1, values).status, 0);
  rig.holdClose = true;
  first.queue.disconnect();
  assert.equal(rig.ready({ data }).controller.cntlid, 6);
  assert.equal(connectOn(rig.queue(), { data }).status, 0x181, 'controller busy: 5 is not free yet');
  rig.heldCloses.pop()!();
  assert.equal(rig.ready({ data }).controller.cntlid, 5);
});

test('CQT is what the subsystem was told, within 16 bits', () => {
  const rig = new Rig();
  const small = rig.target.addSubsystem({ nqn: `${NQN}2`, cqtMs: 65535 });
  rig.target.link(rig.port.portId, small.nqn);
  const { queue } = rig.ready({ data: { subnqn: small.nqn } });
  const page = queue.identify(Cns.Controller).reply!;
  assert.equal(IdentifyController.parse(new DataView(page.buffer)).cqt, 65535);
  for (const cqtMs of [0, 65536, 1.5, Number.NaN]) {
    assert.throws(() => rig.target.addSubsystem({ nqn: `${NQN}3`, cqtMs }), /command quiesce time .* 1 to 65535 ms/);
  }
});

test('a host whose time is over for certain is not brought back by what it had sent before', () => {
  const rig = new Rig();
  const { queue, controller } = rig.ready({ sqe: { kato: 1000 } });
  const start = rig.clock.nowMs();
  assert.equal(controller.leaseMs, start + 2000);
  rig.clock.advance(1999); // nobody has looked meanwhile: the process was stopped
  assert.equal(queue.admin(AdminOpcode.KeepAlive).status, 0);
  assert.equal(controller.leaseMs, start + 3999);
  rig.clock.advance(2000);
  assert.equal(queue.admin(AdminOpcode.KeepAlive).status, Status.CommandSequenceError | DNR);
  assert.equal(controller.state, 'gone');
  const other = rig.ready({ sqe: { kato: 1000 } }).controller;
  other.traffic[0] = 1;
  rig.advance(2000);
  assert.equal(other.state, 'gone', 'nor by traffic that was only found now');
});
