import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DISCOVERY_NQN, Fid, Lid, parseFeatureEffects } from '@nvbraid/wire';
import { Rig } from './fake-queue.ts';

const DNR = 0x4000;
const INVALID_FIELD = 0x02 | DNR;
const NOT_CHANGEABLE = 0x10e | DNR;
const NOT_SAVEABLE = 0x10d | DNR;
const NOT_NAMESPACE_SPECIFIC = 0x10f | DNR;
const INVALID_NAMESPACE = 0x0b | DNR;
const SEQUENCE_ERROR = 0x0c | DNR;

/** fid, capabilities, default, a value that can be set (with what reads back), or null. */
const FEATURES: [number, number, number, [number, number] | null][] = [
  [Fid.Arbitration, 0, 7, null],
  [Fid.PowerManagement, 0, 0, null],
  [Fid.TemperatureThreshold, 4, 343, [350, 350]],
  [Fid.ErrorRecovery, 2, 0, null],
  [Fid.VolatileWriteCache, 4, 1, [0, 0]],
  [Fid.NumberOfQueues, 4, 0x007f007f, [0x00030005, 0x00030003]],
  [Fid.WriteAtomicityNormal, 4, 0, [1, 1]],
  [Fid.AsyncEventConfiguration, 4, 0, [0x900, 0x900]],
  [Fid.KeepAliveTimer, 4, 0, [1234, 1300]],
  [Fid.LbaStatusInformation, 4, 100, [0x00070258, 600]],
];

for (const [fid, capabilities, initial, change] of FEATURES) {
  test(`feature ${fid.toString(16).padStart(2, '0')}h: capabilities, default, saved, current`, () => {
    const { queue } = new Rig().ready();
    const nsid = fid === Fid.ErrorRecovery ? 1 : 0;
    const get = (sel: number): number => {
      const request = queue.getFeature(fid, { sel, nsid });
      assert.equal(request.status, 0);
      return request.dw0;
    };
    assert.deepEqual([get(3), get(1), get(2), get(0)], [capabilities, initial, initial, initial]);
    assert.equal(queue.getFeature(fid, { sel: 4, nsid }).status, INVALID_FIELD);
    if (change === null) {
      assert.equal(queue.setFeature(fid, initial, { nsid }).status, 0, 'what holds anyway may be set');
      assert.equal(queue.setFeature(fid, initial ^ 1, { nsid }).status, NOT_CHANGEABLE);
    } else {
      const set = queue.setFeature(fid, change[0], { nsid });
      assert.equal(set.status, 0);
      assert.equal(set.dw0, fid === Fid.NumberOfQueues ? change[1] : 0);
      assert.deepEqual([get(0), get(1), get(2)], [change[1], initial, initial]);
    }
    assert.equal(queue.setFeature(fid, initial, { sv: 1, nsid }).status, NOT_SAVEABLE);
    if (fid !== Fid.ErrorRecovery) {
      assert.equal(queue.setFeature(fid, initial, { nsid: 1 }).status, NOT_NAMESPACE_SPECIFIC);
      assert.equal(queue.setFeature(fid, initial, { nsid: 0xffffffff }).status, 0);
    }
  });
}

test('features that do not exist', () => {
  const { queue } = new Rig().ready();
  const reservations = [Fid.ReservationNotificationMask, Fid.ReservationPersistence]; // see reservations.test.ts
  const others = [
    Fid.HostIdentifier,
    Fid.Timestamp,
    Fid.HostBehaviorSupport,
    Fid.IoCommandSetProfile,
    Fid.NamespaceWriteProtection,
  ];
  const known = new Set<number>([...FEATURES.map(([fid]) => fid), ...others, ...reservations]);
  for (let fid = 0; fid < 256; fid++) {
    if (known.has(fid)) continue;
    assert.equal(queue.getFeature(fid).status, INVALID_FIELD, `get ${fid}`);
    assert.equal(queue.getFeature(fid, { sel: 3 }).status, INVALID_FIELD, `capabilities of ${fid}`);
    assert.equal(queue.setFeature(fid, 0).status, INVALID_FIELD, `set ${fid}`);
  }
  const log = parseFeatureEffects(queue.getLog(Lid.FeatureIdentifiersEffects, 1024).reply!);
  assert.deepEqual(
    [...log.keys()],
    [...known].sort((a, b) => a - b),
    'and the log page says the same',
  );
});

test('error recovery belongs to a namespace', () => {
  const { queue } = new Rig().ready();
  for (const nsid of [0, 2, 1025]) {
    assert.equal(queue.getFeature(Fid.ErrorRecovery, { nsid }).status, INVALID_NAMESPACE);
    assert.equal(queue.setFeature(Fid.ErrorRecovery, 0, { nsid }).status, INVALID_NAMESPACE);
  }
  assert.equal(queue.getFeature(Fid.ErrorRecovery, { nsid: 0xffffffff }).status, INVALID_NAMESPACE);
  assert.equal(queue.setFeature(Fid.ErrorRecovery, 0, { nsid: 0xffffffff }).status, 0);
  assert.equal(queue.setFeature(Fid.ErrorRecovery, 0x10000, { nsid: 1 }).status, NOT_CHANGEABLE, 'DULBE');
});

test('the number of queues is agreed before the first I/O queue', () => {
  const rig = new Rig();
  const { queue, controller } = rig.ready();
  const set = (dw11: number): [number | null, number] => {
    const request = queue.setFeature(Fid.NumberOfQueues, dw11);
    return [request.status, request.dw0];
  };
  assert.deepEqual(set(0xffff), [INVALID_FIELD, 0]);
  assert.deepEqual(set(0xffff0000), [INVALID_FIELD, 0]);
  assert.deepEqual(set(0xfffefffe), [0, 0x007f007f], 'no more than the limit');
  assert.deepEqual(set(0), [0, 0]);
  assert.deepEqual(set(0x00070003), [0, 0x00030003], 'pairs');
  assert.equal(queue.getFeature(Fid.NumberOfQueues).dw0, 0x00030003);
  rig.connectIo(controller, 1);
  assert.deepEqual(set(0x00030003), [SEQUENCE_ERROR, 0]);
  controller.ioQueueClosed(1);
  assert.deepEqual(set(0x00010001), [0, 0x00010001]);
});

test('a subsystem may allow fewer queues', () => {
  const rig = new Rig();
  const small = rig.target.addSubsystem({ nqn: 'nqn.2024-01.example.com:small', maxIoQueues: 2 });
  rig.target.link(rig.port.portId, small.nqn);
  const { queue, controller } = rig.ready({ data: { subnqn: small.nqn } });
  assert.equal(queue.setFeature(Fid.NumberOfQueues, 0x00070007).dw0, 0x00010001);
  assert.equal(rig.connectIo(controller, 3, { data: { subnqn: small.nqn } }).status, 0x182 | DNR);
});

test('event bits that the controller does not have are refused', () => {
  const rig = new Rig();
  const { queue } = rig.ready();
  for (const bit of [6, 7, 9, 10, 12, 14, 16, 31]) {
    assert.equal(queue.setFeature(Fid.AsyncEventConfiguration, 2 ** bit).status, INVALID_FIELD, `bit ${bit}`);
  }
  assert.equal(queue.setFeature(Fid.AsyncEventConfiguration, 0x800_093f).status, 0);
  const discovery = rig.ready({ data: { subnqn: DISCOVERY_NQN } });
  assert.equal(discovery.queue.setFeature(Fid.AsyncEventConfiguration, 0x100).status, INVALID_FIELD);
  assert.equal(discovery.queue.setFeature(Fid.AsyncEventConfiguration, 0x80000000).status, 0);
  assert.equal(discovery.queue.getFeature(Fid.AsyncEventConfiguration).dw0, 0x80000000);
});

test('the host identifier is the one of Connect and cannot be set', () => {
  const { queue } = new Rig().ready();
  const get = queue.getFeature(Fid.HostIdentifier, { dw11: 1, sglId: 0x5a, sglLength: 16 });
  assert.equal(get.status, 0);
  assert.equal(Buffer.from(get.reply!).toString('hex'), '11111111222233334444555555555555');
  const short = { sglId: 0x5a, sglLength: 16, dw11: 0 };
  assert.equal(queue.getFeature(Fid.HostIdentifier, short).status, INVALID_FIELD, 'over fabrics always 128 bits');
  assert.equal(queue.getFeature(Fid.HostIdentifier, { dw11: 1, sglId: 0x5a, sglLength: 8 }).status, 0x0f | DNR);
  assert.equal(queue.getFeature(Fid.HostIdentifier, { sel: 3 }).dw0, 0);
  assert.equal(queue.setFeature(Fid.HostIdentifier, 1, { sglId: 0x5a, sglLength: 16 }).status, SEQUENCE_ERROR);
});

test('temperature thresholds: selectors, and the warning that they raise', () => {
  const { queue } = new Rig().ready();
  const fid = Fid.TemperatureThreshold;
  for (const dw11 of [0x10000, 0x80000, 0x200000, 0x300000, 0xe0000]) {
    assert.equal(queue.getFeature(fid, { dw11 }).status, INVALID_FIELD);
    assert.equal(queue.setFeature(fid, dw11).status, INVALID_FIELD);
  }
  assert.equal(queue.getFeature(fid, { dw11: 0xf0000 }).status, INVALID_FIELD, 'all sensors only when setting');
  assert.equal(queue.getFeature(fid, { dw11: 0x100000 }).dw0, 0, 'under temperature');
  const warning = (): number => queue.getLog(Lid.Smart, 512, { rae: 1 }).reply![0]!;
  assert.equal(warning(), 0);
  assert.equal(queue.setFeature(fid, 0x100000 | 298).status, 0);
  assert.equal(warning(), 2);
  assert.equal(queue.setFeature(fid, 0x100000).status, 0);
  assert.equal(queue.setFeature(fid, 0xf0000 | 298).status, 0);
  assert.equal(warning(), 2);
  assert.equal(queue.setFeature(fid, 299).status, 0);
  assert.equal(warning(), 0);
});

test('a discovery controller has events and Keep Alive, no more', () => {
  const { queue } = new Rig().ready({ data: { subnqn: DISCOVERY_NQN } });
  const log = parseFeatureEffects(queue.getLog(Lid.FeatureIdentifiersEffects, 1024).reply!);
  assert.deepEqual([...log.keys()], [Fid.AsyncEventConfiguration, Fid.KeepAliveTimer]);
  assert.equal(queue.setFeature(Fid.NumberOfQueues, 0).status, INVALID_FIELD);
  assert.equal(queue.setFeature(Fid.KeepAliveTimer, 30_000).status, 0);
});
