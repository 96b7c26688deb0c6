import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Rng } from '@nvbraid/base';
import { AccessState, Outcome } from '../src/index.ts';
import { deferred, Fixture, pathDisk, type TestBio, type TestPath } from './support/fixture.ts';

const turn = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

describe('row 43: paths come and go under load', () => {
  test('no completion is lost or doubled, and no callback sees a path that was freed', async () => {
    const rng = new Rng(43);
    const freed = new Set<TestPath>();
    const see = (path: TestPath): TestPath => {
      assert.ok(!freed.has(path), `freed path ${path.name} was seen`);
      return path;
    };
    const f: Fixture = new Fixture({
      policy: 'round-robin',
      template: {
        isDisabled: (path) => see(path).disabled,
        isOptimized: (path) => see(path).accessState === AccessState.Optimized,
        availablePath: (path) => see(path).hopeful,
        submitBio: (path, bio) => {
          f.sent.push({ path: see(path), bio });
        },
        failover: (path) => void see(path),
      },
    });
    f.head.removal.store('600', 0);
    const all: TestBio[] = [];
    const leaving: Promise<void>[] = [];
    for (let step = 0; step < 5000; step++) {
      const roll = rng.below(10);
      if (roll < 1 && f.head.paths.length < 5) {
        f.head.setLive(f.path(`p${step}`, rng.pick([AccessState.Optimized, AccessState.NonOptimized])));
      } else if (roll < 2 && f.head.paths.length > 0) {
        const path = rng.pick(f.head.paths);
        f.head.deletePath(path);
        leaving.push(path.idle().then(() => void freed.add(path)));
      } else if (roll < 6) {
        all.push(...f.submit());
      } else if (f.sent.length > 0) {
        const [{ path, bio }] = f.sent.splice(rng.below(f.sent.length), 1) as [{ path: TestPath; bio: TestBio }];
        const outcome = path.head === null ? Outcome.PathError : rng.pick([Outcome.Ok, Outcome.Ok, Outcome.PathError]);
        f.head.endBio(bio, outcome);
      }
      if (rng.chance(0.3)) f.tick();
      if (rng.chance(0.05)) await turn();
    }
    f.head.setLive(f.path('last'));
    f.tick();
    while (f.sent.length > 0) f.head.endBio(f.sent.shift()!.bio, Outcome.Ok);
    await Promise.all(leaving);
    assert.deepEqual(
      all.filter(({ ends }) => ends !== 1),
      [],
    );
    assert.ok(freed.size > 100 && all.length > 1000);
  });

  test('delete answers whether the list is empty now', () => {
    const f = new Fixture();
    const [a, b] = [f.path('a'), f.path('b')];
    assert.equal(f.head.devicesEmpty(), false);
    assert.equal(f.head.deletePath(a), false);
    assert.deepEqual([b.index, f.head.paths.length], [0, 1]);
    assert.equal(f.head.deletePath(b), true);
    assert.equal(f.head.devicesEmpty(), true);
  });

  test('a deleted path is in no slot, whatever the policy kept', () => {
    const f = new Fixture({ policy: 'round-robin', head: { nodeCount: 2 } });
    const a = f.path('a');
    const [b, c] = [f.path('b'), f.path('c')];
    f.select(1, 0);
    f.select(2, 1);
    f.head.deletePath(a);
    assert.deepEqual(f.head.currentPath, [null, b]);
    assert.deepEqual(f.select(2, 1), [c.name, b.name]);
  });

  test('who iterates over the paths keeps what it began with', () => {
    const f = new Fixture();
    const [a, b] = [f.path('a'), f.path('b')];
    const { paths } = f.head;
    f.head.deletePath(a);
    f.path('c');
    assert.deepEqual(paths, [a, b]);
  });

  test('synchronize waits for the asynchronous readers that are there, not for later ones', async () => {
    const f = new Fixture();
    f.path('a');
    const [first, second] = [deferred(), deferred()];
    const order: string[] = [];
    const one = f.head.callForDevice(() => first.promise);
    const synchronized = f.head.synchronize().then(() => order.push('synchronized'));
    const two = f.head.callForDevice(() => second.promise).then(() => order.push('second'));
    await turn();
    assert.deepEqual(order, []);
    first.resolve();
    await one;
    await synchronized;
    assert.deepEqual(order, ['synchronized']);
    second.resolve();
    await two;
    await f.head.synchronize();
  });

  test('call for device: the path that a request would take, held until the end, EWOULDBLOCK without one', async () => {
    const f = new Fixture({ head: { nodeCount: 2 } });
    await assert.rejects(
      f.head.callForDevice(() => 1),
      { code: 'EWOULDBLOCK', retryable: true },
    );
    const near = f.path('near', AccessState.Optimized, { numaNode: 0 });
    const far = f.path('far', AccessState.Optimized, { numaNode: 1 });
    assert.equal(await f.head.callForDevice((path) => path.name), 'near');
    assert.equal(await f.head.callForDevice((path) => path.name, 1), 'far');
    const work = deferred<string>();
    const call = f.head.callForDevice((path) => work.promise.then((text) => `${path.name} ${text}`));
    f.head.deletePath(near);
    assert.deepEqual([near.refs, far.refs], [1, 0]);
    let idle = false;
    const wait = near.idle().then(() => {
      idle = true;
    });
    await turn();
    assert.equal(idle, false);
    work.resolve('done');
    assert.equal(await call, 'near done');
    await wait;
    await assert.rejects(
      f.head.callForDevice(() => {
        throw new Error('broken');
      }),
      /broken/,
    );
    assert.equal(far.refs, 0);
  });
});

describe('row 44: set live', () => {
  test('the first time shows the disk, makes the passthrough device, and scans later', () => {
    const done: string[] = [];
    const note = (what: string) => (): void => void done.push(what);
    const f = new Fixture({
      live: false,
      template: {
        addDisk: note('addDisk'),
        delDisk: note('delDisk'),
        addCdev: note('addCdev'),
        delCdev: note('delCdev'),
        cdevIoctl: () => 0,
        scanPartitions: note('scan'),
      },
    });
    const [a, b] = [f.path('a'), f.path('b')];
    assert.ok(!f.head.diskLive && !f.head.cdevLive);
    f.head.setLive(a);
    assert.deepEqual(done, ['addDisk', 'addCdev']);
    assert.ok(f.head.diskLive && f.head.cdevLive && f.head.disk!.added);
    assert.equal(f.head.nextDeadlineMs(), Number.NEGATIVE_INFINITY);
    assert.equal(f.wakes, 1);
    f.head.setLive(b);
    f.tick();
    f.tick();
    assert.deepEqual(done, ['addDisk', 'addCdev', 'scan']);
    f.head.removeDisk();
    f.head.removeDisk();
    assert.deepEqual(done, ['addDisk', 'addCdev', 'scan', 'delCdev', 'delDisk']);
    assert.ok(!f.head.diskLive && !f.head.cdevLive && !f.head.disk!.added);
    f.head.setLive(a);
    assert.equal(done.length, 5, 'a removed disk is not shown again');
  });

  test('two paths that race show it once: from within, and while it is being shown', async () => {
    let shown = 0;
    const showing = deferred();
    const f: Fixture = new Fixture({
      live: false,
      template: {
        addDisk: () => {
          shown++;
          f.head.setLive(f.head.paths[1]!);
          return showing.promise;
        },
        delDisk: () => {},
      },
    });
    const [a, b] = [f.path('a', AccessState.Optimized, { disk: pathDisk('d') }), f.path('b')];
    f.head.setLive(a);
    f.head.setLive(b);
    assert.equal(shown, 1);
    assert.ok(f.head.diskLive && !f.head.disk!.added);
    assert.equal(a.linked, false);
    showing.resolve();
    await turn();
    assert.ok(f.head.disk!.added && a.linked);
    assert.equal(shown, 1);
  });

  test('a failure clears the flag, is told, fails what waits, and the next path tries again', async () => {
    const attempts: ReturnType<typeof deferred<void>>[] = [];
    let refuse = true;
    const f = new Fixture({
      live: false,
      template: {
        addDisk: () => {
          if (refuse) throw new Error('no room');
          attempts.push(deferred());
          return attempts.at(-1)!.promise;
        },
        delDisk: () => {},
      },
    });
    const a = f.path('a');
    f.head.setLive(a);
    assert.ok(!f.head.diskLive);
    assert.equal(f.head.currentPath[0], null, 'nothing else was done');
    refuse = false;
    f.head.setLive(a);
    a.disabled = true;
    const [bio] = f.submit();
    assert.equal(bio!.ends, 0);
    attempts[0]!.reject(new Error('still no room'));
    await turn();
    assert.ok(!f.head.diskLive);
    f.tick();
    assert.equal(bio!.ends, 1);
    assert.deepEqual(
      f.logs.filter((line) => line.includes('shown')),
      [
        'disk0: the disk could not be shown: Error: no room',
        'disk0: the disk could not be shown: Error: still no room',
      ],
    );
    f.head.setLive(a);
    attempts[1]!.resolve();
    await turn();
    assert.ok(f.head.diskLive && f.head.disk!.added);
  });

  test('a disk that is removed while it is being shown stays removed', async () => {
    for (const end of ['resolve', 'reject'] as const) {
      const showing = deferred();
      const f = new Fixture({ live: false, template: { addDisk: () => showing.promise, delDisk: () => {} } });
      f.head.setLive(f.path('a'));
      f.head.putDisk();
      showing[end]();
      await turn();
      assert.ok(!f.head.diskLive);
      assert.equal(f.head.disk, null);
      assert.deepEqual(f.logs, []);
    }
  });

  test('without its passthrough device the disk works', () => {
    const f = new Fixture({
      live: false,
      template: {
        addCdev: () => {
          throw new Error('no minor');
        },
        delCdev: () => assert.fail('there is none'),
        cdevIoctl: () => 0,
      },
    });
    f.head.setLive(f.path('a'));
    assert.ok(f.head.diskLive && !f.head.cdevLive);
    assert.equal(f.head.cdev, null);
    assert.deepEqual(f.logs, ['disk0: no passthrough device: Error: no minor']);
    f.head.removeDisk();
  });

  test('a scan that is pending when the disk goes does not happen', () => {
    const f = new Fixture({ live: false, template: { scanPartitions: () => assert.fail('scanned') } });
    f.head.setLive(f.path('a'));
    f.head.removeDisk();
    f.tick();
  });

  test('an optimized path makes every node choose anew, another one does not', () => {
    const f = new Fixture({ head: { nodeCount: 3 } });
    const slow = f.path('slow', AccessState.NonOptimized);
    f.head.setLive(slow);
    assert.deepEqual(f.head.currentPath, [null, null, null]);
    f.select(1, 1);
    const [near, far] = [
      f.path('near', AccessState.Optimized, { numaNode: 0 }),
      f.path('far', AccessState.Optimized, { numaNode: 2 }),
    ];
    f.head.setLive(near);
    assert.deepEqual(f.head.currentPath, [near, near, far]);
  });

  test('links are made once both disks are there, and go with the path', () => {
    const f = new Fixture({ live: false });
    const bare = f.path('bare');
    const early = f.path('early', AccessState.Optimized, { disk: pathDisk('e') });
    const late = f.path('late', AccessState.Optimized, { disk: pathDisk('l', { added: false }) });
    f.head.updateLinks();
    assert.equal(early.linked, false, 'the head is not there');
    f.head.setLive(early);
    assert.deepEqual([bare.linked, early.linked, late.linked], [false, true, false]);
    late.disk!.added = true;
    f.head.setLive(late);
    assert.equal(late.linked, true);
    f.head.removeLink(late);
    assert.equal(late.linked, false);
    f.head.deletePath(early);
    assert.equal(early.linked, false);
  });
});

describe('row 45: slots and capacity', () => {
  test('clear current path empties the slots of one path and says whether there were any', () => {
    const f = new Fixture({ head: { nodeCount: 3 } });
    const [a, b] = [f.path('a'), f.path('b')];
    f.head.setCurrentPath(0, a);
    f.head.setCurrentPath(1, b);
    f.head.setCurrentPath(2, a);
    assert.equal(f.head.clearCurrentPath(a), true);
    assert.deepEqual(f.head.currentPath, [null, b, null]);
    assert.equal(f.head.clearCurrentPath(a), false);
    f.head.clearPaths();
    assert.deepEqual(f.head.currentPath, [null, null, null]);
  });

  test('revalidate disables the paths whose capacity differs', () => {
    const f = new Fixture({ disk: { capacityBytes: 2 ** 40 } });
    const same = f.path('same', AccessState.NonOptimized, { disk: pathDisk('d1') });
    const small = f.path('small', AccessState.Optimized, { disk: pathDisk('d2', { capacityBytes: 4096 }) });
    const bare = f.path('bare', AccessState.NonOptimized);
    assert.equal(f.head.findPath(), small);
    const told: TestPath[] = [];
    f.head.revalidatePaths((path) => {
      told.push(path);
      path.disabled = true;
    });
    assert.deepEqual(told, [small]);
    assert.equal(f.head.currentPath[0], null);
    assert.equal(f.head.findPath(), same);
    assert.equal(bare.disabled, false);
  });

  test('revalidate without a disk compares nothing', () => {
    const f = new Fixture({ disk: null });
    f.path('a', AccessState.Optimized, { disk: pathDisk('d') });
    f.head.revalidatePaths(() => assert.fail('there is nothing to compare with'));
  });
});
