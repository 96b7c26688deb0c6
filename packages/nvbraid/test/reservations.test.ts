import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Rng } from '@nvbraid/base';
import { fileDevice, memoryDevice } from '@nvbraid/blockdev';
import { ChangePtpl, ReservationRegisterAction, Status } from '@nvbraid/wire';
import { HeldDevice } from './support/held-device.ts';
import { NQN, outcome, Reserving, type ReservingHost, status } from './support/reserving.ts';

/* Reservations over real connections: several hosts, and the I/O of each in a thread of its own. */

const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-reservations-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

const BLOCK = 4096;
const memory = () => memoryDevice({ size: 64 * BLOCK, blockSize: BLOCK });
let files = 0;
const newPath = (): string => join(scratch, `disk${files++}`);
const file = (path: string, more: object = {}) =>
  fileDevice({ path, size: 64 * BLOCK, blockSize: BLOCK, create: true, ...more });
const pattern = (byte: number, blocks = 1): Buffer => Buffer.alloc(blocks * BLOCK, byte);

async function readBlock(host: ReservingHost, slba: number): Promise<Buffer> {
  const data = Buffer.alloc(BLOCK);
  await host.disk.read(slba, data);
  return data;
}

/** What a host may do: read, write, zero, deallocate, flush. */
async function rights({ disk }: ReservingHost): Promise<string> {
  const tried = [
    disk.read(0, Buffer.alloc(BLOCK)),
    disk.write(1, pattern(1)),
    disk.write(8, pattern(2, 32)), // more than a capsule holds
    disk.writeZeroes(2, 1),
    disk.deallocate(3, 1),
    disk.flush(),
  ];
  const ends = await Promise.all(tried.map((command) => outcome(command)));
  assert.ok(
    ends.every((end) => end === 'ok' || end === 'conflict'),
    ends.join(),
  );
  return ends.map((end) => (end === 'ok' ? 'y' : 'n')).join('');
}

const ALL = 'yyyyyy';
const READ = 'ynnnnn';
const NONE = 'nnnnnn';

for (const reactors of [0, 1, 2]) {
  test(`${reactors} reactors: what each type lets each host do, and the report`, async () => {
    const world = await Reserving.start(reactors, memory());
    const [a, b, c] = await Promise.all(['a', 'b', 'c'].map((name) => world.host(name)));
    assert.ok(a && b && c);
    await a.register();
    await b.register();
    const expected: Record<number, readonly [string, string, string]> = {
      1: [ALL, READ, READ],
      2: [ALL, NONE, NONE],
      3: [ALL, ALL, READ],
      4: [ALL, ALL, NONE],
      5: [ALL, ALL, READ],
      6: [ALL, ALL, NONE],
    };
    for (const [type, words] of Object.entries(expected)) {
      const rtype = Number(type);
      await a.acquire(rtype);
      assert.deepEqual([await rights(a), await rights(b), await rights(c)], words, `type ${type}`);
      const { registrants, ...rest } = await c.disk.resvReport();
      assert.deepEqual(rest, { gen: 2, rtype, ptpls: 0, regctl: 2 });
      assert.deepEqual(registrants, [
        { cntlid: 0xffff, holder: true, rkey: a.key, hostid: a.hostid },
        { cntlid: 0xffff, holder: rtype >= 5, rkey: b.key, hostid: b.hostid },
      ]);
      await assert.rejects(c.acquire(rtype), status(Status.ReservationConflict));
      await a.release(rtype);
      assert.equal(await rights(c), ALL, 'nothing is reserved');
    }
    await assert.rejects(a.disk.resvReport({ eds: false }), status(Status.HostIdentifierInconsistentFormat));
    await world.close();
  });

  test(`${reactors} reactors: a second controller of a host has the rights of the host`, async () => {
    const world = await Reserving.start(reactors, memory());
    const [first, second, other] = [await world.host('a'), await world.host('a'), await world.host('b')];
    await first.register();
    await second.acquire(2);
    assert.deepEqual([await rights(first), await rights(second), await rights(other)], [ALL, ALL, NONE]);
    await first.controller.disconnect();
    assert.equal(await rights(second), ALL, 'a reservation outlives the controller that it was made by');
    await world.close();
  });

  for (const kind of ['memory', 'file', 'file on the thread pool']) {
    test(`${reactors} reactors, ${kind}: no write of the victim lands once its preemption is answered`, async () => {
      const path = newPath();
      const device = kind === 'memory' ? memory() : file(path, kind === 'file' ? {} : { asyncWriteBytes: 0 });
      const world = await Reserving.start(reactors, device);
      const a = await world.host('a', { nrIoQueues: 2, queueSize: 32 });
      const b = await world.host('b');
      await a.register();
      await b.register();
      for (const abort of [false, true, false, true]) {
        await a.register({ rrega: ReservationRegisterAction.Replace }).catch(() => a.register());
        await a.acquire(1);
        let stop = false;
        let written = 0;
        const refused: string[] = [];
        // Writes in the capsule, and writes that wait for R2Ts, of blocks of their own.
        const writers = Array.from({ length: 24 }, async (_, i) => {
          const blocks = i % 3 === 0 ? 4 : 1;
          for (let n = 0; !stop; n++) {
            const slba = ((i * 7 + n) % 15) * 4;
            const end = await outcome(a.disk.write(slba, pattern(0xaa, blocks)));
            if (end === 'ok') written++;
            else refused.push(end);
            if (end !== 'ok') await turn();
          }
        });
        while (written < 100) await turn();
        await b.preempt(1, a.key, abort);
        for (let slba = 0; slba < 64; slba += 16) await b.disk.write(slba, pattern(0xbb, 16));
        while (refused.length < 200) await turn();
        stop = true;
        await Promise.all(writers);
        assert.ok(
          refused.every((end) => end === 'conflict'),
          refused.find((end) => end !== 'conflict'),
        );
        for (let slba = 0; slba < 64; slba++) {
          assert.ok((await readBlock(b, slba)).equals(pattern(0xbb)), `block ${slba} was written by the victim`);
        }
        await b.release(1);
      }
      await world.close();
    });
  }

  test(`${reactors} reactors: hosts race for a reservation, and exactly one gets it`, async () => {
    const world = await Reserving.start(reactors, memory());
    const hosts = await Promise.all(['1', '2', '3', '4'].map((name) => world.host(name)));
    await Promise.all(hosts.map((host) => host.register()));
    for (let round = 0; round < 20; round++) {
      const ends = await Promise.all(hosts.map((host) => outcome(host.acquire(2))));
      assert.deepEqual(ends.toSorted(), ['conflict', 'conflict', 'conflict', 'ok']);
      const winner = hosts[ends.indexOf('ok')]!;
      const holders = (await winner.disk.resvReport()).registrants.filter(({ holder }) => holder);
      assert.deepEqual(
        holders.map(({ hostid }) => hostid),
        [winner.hostid],
      );
      assert.deepEqual(await Promise.all(hosts.map((host) => outcome(host.disk.write(0, pattern(1))))), ends);
      await winner.release(2);
    }
    await world.close();
  });

  test(`${reactors} reactors: hosts that preempt each other at once leave one holder, who alone can write`, async (t) => {
    const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
    t.diagnostic(`seed ${seed}`);
    const rng = new Rng(seed);
    const world = await Reserving.start(reactors, memory());
    const hosts = await Promise.all(['1', '2', '3'].map((name) => world.host(name)));
    for (let round = 0; round < 25; round++) {
      await Promise.all(hosts.map((host) => outcome(host.register())));
      await outcome(hosts[0]!.acquire(1));
      const ends = await Promise.all(
        hosts.map((host) => outcome(host.preempt(1, rng.pick(hosts).key, rng.chance(0.5)))),
      );
      assert.ok(
        ends.every((end) => end === 'ok' || end === 'conflict'),
        ends.join(),
      );
      const report = await hosts[0]!.disk.resvReport();
      const holders = report.registrants.filter(({ holder }) => holder);
      assert.equal(holders.length, report.rtype === 0 ? 0 : 1, `seed ${seed}`);
      const can = await Promise.all(hosts.map((host) => outcome(host.disk.write(0, pattern(1)))));
      const expected = hosts.map(({ hostid }) =>
        holders.length === 0 || holders[0]!.hostid === hostid ? 'ok' : 'conflict',
      );
      assert.deepEqual(can, expected, `seed ${seed}, round ${round}`);
      const left = hosts.find((host) => report.registrants.some(({ hostid }) => hostid === host.hostid));
      if (left !== undefined) await left.clear();
    }
    await world.close();
  });

  test(`${reactors} reactors: a namespace is removed under reservation commands`, async () => {
    const world = await Reserving.start(reactors, file(newPath()));
    const a = await world.host('a');
    await a.register({ cptpl: ChangePtpl.Set });
    const commands = Array.from({ length: 50 }, () => outcome(a.register()).catch((error: Error) => error.message));
    await world.target.removeNamespace(NQN, 1);
    for (const end of await Promise.all(commands)) assert.match(end, /^ok$|Invalid Namespace|namespace 1 /);
    await world.close();
  });

  test(`${reactors} reactors: a host that hangs up under a reservation command leaves a whole state`, async () => {
    const world = await Reserving.start(reactors, file(newPath()));
    const b = await world.host('b');
    await b.register();
    for (let round = 0; round < 10; round++) {
      const a = await world.host('a', { ctrlLossTmo: 0 });
      const ends = Promise.all(
        [outcome(a.register({ cptpl: ChangePtpl.Set })), outcome(a.acquire(2))].map((p) => p.catch(() => {})),
      );
      if (round % 2 === 0) await turn();
      await a.controller.disconnect();
      await ends;
      const { registrants, rtype } = await b.disk.resvReport();
      const registered = registrants.some(({ hostid }) => hostid === a.hostid);
      assert.ok(registered || rtype === 0, 'only a registrant holds anything');
      await b.clear();
      await b.register();
    }
    await world.close();
  });
}

test('a preemption is answered when the writes have ended that the victim had under way', async () => {
  const device = new HeldDevice();
  const world = await Reserving.start(0, device);
  const [a, b] = [await world.host('a'), await world.host('b')];
  await a.register();
  await b.register();
  await a.acquire(1);
  const write = outcome(a.disk.write(0, pattern(1)));
  await device.started(1);
  let answered = false;
  const preempt = b.preempt(1, a.key).then(() => {
    answered = true;
  });
  // Two connections: the command of one may be seen before what the other has sent earlier.
  let decided = false;
  for (let i = 0; i < 1000 && !decided; i++) {
    const { registrants } = await a.controller.namespace(1).resvReport();
    decided = registrants.length === 1;
  }
  assert.ok(decided, 'the report knows of the preemption before it is answered');
  const refused = await outcome(a.disk.write(1, pattern(1)).then(() => {}));
  assert.equal(refused, 'conflict', 'the next command meets the new reservation');
  assert.equal(device.submitted, 1);
  await a.controller.namespace(1).resvReport();
  assert.equal(answered, false, 'a write is under way');
  // One that comes later is not waited for.
  const own = b.disk.write(2, pattern(2));
  await device.started(2);
  device.finish(1);
  assert.equal(await write, 'ok');
  await preempt;
  assert.equal(device.held.length, 1);
  device.finish();
  await own;
  let open = true;
  const closed = world.close().then(() => {
    open = false;
  });
  while (open) {
    device.finish(); // closing makes everything stable
    await turn();
  }
  await closed;
});

// ---------------------------------------------------------------- persistence

for (const reactors of [0, 1, 2]) {
  test(`${reactors} reactors: with PTPL registrants and reservation are there after a restart`, async () => {
    const path = newPath();
    let world = await Reserving.start(reactors, file(path));
    let [a, b] = [await world.host('a'), await world.host('b')];
    assert.equal(a.disk.identify.rescap, 0xff);
    await a.register();
    assert.ok(!existsSync(`${path}.nvbraid`), 'nothing is kept yet');
    await b.register({ cptpl: ChangePtpl.Set });
    await a.acquire(4);
    const before = await a.disk.resvReport();
    assert.equal(before.ptpls, 1);
    await world.close();

    world = await Reserving.start(reactors, file(path));
    const c = await world.host('c');
    assert.deepEqual(await c.disk.resvReport(), before);
    assert.equal(await rights(c), NONE, 'from the first command on');
    [a, b] = [await world.host('a'), await world.host('b')];
    assert.deepEqual([await rights(a), await rights(b)], [ALL, ALL]);
    await a.register({ cptpl: ChangePtpl.Clear });
    await world.close();

    world = await Reserving.start(reactors, file(path));
    const d = await world.host('d');
    assert.deepEqual(await d.disk.resvReport(), { gen: 0, rtype: 0, ptpls: 0, regctl: 0, registrants: [] });
    assert.equal(await rights(d), ALL);
    await world.close();
  });
}

test('a state that cannot be written: Internal Error, a sentence, and everything stays as it was', async () => {
  const path = newPath();
  writeFileSync(`${path}.nvbraid`, 'a file where the directory should be');
  const world = await Reserving.start(1, file(path)).catch((error: Error) => error);
  assert.ok(world instanceof Error && /cannot read .*\.nvbraid\/reservations.*delete/.test(world.message), `${world}`);
  rmSync(`${path}.nvbraid`);
  const served = await Reserving.start(1, file(path));
  writeFileSync(`${path}.nvbraid`, '');
  const a = await served.host('a');
  await a.register();
  await assert.rejects(a.register({ cptpl: ChangePtpl.Set }), status(Status.InternalError));
  assert.deepEqual((await a.disk.resvReport()).ptpls, 0);
  assert.equal((await a.disk.resvReport()).gen, 1);
  assert.match(served.logged.join('\n'), /reservations of namespace 1 stay as they were.*\.nvbraid/);
  rmSync(`${path}.nvbraid`);
  await a.register({ cptpl: ChangePtpl.Set });
  assert.equal((await a.disk.resvReport()).ptpls, 1);
  await served.close();
});

test('a state file that is torn, foreign or unreadable keeps its namespace out of service', async () => {
  const path = newPath();
  const state = `${path}.nvbraid/reservations`;
  const first = await Reserving.start(0, file(path));
  const a = await first.host('a');
  await a.register({ cptpl: ChangePtpl.Set });
  await a.acquire(2);
  await first.close();
  const good = readFileSync(state, 'utf8');
  const start = () => Reserving.start(0, file(path));
  const other = JSON.stringify({ format: 'zones' });
  const damaged = [
    good.slice(0, good.length / 2),
    '',
    good.replace('"rtype":2', '"rtype":1'),
    other,
    'x'.repeat(2 << 20),
    'null',
    '[]',
  ];
  for (const text of damaged) {
    writeFileSync(state, text);
    await assert.rejects(start(), { code: 'EINVAL', message: /reservations is damaged.*delete it/ }, text.slice(0, 60));
  }
  writeFileSync(state, good);
  await assert.rejects(Reserving.start(0, file(path), { uuid: '11111111-2222-4333-8444-555555555555' }), {
    code: 'EINVAL',
    message: /keeps the reservations of the namespace with UUID 8f3c9a52-.*give the namespace that UUID, or delete/,
  });
  rmSync(state);
  mkdirSync(state);
  await assert.rejects(start(), { code: 'EIO', message: /cannot read .*reservations/ });
  rmSync(state, { recursive: true });
  writeFileSync(state, good);
  if (process.getuid?.() !== 0) {
    chmodSync(state, 0);
    await assert.rejects(start(), { code: 'EACCES' });
    chmodSync(state, 0o600);
  }
  const again = await start();
  assert.equal((await (await again.host('b')).disk.resvReport()).rtype, 2, 'the file is as good as before');
  await again.close();
});

test('devices that other processes serve have no reservations, those without a place have none that persist', async () => {
  const path = newPath();
  await (await Reserving.start(0, file(path))).close();
  const asked = Reserving.start(0, file(path, { shared: true }), { reservations: true });
  await assert.rejects(asked, { code: 'EINVAL', message: /shared.*leave out one/ });
  for (const [device, config] of [
    [file(path, { shared: true }), {}],
    [file(path), { reservations: false }],
  ] as const) {
    const world = await Reserving.start(1, device, config);
    const a = await world.host('a');
    assert.equal(a.disk.identify.rescap, 0);
    await assert.rejects(a.register(), status(Status.InvalidOpcode));
    await assert.rejects(a.disk.resvReport(), status(Status.InvalidOpcode));
    await world.close();
  }
  const world = await Reserving.start(1, memory());
  const a = await world.host('a');
  assert.equal(a.disk.identify.rescap, 0xfe);
  await assert.rejects(a.register({ cptpl: ChangePtpl.Set }), status(Status.InvalidField));
  await world.close();
});

test('a namespace that is removed and comes back has the reservations that it kept', async () => {
  const path = newPath();
  const world = await Reserving.start(1, file(path));
  const a = await world.host('a');
  await a.register({ cptpl: ChangePtpl.Set });
  const acquired = outcome(a.acquire(2)).catch(() => 'gone');
  await world.target.removeNamespace(NQN, 1);
  await acquired;
  await world.target.addNamespace(NQN, { device: file(path), nsid: 1, uuid: '8f3c9a52-6d0e-4f5b-9d55-0e3f3f1c2b7a' });
  const b = await world.host('b');
  assert.equal((await b.disk.resvReport()).regctl, 1);
  await world.close();
});

test('more registrants than the first report has room for', async () => {
  const world = await Reserving.start(1, memory());
  const names = Array.from({ length: 15 }, (_, i) => (i + 1).toString(16));
  for (const name of names) {
    const host = await world.host(name, { nrIoQueues: 1 });
    await host.register();
  }
  const namespace = world.target.core.subsystem(NQN)!.namespace(1)!;
  const [first] = await Promise.all([world.host('f')]);
  assert.equal((await first.disk.resvReport()).registrants.length, 15);
  // A hundred more, by the rules of the state alone.
  const controllers = [...world.target.core.subsystem(NQN)!.controllers.values()];
  for (let i = 0; i < 100; i++) {
    const controller = Object.create(controllers[0]!, {
      hostid: { value: `${i.toString(16).padStart(8, '0')}-1111-4000-8000-000000000001` },
      state: { value: 'ready' },
    });
    const command = { kind: 'register', rrega: 0, iekey: 0, cptpl: 0, crkey: 0n, nrkey: BigInt(i) } as const;
    await new Promise<void>((resolve) =>
      namespace.reservations!.run(world.target.core.subsystem(NQN)!, controller, command, () => resolve()),
    );
  }
  const all = await first.disk.resvReport();
  assert.deepEqual([all.regctl, all.registrants.length], [115, 115]);
  await world.close();
});
