import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeClock } from '@nvbraid/base';
import {
  AccessState,
  Bio,
  Head,
  type HeadTemplate,
  Iopolicy,
  MAX_NODES,
  MAX_PATHS,
  NO_NODE,
  Path,
} from '../src/index.ts';
import { deferred, Fixture, TestPath, type TestTemplate } from './support/fixture.ts';

const settled = async (promise: Promise<unknown>): Promise<boolean> => {
  let done = false;
  void promise.then(() => {
    done = true;
  });
  for (let i = 0; i < 20; i++) await Promise.resolve();
  return done;
};

describe('row 31: head and path structures, references', () => {
  test('a driver embeds head, path and bio in its own objects', () => {
    class MyPath extends Path {
      readonly port = 7;
    }
    class MyBio extends Bio {
      readonly lba = 8;
    }
    class MyHead extends Head<MyPath, MyBio> {
      readonly serial = 'S1';
    }
    const seen: [number, number][] = [];
    const head = new MyHead({
      name: 'h',
      clock: new FakeClock(),
      iopolicy: new Iopolicy(),
      template: {
        isDisabled: () => false,
        isOptimized: () => true,
        availablePath: () => true,
        submitBio: (path, bio) => seen.push([path.port, bio.lba]),
        removeHead: () => {},
      },
    });
    head.allocDisk({ name: 'd', parent: {}, capacityBytes: 4096 });
    head.addPath(new MyPath({ name: 'p', accessState: AccessState.Optimized }));
    head.submitBio(new MyBio());
    assert.deepEqual(seen, [[7, 8]]);
    assert.equal(head.serial, 'S1');
  });

  test('uninit waits for the last reference', async () => {
    const f = new Fixture({ disk: null });
    f.head.get();
    f.head.get();
    const uninit = f.head.uninit();
    f.head.put();
    assert.equal(await settled(uninit), false);
    f.head.put();
    assert.equal(await settled(uninit), true);
  });

  test('get on a head that is going is ENXIO, and so is every opening', async () => {
    const f = new Fixture();
    const { disk } = f.head;
    const opening = disk!.open();
    assert.ok(opening.isOpen);
    f.head.putDisk();
    const uninit = f.head.uninit();
    assert.throws(() => f.head.get(), { code: 'ENXIO' });
    assert.throws(() => disk!.open(), { code: 'ENXIO' });
    assert.throws(() => f.path('late'), { code: 'ENXIO' });
    assert.equal(await settled(uninit), false, 'the disk is open');
    opening.close();
    opening.close();
    assert.ok(!opening.isOpen);
    await uninit;
    assert.throws(() => f.head.get(), { code: 'ENXIO' });
  });

  test('an opening closes itself at the end of its scope', async () => {
    const f = new Fixture();
    {
      using _opening = f.head.disk!.open();
    }
    f.head.putDisk();
    await f.head.uninit();
  });

  test('a head goes after its paths and its disk, and once', async () => {
    const f = new Fixture();
    const path = f.path('p');
    await assert.rejects(f.head.uninit(), /after its paths/);
    f.head.deletePath(path);
    await assert.rejects(f.head.uninit(), /its disk/);
    f.head.putDisk();
    await f.head.uninit();
    await assert.rejects(f.head.uninit(), /twice/);
    assert.throws(() => f.head.put(), /more often/);
  });

  test('uninit waits for operations that were handed a path', async () => {
    const f = new Fixture();
    const path = f.path('p');
    const work = deferred();
    const call = f.head.callForDevice(() => work.promise);
    f.head.deletePath(path);
    f.head.putDisk();
    const uninit = f.head.uninit();
    assert.equal(await settled(uninit), false);
    work.resolve();
    await call;
    await uninit;
  });

  test('a head that is gone no longer hears of its policy', async () => {
    const f = new Fixture({ disk: null });
    await f.head.uninit();
    let cleared = 0;
    f.head.clearPaths = () => {
      cleared++;
    };
    f.iopolicy.store('round-robin');
    assert.equal(cleared, 0);
  });

  test('uninit ends a delayed removal', async () => {
    const holds: string[] = [];
    const f = new Fixture({
      disk: null,
      template: { holdDriver: () => holds.push('hold') > 0, releaseDriver: () => void holds.push('release') },
    });
    f.head.removal.store('5', 0);
    assert.equal(f.head.canRemoveHead(), false);
    await f.head.uninit();
    assert.deepEqual(holds, ['hold', 'release']);
    f.tick(5000);
    assert.deepEqual(f.removed, []);
  });

  test('a path is checked when it is made and when it is added', () => {
    assert.throws(() => new Path({ name: '' }), { code: 'EINVAL' });
    assert.throws(() => new Path({ name: 'x'.repeat(256) }), { code: 'EINVAL' });
    assert.throws(() => new Path({ name: 'p', numaNode: -2 }), { code: 'EINVAL' });
    assert.throws(() => new Path({ name: 'p', numaNode: 0.5 }), { code: 'EINVAL' });
    assert.equal(new Path({ name: 'p' }).numaNode, NO_NODE);
    assert.equal(new Path({ name: 'p' }).accessState, AccessState.Other);
    const f = new Fixture({ head: { nodeCount: 2 } });
    const path = f.path('p', AccessState.Optimized, { numaNode: 1 });
    assert.throws(() => f.path('p'), { code: 'EINVAL' });
    assert.throws(() => f.path('q', AccessState.Optimized, { numaNode: 2 }), { code: 'EINVAL' });
    assert.throws(() => f.head.addPath(path), /belongs to a head/);
    assert.throws(() => new Fixture().head.deletePath(path), /does not belong/);
    assert.throws(() => new Fixture().head.setLive(path), /does not belong/);
  });

  test('the number of paths is bounded', () => {
    const f = new Fixture();
    for (let i = 0; i < MAX_PATHS; i++) f.path(`p${i}`);
    assert.throws(() => f.path('one more'), { code: 'EINVAL' });
  });
});

describe('row 32: current path per node', () => {
  test('there are as many slots as the head was told nodes, and they are its last member', () => {
    for (const nodeCount of [1, 2, 7, MAX_NODES]) {
      const { head } = new Fixture({ head: { nodeCount } });
      assert.equal(head.currentPath.length, nodeCount);
      assert.equal(Object.keys(head).at(-1), 'currentPath');
    }
    assert.equal(new Fixture().head.currentPath.length, 1, 'one node unless told otherwise');
  });

  test('the node of a request chooses the slot', () => {
    const f = new Fixture({ head: { nodeCount: 3 } });
    const [a, b] = [
      f.path('a', AccessState.Optimized, { numaNode: 0 }),
      f.path('b', AccessState.Optimized, { numaNode: 2 }),
    ];
    f.submit(1);
    f.submit(1, 2);
    assert.deepEqual(f.takeSent(), ['a', 'b']);
    assert.deepEqual(f.head.currentPath, [a, null, b]);
    assert.throws(() => f.submit(1, 3), /node/);
    assert.throws(() => f.submit(1, -1), /node/);
  });

  test('a head with no or too many nodes, or with odd distances, is refused', () => {
    for (const nodeCount of [0, -1, 1.5, MAX_NODES + 1]) {
      assert.throws(() => new Fixture({ head: { nodeCount } }), { code: 'EINVAL' });
    }
    for (const distance of [0, 256, 1.5, Number.NaN]) {
      assert.throws(() => new Fixture({ head: { nodeCount: 2, distance: () => distance } }), { code: 'EINVAL' });
    }
  });

  test('distances have a direction; without any a node is nearest to itself', () => {
    const { head } = new Fixture({ head: { nodeCount: 2, distance: (from, to) => 1 + from * 10 + to } });
    assert.deepEqual(
      [head.distance(0, 0), head.distance(0, 1), head.distance(1, 0), head.distance(1, 1)],
      [1, 2, 11, 12],
    );
    const plain = new Fixture({ head: { nodeCount: 2 } }).head;
    assert.deepEqual([plain.distance(0, 0), plain.distance(0, 1)], [10, 20]);
  });
});

describe('row 33: the template is validated at creation', () => {
  const create = (change: Partial<Record<keyof HeadTemplate, unknown>>) => (): unknown =>
    new Fixture({ template: change as Partial<TestTemplate> });
  const nothing = (): void => {};

  for (const name of ['isDisabled', 'isOptimized', 'availablePath', 'submitBio', 'removeHead'] as const) {
    test(`${name} is mandatory`, () => {
      assert.throws(create({ [name]: undefined }), {
        code: 'EINVAL',
        message: `multipath template: ${name} is missing`,
      });
    });
  }

  const together = [
    ['cloneBio', 'freeClone'],
    ['splitBio', 'freeSplit'],
    ['addDisk', 'delDisk'],
    ['addCdev', 'delCdev', 'cdevIoctl'],
    ['ioctlBegin', 'ioctlFinish'],
    ['chrUringCmd', 'chrUringCmdIopoll'],
    ['holdDriver', 'releaseDriver'],
  ] as const;
  for (const names of together) {
    test(`${names.join(', ')} come together or not at all`, () => {
      const all = Object.fromEntries(names.map((name) => [name, nothing]));
      assert.doesNotThrow(create(all));
      for (const name of names) {
        assert.throws(create({ ...all, [name]: undefined }), { code: 'EINVAL' }, `without ${name}`);
        assert.throws(create({ [name]: nothing }), { code: 'EINVAL' }, `${name} alone`);
      }
    });
  }

  test('a callback is a function', () => {
    for (const name of ['isDisabled', 'cloneBio', 'failover', 'probePath', 'scanPartitions'] as const) {
      assert.throws(create({ [name]: 'yes' }), { code: 'EINVAL' });
    }
  });

  test('what else a head needs is checked as well', () => {
    const head = (change: object) => (): unknown => new Fixture({ head: change });
    assert.throws(head({ name: '' }), { code: 'EINVAL' });
    assert.throws(head({ name: 7 }), { code: 'EINVAL' });
    assert.throws(head({ name: 'x'.repeat(256) }), { code: 'EINVAL' });
    assert.doesNotThrow(head({ name: 'x'.repeat(255), maxRetries: 0 }));
    assert.throws(head({ iopolicy: undefined }), { code: 'EINVAL' });
    assert.throws(head({ clock: undefined }), { code: 'EINVAL' });
    assert.throws(head({ maxRetries: -1 }), { code: 'EINVAL' });
    assert.throws(head({ quarantine: {} }), { code: 'EINVAL' }, 'quarantine without probes');
  });

  test('the disk needs a name, a parent, sizes, and that there is none yet', () => {
    const disk = (change: object) => (): unknown => new Fixture({ disk: change });
    assert.throws(disk({ name: '' }), { code: 'EINVAL' });
    assert.throws(disk({ parent: undefined }), { code: 'EINVAL' });
    assert.throws(disk({ parent: null }), { code: 'EINVAL' });
    assert.throws(disk({ capacityBytes: -1 }), { code: 'EINVAL' });
    assert.throws(disk({ capacityBytes: 0.5 }), { code: 'EINVAL' });
    assert.throws(disk({ blockBytes: 0 }), { code: 'EINVAL' });
    assert.throws(disk({ maxBytes: 65536 }), { code: 'EINVAL' }, 'a limit without splitBio');
    const split = { splitBio: () => null, freeSplit: nothing };
    assert.throws(() => new Fixture({ template: split, disk: { maxBytes: 511 } }), { code: 'EINVAL' });
    assert.equal(new Fixture({ template: split, disk: { maxBytes: 1000 } }).head.disk?.maxBytes, 512);
    const { head } = new Fixture();
    assert.throws(() => head.allocDisk({ name: 'again', parent: head, capacityBytes: 1 }), { code: 'EINVAL' });
  });
});

test('a path that is used cannot come back before it is idle', async () => {
  const f = new Fixture();
  const path = f.path('p');
  const [bio] = f.submit();
  f.head.deletePath(path);
  assert.equal(path.head, null);
  assert.equal(path.index, -1);
  const idle = path.idle();
  const alsoIdle = path.idle();
  assert.equal(await settled(idle), false);
  assert.throws(() => f.head.addPath(path), /former use/);
  f.head.endBio(bio!, 0);
  assert.equal(await settled(idle), true);
  assert.equal(await settled(alsoIdle), true);
  assert.equal(await settled(path.idle()), true);
  f.head.addPath(path);
  assert.throws(() => path.put(), /more often/);
  assert.ok(path instanceof TestPath);
});
