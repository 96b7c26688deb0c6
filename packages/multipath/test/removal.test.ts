import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BioStatus, Outcome } from '../src/index.ts';
import { Fixture, type TestPath } from './support/fixture.ts';

/** A live head with one path, which keeps itself for `secs` after that path is gone. */
function kept(secs: number): { f: Fixture; path: TestPath; holds: number[] } {
  const holds = [0];
  const f = new Fixture({
    template: {
      holdDriver: () => ++holds[0]! > 0,
      releaseDriver: () => void holds[0]!--,
    },
  });
  const path = f.path('p');
  f.head.setLive(path);
  f.head.removal.store(String(secs), f.clock.nowMs());
  return { f, path, holds };
}

describe('row 46: delayed removal', () => {
  test('without it the driver removes the head at once', () => {
    const f = new Fixture();
    assert.ok(f.head.deletePath(f.path('p')));
    assert.equal(f.head.canRemoveHead(), true);
    assert.equal(f.head.removal.pending, false);
    f.tick(1e9);
    assert.deepEqual(f.removed, []);
  });

  test('requests wait, and a path that returns takes them and ends the removal', () => {
    const { f, path, holds } = kept(5);
    const [flying] = f.submit();
    assert.ok(f.head.deletePath(path));
    assert.equal(f.head.canRemoveHead(), false);
    assert.deepEqual(holds, [1]);
    f.head.endBio(flying!, Outcome.PathError);
    f.tick();
    const [waiting] = f.submit();
    assert.deepEqual(f.head.queued(), [flying, waiting]);
    assert.equal(f.head.nextDeadlineMs(), f.clock.nowMs() + 5000);
    f.tick(4999);
    f.sent.length = 0;
    const back = f.path('back');
    assert.deepEqual(holds, [0]);
    assert.equal(f.head.removal.pending, false);
    f.head.setLive(back);
    f.tick();
    assert.deepEqual(
      f.sent.map(({ bio }) => bio),
      [flying, waiting],
    );
    f.tick(1e9);
    assert.deepEqual(f.removed, []);
    assert.ok(f.head.diskLive);
  });

  test('a removal that was given up keeps nothing asleep that is kicked later', () => {
    const { f, path } = kept(600);
    f.head.deletePath(path);
    f.head.canRemoveHead();
    f.submit();
    const back = f.path('back');
    f.wakes = 0;
    f.head.setLive(back);
    assert.equal(f.wakes, 1);
  });

  test('expiry removes the disk, fails what waits, and tells the driver once', () => {
    const { f, path, holds } = kept(5);
    f.head.deletePath(path);
    f.wakes = 0;
    f.head.canRemoveHead();
    assert.equal(f.wakes, 1, 'the owner hears of the new deadline');
    const bios = f.submit(3);
    f.tick(4999);
    assert.deepEqual(f.removed, []);
    assert.equal(bios[0]!.ends, 0);
    f.tick(1);
    assert.deepEqual(f.removed, [f.head]);
    assert.deepEqual(
      bios.map(({ ends, status }) => [ends, status]),
      new Array(3).fill([1, BioStatus.IoError]),
    );
    assert.ok(!f.head.diskLive && !f.head.queueIfNoPath);
    assert.deepEqual(holds, [0]);
    assert.equal(f.submit()[0]!.status, BioStatus.IoError);
    f.tick(1e9);
    assert.equal(f.removed.length, 1);
  });

  test('the driver is held until removeHead is over', () => {
    const order: string[] = [];
    const f = new Fixture({
      template: {
        holdDriver: () => order.push('hold') > 0,
        releaseDriver: () => void order.push('release'),
        removeHead: () => void order.push('remove'),
      },
    });
    f.head.removal.store('1', 0);
    f.head.canRemoveHead();
    f.head.canRemoveHead();
    f.tick(1000);
    assert.deepEqual(order, ['hold', 'remove', 'release']);
  });

  test('a driver that is going away does not wait', () => {
    const f = new Fixture({ template: { holdDriver: () => false, releaseDriver: () => assert.fail('not held') } });
    f.head.removal.store('5', 0);
    assert.equal(f.head.canRemoveHead(), true);
    assert.equal(f.head.removal.pending, false);
  });

  test('the largest number of seconds is exact and far away', () => {
    const { f, path } = kept(4294967295);
    f.head.deletePath(path);
    assert.equal(f.head.canRemoveHead(), false);
    assert.equal(f.head.nextDeadlineMs(), f.clock.nowMs() + 4294967295000);
    f.tick(4294967294999);
    assert.deepEqual(f.removed, []);
    f.tick(1);
    assert.deepEqual(f.removed, [f.head]);
  });

  test('store takes decimal numbers of 32 bits and nothing else', () => {
    const { f } = kept(7);
    const { removal } = f.head;
    for (const text of ['', '-1', '1.5', '0x10', ' 1', '1e3', '4294967296', '99999999999', 'NaN']) {
      assert.throws(() => removal.store(text, 0), { code: 'EINVAL' }, JSON.stringify(text));
    }
    assert.equal(removal.show(), '7');
    assert.ok(f.head.queueIfNoPath);
    removal.store('4294967295', 0);
    assert.equal(removal.show(), '4294967295');
  });

  test('0 ends the queueing: nothing waits any more, and a removal under way happens now', () => {
    const { f, path } = kept(600);
    f.head.deletePath(path);
    f.head.canRemoveHead();
    const [bio] = f.submit();
    f.tick();
    f.wakes = 0;
    f.head.removal.store('0', f.clock.nowMs());
    assert.equal(f.head.queueIfNoPath, false);
    assert.equal(f.wakes, 1);
    assert.equal(f.head.nextDeadlineMs(), f.clock.nowMs());
    assert.deepEqual(f.removed, []);
    f.tick();
    assert.deepEqual([bio!.ends, bio!.status], [1, BioStatus.IoError]);
    assert.deepEqual(f.removed, [f.head]);
  });

  test('0 with a path there changes only the future', () => {
    const { f, path } = kept(600);
    f.head.removal.store('0', f.clock.nowMs());
    assert.equal(f.head.nextDeadlineMs(), Number.POSITIVE_INFINITY);
    f.head.deletePath(path);
    assert.equal(f.head.canRemoveHead(), true);
  });
});

describe('row 47: the end of the disk', () => {
  test('remove fails what is queued, and what comes', () => {
    const f = new Fixture();
    const path = f.path('p');
    path.disabled = true;
    const [queued] = f.submit();
    path.disabled = false;
    f.head.removeDisk();
    const [late] = f.submit();
    assert.deepEqual([late!.ends, late!.status], [1, BioStatus.IoError]);
    assert.equal(queued!.ends, 0);
    f.tick();
    assert.deepEqual([queued!.ends, queued!.status], [1, BioStatus.IoError]);
  });

  test('put flushes the queue before it returns, and drops the disk', () => {
    const f = new Fixture();
    const path = f.path('p');
    path.disabled = true;
    const bios = f.submit(3);
    f.head.putDisk();
    assert.deepEqual(
      bios.map(({ ends }) => ends),
      [1, 1, 1],
    );
    assert.equal(f.head.disk, null);
    assert.equal(f.head.nextDeadlineMs(), Number.POSITIVE_INFINITY);
    f.head.allocDisk({ name: 'again', parent: f, capacityBytes: 2 ** 40 });
    path.disabled = false;
    f.submit();
    assert.equal(f.sent.length, 1);
  });

  test('a request under way when the disk goes ends as the driver says, or fails instead of a failover', () => {
    const f = new Fixture();
    f.path('p');
    const [good, bad] = f.submit(2);
    f.head.removeDisk();
    f.head.endBio(good!, Outcome.Ok);
    f.head.endBio(bad!, Outcome.PathError);
    f.tick();
    assert.deepEqual([good!.status, bad!.status], [BioStatus.Ok, BioStatus.IoError]);
    assert.deepEqual([good!.ends, bad!.ends], [1, 1]);
  });

  test('a disk that is not there can be removed', () => {
    const f = new Fixture({ disk: null });
    f.head.removeDisk();
    f.head.putDisk();
    assert.equal(f.head.disk, null);
  });

  test('a disk that never came to life fails what it got', () => {
    const f = new Fixture({ live: false, template: { addDisk: () => {}, delDisk: () => assert.fail('never shown') } });
    f.path('p').disabled = true;
    assert.equal(f.submit()[0]!.status, BioStatus.IoError);
    f.head.putDisk();
  });
});
