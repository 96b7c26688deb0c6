import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AbortSqe, AdminOpcode, AnaState, DISCOVERY_NQN, Fid, Lid } from '@nvbraid/wire';
import { CC_ENABLE, type FakeQueue, type FakeRequest, HOST, NQN, Rig } from './fake-queue.ts';

const DNR = 0x4000;
const NAMESPACE_CHANGED = 0x040002;
const ANA_CHANGED = 0x0c0302;
const DISCOVERY_CHANGED = 0x70f002;
const TEMPERATURE = 0x020101;

function abort(queue: FakeQueue, sqid: number, abortCid: number): FakeRequest {
  return queue.send(AbortSqe, { opc: AdminOpcode.Abort, sqid, abortCid });
}

/** A ready controller that wants all events. */
function listening(rig = new Rig()): { rig: Rig; queue: FakeQueue } {
  const { queue } = rig.ready();
  assert.equal(queue.setFeature(Fid.AsyncEventConfiguration, 0x93f).status, 0);
  return { rig, queue };
}

test('a change of a namespace completes one request; more are masked until the log is read', () => {
  const { rig, queue } = listening();
  const first = queue.asyncEventRequest();
  const second = queue.asyncEventRequest();
  assert.ok(!first.done && !second.done);
  rig.subsystem.resizeNamespace(1, 2000);
  assert.deepEqual([first.status, first.dw0], [0, NAMESPACE_CHANGED]);
  rig.subsystem.resizeNamespace(1, 3000);
  assert.ok(!second.done);
  queue.getLog(Lid.ChangedNamespaceList, 4096, { rae: 1 });
  rig.subsystem.resizeNamespace(1, 4000);
  assert.ok(!second.done, 'RAE leaves the event alone');
  queue.getLog(Lid.Ana, 64);
  rig.subsystem.resizeNamespace(1, 4500);
  assert.ok(!second.done, 'the log page of another event');
  queue.getLog(Lid.ChangedNamespaceList, 4096);
  rig.subsystem.resizeNamespace(1, 5000);
  assert.deepEqual([second.status, second.dw0], [0, NAMESPACE_CHANGED]);
});

test('a new namespace and one that goes are changes as well', () => {
  const { rig, queue } = listening();
  for (const change of [
    () => rig.subsystem.addNamespace({ nsid: 2, device: null, blockSize: 512, blockCount: 8 }),
    () => rig.subsystem.setReadOnly(2, true),
    () => rig.subsystem.removeNamespace(2),
  ]) {
    const event = queue.asyncEventRequest();
    change();
    assert.equal(event.dw0, NAMESPACE_CHANGED);
    queue.getLog(Lid.ChangedNamespaceList, 4096);
  }
});

test('an event waits for a request', () => {
  const { rig, queue } = listening();
  rig.subsystem.resizeNamespace(1, 2000);
  rig.port.setAnaState(1, AnaState.NonOptimized);
  assert.equal(queue.asyncEventRequest().dw0, NAMESPACE_CHANGED);
  assert.equal(queue.asyncEventRequest().dw0, ANA_CHANGED);
  assert.ok(!queue.asyncEventRequest().done);
});

test('an event whose log was read before anybody asked is not told', () => {
  const { rig, queue } = listening();
  rig.subsystem.resizeNamespace(1, 2000);
  queue.getLog(Lid.ChangedNamespaceList, 4096);
  const request = queue.asyncEventRequest();
  assert.ok(!request.done);
  rig.subsystem.resizeNamespace(1, 3000);
  assert.ok(request.done);
});

test('events that are not enabled do not happen', () => {
  const rig = new Rig();
  const { queue } = rig.ready();
  const request = queue.asyncEventRequest();
  rig.subsystem.resizeNamespace(1, 2000);
  rig.port.setAnaState(1, AnaState.NonOptimized);
  assert.ok(!request.done);
  queue.setFeature(Fid.AsyncEventConfiguration, 0x800);
  rig.subsystem.resizeNamespace(1, 3000);
  assert.ok(!request.done);
  rig.port.setAnaState(1, AnaState.Inaccessible);
  assert.equal(request.dw0, ANA_CHANGED);
});

test('an ANA change is told on its port only, before which the snapshot is out', () => {
  const rig = new Rig();
  const other = rig.target.addPort({ trtype: 'tcp', adrfam: 'ipv4', traddr: '127.0.0.2', trsvcid: '4420' });
  rig.target.link(other.portId, NQN);
  const here = listening(rig).queue;
  const there = rig.ready({}, other).queue;
  there.setFeature(Fid.AsyncEventConfiguration, 0x800);
  const event = here.asyncEventRequest();
  const none = there.asyncEventRequest();
  let published = 0;
  rig.hooks.namespacesChanged = (subsystem) => {
    assert.ok(!event.done, 'reactors hear first');
    published = subsystem.snapshot(rig.port.portId).namespaces[0]!.pathStatus;
  };
  rig.port.setAnaState(1, AnaState.Inaccessible);
  assert.equal(published, 0x302);
  assert.equal(event.dw0, ANA_CHANGED);
  assert.ok(!none.done);
  assert.equal(rig.subsystem.snapshot(other.portId).namespaces[0]!.pathStatus, 0);
});

test('a temperature threshold that is crossed', () => {
  const { queue } = listening();
  const event = queue.asyncEventRequest();
  queue.setFeature(Fid.TemperatureThreshold, 298);
  assert.equal(event.dw0, TEMPERATURE);
  const next = queue.asyncEventRequest();
  queue.getLog(Lid.Smart, 512);
  queue.setFeature(Fid.AsyncEventConfiguration, 0);
  queue.setFeature(Fid.AsyncEventConfiguration, 2);
  assert.equal(next.dw0, TEMPERATURE, 'it is told when it is enabled and holds already');
});

test('four requests, not five', () => {
  const { queue } = listening();
  const requests = [1, 2, 3, 4].map(() => queue.asyncEventRequest());
  assert.ok(requests.every((request) => !request.done));
  assert.equal(queue.asyncEventRequest().status, 0x105 | DNR);
  assert.ok(requests.every((request) => !request.done));
});

test('Abort ends an event request and says so', () => {
  const { rig, queue } = listening();
  queue.asyncEventRequest(700);
  const victim = queue.asyncEventRequest(701);
  const result = abort(queue, 0, 701);
  assert.deepEqual([victim.status, victim.dw0], [0x07, 0]);
  assert.deepEqual([result.status, result.dw0], [0, 0]);
  assert.deepEqual(
    queue.completions.slice(-2).map((request) => request.cid),
    [701, result.cid],
    'the victim first',
  );
  assert.equal(abort(queue, 0, 701).dw0, 1, 'not twice');
  rig.subsystem.resizeNamespace(1, 2000);
  assert.equal(queue.completions.at(-1)!.cid, 700);
});

test('Abort does not claim what it has not done', () => {
  const { rig, queue } = listening();
  rig.connectIo(rig.target.controllers[0]!, 1);
  const waiting = queue.asyncEventRequest(700);
  for (const [sqid, cid] of [
    [1, 700],
    [0, 5],
    [99, 700],
    [0xffff, 0xffff],
  ] as const) {
    const result = abort(queue, sqid, cid);
    assert.deepEqual([result.status, result.dw0], [0, 1]);
  }
  assert.ok(!waiting.done);
});

test('a reset ends requests and forgets events', () => {
  const { rig, queue } = listening();
  rig.subsystem.resizeNamespace(1, 2000);
  assert.equal(queue.asyncEventRequest().dw0, NAMESPACE_CHANGED);
  rig.port.setAnaState(1, AnaState.NonOptimized);
  queue.setCc(0);
  queue.setCc(CC_ENABLE);
  assert.ok(!queue.asyncEventRequest().done, 'the pending ANA change');
  rig.subsystem.resizeNamespace(1, 3000);
  assert.equal(queue.completions.at(-1)!.opcode, 0, 'nothing is enabled any more');
  queue.setFeature(Fid.AsyncEventConfiguration, 0x100);
  rig.subsystem.resizeNamespace(1, 4000);
  assert.equal(queue.completions.at(-1)!.dw0, NAMESPACE_CHANGED, 'the mask is gone as well');
});

test('requests of a connection that is gone are never completed', () => {
  const { rig, queue } = listening();
  const request = queue.asyncEventRequest();
  queue.disconnect();
  rig.subsystem.resizeNamespace(1, 2000);
  assert.ok(!request.done);
});

test('discovery controllers hear of every change that a log shows', () => {
  const rig = new Rig();
  const { queue } = rig.ready({ data: { subnqn: DISCOVERY_NQN } });
  queue.setFeature(Fid.AsyncEventConfiguration, 0x80000000);
  const told = (change: () => void): boolean => {
    const before = rig.target.generation;
    const request = queue.asyncEventRequest();
    change();
    assert.equal(request.done, rig.target.generation !== before);
    if (!request.done) {
      abort(queue, 0, request.cid);
      return false;
    }
    assert.equal(request.dw0, DISCOVERY_CHANGED);
    queue.getLog(Lid.Discovery, 1024);
    return true;
  };
  let port = rig.port;
  assert.ok(!told(() => rig.target.addSubsystem({ nqn: 'a' })), 'not linked: not in the log');
  assert.ok(
    !told(() => {
      port = rig.target.addPort({ trtype: 'tcp', adrfam: 'ipv4', traddr: '127.0.0.2', trsvcid: '4420' });
    }),
  );
  assert.ok(told(() => rig.target.link(port.portId, 'a')));
  assert.ok(!told(() => rig.target.link(port.portId, 'a')), 'already there');
  const subsystem = rig.target.subsystem('a')!;
  assert.ok(told(() => subsystem.setAllowAnyHost(false)));
  assert.ok(!told(() => subsystem.setAllowAnyHost(false)));
  assert.ok(told(() => subsystem.allowHost(HOST)));
  assert.ok(!told(() => subsystem.allowHost(HOST)));
  assert.ok(told(() => subsystem.removeHost(HOST)));
  assert.ok(!told(() => subsystem.removeHost(HOST)));
  assert.ok(told(() => rig.target.unlink(port.portId, 'a')));
  assert.ok(!told(() => rig.target.unlink(port.portId, 'a')));
  assert.ok(!told(() => rig.target.removeSubsystem('a')), 'it was not linked any more');
  assert.ok(told(() => rig.target.link(port.portId, NQN)));
  assert.ok(told(() => rig.target.removePort(port.portId)));
  assert.ok(told(() => rig.target.removeSubsystem(NQN)));
  assert.ok(!told(() => rig.port.setAnaState(1, AnaState.Inaccessible)));
});
