import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AccessState, type PathDisk, type ReservationOps, ReservationType, type Zone } from '../src/index.ts';
import { deferred, Fixture, pathDisk, type TestPath, type TestTemplate } from './support/fixture.ts';

function withDisk(disk: Partial<PathDisk>, template: Partial<TestTemplate> = {}): { f: Fixture; path: TestPath } {
  const f = new Fixture({ template });
  return { f, path: f.path('a', AccessState.Optimized, { disk: pathDisk('d', disk) }) };
}

const turn = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

describe('row 50: control requests of the head disk', () => {
  test('go to the disk of the selected path', async () => {
    const seen: unknown[] = [];
    const { f } = withDisk({
      ioctl: (command, argument, caller) => {
        seen.push([command, argument, caller]);
        return 5;
      },
    });
    assert.equal(await f.head.disk!.ioctl(1, 'x', { write: true }), 5);
    assert.deepEqual(seen, [[1, 'x', { write: true, partition: false, rawIo: false }]]);
  });

  test('ENOTTY when that disk has none (the missing operation of version 3), or is not there', async () => {
    const { f, path } = withDisk({});
    await assert.rejects(f.head.disk!.ioctl(1, null), { code: 'ENOTTY' });
    path.disk = null;
    await assert.rejects(f.head.disk!.ioctl(1, null), { code: 'ENOTTY' });
    assert.equal(path.refs, 0);
  });

  test('EWOULDBLOCK without a path', async () => {
    const { f, path } = withDisk({ ioctl: () => 0 });
    path.disabled = true;
    await assert.rejects(f.head.disk!.ioctl(1, null), { code: 'EWOULDBLOCK' });
  });

  test('ENOIOCTLCMD through a partition without the right to raw commands', async () => {
    const { f } = withDisk({ ioctl: () => 'done' });
    await assert.rejects(f.head.disk!.ioctl(1, null, { partition: true }), { code: 'ENOIOCTLCMD' });
    assert.equal(await f.head.disk!.ioctl(1, null, { partition: true, rawIo: true }), 'done');
  });

  test('begin and finish enclose the request, and the path is held until after finish (the use after free of version 3)', async () => {
    const order: string[] = [];
    const work = deferred();
    let held: TestPath | null = null;
    const { f, path } = withDisk(
      {
        ioctl: () => {
          order.push('ioctl');
          return work.promise.then(() => 'answer');
        },
      },
      {
        ioctlBegin: (path, command) => {
          held = path;
          order.push(`begin ${command}`);
          return { command };
        },
        ioctlFinish: (opaque) => {
          order.push(`finish ${(opaque as { command: number }).command} refs=${held!.refs}`);
        },
      },
    );
    const answer = f.head.disk!.ioctl(9, null);
    f.head.deletePath(path);
    let freed = false;
    const idle = path.idle().then(() => {
      freed = true;
      order.push('free');
    });
    await turn();
    assert.deepEqual([freed, path.refs], [false, 1]);
    work.resolve();
    assert.equal(await answer, 'answer');
    await idle;
    assert.deepEqual(order, ['begin 9', 'ioctl', 'finish 9 refs=1', 'free']);
  });

  test('a request between begin and finish is no reader: it may itself wait for readers', async () => {
    for (const opaque of [{}, null]) {
      const work = deferred();
      const { f } = withDisk({ ioctl: () => work.promise }, { ioctlBegin: () => opaque, ioctlFinish: () => {} });
      const request = f.head.disk!.ioctl(1, null);
      let synchronized = false;
      void f.head.synchronize().then(() => {
        synchronized = true;
      });
      await turn();
      assert.equal(synchronized, opaque !== null, 'with nothing begun it is a reader like any other');
      work.resolve();
      await request;
    }
  });

  test('finish comes after an error as well, but not when begin failed or began nothing', async () => {
    const finished: unknown[] = [];
    let begin: unknown = 'opaque';
    const { f, path } = withDisk(
      {
        ioctl: () => {
          throw new Error('broken');
        },
      },
      {
        ioctlBegin: () => {
          if (begin instanceof Error) throw begin;
          return begin;
        },
        ioctlFinish: (opaque) => finished.push(opaque),
      },
    );
    await assert.rejects(f.head.disk!.ioctl(1, null), /broken/);
    assert.deepEqual(finished, ['opaque']);
    begin = null;
    await assert.rejects(f.head.disk!.ioctl(1, null), /broken/);
    begin = new Error('no reference');
    await assert.rejects(f.head.disk!.ioctl(1, null), /no reference/);
    assert.deepEqual(finished, ['opaque']);
    assert.equal(path.refs, 0);
  });
});

describe('row 51: persistent reservations', () => {
  const calls: unknown[][] = [];
  const note =
    (name: string, answer: unknown = undefined) =>
    (...args: unknown[]): unknown => {
      calls.push([name, ...args]);
      return answer;
    };
  const keys = { generation: 3, keys: [1n, 2n] };
  const holder = { generation: 3, key: 1n, type: ReservationType.WriteExclusive };
  const all = {
    register: note('register'),
    reserve: note('reserve'),
    release: note('release'),
    preempt: note('preempt'),
    clear: note('clear'),
    readKeys: note('readKeys', keys),
    readReservation: note('readReservation', Promise.resolve(holder)),
  } as unknown as ReservationOps;
  const requests: Record<keyof ReservationOps, (ops: ReservationOps) => unknown> = {
    register: (ops) => ops.register(1n, 2n, true),
    reserve: (ops) => ops.reserve(2n, ReservationType.ExclusiveAccess),
    release: (ops) => ops.release(2n, ReservationType.ExclusiveAccess),
    preempt: (ops) => ops.preempt(2n, 3n, ReservationType.WriteExclusive, true),
    clear: (ops) => ops.clear(2n),
    readKeys: (ops) => ops.readKeys(),
    readReservation: (ops) => ops.readReservation(),
  };

  test('all seven go down exactly one path', async () => {
    const { f } = withDisk({ reservations: all });
    f.path('other', AccessState.Optimized, {
      disk: pathDisk('e', {
        reservations: Object.fromEntries(
          Object.keys(requests).map((name) => [name, () => assert.fail('second path')]),
        ) as unknown as ReservationOps,
      }),
    });
    calls.length = 0;
    const answers: unknown[] = [];
    for (const request of Object.values(requests)) answers.push(await request(f.head.disk!.reservations));
    assert.deepEqual(calls, [
      ['register', 1n, 2n, true],
      ['reserve', 2n, 2],
      ['release', 2n, 2],
      ['preempt', 2n, 3n, 1, true],
      ['clear', 2n],
      ['readKeys'],
      ['readReservation'],
    ]);
    assert.deepEqual(answers.slice(5), [keys, holder]);
    assert.deepEqual(f.logs, [], 'a registration of the host holds for all paths');
  });

  for (const [name, request] of Object.entries(requests)) {
    test(`${name}: EOPNOTSUPP when missing, EWOULDBLOCK without a path`, async () => {
      const { f, path } = withDisk({ reservations: { ...all, [name]: undefined } });
      const ask = async (): Promise<unknown> => request(f.head.disk!.reservations);
      await assert.rejects(ask(), { code: 'EOPNOTSUPP' });
      path.disk = pathDisk('bare');
      await assert.rejects(ask(), { code: 'EOPNOTSUPP' });
      path.disk = null;
      await assert.rejects(ask(), { code: 'EOPNOTSUPP' });
      path.disabled = true;
      await assert.rejects(ask(), { code: 'EWOULDBLOCK' });
      assert.equal(path.refs, 0);
    });
  }

  test('where registrations belong to the nexus, what changes them warns that one path is not all', async () => {
    const { f } = withDisk({ reservations: all }, { reservationsPerNexus: true });
    const ops = f.head.disk!.reservations;
    await ops.register(0n, 1n, false);
    assert.deepEqual(f.logs, [], 'there is one path only');
    f.path('b', AccessState.NonOptimized);
    await ops.readKeys();
    await ops.readReservation();
    assert.deepEqual(f.logs, []);
    await ops.register(0n, 1n, false);
    assert.deepEqual(f.logs, [
      'disk0: reservation register went down path a only: here it holds for that path, not for the host',
    ]);
    for (let i = 0; i < 50; i++) await ops.clear(1n);
    assert.ok(f.logs.length <= 10);
  });
});

describe('row 52: geometry, unique id, zones', () => {
  test('geometry: of the path’s disk, ENOTTY without, EWOULDBLOCK without a path', () => {
    const geometry = { heads: 64, sectors: 32, cylinders: 1024 };
    const { f, path } = withDisk({ getGeometry: () => geometry });
    assert.deepEqual(f.head.disk!.getGeometry(), geometry);
    path.disk = pathDisk('bare');
    assert.throws(() => f.head.disk!.getGeometry(), { code: 'ENOTTY' });
    path.disk = null;
    assert.throws(() => f.head.disk!.getGeometry(), { code: 'ENOTTY' });
    path.disabled = true;
    assert.throws(() => f.head.disk!.getGeometry(), { code: 'EWOULDBLOCK' });
  });

  test('unique id: its length, 0 without, EWOULDBLOCK without a path', () => {
    const { f, path } = withDisk({
      getUniqueId: (id, type) => {
        id.set([1, 2, 3, type]);
        return 4;
      },
    });
    const id = new Uint8Array(16);
    assert.equal(f.head.disk!.getUniqueId(id, 2), 4);
    assert.deepEqual([...id.subarray(0, 4)], [1, 2, 3, 2]);
    path.disk = pathDisk('bare');
    assert.equal(f.head.disk!.getUniqueId(id, 2), 0);
    path.disk = null;
    assert.equal(f.head.disk!.getUniqueId(id, 2), 0);
    path.disabled = true;
    assert.throws(() => f.head.disk!.getUniqueId(id, 2), { code: 'EWOULDBLOCK' });
  });

  test('zones: reported by the path’s disk, EOPNOTSUPP without, EWOULDBLOCK without a path', async () => {
    const zone: Zone = {
      startBytes: 0,
      lengthBytes: 4096,
      capacityBytes: 4096,
      writePointerBytes: 0,
      type: 2,
      condition: 1,
    };
    const { f, path } = withDisk({
      reportZones: async (offset, count, report) => {
        for (let i = 0; i < count; i++) report({ ...zone, startBytes: offset + i * 4096 }, i);
        return count;
      },
    });
    const starts: number[] = [];
    const asked = f.head.disk!.reportZones(8192, 2, ({ startBytes }, i) => {
      starts[i] = startBytes;
    });
    assert.equal(path.refs, 1, 'held until the report is over');
    assert.equal(await asked, 2);
    assert.deepEqual(starts, [8192, 12288]);
    assert.equal(path.refs, 0);
    path.disk = pathDisk('bare');
    await assert.rejects(
      f.head.disk!.reportZones(0, 1, () => {}),
      { code: 'EOPNOTSUPP' },
    );
    path.disk = null;
    await assert.rejects(
      f.head.disk!.reportZones(0, 1, () => {}),
      { code: 'EOPNOTSUPP' },
    );
    path.disabled = true;
    await assert.rejects(
      f.head.disk!.reportZones(0, 1, () => {}),
      { code: 'EWOULDBLOCK' },
    );
  });
});
