import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { HostSubsystem, NamespaceRegistry, quiesceMs } from '@nvbraid/host';
import { BioStatus } from '@nvbraid/multipath';
import { AnaState, IoOpcode } from '@nvbraid/wire';
import { pairDevice } from '../src/pair.ts';
import { LatchedDevice } from './support/latched-device.ts';
import { TestBio, TwoPaths } from './support/two-paths.ts';

describe('controllers of one subsystem share heads', () => {
  test('two controllers are two paths of one head, and both are used', () => {
    const pair = new TwoPaths({ iopolicy: 'round-robin' });
    assert.deepEqual(
      pair.head.paths.map(({ name }) => name),
      ['nvme0c1n1', 'nvme0c2n1'],
    );
    assert.equal(pair.head.name, 'nvme0n1');
    const bios = Array.from({ length: 8 }, (_, i) => pair.writeBlocks(i, 1, i + 1));
    pair.drive();
    assert.ok(bios.every(({ ok }) => ok));
    assert.deepEqual(
      pair.head.paths.map(({ ioCount }) => ioCount),
      [4, 4],
    );
    const read = pair.readBlocks(3, 1);
    pair.drive();
    assert.ok(read.ok);
    assert.equal(read.memory.bytes[0], 4);
  });

  test('another subsystem of the same name is refused, and so is a controller that is connected already', () => {
    const pair = new TwoPaths();
    const other = new TwoPaths({}, {}, { subsystem: { serial: 'ANOTHER' } });
    // The host of one meets the target of the other.
    const host = other.addHost({}, { subsystem: pair.host2 });
    other.connect(host);
    assert.equal(host.core.state, 'dead');
    assert.match(host.core.error!.message, /another subsystem of the same name/);
    assert.equal(pair.head.paths.length, 2);
    assert.throws(() => pair.host2.addController({ ...pair.a.core.options, nqn: 'nqn.x' }, pair.a, NO_EVENTS), {
      code: 'EINVAL',
    });
  });

  test('identifiers that another subsystem has are refused with its name', () => {
    const registry = new NamespaceRegistry();
    const uuid = '0b9c8d7e-1111-4222-8333-444455556666';
    const logs: string[] = [];
    const heads: string[] = [];
    for (const nqn of ['nqn.2026-01.test:one', 'nqn.2026-01.test:two']) {
      const pair = new TwoPaths({}, {}, { nqn, device: null });
      const device = pairDevice();
      pair.subsystem.addNamespace({ device, blockSize: 512, blockCount: device.blockCount, uuid });
      const host = new HostSubsystem({ nqn }, pair.clock, { log: (line) => logs.push(line) }, registry);
      pair.driven.push(host);
      pair.connect(pair.addHost({}, { subsystem: host }));
      heads.push([...host.heads.keys()].join());
    }
    assert.deepEqual(heads, ['1', '']);
    assert.match(logs.join(), /namespace 1 of nqn.2026-01.test:two is not used: uuid .* nqn.2026-01.test:one/);
  });

  test('a number with another disk behind it gets a new head', () => {
    const pair = new TwoPaths();
    const old = pair.head;
    pair.subsystem.removeNamespace(1);
    pair.drive();
    assert.ok(old.gone);
    assert.equal(pair.removed.length, 1);
    const failed = new TestBio(IoOpcode.Read, 0, new Uint8Array(512), 512);
    old.submitBio(failed);
    assert.equal(failed.status, BioStatus.IoError);
    const device = pairDevice(1 << 20);
    pair.subsystem.addNamespace({
      nsid: 1,
      device,
      blockSize: 512,
      blockCount: 2048,
      uuid: '99999999-1111-4222-8333-444455556666',
    });
    pair.drive();
    assert.notEqual(pair.head, old);
    assert.equal(pair.head.blockCount, 2048);
    assert.equal(pair.head.paths.length, 2);
  });

  test('a namespace that changes its size is used by all paths that say so', () => {
    const pair = new TwoPaths();
    pair.subsystem.resizeNamespace(1, 4096);
    pair.drive();
    assert.equal(pair.head.blockCount, 4096);
    assert.ok(pair.head.paths.every(({ ready }) => ready));
    const beyond = pair.readBlocks(4096, 1);
    pair.drive();
    assert.equal(beyond.status, BioStatus.IoError);
  });
});

describe('row 57: paths follow ANA', () => {
  test('optimized, non-optimized, inaccessible, persistent loss and change, under I/O, without an error', () => {
    const pair = new TwoPaths();
    const states = [AnaState.NonOptimized, AnaState.Inaccessible, AnaState.PersistentLoss, AnaState.Change];
    let fill = 0;
    for (const state of states) {
      const before = pair.pathOf(pair.a).ioCount;
      const flying = [pair.writeBlocks(1, 1, ++fill), pair.readBlocks(0, 4)];
      pair.port.setAnaState(1, state);
      flying.push(pair.writeBlocks(2, 1, ++fill));
      pair.drive();
      assert.ok(
        flying.every(({ ok }) => ok),
        `state ${state}`,
      );
      assert.equal(pair.pathOf(pair.a).anaState, state);
      const used = pair.pathOf(pair.a).ioCount;
      const later = [pair.writeBlocks(3, 1, ++fill), pair.readBlocks(3, 1)];
      pair.drive();
      assert.ok(later.every(({ ok }) => ok));
      assert.equal(pair.pathOf(pair.a).ioCount, used, 'the optimized path is used alone');
      assert.ok(used >= before);
      pair.port.setAnaState(1, AnaState.Optimized);
      pair.drive();
    }
    assert.equal(pair.anaChanges.length, 2 * states.length);
  });

  test('a group that stays in change longer than twice ANATT gets its controller reset', () => {
    const pair = new TwoPaths();
    pair.port.setAnaState(1, AnaState.Change);
    pair.drive();
    pair.run(19_000);
    assert.equal(pair.a.core.resets, 0);
    pair.run(2000);
    assert.equal(pair.a.core.resets, 1);
    assert.equal(pair.b.core.resets, 0);
    pair.port.setAnaState(1, AnaState.Optimized);
    pair.run(5000);
    assert.equal(pair.a.core.state, 'live');
    assert.equal(pair.a.core.resets, 1, 'no timer is left behind');
  });

  test('with all paths inaccessible commands wait for one that is not', () => {
    const pair = new TwoPaths();
    for (const port of [pair.port, pair.second]) port.setAnaState(1, AnaState.Inaccessible);
    pair.drive();
    const bio = pair.writeBlocks(0, 1, 7);
    pair.run(3000);
    assert.ok(!bio.ended);
    assert.ok(pair.head.requeueNoUsablePathCount > 0);
    pair.second.setAnaState(1, AnaState.NonOptimized);
    pair.run(100);
    assert.ok(bio.ok);
  });
});

describe('a lost path', () => {
  test('reads go another way at once', () => {
    const pair = new TwoPaths();
    const reads = Array.from({ length: 5 }, (_, i) => pair.readBlocks(i, 1));
    pair.cut(pair.a);
    pair.drive();
    assert.ok(reads.every(({ ok }) => ok));
    assert.ok(pair.failovers > 0);
    assert.equal(pair.a.core.state, 'connecting');
  });

  test('a write whose fate is unknown waits until a reset through the other controller has proven the end', () => {
    const held = new LatchedDevice(pairDevice());
    const pair = new TwoPaths({}, {}, { device: held });
    held.hold = true;
    const write = pair.writeBlocks(9, 1, 1);
    pair.drive();
    pair.cut(pair.a);
    pair.run(100);
    assert.ok(!write.ended, 'the old association may still write');
    assert.equal(pair.host2.fences.heldCount, 1);
    held.hold = false;
    held.release();
    pair.run(100);
    assert.ok(write.ok);
    assert.match(pair.log.join('\n'), /was reset by controller/);
    assert.equal(pair.host2.fences.pending.length, 0);
  });

  test('where no reset can prove it, the time of the formula has to pass', () => {
    const pair = new TwoPaths({}, { keepAliveMs: 2000 });
    for (const { core } of [pair.a, pair.b]) core.identify!.ccrl = 0;
    const { cqt } = pair.a.core.identify!;
    const link = pair.links.find((candidate) => candidate.host === pair.a.core.ioQueues[0])!;
    link.stall('toTarget'); // sent, but never arrived: nobody knows
    const write = pair.writeBlocks(9, 1, 1);
    pair.drive();
    const lostMs = pair.clock.nowMs();
    pair.cut(pair.a);
    pair.drive();
    const traffic = (pair.a.core.identify!.ctratt & 0x40) !== 0;
    const bound = quiesceMs(2000, cqt, traffic);
    assert.equal(bound, (traffic ? 3 : 2) * 2000 + cqt);
    assert.equal(pair.host2.fences.nextDeadlineMs, lostMs + bound);
    pair.run(bound - 1);
    assert.ok(!write.ended);
    pair.run(2);
    assert.ok(write.ok);
  });

  test('a command that has not been sent is not held', () => {
    const pair = new TwoPaths({}, { queueSize: 2 });
    for (const { core } of [pair.a, pair.b]) core.identify!.ccrl = 0;
    pair.links.find((link) => link.host === pair.a.core.ioQueues[0])!.stall('toTarget');
    const [sent, waiting] = [pair.writeBlocks(0, 1, 5), pair.writeBlocks(1, 1, 6)];
    pair.drive();
    pair.cut(pair.a);
    pair.drive();
    assert.ok(waiting.ok);
    assert.ok(!sent.ended);
    assert.equal(pair.host2.fences.heldCount, 1);
  });

  test('without safe failover a write goes another way at once', () => {
    const held = new LatchedDevice(pairDevice());
    const pair = new TwoPaths({ safeFailover: false }, {}, { device: held });
    held.hold = true;
    const write = pair.writeBlocks(9, 1, 1);
    pair.drive();
    held.hold = false;
    pair.cut(pair.a);
    pair.drive();
    assert.ok(write.ok);
    held.release();
  });

  test('safe failover without Keep Alive is refused with the way out', () => {
    assert.throws(() => new TwoPaths({}, { keepAliveMs: 0 }), { code: 'EINVAL', message: /keep-alive-tmo/ });
  });

  test('the path is used again when its controller is back', () => {
    const pair = new TwoPaths({ iopolicy: 'round-robin' });
    pair.cut(pair.a);
    pair.run(500);
    pair.a.unreachable = false;
    pair.run(3000);
    assert.equal(pair.a.core.state, 'live');
    const before = pair.pathOf(pair.a).ioCount;
    for (let i = 0; i < 4; i++) pair.readBlocks(i, 1);
    pair.drive();
    assert.ok(pair.pathOf(pair.a).ioCount > before);
  });
});

describe('row 58: all paths lost', () => {
  test('commands wait while a controller may come back, and end well when it does', () => {
    const pair = new TwoPaths();
    for (const host of [pair.a, pair.b]) pair.cut(host);
    const bios = [pair.readBlocks(0, 1), pair.writeBlocks(1, 1, 3)];
    pair.run(20_000);
    assert.ok(bios.every(({ ended }) => !ended));
    pair.b.unreachable = false;
    pair.run(2000);
    assert.ok(bios.every(({ ok }) => ok));
  });

  test('after fast-io-fail-tmo they fail, and new ones at once', () => {
    const pair = new TwoPaths({}, { fastIoFailTmoMs: 3000 });
    for (const host of [pair.a, pair.b]) pair.cut(host);
    const bio = pair.readBlocks(0, 1);
    pair.run(2900);
    assert.ok(!bio.ended);
    pair.run(200);
    assert.equal(bio.status, BioStatus.IoError);
    const late = pair.readBlocks(0, 1);
    assert.equal(late.status, BioStatus.IoError);
    assert.ok(pair.head.failNoAvailablePathCount > 0);
    pair.a.unreachable = false;
    pair.run(2000);
    const again = pair.readBlocks(0, 1);
    pair.drive();
    assert.ok(again.ok);
  });

  test('after ctrl-loss-tmo the head goes', () => {
    const pair = new TwoPaths({}, { ctrlLossTmoMs: 5000 });
    for (const host of [pair.a, pair.b]) pair.cut(host);
    const bio = pair.readBlocks(0, 1);
    pair.run(8000);
    assert.equal(bio.status, BioStatus.IoError);
    assert.equal(pair.removed.length, 1);
    assert.equal(pair.host2.controllers.length, 0);
    assert.ok(pair.host2.empty);
  });

  test('with a delayed removal it stays, and a path that returns in time takes it over', () => {
    const pair = new TwoPaths({ delayedRemovalSecs: 60 }, { ctrlLossTmoMs: 5000 });
    const { head } = pair;
    for (const host of [pair.a, pair.b]) pair.cut(host);
    const bio = pair.readBlocks(0, 1);
    pair.run(8000);
    assert.equal(pair.host2.controllers.length, 0);
    assert.ok(!head.gone && !bio.ended);
    pair.connect(pair.addHost({ keepAliveMs: 4000 }, { subsystem: pair.host2 }));
    pair.drive();
    pair.run(10);
    assert.ok(bio.ok);
    assert.equal(pair.head, head);
  });

  test('a delayed removal that nobody ends fails what waits', () => {
    const pair = new TwoPaths({ delayedRemovalSecs: 10 }, { ctrlLossTmoMs: 5000 });
    for (const host of [pair.a, pair.b]) pair.cut(host);
    const bio = pair.readBlocks(0, 1);
    pair.run(25_000);
    assert.equal(bio.status, BioStatus.IoError);
    assert.equal(pair.removed.length, 1);
  });
});

test('removing a controller in order lets its commands end, and the others go on', () => {
  const held = new LatchedDevice(pairDevice());
  const pair = new TwoPaths({}, {}, { device: held });
  held.hold = true;
  const write = pair.writeBlocks(0, 1, 1);
  pair.drive();
  pair.a.core.remove(5000);
  pair.run(500);
  assert.equal(pair.a.core.state, 'deleting');
  assert.ok(!pair.head.usable(pair.pathOf(pair.a)) && pair.head.usable(pair.pathOf(pair.b)));
  held.hold = false;
  held.release();
  pair.run(100);
  assert.ok(write.ok);
  assert.equal(pair.failovers, 0);
  assert.equal(pair.head.paths.length, 1);
  assert.equal(pair.a.core.state, 'dead');
  assert.deepEqual(pair.a.states.slice(-3), ['deleting', 'deleting-noio', 'dead']);
});

const NO_EVENTS = { stateChanged() {}, namespacesScanned() {}, anaRead() {}, asyncEvent() {} };
