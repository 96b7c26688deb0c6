import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { quiesceMs } from '@nvbraid/host';
import { pairDevice } from '../src/pair.ts';
import { LatchedDevice } from './support/latched-device.ts';
import { TwoPaths } from './support/two-paths.ts';

/*
 * The ghost write: a write lies in a device behind A, A is lost, a newer write of the same block is completed by B, then the
 * device lets the old one go. What a reader sees afterwards is what safe failover is for.
 */

/** A lost write of 1, then a newer write of 2 to the same block, as a program would: one after the end of the other. */
function story(
  safeFailover: boolean,
  reset: boolean,
  lostMs: number,
): { pair: TwoPaths; read(): number; tookMs: number } {
  // What a target gave to its disk cannot be called back: one that does not wait for it does not fence.
  const slow = new LatchedDevice(pairDevice());
  const pair = new TwoPaths({ safeFailover }, { keepAliveMs: 2000 }, { device: slow });
  if (!reset) for (const { core } of pair.hosts) core.identify!.ccrl = 0;
  slow.hold = true;
  const old = pair.writeBlocks(9, 1, 1);
  pair.drive();
  assert.equal(slow.held.length, 1, 'the device has it');
  slow.hold = false;
  const startMs = pair.clock.nowMs();
  pair.cut(pair.a);
  pair.drive();
  // The device ends the operation while the host waits, if it waits.
  if (lostMs > 0) {
    pair.run(lostMs);
    if (safeFailover) slow.release();
  }
  assert.ok(pair.runUntil(() => old.ended, 60_000));
  const tookMs = pair.clock.nowMs() - startMs;
  assert.ok(old.ok);
  const newer = pair.writeBlocks(9, 1, 2);
  pair.drive();
  assert.ok(newer.ok);
  slow.release();
  pair.drive();
  const read = (): number => {
    const bio = pair.readBlocks(9, 1);
    pair.drive();
    assert.ok(bio.ok);
    return bio.memory.bytes[0]!;
  };
  return { pair, read, tookMs };
}

describe('a ghost write', () => {
  test('never shows with Cross-Controller Reset, which waits for the device and no longer', (t) => {
    const { pair, read, tookMs } = story(true, true, 300);
    assert.equal(read(), 2);
    assert.equal(pair.host2.fences.proven, 1);
    assert.ok(tookMs < 500);
    t.diagnostic(`proven after ${tookMs} ms, of which the device took 300`);
  });

  test('never shows without it, when the time of the formula has passed', (t) => {
    const { pair, read, tookMs } = story(true, false, 300);
    const { cqt } = pair.b.core.identify!;
    assert.equal(read(), 2);
    assert.equal(pair.host2.fences.timedOut, 1);
    assert.ok(Math.abs(tookMs - quiesceMs(2000, cqt, true)) < 2);
    t.diagnostic(`by time alone after ${tookMs} ms`);
  });

  test('shows without safe failover: the story can fail', () => {
    const { read, tookMs } = story(false, true, 0);
    assert.equal(read(), 1, 'the old data has replaced the new');
    assert.ok(tookMs < 10);
  });
});
