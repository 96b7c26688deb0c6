import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Outcome } from '../src/index.ts';
import { deferred, Fixture, type TestTemplate } from './support/fixture.ts';

const cdev: Partial<TestTemplate> = { addCdev: () => {}, delCdev: () => {}, cdevIoctl: () => 0 };

function live(template: Partial<TestTemplate>): Fixture {
  const f = new Fixture({ live: false, template: { ...cdev, ...template } });
  f.head.setLive(f.path('a'));
  return f;
}

describe('row 49: the passthrough device', () => {
  test('control requests go down the selected path', async () => {
    const seen: unknown[] = [];
    const f = live({
      cdevIoctl: (path, command, argument, caller) => {
        seen.push([path.name, command, argument, caller.write]);
        return 42;
      },
    });
    const file = f.head.cdev!.open(true);
    assert.equal(await file.ioctl(7, 'x'), 42);
    f.head.cdev!.open().ioctl(8, null);
    assert.deepEqual(seen, [
      ['a', 7, 'x', true],
      ['a', 8, null, false],
    ]);
  });

  test('errors are the user’s: nothing is tried again, failed over or counted', async () => {
    let calls = 0;
    const f = live({
      cdevIoctl: () => {
        calls++;
        throw new Error('path error');
      },
      chrUringCmd: () => {
        calls++;
        throw new Error('path error');
      },
      chrUringCmdIopoll: () => 0,
    });
    f.path('b');
    const file = f.head.cdev!.open();
    await assert.rejects(file.ioctl(1, null), /path error/);
    await assert.rejects(file.uringCmd('c'), /path error/);
    assert.equal(calls, 2);
    assert.deepEqual(
      f.head.paths.map(({ failoverCount, retryCount, refs }) => [failoverCount, retryCount, refs]),
      [
        [0, 0, 0],
        [0, 0, 0],
      ],
    );
  });

  test('without a path: EWOULDBLOCK for control requests, EINVAL for commands', async () => {
    const f = live({ chrUringCmd: () => 1, chrUringCmdIopoll: () => 0 });
    const file = f.head.cdev!.open();
    f.head.paths[0]!.disabled = true;
    await assert.rejects(file.ioctl(1, null), { code: 'EWOULDBLOCK' });
    await assert.rejects(file.uringCmd('c'), { code: 'EINVAL' });
  });

  test('without the callbacks commands are EOPNOTSUPP', async () => {
    const f = live({});
    const file = f.head.cdev!.open();
    await assert.rejects(file.uringCmd('c'), { code: 'EOPNOTSUPP' });
    assert.throws(() => file.uringCmdIopoll('c'), { code: 'EOPNOTSUPP' });
  });

  test('a command holds its path, and polling asks that path until the command is over', async () => {
    const work = deferred<number>();
    const polled: unknown[] = [];
    const f = live({
      chrUringCmd: (_path, _command, flags) => work.promise.then((value) => value + flags),
      chrUringCmdIopoll: (path, command) => polled.push([path.name, command]),
    });
    const a = f.head.paths[0]!;
    const file = f.head.cdev!.open();
    const command = {};
    const result = file.uringCmd(command, 3);
    await assert.rejects(file.uringCmd(command), /under way/);
    f.path('b');
    f.head.deletePath(a);
    assert.equal(a.refs, 1);
    assert.equal(file.uringCmdIopoll(command), 1);
    assert.deepEqual(polled, [['a', command]]);
    work.resolve(4);
    assert.equal(await result, 7);
    assert.equal(a.refs, 0);
    assert.equal(file.uringCmdIopoll(command), 0);
    assert.equal(polled.length, 1, 'the path that is gone is not asked');
  });

  test('an open file outlives the device and keeps the head (the lifetime fault of version 3)', async () => {
    const f = live({});
    const device = f.head.cdev!;
    const file = device.open();
    f.head.deletePath(f.head.paths[0]!);
    f.head.putDisk();
    assert.equal(f.head.cdev, null);
    const uninit = f.head.uninit();
    let over = false;
    void uninit.then(() => {
      over = true;
    });
    await assert.rejects(file.ioctl(1, null), { code: 'EWOULDBLOCK' });
    assert.throws(() => device.open(), { code: 'ENXIO' });
    assert.equal(over, false);
    file.close();
    await uninit;
    await assert.rejects(file.ioctl(1, null), /closed/);
    await assert.rejects(file.uringCmd(1), /closed/);
    assert.throws(() => file.uringCmdIopoll(1), /closed/);
  });

  test('a request under way when its path fails for others is not touched', async () => {
    const work = deferred();
    const f = live({ cdevIoctl: () => work.promise });
    const result = f.head.cdev!.open().ioctl(1, null);
    const [bio] = f.submit();
    f.head.paths[0]!.disabled = true;
    f.head.endBio(bio!, Outcome.PathError);
    assert.equal(f.head.paths[0]!.refs, 1);
    work.resolve();
    await result;
    assert.equal(f.head.paths[0]!.refs, 0);
  });
});
