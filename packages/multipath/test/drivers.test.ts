import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { FakeClock, Rng } from '@nvbraid/base';
import { BioStatus, headAttributes, listAttributes } from '../src/index.ts';
import { DNR, NvmeBio, NvmeController, type NvmeHead, NvmeSubsystem } from './drivers/nvme-like.ts';
import { ScsiBio, ScsiUnit } from './drivers/scsi-like.ts';

interface DiskBio {
  write: boolean;
  data: Uint8Array;
}

/** Makes a request whose ends are counted. */
function request<B extends NvmeBio | ScsiBio>(bio: B, write: boolean, block: number, data: Uint8Array): B & DiskBio {
  bio.write = write;
  bio.offset = block * 512;
  bio.bytes = data.length;
  bio.data = data;
  return bio;
}

const filled = (value: number, blocks = 1): Uint8Array => new Uint8Array(512 * blocks).fill(value);

/** Counts ends of requests. */
class Ends {
  readonly of = new Map<object, number>();

  watch<B extends NvmeBio | ScsiBio>(bio: B): B {
    this.of.set(bio, 0);
    bio.end = () => {
      this.of.set(bio, this.of.get(bio)! + 1);
    };
    return bio;
  }

  get open(): number {
    return [...this.of.values()].filter((count) => count === 0).length;
  }

  checkAll(): void {
    for (const count of this.of.values()) assert.equal(count, 1);
  }
}

describe('row 34: an NVMe-like driver with ANA', () => {
  const setUp = (): {
    clock: FakeClock;
    subsystem: NvmeSubsystem;
    heads: [NvmeHead, NvmeHead];
    controllers: [NvmeController, NvmeController];
    ends: Ends;
    tick: () => void;
  } => {
    const clock = new FakeClock(1000);
    const subsystem = new NvmeSubsystem(clock);
    const heads = [subsystem.addNamespace(1, 128), subsystem.addNamespace(2, 128)] as [NvmeHead, NvmeHead];
    const controllers = [0, 1].map((cntlid) => new NvmeController(subsystem, cntlid, cntlid)) as [
      NvmeController,
      NvmeController,
    ];
    for (const controller of controllers) {
      controller.anaLog.set(1, controller.cntlid === 0 ? 'optimized' : 'non-optimized');
      controller.anaLog.set(2, controller.cntlid === 0 ? 'non-optimized' : 'optimized');
      controller.attach(1, 1);
      controller.attach(2, 2);
      controller.changeState('live');
    }
    const tick = (): void => {
      for (const head of heads) head.tick(clock.nowMs());
    };
    return { clock, subsystem, heads, controllers, ends: new Ends(), tick };
  };

  test('each namespace takes the controller that is optimized for its group', () => {
    const { heads, controllers, ends } = setUp();
    const [c0, c1] = controllers;
    heads[0].submitBio(ends.watch(request(new NvmeBio(), true, 0, filled(1))));
    heads[1].submitBio(ends.watch(request(new NvmeBio(), true, 0, filled(2))));
    assert.deepEqual([c0.flying, c1.flying], [1, 1]);
    c0.run();
    c1.run();
    ends.checkAll();
    const read = request(new NvmeBio(), false, 0, filled(0));
    heads[0].submitBio(ends.watch(read));
    c0.run();
    assert.deepEqual(read.data, filled(1));
  });

  test('a group that moves takes its requests with it: pending, re-read, no error', () => {
    const { heads, controllers, ends, tick, subsystem } = setUp();
    const [c0, c1] = controllers;
    const head = heads[0];
    for (let i = 0; i < 8; i++) head.submitBio(ends.watch(request(new NvmeBio(), true, i, filled(i + 1))));
    c0.run(2);
    c0.anaLog.set(1, 'inaccessible');
    c1.anaLog.set(1, 'optimized');
    const rereads = c0.rereads;
    c0.run();
    assert.ok(head.paths[0]!.anaPending);
    assert.equal(head.queued().length, 6);
    c1.readAnaLog();
    tick();
    assert.deepEqual([c0.flying, c1.flying], [0, 6]);
    c1.run();
    ends.checkAll();
    for (const bio of ends.of.keys()) assert.equal((bio as NvmeBio).status, BioStatus.Ok);
    for (let i = 0; i < 8; i++) assert.equal(subsystem.media.get(1)![i * 512], i + 1);
    c0.readAnaLog();
    assert.equal(c0.rereads, rereads + 1);
    assert.equal(head.paths[0]!.anaPending, false);
    assert.equal(head.paths[0]!.failoverCount, 6);
    c0.anaLog.set(1, 'optimized');
    c1.anaLog.set(1, 'non-optimized');
    c0.readAnaLog();
    c1.readAnaLog();
    head.submitBio(ends.watch(request(new NvmeBio(), true, 0, filled(1))));
    assert.equal(c0.flying, 1, 'back by itself');
  });

  test('queue-depth counts per controller, over all namespaces', () => {
    const { heads, controllers, ends, subsystem } = setUp();
    const [c0, c1] = controllers;
    for (const controller of controllers) {
      controller.anaLog.set(1, 'optimized').set(2, 'optimized');
      controller.readAnaLog();
    }
    subsystem.iopolicy.store('queue-depth');
    const send = (head: NvmeHead): void => head.submitBio(ends.watch(request(new NvmeBio(), true, 0, filled(1))));
    for (let i = 0; i < 3; i++) send(heads[0]);
    assert.deepEqual([c0.nrActive.value, c1.nrActive.value], [2, 1]);
    send(heads[1]);
    assert.deepEqual([c0.flying, c1.flying], [2, 2]);
    assert.equal(
      listAttributes(headAttributes(heads[1])).get('multipath/nvme0c1n2/queue_depth'),
      '2',
      'the depth of a path is that of its controller',
    );
    c0.run();
    c1.run();
    assert.deepEqual([c0.nrActive.value, c1.nrActive.value], [0, 0]);
    ends.checkAll();
  });

  test('a reset aborts, requests wait for the reconnect, failfast ends the waiting', () => {
    const { heads, controllers, ends, tick } = setUp();
    const [c0, c1] = controllers;
    c1.remove();
    const [head] = heads;
    head.submitBio(ends.watch(request(new NvmeBio(), true, 0, filled(1))));
    c0.changeState('resetting');
    c0.changeState('connecting');
    tick();
    assert.equal(ends.open, 1);
    c0.changeState('live');
    tick();
    c0.run();
    ends.checkAll();
    c0.changeState('resetting');
    const doomed = ends.watch(request(new NvmeBio(), true, 0, filled(1)));
    head.submitBio(doomed);
    assert.deepEqual(head.queued(), [doomed]);
    c0.failfastExpired = true;
    head.kickRequeue();
    tick();
    assert.equal(doomed.status, BioStatus.IoError);
    ends.checkAll();
  });

  test('DNR ends a request, another error is tried again, each status as the device said it', () => {
    const { heads, controllers, ends, subsystem } = setUp();
    const [c0] = controllers;
    const bio = ends.watch(request(new NvmeBio(), true, 0, filled(1)));
    subsystem.faults.push(0x302 | DNR);
    heads[0].submitBio(bio);
    c0.run();
    assert.deepEqual([bio.status, bio.driverStatus], [BioStatus.Transport, 0x302 | DNR]);
    subsystem.faults.push(0x6, 0x6);
    const again = ends.watch(request(new NvmeBio(), true, 0, filled(1)));
    heads[0].submitBio(again);
    c0.run();
    assert.equal(again.status, BioStatus.Ok);
    assert.equal(heads[0].paths[0]!.retryCount, 2);
    subsystem.faults.push(...new Array<number>(6).fill(0x6));
    const tired = ends.watch(request(new NvmeBio(), true, 0, filled(1)));
    heads[0].submitBio(tired);
    c0.run();
    assert.deepEqual([tired.status, tired.driverStatus], [BioStatus.IoError, 0x6]);
    ends.checkAll();
  });

  test('all controllers go: the head stays as long as it was told, then goes', async () => {
    const { clock, heads, controllers, ends, tick, subsystem } = setUp();
    const [head] = heads;
    head.removal.store('10', clock.nowMs());
    heads[1].removal.store('0', clock.nowMs());
    const bio = ends.watch(request(new NvmeBio(), true, 0, filled(9)));
    head.submitBio(bio);
    for (const controller of controllers) controller.remove();
    assert.deepEqual([...subsystem.heads.keys()], [1], 'the other namespace is gone at once');
    clock.advance(9999);
    tick();
    const c2 = new NvmeController(subsystem, 2);
    c2.anaLog.set(1, 'optimized');
    c2.attach(1, 1);
    c2.changeState('live');
    tick();
    c2.run();
    assert.equal(bio.status, BioStatus.Ok);
    c2.remove();
    clock.advance(10_000);
    tick();
    assert.equal(subsystem.heads.size, 0);
    assert.equal(head.disk, null);
    await head.uninit();
    ends.checkAll();
  });

  test('attributes and passthrough are those of the driver', async () => {
    const { heads } = setUp();
    const [head] = heads;
    const all = listAttributes(headAttributes(head));
    assert.equal(all.get('multipath/nvme0c0n1/ana/ana_state'), 'optimized');
    assert.equal(all.get('multipath/nvme0c1n1/ana/ana_grpid'), '1');
    using file = head.cdev!.open();
    assert.equal(await file.ioctl(7, null), 'nvme0c0n1 7');
  });
});

describe('row 34: a SCSI-like driver with ALUA and bio cloning', () => {
  const setUp = (): { clock: FakeClock; unit: ScsiUnit; ends: Ends; tick: () => void } => {
    const clock = new FakeClock(1000);
    const unit = new ScsiUnit(clock, 128);
    unit.alua.set(1, 'optimized').set(2, 'non-optimized');
    unit.addPath('sda:0', 1);
    unit.addPath('sda:1', 1);
    unit.addPath('sda:2', 2);
    return { clock, unit, ends: new Ends(), tick: () => unit.head.tick(clock.nowMs()) };
  };

  test('goes around the ports of the optimized group', () => {
    const { unit, ends } = setUp();
    for (let i = 0; i < 4; i++) unit.head.submitBio(ends.watch(request(new ScsiBio(), true, i, filled(i + 1))));
    unit.run();
    ends.checkAll();
    assert.deepEqual(
      unit.head.paths.map(({ ioCount }) => ioCount),
      [2, 2, 0],
    );
    assert.equal(unit.clonesOut, 0);
  });

  test('a request that was done in part is sent again in full', () => {
    const { unit, ends, tick } = setUp();
    const bio = ends.watch(request(new ScsiBio(), true, 0, filled(7, 8)));
    unit.head.submitBio(bio);
    unit.run(1024);
    unit.media.fill(0);
    unit.block(unit.head.paths.find(({ refs }) => refs === 1)!);
    assert.equal(ends.open, 1);
    tick();
    unit.run();
    ends.checkAll();
    assert.equal(bio.status, BioStatus.Ok);
    assert.deepEqual(unit.media.subarray(0, 4096), filled(7, 8));
  });

  test('a transition of the groups costs no error', () => {
    const { unit, ends, tick } = setUp();
    for (let i = 0; i < 6; i++) unit.head.submitBio(ends.watch(request(new ScsiBio(), true, i, filled(i + 1))));
    unit.alua.set(1, 'transitioning').set(2, 'optimized');
    unit.run();
    assert.equal(unit.head.queued().length, 6);
    unit.checkAlua();
    tick();
    unit.run();
    ends.checkAll();
    assert.equal(unit.head.paths[2]!.ioCount, 6);
    for (let i = 0; i < 6; i++) assert.equal(unit.media[i * 512], i + 1);
  });

  test('ports that are blocked are waited for, ports that are offline are not', () => {
    const { unit, ends, tick } = setUp();
    for (const path of unit.head.paths) unit.block(path);
    const bio = ends.watch(request(new ScsiBio(), true, 0, filled(1)));
    unit.head.submitBio(bio);
    assert.deepEqual(unit.head.queued(), [bio]);
    unit.unblock(unit.head.paths[1]!);
    tick();
    unit.run();
    ends.checkAll();
    for (const path of unit.head.paths) unit.offline(path);
    const lost = ends.watch(request(new ScsiBio(), true, 0, filled(1)));
    unit.head.submitBio(lost);
    assert.equal(lost.status, BioStatus.IoError);
  });

  test('a medium error is no path error, a unit attention is tried again', () => {
    const { unit, ends } = setUp();
    unit.faults.push('medium error');
    const bad = ends.watch(request(new ScsiBio(), false, 0, filled(0)));
    unit.head.submitBio(bad);
    unit.run();
    assert.equal(bad.status, BioStatus.Medium);
    unit.faults.push('unit attention');
    const good = ends.watch(request(new ScsiBio(), false, 0, filled(0)));
    unit.head.submitBio(good);
    unit.run();
    assert.equal(ends.open, 1);
    unit.run();
    assert.equal(good.status, BioStatus.Ok);
    ends.checkAll();
  });

  test('the pool of clones runs out: an error, and nothing is lost', () => {
    const { unit, ends } = setUp();
    const bios = Array.from({ length: 65 }, (_, i) => ends.watch(request(new ScsiBio(), true, i, filled(1))));
    for (const bio of bios) unit.head.submitBio(bio);
    assert.equal(bios[64]!.status, BioStatus.IoError);
    assert.equal(ends.open, 64);
    unit.run();
    ends.checkAll();
    assert.equal(unit.clonesOut, 0);
  });

  test('a reservation registers one nexus only, and says so', async () => {
    const { unit } = setUp();
    await unit.head.disk!.reservations.register(0n, 5n, false);
    assert.deepEqual(unit.head.paths.map(({ registered }) => registered).sort(), [0n, 0n, 5n]);
    assert.match(unit.logs.at(-1)!, /holds for that path, not for the host/);
    const id = new Uint8Array(16);
    assert.equal(unit.head.disk!.getUniqueId(id, 3), 4);
  });
});

test('row 34: both drivers survive the same random weather with every block intact', () => {
  const seed = 34;
  const rng = new Rng(seed);
  const clock = new FakeClock(1000);
  const subsystem = new NvmeSubsystem(clock);
  const nvme = subsystem.addNamespace(1, 64);
  const controllers = [0, 1, 2].map((cntlid) => new NvmeController(subsystem, cntlid));
  for (const controller of controllers) {
    controller.anaLog.set(1, 'optimized');
    controller.attach(1, 1);
    controller.changeState('live');
  }
  const unit = new ScsiUnit(clock, 64);
  for (const group of [1, 2, 3]) {
    unit.alua.set(group, 'optimized');
    unit.addPath(`sda:${group}`, group);
  }
  const ends = new Ends();
  const written = [new Uint8Array(64), new Uint8Array(64)];
  const busy = [new Set<number>(), new Set<number>()];
  const write = (which: 0 | 1): void => {
    const block = rng.below(64);
    if (busy[which]!.has(block)) return;
    const value = 1 + rng.below(255);
    const bio = ends.watch(request(which === 0 ? new NvmeBio() : new ScsiBio(), true, block, filled(value)));
    bio.end = () => {
      ends.of.set(bio, ends.of.get(bio)! + 1);
      assert.equal(bio.status, BioStatus.Ok, `seed ${seed}`);
      busy[which]!.delete(block);
      written[which]![block] = value;
    };
    busy[which]!.add(block);
    if (which === 0) nvme.submitBio(bio as NvmeBio);
    else unit.head.submitBio(bio as ScsiBio);
  };
  for (let step = 0; step < 20_000; step++) {
    if (unit.flying < 50) write(1);
    write(0);
    if (rng.chance(0.05))
      rng.pick(controllers).anaLog.set(1, rng.pick(['optimized', 'inaccessible', 'change', 'non-optimized']));
    if (rng.chance(0.05)) rng.pick(controllers).readAnaLog();
    if (rng.chance(0.02)) rng.pick(controllers).changeState(rng.pick(['live', 'resetting', 'live']));
    if (rng.chance(0.05)) unit.alua.set(1 + rng.below(3), rng.pick(['optimized', 'transitioning', 'non-optimized']));
    if (rng.chance(0.05)) unit.checkAlua();
    if (rng.chance(0.05)) {
      const path = rng.pick(unit.head.paths);
      if (path.state === 'running') unit.block(path);
      else unit.unblock(path);
    }
    if (rng.chance(0.01)) subsystem.iopolicy.store(rng.pick(subsystem.iopolicy.names()));
    if (rng.chance(0.01)) unit.head.iopolicy.store(rng.pick(unit.head.iopolicy.names()));
    if (rng.chance(0.5)) rng.pick(controllers).run(rng.below(4));
    if (rng.chance(0.5)) unit.run(512);
    clock.advance(1);
    nvme.tick(clock.nowMs());
    unit.head.tick(clock.nowMs());
  }
  for (const controller of controllers) {
    controller.anaLog.set(1, 'optimized');
    controller.changeState('live');
  }
  for (const group of [1, 2, 3]) unit.alua.set(group, 'optimized');
  for (const path of unit.head.paths) unit.unblock(path);
  for (let i = 0; i < 10 && ends.open > 0; i++) {
    nvme.tick(clock.nowMs());
    unit.head.tick(clock.nowMs());
    for (const controller of controllers) controller.run();
    unit.run();
  }
  ends.checkAll();
  for (let block = 0; block < 64; block++) {
    assert.equal(subsystem.media.get(1)![block * 512], written[0]![block], `block ${block}, seed ${seed}`);
    assert.equal(unit.media[block * 512], written[1]![block], `block ${block}, seed ${seed}`);
  }
  assert.ok(ends.of.size > 10_000);
});

test('row 34: the library knows no driver', () => {
  const words =
    /\b(nvmes?|ana|scsi|alua|nsid|namespaces?|controllers?|lun|luns|sense|vpd|wwn|cntlid|fabrics?|iscsi|sgl|sqe|cqe)\b/i;
  const src = join(import.meta.dirname, '..', 'src');
  for (const file of readdirSync(src, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue;
    readFileSync(join(src, file), 'utf8')
      .replaceAll(/'@nvbraid\/base'|\bNvbraidError\b/g, '')
      .split('\n')
      .forEach((line, i) => {
        assert.doesNotMatch(line, words, `${file}:${i + 1}`);
      });
  }
});
