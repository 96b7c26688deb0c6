import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AdminOpcode,
  Cns,
  FeaturesSqe,
  Fid,
  HostBehaviorSupportFeature,
  IdentifyNamespace,
  TimestampFeature,
} from '@nvbraid/wire';
import { CC_ENABLE, type FakeQueue, type FakeRequest, Rig } from './fake-queue.ts';

const DNR = 0x4000;
const INVALID_FIELD = 0x02 | DNR;
const NOT_CHANGEABLE = 0x10e | DNR;

function setData(queue: FakeQueue, fid: number, data: Uint8Array, sglLength = data.length): FakeRequest {
  const sqe = { opc: AdminOpcode.SetFeatures, fid, sglId: 1, sglLength };
  return queue.submit(FeaturesSqe.toBytes(sqe), data);
}

function getData(queue: FakeQueue, fid: number, bytes: number, sel = 0): DataView {
  const request = queue.getFeature(fid, { sel, sglId: 0x5a, sglLength: bytes });
  assert.equal(request.status, 0);
  return new DataView(request.reply!.buffer);
}

const snapshot = (rig: Rig) => rig.subsystem.snapshot(1).namespaces[0]!;

test('a write cache that is switched off: writes are forced first, then what was written is flushed, then it is answered', () => {
  const rig = new Rig();
  const { queue } = rig.ready();
  rig.holdFlush = true;
  rig.log.length = 0;
  const set = queue.setFeature(Fid.VolatileWriteCache, 0);
  assert.equal(snapshot(rig).writeThrough, true);
  assert.deepEqual(
    rig.log.map((line) => line.split(' ')[0]),
    ['namespacesChanged', 'flush'],
  );
  assert.equal(set.done, false);
  rig.heldFlushes.shift()!();
  assert.equal(set.status, 0);
  assert.equal(queue.getFeature(Fid.VolatileWriteCache).dw0, 0);
  assert.equal(queue.setFeature(Fid.VolatileWriteCache, 1).status, 0);
  assert.equal(snapshot(rig).writeThrough, undefined);
});

test('the write cache is off for all while any controller wants it off', () => {
  const rig = new Rig();
  const [a, b] = [rig.ready(), rig.ready()];
  a.queue.setFeature(Fid.VolatileWriteCache, 0);
  b.queue.setFeature(Fid.VolatileWriteCache, 0);
  a.queue.setFeature(Fid.VolatileWriteCache, 1);
  assert.equal(snapshot(rig).writeThrough, true);
  b.queue.setCc(0);
  assert.equal(snapshot(rig).writeThrough, undefined, 'a reset brings the default back');
  a.queue.setFeature(Fid.VolatileWriteCache, 0);
  a.queue.disconnect();
  assert.equal(snapshot(rig).writeThrough, undefined, 'the controller is gone');
});

test('Namespace Write Protection: protected, until power cycle, and what cannot be taken back', () => {
  const rig = new Rig();
  const { queue } = rig.ready();
  queue.setFeature(Fid.AsyncEventConfiguration, 0x100);
  const get = (nsid = 1): number => queue.getFeature(Fid.NamespaceWriteProtection, { nsid }).dw0;
  const set = (state: number, nsid = 1): number | null =>
    queue.setFeature(Fid.NamespaceWriteProtection, state, { nsid }).status;
  const nsattr = (): number =>
    IdentifyNamespace.parse(new DataView(queue.identify(Cns.Namespace, { nsid: 1 }).reply!.buffer)).nsattr;
  assert.deepEqual([get(), nsattr(), snapshot(rig).readOnly], [0, 0, false]);
  const event = queue.asyncEventRequest();
  rig.log.length = 0;
  assert.equal(set(1), 0);
  assert.match(rig.log.join(' '), /namespacesChanged.*flush/);
  assert.equal(event.dw0, 0x040002);
  assert.deepEqual([get(), nsattr(), snapshot(rig).readOnly], [1, 1, true]);
  assert.equal(set(0), 0);
  assert.deepEqual([get(), nsattr(), snapshot(rig).readOnly], [0, 0, false]);
  for (const state of [3, 4, 7]) assert.equal(set(state), INVALID_FIELD, 'not in NWPC');
  assert.equal(set(2), 0);
  for (const state of [0, 1]) assert.equal(set(state), NOT_CHANGEABLE);
  assert.equal(set(2), 0, 'what it is already');
  queue.setCc(0);
  queue.setCc(CC_ENABLE);
  assert.equal(get(), 2, 'a controller reset is no power cycle');
  assert.equal(set(1, 9), 0x0b | DNR);
  assert.equal(queue.getFeature(Fid.NamespaceWriteProtection, { nsid: 1, sel: 3 }).dw0, 6, 'per namespace, changeable');
});

test('write protection is stable before it holds, one change after the other, and one that cannot be kept does not happen', () => {
  const rig = new Rig();
  const saves: [number, boolean, (saved: boolean) => void][] = [];
  rig.hooks.saveProtection = (namespace, writeProtected, done) => saves.push([namespace.nsid, writeProtected, done]);
  rig.subsystem.addNamespace({ nsid: 2, device: null, blockSize: 512, blockCount: 9 });
  const { queue } = rig.ready();
  const set = (state: number, nsid: number): FakeRequest =>
    queue.setFeature(Fid.NamespaceWriteProtection, state, { nsid });
  const states = (): number[] => rig.subsystem.namespaces.map((namespace) => namespace.writeProtection);
  const saved = (nsid: number, writeProtected: boolean, ok = true): void => {
    assert.equal(saves.length, 1, 'one at a time');
    const [of, what, done] = saves.shift()!;
    assert.deepEqual([of, what], [nsid, writeProtected]);
    done(ok);
  };
  const all = set(1, 0xffffffff);
  const undo = set(0, 1);
  assert.deepEqual([states(), all.done], [[0, 0], false], 'nothing holds yet');
  saved(1, true);
  assert.deepEqual([states(), all.done], [[1, 0], false]);
  saved(2, true);
  assert.deepEqual([states(), all.status], [[1, 1], 0]);
  saved(1, false, false);
  assert.deepEqual([states(), undo.status], [[1, 1], 0x06]);
  const until = set(2, 2);
  const late = set(0, 2);
  saved(2, false);
  assert.deepEqual([states(), until.status], [[1, 2], 0], 'until power cycle is over after one');
  assert.deepEqual([late.status, saves], [NOT_CHANGEABLE, []], 'looked at again when its turn comes');
  const gone = set(0, 1);
  const behind = set(1, 1);
  rig.subsystem.removeNamespace(1);
  saved(1, false);
  assert.equal(gone.status, 0);
  assert.equal(behind.status, 0x0b | DNR);
});

test('what the operator has made read-only is told as protected, and hosts cannot change it', () => {
  const rig = new Rig();
  const { queue } = rig.ready();
  rig.subsystem.setReadOnly(1, true);
  assert.equal(queue.getFeature(Fid.NamespaceWriteProtection, { nsid: 1 }).dw0, 1);
  assert.equal(queue.setFeature(Fid.NamespaceWriteProtection, 0, { nsid: 1 }).status, NOT_CHANGEABLE);
  assert.equal(queue.setFeature(Fid.NamespaceWriteProtection, 1, { nsid: 1 }).status, 0);
  rig.subsystem.setReadOnly(1, false);
  assert.equal(snapshot(rig).readOnly, true, 'the host has protected it too');
});

test('Timestamp counts from the reset, or from what a host has set', () => {
  const rig = new Rig();
  const { queue } = rig.ready();
  const get = (sel = 0): [number, number, number] => {
    const { timestampMs, synch, origin } = TimestampFeature.parse(getData(queue, Fid.Timestamp, 8, sel));
    return [timestampMs, synch, origin];
  };
  rig.advance(1500);
  assert.deepEqual(get(), [1500, 0, 0]);
  assert.equal(setData(queue, Fid.Timestamp, TimestampFeature.toBytes({ timestampMs: 1.7e12 })).status, 0);
  rig.advance(250);
  assert.deepEqual(get(), [1.7e12 + 250, 0, 1]);
  assert.deepEqual(get(1), [0, 0, 0], 'the default');
  setData(queue, Fid.Timestamp, TimestampFeature.toBytes({ timestampMs: 2 ** 48 - 1 }));
  rig.advance(2);
  assert.equal(get()[0], 1, '48 bits');
  queue.setCc(0);
  queue.setCc(CC_ENABLE);
  assert.deepEqual(get(), [0, 0, 0]);
  assert.equal(setData(queue, Fid.Timestamp, new Uint8Array(4)).status, 0x0f | DNR, 'too little data');
  assert.equal(queue.getFeature(Fid.Timestamp, { sel: 3 }).dw0, 4);
});

test('Host Behavior Support keeps flags that are flags, and no copy format that is not there', () => {
  const rig = new Rig();
  const { queue } = rig.ready();
  const set = (values: Partial<HostBehaviorSupportFeature>): number | null =>
    setData(queue, Fid.HostBehaviorSupport, HostBehaviorSupportFeature.toBytes(values)).status;
  assert.equal(set({ acre: 1, etdas: 1, lbafee: 1 }), 0);
  const kept = HostBehaviorSupportFeature.parse(getData(queue, Fid.HostBehaviorSupport, 512));
  assert.deepEqual([kept.acre, kept.etdas, kept.lbafee, kept.hdisns, kept.cdfe], [1, 1, 1, 0, 0]);
  for (const bad of [{ acre: 2 }, { etdas: 2 }, { lbafee: 255 }, { hdisns: 2 }, { cdfe: 4 }, { cdfe: 1 }]) {
    assert.equal(set(bad), INVALID_FIELD);
  }
  queue.setCc(0);
  queue.setCc(CC_ENABLE);
  assert.equal(HostBehaviorSupportFeature.parse(getData(queue, Fid.HostBehaviorSupport, 512)).acre, 0);
});

test('there is one combination of command sets to choose', () => {
  const { queue } = new Rig().ready();
  assert.equal(queue.setFeature(Fid.IoCommandSetProfile, 0).status, 0);
  assert.equal(queue.setFeature(Fid.IoCommandSetProfile, 1).status, 0x12b | DNR);
  assert.equal(queue.getFeature(Fid.IoCommandSetProfile).dw0, 0);
});
