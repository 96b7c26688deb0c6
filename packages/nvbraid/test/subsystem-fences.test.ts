import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type HostController, keptKeepAliveMs, quiesceMs } from '@nvbraid/host';
import { BioFlag, BioStatus } from '@nvbraid/multipath';
import type { IdentifyController } from '@nvbraid/wire';
import type { PairHost } from '../src/pair.ts';
import { pairDevice } from '../src/pair.ts';
import { LatchedDevice } from './support/latched-device.ts';
import { type TestBio, TwoPaths } from './support/two-paths.ts';

/*
 * A command of unknown fate waits for the end of its association, whatever else happens meanwhile: the path comes back and is
 * lost again, who was asked for proof is lost too, the controller is deleted, nobody wants the command any more.
 */

/** Nobody can prove an end, not even after a reconnect: only time counts. */
function withoutReset(pair: TwoPaths): void {
  for (const { core } of pair.hosts) answering(core, { ccrl: 0 });
}

/** Identify Controller tells this, whenever it is asked. */
function answering(core: HostController, fields: Partial<IdentifyController>): void {
  let identify = core.identify;
  if (identify !== null) Object.assign(identify, fields);
  Object.defineProperty(core, 'identify', {
    get: () => identify,
    set: (value: IdentifyController) => {
      identify = Object.assign(value, fields);
    },
  });
}

/** A write that has been sent by `host`, and never arrives. */
function lostWrite(pair: TwoPaths, host: PairHost, fill: number): TestBio {
  const stalled = pair.links.find((link) => link.open && link.host === host.core.ioQueues[0])!;
  stalled.stall('toTarget');
  const write = pair.writeBlocks(fill, 1, fill);
  pair.drive();
  assert.ok(!write.ended);
  return write;
}

/** The bound that holds for the association that `host` has now. */
function boundMs(pair: TwoPaths, keepAliveMs: number): number {
  const { cqt, ctratt } = pair.b.core.identify!;
  return quiesceMs(keepAliveMs, cqt, (ctratt & 0x40) !== 0);
}

describe('a fence belongs to one association', () => {
  test('a path that comes back with the same identifier and is lost again has a fence and a time of its own', () => {
    const pair = new TwoPaths({}, { keepAliveMs: 4000, reconnectDelayMs: 500 });
    withoutReset(pair);
    const first = lostWrite(pair, pair.a, 1);
    const { cntlid } = pair.a.core;
    pair.cut(pair.a);
    pair.a.unreachable = false;
    pair.run(2000);
    assert.equal(pair.a.core.state, 'live');
    pair.a.core.cntlid = cntlid; // as a target does that was started again
    const second = lostWrite(pair, pair.a, 2);
    const lostMs = pair.clock.nowMs();
    pair.cut(pair.a);
    pair.drive();
    assert.equal(pair.host2.fences.pending.length, 2);
    const bound = boundMs(pair, 4000);
    pair.run(bound - 2000 + 1);
    assert.ok(first.ok);
    assert.ok(!second.ended, 'its own time has not passed');
    pair.run(lostMs + bound - pair.clock.nowMs() - 1);
    assert.ok(!second.ended);
    pair.run(2);
    assert.ok(second.ok);
  });

  test('where there is one path, the controller that comes back ends its predecessor', () => {
    const pair = new TwoPaths();
    pair.b.core.remove();
    pair.run(10);
    const write = lostWrite(pair, pair.a, 3);
    pair.cut(pair.a);
    pair.a.unreachable = false;
    assert.ok(pair.runUntil(() => write.ended, 5000));
    assert.ok(write.ok);
    assert.equal(pair.host2.fences.proven, 1);
  });
});

describe('what ends while it is held', () => {
  test('a command that must not be sent again fails only when it cannot run any more', () => {
    const pair = new TwoPaths({}, { keepAliveMs: 4000 });
    withoutReset(pair);
    const write = lostWrite(pair, pair.a, 4);
    write.flags |= BioFlag.NoRetry;
    pair.cut(pair.a);
    pair.run(boundMs(pair, 4000) - 1);
    assert.ok(!write.ended, 'who is told of the failure writes something newer');
    pair.run(2);
    assert.equal(write.status, BioStatus.Transport);
  });

  test('a command that may run once is sent again only if it was not sent', () => {
    const pair = new TwoPaths({}, { queueSize: 2 });
    pair.links.find((link) => link.host === pair.a.core.ioQueues[0])!.stall('toTarget');
    const [sent, waiting] = [pair.writeBlocks(0, 1, 5), pair.writeBlocks(1, 1, 6)];
    sent.once = true;
    waiting.once = true;
    pair.drive();
    pair.cut(pair.a);
    pair.drive();
    assert.ok(waiting.ok);
    assert.equal(sent.status, BioStatus.Transport);
  });

  test('a command that nobody wants any more ends at once, and its fence with it', () => {
    const pair = new TwoPaths();
    withoutReset(pair);
    const write = lostWrite(pair, pair.a, 7);
    pair.cut(pair.a);
    pair.drive();
    write.flags |= BioFlag.NoRetry;
    pair.head.cancel(write);
    assert.equal(write.status, BioStatus.Transport);
    assert.equal(pair.host2.fences.pending.length, 0);
    const read = pair.readBlocks(7, 1);
    pair.run(60_000);
    assert.ok(read.ok);
    assert.equal(read.memory.bytes[0], 0, 'it is not executed later');
  });

  test('commands of a namespace that is gone end with it', () => {
    const pair = new TwoPaths({}, { ctrlLossTmoMs: 3000, keepAliveMs: 8000 });
    withoutReset(pair);
    const write = lostWrite(pair, pair.a, 8);
    for (const host of [pair.a, pair.b]) pair.cut(host);
    pair.run(6000);
    assert.equal(pair.removed.length, 1);
    assert.ok(write.ended && !write.ok);
    assert.ok(pair.host2.empty);
  });

  test('a command that timed out, was aborted in vain and lost with its controller is held', () => {
    const pair = new TwoPaths({}, { ioTimeoutMs: 1000, keepAliveMs: 60_000 });
    withoutReset(pair);
    const write = lostWrite(pair, pair.a, 9);
    pair.run(1100);
    assert.equal(pair.a.core.state, 'live', 'the first time it is only aborted');
    pair.a.unreachable = true;
    pair.run(1000);
    assert.notEqual(pair.a.core.state, 'live');
    assert.ok(!write.ended);
    assert.equal(pair.host2.fences.heldCount, 1);
    pair.run(boundMs(pair, 60_000));
    assert.ok(write.ok);
  });
});

describe('the deletion of a controller', () => {
  test('does not release what its lost association holds', () => {
    const pair = new TwoPaths();
    withoutReset(pair);
    const write = lostWrite(pair, pair.a, 10);
    pair.cut(pair.a);
    pair.run(100);
    pair.a.core.remove();
    pair.run(100);
    assert.equal(pair.a.core.state, 'dead');
    assert.ok(!write.ended);
    pair.run(boundMs(pair, 4000));
    assert.ok(write.ok, 'by the other path');
  });

  test('holds what it has to leave behind, from the end of its admin connection on', () => {
    const held = new LatchedDevice(pairDevice());
    const pair = new TwoPaths({}, {}, { device: held });
    withoutReset(pair);
    held.hold = true;
    const write = pair.writeBlocks(11, 1, 11);
    pair.drive();
    const admin = pair.links.find((link) => link.open && link.host === pair.a.core.admin)!;
    admin.stall('toTarget');
    pair.a.core.remove();
    pair.run(3000);
    assert.equal(pair.a.core.state, 'deleting-noio', 'it waits for the end of its shutdown');
    assert.equal(pair.host2.fences.nextDeadlineMs, Number.POSITIVE_INFINITY, 'the time does not run yet');
    admin.drop();
    pair.drive();
    assert.equal(pair.a.core.state, 'dead');
    assert.equal(pair.host2.fences.nextDeadlineMs, pair.clock.nowMs() + boundMs(pair, 4000));
    held.hold = false;
    held.release();
    pair.run(boundMs(pair, 4000) + 1);
    assert.ok(write.ok);
  });
});

describe('the time', () => {
  test('counts in the granularity that the controller keeps', () => {
    assert.equal(keptKeepAliveMs(250, 1), 300);
    assert.equal(keptKeepAliveMs(300, 1), 300);
    assert.equal(keptKeepAliveMs(250, 10), 1000);
    const pair = new TwoPaths({}, { keepAliveMs: 1250 });
    withoutReset(pair);
    lostWrite(pair, pair.a, 12);
    const lostMs = pair.clock.nowMs();
    pair.cut(pair.a);
    pair.drive();
    assert.equal(pair.host2.fences.nextDeadlineMs, lostMs + boundMs(pair, 1300));
  });

  test('without CQT is a multiple of Keep Alive alone', () => {
    const pair = new TwoPaths({}, { keepAliveMs: 2000 });
    withoutReset(pair);
    pair.a.core.identify!.cqt = 0;
    const write = lostWrite(pair, pair.a, 13);
    pair.cut(pair.a);
    pair.run(5999);
    assert.ok(!write.ended);
    pair.run(2);
    assert.ok(write.ok);
    assert.equal(pair.host2.fences.timedOut, 1);
  });
});

describe('the proof', () => {
  test('is asked of another controller when the one that was asked is lost', () => {
    const held = new LatchedDevice(pairDevice());
    const pair = new TwoPaths({}, { reconnectDelayMs: 20_000 }, { device: held });
    const c = pair.addHost({ keepAliveMs: 4000 }, { subsystem: pair.host2, port: pair.addPort() });
    pair.connect(c);
    held.hold = true;
    const write = pair.writeBlocks(14, 1, 14);
    pair.drive();
    pair.cut(pair.a);
    pair.run(200);
    const [fence] = pair.host2.fences.pending;
    assert.equal(fence!.reset.state, 'waiting');
    assert.equal(fence!.reset.by, pair.b.core);
    pair.cut(pair.b);
    pair.run(200);
    assert.equal(fence!.reset.by, c.core);
    held.hold = false;
    held.release();
    pair.run(200);
    assert.ok(write.ok);
    assert.equal(pair.host2.fences.proven, 1);
  });

  test('is asked anew of the same controller when it has come back, with whatever identifier', () => {
    const held = new LatchedDevice(pairDevice());
    const pair = new TwoPaths({}, { reconnectDelayMs: 100 }, { device: held });
    held.hold = true;
    const write = pair.writeBlocks(15, 1, 15);
    pair.drive();
    pair.cut(pair.a);
    pair.run(200);
    pair.cut(pair.b);
    pair.b.unreachable = false;
    pair.run(500);
    assert.equal(pair.b.core.state, 'live');
    assert.ok(!write.ended);
    held.hold = false;
    held.release();
    pair.run(200);
    assert.ok(write.ok);
    assert.equal(pair.host2.fences.timedOut, 0);
  });

  test('of more controllers than one can reset at a time comes in turns', () => {
    const held = new LatchedDevice(pairDevice());
    const pair = new TwoPaths({ iopolicy: 'round-robin' }, { keepAliveMs: 60_000 }, { device: held });
    const more = Array.from({ length: 5 }, () =>
      pair.addHost({ keepAliveMs: 60_000 }, { subsystem: pair.host2, port: pair.addPort() }),
    );
    for (const host of more) pair.connect(host);
    held.hold = true;
    const writes = Array.from({ length: 14 }, (_, i) => pair.writeBlocks(i, 1, i + 1));
    pair.drive();
    for (const host of [pair.a, ...more]) pair.cut(host);
    pair.run(1000);
    assert.equal(pair.host2.fences.pending.length, 6);
    held.hold = false;
    held.release();
    pair.run(2000);
    assert.ok(writes.every(({ ok }) => ok));
    assert.equal(pair.host2.fences.proven, 6);
  });
});

test('safe failover with a controller that does not support Keep Alive is refused with the way out', () => {
  const pair = new TwoPaths();
  pair.a.core.remove();
  pair.run(10);
  const host = pair.addHost({ keepAliveMs: 4000 }, { subsystem: pair.host2 });
  const { core } = host;
  answering(core, { kas: 0 });
  pair.connect(host);
  assert.equal(core.state, 'dead');
  assert.match(core.error!.message, /does not support Keep Alive.*switch safe failover off/);
});
