import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BioFlag, BioStatus, Disposition, Outcome } from '../src/index.ts';
import { Fixture, TestBio } from './support/fixture.ts';

const { Complete, Failover, Retry } = Disposition;

describe('row 41: failover of path errors', () => {
  test('the request goes down another path and ends once', () => {
    const f = new Fixture();
    const [a, b] = [f.path('a'), f.path('b')];
    const [bio] = f.submit();
    a.disabled = true;
    assert.equal(f.head.endBio(bio!, Outcome.PathError, BioStatus.Transport), Failover);
    assert.equal(bio!.ends, 0);
    assert.equal(a.refs, 0);
    assert.equal(a.failoverCount, 1);
    assert.equal(a.errorCount, 1);
    assert.deepEqual(f.head.queued(), [bio]);
    assert.deepEqual(f.takeSent(), ['a'], 'the next path is taken by the requeue work, not at once');
    f.tick();
    assert.deepEqual(f.takeSent(), ['b']);
    assert.equal(f.head.endBio(bio!, Outcome.Ok), Complete);
    assert.deepEqual([bio!.ends, bio!.status], [1, BioStatus.Ok]);
    assert.equal(b.failoverCount, 0);
  });

  test('the path leaves the slots of all nodes; other paths keep theirs', () => {
    const f = new Fixture({ head: { nodeCount: 3 } });
    const a = f.path('a');
    const b = f.path('b');
    const [bio] = f.submit();
    f.head.setCurrentPath(1, a);
    f.head.setCurrentPath(2, b);
    f.head.endBio(bio!, Outcome.PathError);
    assert.deepEqual(f.head.currentPath, [null, null, b]);
  });

  test('the driver hears of it in time to disable the path: state pending, re-read queued', () => {
    const heard: unknown[] = [];
    const f = new Fixture({
      template: {
        failover: (path, bio, outcome) => {
          heard.push([path.name, bio.id, bio.driverStatus, outcome, path.refs]);
          path.disabled = true;
        },
      },
    });
    f.path('a');
    f.path('b');
    const [bio] = f.submit();
    bio!.driverStatus = 0x302;
    f.head.endBio(bio!, Outcome.PathError);
    assert.deepEqual(heard, [['a', 0, 0x302, Outcome.PathError, 0]]);
    f.tick();
    assert.deepEqual(f.takeSent(), ['a', 'b']);
  });

  test('NOWAIT and POLLED are cleared, the marks of the path as well', () => {
    const f = new Fixture();
    f.path('a');
    const bio = f.bio();
    bio.flags = BioFlag.NoWait | BioFlag.Polled;
    f.head.submitBio(bio);
    f.head.endBio(bio, Outcome.PathError);
    assert.equal(bio.flags, BioFlag.Active);
    assert.equal(bio.path, null);
    f.tick();
    assert.equal(bio.flags, BioFlag.Active | BioFlag.Mpath | BioFlag.Remapped);
  });

  test('several requests keep the order in which they failed', () => {
    const f = new Fixture();
    const a = f.path('a');
    f.path('b');
    const bios = f.submit(3);
    a.disabled = true;
    for (const i of [1, 2, 0]) f.head.endBio(bios[i]!, Outcome.PathError);
    f.sent.length = 0;
    f.tick();
    assert.deepEqual(
      f.sent.map(({ bio }) => bio.id),
      [1, 2, 0],
    );
  });

  test('on a path that was deleted every error leads to another path', () => {
    const f = new Fixture();
    const a = f.path('a');
    f.path('b');
    const [one, two] = f.submit(2);
    f.head.deletePath(a);
    assert.equal(f.head.endBio(one!, Outcome.Retryable), Failover);
    assert.equal(f.head.endBio(two!, Outcome.Ok), Complete);
    f.tick();
    assert.deepEqual(f.takeSent(), ['a', 'a', 'b']);
    assert.equal(a.refs, 0);
  });

  test('the capacity is checked again: the head may have shrunk', () => {
    const f = new Fixture({ disk: { capacityBytes: 4096 } });
    f.path('a');
    const [bio] = f.submit();
    f.head.disk!.capacityBytes = 512;
    f.head.endBio(bio!, Outcome.PathError);
    f.tick();
    assert.deepEqual([bio!.ends, bio!.status], [1, BioStatus.IoError]);
  });
});

describe('row 42: what is not failed over', () => {
  const end = (flags: number, outcome: Outcome, prepare?: (bio: TestBio) => void): [Disposition, number, number] => {
    const f = new Fixture();
    f.path('a');
    f.path('b');
    const bio = f.bio();
    bio.flags = flags;
    f.head.submitBio(bio);
    prepare?.(bio);
    const disposition = f.head.endBio(bio, outcome, BioStatus.Transport);
    return [disposition, bio.ends, bio.status];
  };

  test('the last word of the device (DNR), even about the path', () => {
    assert.deepEqual(end(0, Outcome.Final), [Complete, 1, BioStatus.Transport]);
  });

  test('a request that is not to be tried again', () => {
    assert.deepEqual(end(BioFlag.NoRetry, Outcome.PathError), [Complete, 1, BioStatus.Transport]);
    assert.deepEqual(end(BioFlag.NoRetry, Outcome.Retryable), [Complete, 1, BioStatus.Transport]);
  });

  test('passthrough, which carries no mark, either', () => {
    const look = (bio: TestBio): void => assert.equal(bio.flags & BioFlag.Mpath, 0);
    assert.deepEqual(end(BioFlag.Passthrough, Outcome.PathError, look), [Complete, 1, BioStatus.Transport]);
    assert.deepEqual(end(BioFlag.Passthrough, Outcome.Retryable, look), [Complete, 1, BioStatus.Transport]);
  });

  test('passthrough does not wait for a path', () => {
    const f = new Fixture();
    f.path('a').disabled = true;
    const bio = f.bio();
    bio.flags = BioFlag.Passthrough;
    f.head.submitBio(bio);
    assert.deepEqual([bio.ends, bio.status], [1, BioStatus.IoError]);
    assert.equal(f.head.failNoAvailablePathCount, 1);
  });

  test('exhausted retries', () => {
    for (const maxRetries of [0, 1, 5]) {
      const f = new Fixture({ head: { maxRetries } });
      const a = f.path('a');
      f.path('b');
      const [bio] = f.submit();
      for (let i = 0; i < maxRetries; i++) assert.equal(f.head.endBio(bio!, Outcome.Retryable), Retry);
      assert.equal(bio!.ends, 0);
      assert.equal(bio!.path, a, 'it is still on its path');
      assert.equal(a.refs, 1);
      assert.equal(f.head.endBio(bio!, Outcome.PathError), Complete);
      assert.deepEqual([bio!.ends, bio!.status], [1, BioStatus.IoError]);
      assert.equal(a.retryCount, maxRetries);
      assert.equal(a.errorCount, maxRetries + 1);
      assert.equal(a.failoverCount, 0);
    }
  });

  test('five retries unless told otherwise; another path begins to count anew', () => {
    const f = new Fixture();
    const a = f.path('a');
    f.path('b');
    const [bio] = f.submit();
    for (let i = 0; i < 4; i++) assert.equal(f.head.endBio(bio!, Outcome.Retryable), Retry);
    a.disabled = true;
    assert.equal(f.head.endBio(bio!, Outcome.PathError), Failover);
    f.tick();
    for (let i = 0; i < 5; i++) assert.equal(f.head.endBio(bio!, Outcome.Retryable), Retry);
    assert.equal(f.head.endBio(bio!, Outcome.Retryable), Complete);
  });

  test('success is success, whatever the flags and the past', () => {
    const tired = (bio: TestBio): void => {
      bio.retries = 5;
    };
    assert.deepEqual(end(BioFlag.NoRetry, Outcome.Ok), [Complete, 1, BioStatus.Ok]);
    assert.deepEqual(end(BioFlag.Passthrough, Outcome.Ok), [Complete, 1, BioStatus.Ok]);
    assert.deepEqual(end(0, Outcome.Ok, tired), [Complete, 1, BioStatus.Ok]);
  });
});

describe('row 53: drivers that clone', () => {
  const cloning = (limit = Number.POSITIVE_INFINITY): { f: Fixture; clones: TestBio[]; free: TestBio[] } => {
    const clones: TestBio[] = [];
    const free: TestBio[] = [];
    const f = new Fixture({
      template: {
        cloneBio: () => {
          if (clones.length >= limit) return null;
          clones.push(new TestBio(100 + clones.length, 0));
          return clones.at(-1)!;
        },
        freeClone: (clone) => free.push(clone),
      },
    });
    return { f, clones, free };
  };

  test('the clone is sent with what the original asks for, the original ends', () => {
    const { f, clones, free } = cloning();
    const path = f.path('a');
    const bio = f.bio(8192);
    bio.offset = 512;
    bio.flags = BioFlag.Polled;
    f.head.submitBio(bio);
    const [clone] = clones;
    assert.throws(() => f.head.endBio(bio, Outcome.Ok), /not under way/, 'the clone is, not the original');
    assert.deepEqual(f.sent, [{ path, bio: clone }]);
    assert.deepEqual([clone!.offset, clone!.bytes, clone!.original], [512, 8192, bio]);
    assert.equal(clone!.flags, BioFlag.Polled | BioFlag.Active | BioFlag.Mpath | BioFlag.Remapped);
    clone!.driverStatus = 5;
    f.head.endBio(clone!, Outcome.Final, BioStatus.Medium);
    assert.deepEqual([bio.ends, bio.status, bio.driverStatus], [1, BioStatus.Medium, 5]);
    assert.equal(clone!.ends, 0);
    assert.deepEqual(free, [clone]);
    assert.deepEqual([clone!.original, clone!.path, clone!.flags], [null, null, 0]);
    assert.throws(() => f.head.endBio(clone!, Outcome.Ok), /not under way/);
  });

  test('a failover sends the original again in full, with a new clone', () => {
    const { f, clones, free } = cloning();
    const a = f.path('a');
    f.path('b');
    f.iopolicy.store('service-time');
    const bio = f.bio(8192);
    f.head.submitBio(bio);
    const [first] = clones;
    assert.equal(a.inflightBytes, 8192);
    // The driver had sent half of it already.
    first!.offset += 4096;
    first!.bytes -= 4096;
    a.disabled = true;
    assert.equal(f.head.endBio(first!, Outcome.PathError), Failover);
    assert.equal(a.inflightBytes, 0, 'what was counted is taken off, whatever the driver did to its clone');
    assert.deepEqual(free, [first]);
    assert.deepEqual(f.head.queued(), [bio]);
    f.tick();
    const second = clones[1]!;
    assert.deepEqual([second.offset, second.bytes, second.original], [0, 8192, bio]);
    assert.deepEqual(f.takeSent(), ['a', 'b']);
    f.head.endBio(second, Outcome.Ok);
    assert.deepEqual([bio.ends, bio.status], [1, BioStatus.Ok]);
  });

  test('a clone that was used before begins anew', () => {
    const dirty = new TestBio(1);
    Object.assign(dirty, { node: 7, retries: 5, status: BioStatus.Medium, driverStatus: 9, flags: BioFlag.NoRetry });
    const f = new Fixture({
      head: { nodeCount: 2 },
      template: { cloneBio: () => dirty, freeClone: () => {} },
    });
    const path = f.path('a');
    const [bio] = f.submit(1, 1);
    assert.equal(bio!.path, path, 'the original says where it is');
    assert.deepEqual([dirty.node, dirty.retries, dirty.status, dirty.driverStatus], [1, 0, BioStatus.Ok, 0]);
    assert.equal(f.head.endBio(dirty, Outcome.Retryable), Retry, 'the original may be tried again');
  });

  test('a retry sends the same clone', () => {
    const { f, clones, free } = cloning();
    f.path('a');
    f.submit();
    assert.equal(f.head.endBio(clones[0]!, Outcome.Retryable), Retry);
    assert.deepEqual(free, []);
    assert.equal(clones.length, 1);
  });

  test('no clone: the original fails', () => {
    const { f } = cloning(0);
    const path = f.path('a');
    const [bio] = f.submit();
    assert.deepEqual([bio!.ends, bio!.status], [1, BioStatus.IoError]);
    assert.deepEqual(f.sent, []);
    assert.equal(path.refs, 0);
    assert.equal(bio!.path, null);
  });
});
