import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Bio, BioFlag, BioStatus, Outcome, WARNING_BURST, WARNING_INTERVAL_MS } from '../src/index.ts';
import { Fixture, TestBio } from './support/fixture.ts';

const REQUEUING = 'disk0: no usable path - requeuing I/O';
const FAILING = 'disk0: no available path - failing I/O';

describe('row 39: submit', () => {
  test('selects, marks, remaps and sends', () => {
    const traced: string[] = [];
    const f = new Fixture({ head: { traceRemap: (path, bio) => traced.push(`${path.name} ${bio.id}`) } });
    const path = f.path('p');
    const bio = f.bio();
    bio.flags = BioFlag.NoWait | BioFlag.Polled;
    bio.status = BioStatus.Medium;
    bio.driverStatus = 9;
    f.head.submitBio(bio);
    assert.deepEqual(f.sent, [{ path, bio }]);
    assert.equal(
      bio.flags,
      BioFlag.NoWait | BioFlag.Polled | BioFlag.Active | BioFlag.Mpath | BioFlag.Remapped,
      'the way that was asked for is kept',
    );
    assert.equal(bio.path, path);
    assert.equal(bio.status, BioStatus.Ok);
    assert.equal(bio.driverStatus, 0);
    assert.equal(path.refs, 1);
    assert.deepEqual(traced, ['p 0']);
    f.head.endBio(bio, Outcome.Ok);
    assert.equal(bio.ends, 1);
    assert.equal(bio.flags, BioFlag.NoWait | BioFlag.Polled);
    assert.equal(bio.path, null);
    assert.equal(path.refs, 0);
    assert.equal(path.ioCount, 1);
    assert.equal(path.errorCount, 0);
  });

  test('waits when there is a path to hope for, and counts', () => {
    const f = new Fixture();
    f.path('p').disabled = true;
    const [bio] = f.submit();
    assert.deepEqual(f.head.queued(), [bio]);
    assert.equal(bio!.ends, 0);
    assert.equal(f.head.requeueNoUsablePathCount, 1);
    assert.equal(f.head.failNoAvailablePathCount, 0);
    assert.deepEqual(f.logs, [REQUEUING]);
  });

  test('fails when there is none, and counts', () => {
    const f = new Fixture();
    const path = f.path('p');
    path.disabled = true;
    path.hopeful = false;
    const [bio] = f.submit();
    assert.equal(bio!.ends, 1);
    assert.equal(bio!.status, BioStatus.IoError);
    assert.equal(f.head.failNoAvailablePathCount, 1);
    assert.equal(f.head.requeueNoUsablePathCount, 0);
    assert.deepEqual(f.logs, [FAILING]);
  });

  test('a head that queues without paths waits for ever, but only while its disk is live', () => {
    const f = new Fixture();
    f.head.removal.store('1', 0);
    assert.ok(f.head.available());
    f.submit();
    assert.equal(f.head.queued().length, 1);
    f.head.diskLive = false;
    assert.ok(!f.head.available());
    const [bio] = f.submit();
    assert.equal(bio!.status, BioStatus.IoError);
  });

  test('one hopeful path among many is enough to wait for', () => {
    const f = new Fixture();
    for (const name of ['a', 'b', 'c']) {
      const path = f.path(name);
      path.disabled = true;
      path.hopeful = name === 'c';
    }
    assert.ok(f.head.available());
    f.head.paths[2]!.hopeful = false;
    assert.ok(!f.head.available());
  });

  test('warnings are limited in number, each kind for itself, and what was kept back is told', () => {
    const f = new Fixture();
    const path = f.path('p');
    path.disabled = true;
    f.submit(WARNING_BURST + 5);
    assert.deepEqual(f.logs, new Array(WARNING_BURST).fill(REQUEUING));
    path.hopeful = false;
    f.submit();
    assert.equal(f.logs.pop(), FAILING);
    path.hopeful = true;
    f.clock.advance(WARNING_INTERVAL_MS - 1);
    f.submit();
    assert.equal(f.logs.length, WARNING_BURST);
    f.clock.advance(1);
    f.submit(2);
    assert.deepEqual(f.logs.slice(WARNING_BURST), [`${REQUEUING} (and 6 more not logged)`, REQUEUING]);
    assert.equal(f.head.requeueNoUsablePathCount, WARNING_BURST + 8);
  });

  test('what lies beyond the end of the head disk fails without a path', () => {
    const f = new Fixture({ disk: { capacityBytes: 8192 } });
    f.path('p');
    const bio = f.bio(4096);
    bio.offset = 4096;
    f.head.submitBio(bio);
    assert.deepEqual(f.takeSent(), ['p']);
    const beyond = f.bio(4096);
    beyond.offset = 4608;
    f.head.submitBio(beyond);
    assert.equal(beyond.status, BioStatus.IoError);
    assert.deepEqual(f.takeSent(), []);
  });

  test('without a disk everything fails', () => {
    const f = new Fixture({ disk: null });
    f.path('p');
    assert.equal(f.submit()[0]!.status, BioStatus.IoError);
  });

  test('a bio is submitted and ended once at a time', () => {
    const f = new Fixture();
    f.path('p');
    const [bio] = f.submit();
    assert.throws(() => f.head.submitBio(bio!), /before its end/);
    f.head.endBio(bio!, Outcome.Ok);
    assert.throws(() => f.head.endBio(bio!, Outcome.Ok), /not under way/);
    f.head.paths[0]!.disabled = true;
    f.head.submitBio(bio!);
    assert.throws(() => f.head.endBio(bio!, Outcome.Ok), /not under way/, 'it waits');
  });

  test('a driver may end a bio before submitBio returns, and its owner may submit it again from end', () => {
    const f = new Fixture({
      template: {
        submitBio: (_path, bio) => {
          f.head.endBio(bio, Outcome.Ok);
        },
      },
    });
    f.path('p');
    const bio = new TestBio(0);
    bio.end = (same) => {
      if (++same.ends < 3) f.head.submitBio(same);
    };
    f.head.submitBio(bio);
    assert.equal(bio.ends, 3);
    assert.equal(f.head.paths[0]!.refs, 0);
  });
});

describe('row 40: the requeue work', () => {
  /** A head whose only path is disabled and which holds three bios. */
  const waiting = (policy = 'numa'): Fixture => {
    const f = new Fixture({ policy });
    f.path('p').disabled = true;
    f.submit(3);
    f.wakes = 0;
    return f;
  };
  const ids = (f: Fixture): number[] => f.sent.map(({ bio }) => bio.id);

  test('nothing moves without a kick', () => {
    const f = waiting();
    f.head.paths[0]!.disabled = false;
    f.tick(1e9);
    assert.deepEqual(f.sent, []);
    assert.equal(f.wakes, 0);
    assert.equal(f.head.nextDeadlineMs(), Number.POSITIVE_INFINITY);
  });

  test('a kick asks for a tick, which sends all in their order', () => {
    const f = waiting();
    f.head.paths[0]!.disabled = false;
    f.head.kickRequeue();
    f.head.kickRequeue();
    assert.equal(f.wakes, 1);
    assert.equal(f.head.nextDeadlineMs(), Number.NEGATIVE_INFINITY);
    assert.deepEqual(f.sent, [], 'not from within the kick');
    f.tick();
    assert.deepEqual(ids(f), [0, 1, 2]);
    assert.deepEqual(f.head.queued(), []);
    assert.equal(f.head.nextDeadlineMs(), Number.POSITIVE_INFINITY);
  });

  test('a kick with an empty queue does nothing', () => {
    const f = new Fixture();
    f.head.kickRequeue();
    assert.equal(f.wakes, 0);
    assert.equal(f.head.nextDeadlineMs(), Number.POSITIVE_INFINITY);
  });

  test('what still finds no path goes back behind in the same order, and is counted again', () => {
    const f = waiting();
    f.head.kickRequeue();
    f.tick();
    assert.deepEqual(
      f.head.queued().map(({ id }) => id),
      [0, 1, 2],
    );
    assert.equal(f.head.requeueNoUsablePathCount, 6);
    assert.equal(f.head.nextDeadlineMs(), Number.POSITIVE_INFINITY);
  });

  test('each request selects anew', () => {
    const f = waiting('round-robin');
    f.path('q');
    f.path('r');
    f.head.paths[0]!.disabled = false;
    f.head.kickRequeue();
    f.tick();
    assert.deepEqual(f.takeSent(), ['p', 'q', 'r']);
  });

  const kicks: Record<string, (f: Fixture) => void> = {
    setLive: (f) => f.head.setLive(f.head.paths[0]!),
    revalidatePaths: (f) => f.head.revalidatePaths(() => {}),
    failover: (f) => {
      const spare = f.path('spare');
      const [bio] = f.submit();
      spare.disabled = true;
      f.head.endBio(bio!, Outcome.PathError);
      f.sent.length = 0;
    },
    'a change of the policy': (f) => void f.iopolicy.store('round-robin'),
    'the driver (a controller came to life)': (f) => f.head.kickRequeue(),
  };
  for (const [name, kick] of Object.entries(kicks)) {
    test(`kicked by ${name}`, () => {
      const f = waiting();
      const path = f.head.paths[0]!;
      kick(f);
      path.disabled = false;
      assert.equal(f.head.nextDeadlineMs(), Number.NEGATIVE_INFINITY);
      assert.equal(f.wakes, 1);
      f.tick();
      assert.deepEqual(ids(f).slice(0, 3), [0, 1, 2]);
    });
  }

  test('kicked by the removal of the disk: everything fails', () => {
    const f = waiting();
    const bios = f.head.queued();
    f.head.paths[0]!.disabled = false;
    f.head.removeDisk();
    assert.deepEqual(
      bios.map(({ ends }) => ends),
      [0, 0, 0],
    );
    f.tick();
    assert.deepEqual(
      bios.map(({ ends, status }) => [ends, status]),
      new Array(3).fill([1, BioStatus.IoError]),
    );
    assert.deepEqual(f.sent, []);
  });

  test('kicked by the expiry of a delayed removal', () => {
    const f = new Fixture();
    f.head.removal.store('2', 0);
    const [bio] = f.submit();
    assert.equal(f.head.canRemoveHead(), false);
    f.tick(1999);
    assert.equal(bio!.ends, 0);
    f.tick(1);
    assert.equal(bio!.status, BioStatus.IoError);
    assert.equal(bio!.ends, 1);
  });

  test('new requests do not wait behind old ones', () => {
    const f = waiting();
    f.head.paths[0]!.disabled = false;
    f.head.kickRequeue();
    f.submit();
    f.tick();
    assert.deepEqual(ids(f), [3, 0, 1, 2]);
  });

  test('a kick from within a run counts for what the run has queued again', () => {
    const f = waiting();
    const [first, second, third] = f.head.queued() as [TestBio, TestBio, TestBio];
    second.offset = f.head.disk!.capacityBytes;
    second.end = () => {
      f.head.paths[0]!.disabled = false;
      f.head.kickRequeue();
    };
    f.head.kickRequeue();
    f.tick();
    assert.deepEqual(ids(f), [third.id]);
    assert.deepEqual(f.head.queued(), [first]);
    f.tick();
    assert.deepEqual(ids(f), [third.id, first.id]);
  });

  test('a run that is entered again from an end leaves nothing behind', () => {
    const f = waiting();
    const bios = f.head.queued();
    const order: number[] = [];
    for (const bio of bios) {
      bio.end = ({ id }) => {
        order.push(id);
        if (id === 0) f.head.putDisk();
      };
    }
    f.head.removeDisk();
    f.tick();
    assert.deepEqual(order, [0, 1, 2]);
    assert.equal(f.head.disk, null);
  });
});

describe('requests longer than the limit of the head', () => {
  const splitting = (parts = Number.POSITIVE_INFINITY): { f: Fixture; made: TestBio[]; freed: TestBio[] } => {
    const made: TestBio[] = [];
    const freed: TestBio[] = [];
    const f = new Fixture({
      policy: 'round-robin',
      template: {
        splitBio: (_bio, at) => {
          if (made.length >= parts) return null;
          made.push(new TestBio(1000 + at));
          return made.at(-1)!;
        },
        freeSplit: (part) => freed.push(part),
      },
      disk: { maxBytes: 8192 },
    });
    f.path('a');
    f.path('b');
    return { f, made, freed };
  };

  test('go in parts, each down its own path, and end when all parts have', () => {
    const { f, made, freed } = splitting();
    const bio = f.bio(20_480);
    bio.offset = 4096;
    bio.flags = BioFlag.NoRetry;
    f.head.submitBio(bio);
    assert.deepEqual(
      f.sent.map(({ path, bio: { offset, bytes } }) => [path.name, offset, bytes]),
      [
        ['a', 4096, 8192],
        ['b', 12_288, 8192],
        ['a', 20_480, 4096],
      ],
    );
    assert.ok(made.every(({ flags }) => (flags & BioFlag.NoRetry) !== 0));
    for (const i of [2, 0]) f.head.endBio(made[i]!, Outcome.Ok);
    assert.equal(bio.ends, 0);
    f.head.endBio(made[1]!, Outcome.Ok);
    assert.equal(bio.ends, 1);
    assert.equal(bio.status, BioStatus.Ok);
    assert.equal(bio.flags, BioFlag.NoRetry);
    assert.deepEqual(freed, [made[2], made[0], made[1]]);
    assert.ok(made.every(({ whole }) => whole === null));
    assert.deepEqual(
      made.map(({ ends }) => ends),
      [0, 0, 0],
    );
  });

  test('the first error of a part is the error of the whole', () => {
    const { f, made } = splitting();
    const bio = f.bio(16_384);
    f.head.submitBio(bio);
    made[1]!.driverStatus = 77;
    f.head.endBio(made[1]!, Outcome.Final, BioStatus.Medium);
    made[0]!.driverStatus = 78;
    f.head.endBio(made[0]!, Outcome.Final, BioStatus.Target);
    assert.deepEqual([bio.ends, bio.status, bio.driverStatus], [1, BioStatus.Medium, 77]);
  });

  test('when parts run out the rest fails, after the parts under way', () => {
    const { f, made } = splitting(1);
    const bio = f.bio(16_384);
    f.head.submitBio(bio);
    assert.equal(bio.ends, 0);
    f.head.endBio(made[0]!, Outcome.Ok);
    assert.deepEqual([bio.ends, bio.status], [1, BioStatus.Resource]);
    const none = f.bio(16_384);
    f.head.submitBio(none);
    assert.deepEqual([none.ends, none.status], [1, BioStatus.Resource]);
  });

  test('a part that was used before begins anew', () => {
    const dirty = Object.assign(new TestBio(1), {
      node: 7,
      status: BioStatus.Medium,
      driverStatus: 9,
      flags: BioFlag.Polled,
    });
    let parts = 1;
    const f = new Fixture({
      head: { nodeCount: 2 },
      template: { splitBio: () => (parts-- > 0 ? dirty : null), freeSplit: () => {} },
      disk: { maxBytes: 4096 },
    });
    f.path('a');
    f.head.submitBio(f.bio(8192), 1);
    assert.deepEqual([dirty.node, dirty.status, dirty.driverStatus], [1, BioStatus.Ok, 0]);
    assert.equal(dirty.flags & BioFlag.Polled, 0);
  });

  test('a part fails over by itself', () => {
    const { f, made } = splitting();
    const bio = f.bio(16_384);
    f.head.submitBio(bio);
    f.head.paths[0]!.disabled = true;
    f.head.endBio(made[0]!, Outcome.PathError);
    f.tick();
    assert.deepEqual(f.takeSent(), ['a', 'b', 'b']);
    f.head.endBio(made[0]!, Outcome.Ok);
    f.head.endBio(made[1]!, Outcome.Ok);
    assert.deepEqual([bio.ends, bio.status], [1, BioStatus.Ok]);
  });

  test('a request at the limit is not split', () => {
    const { f, made } = splitting();
    f.head.submitBio(f.bio(8192));
    assert.equal(made.length, 0);
    assert.equal(f.sent.length, 1);
  });
});

test('a fresh bio is empty', () => {
  const { flags, offset, bytes, status, driverStatus, node, retries, startedMs, parts } = new Bio();
  assert.deepEqual([flags, offset, bytes, status, driverStatus, node, retries, startedMs, parts], new Array(9).fill(0));
});

test('a bio whose owner set no end is a programmer error', () => {
  const f = new Fixture({ disk: null });
  assert.throws(() => f.head.submitBio(new Bio() as TestBio), /without an end/);
});
