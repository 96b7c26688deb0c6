import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeClock } from '@nvbraid/base';
import { NamespaceRegistry } from '@nvbraid/host';
import { BioStatus } from '@nvbraid/multipath';
import { Csi, type NamespaceIds } from '@nvbraid/wire';
import { FakeSubsystem } from './fake-subsystem.ts';

const bytes = (length: number, fill: number): Uint8Array => new Uint8Array(length).fill(fill);
const UUID = '0b9c8d7e-1111-4222-8333-444455556666';
const ALL: NamespaceIds = { eui64: bytes(8, 1), nguid: bytes(16, 2), uuid: UUID, csi: Csi.Nvm };

/** A second controller says `second` of namespace 1, the first one has said `first`. */
function two(first: NamespaceIds, second: NamespaceIds, nmic: readonly [number, number] = [1, 1]): FakeSubsystem {
  const fake = new FakeSubsystem();
  for (const [i, ids] of [first, second].entries()) {
    const controller = fake.add();
    controller.ids.set(1, ids);
    controller.nmic = nmic[i]!;
    controller.start();
    fake.drive();
  }
  return fake;
}

describe('row 54: who joins a head', () => {
  for (const [what, first, second] of [
    ['all identifiers', ALL, { ...ALL }],
    ['one identifier', { nguid: bytes(16, 7) }, { nguid: bytes(16, 7) }],
    ['no identifier at all', {}, {}],
    ['a command set that is told by one of them only, and is NVM', { uuid: UUID, csi: Csi.Nvm }, { uuid: UUID }],
    ['an identifier of zeroes, which is none', { uuid: UUID, nguid: bytes(16, 0) }, { uuid: UUID }],
  ] as [string, NamespaceIds, NamespaceIds][]) {
    test(`the same: ${what}`, () => {
      const fake = two(first, second);
      assert.deepEqual(fake.paths(), ['nvme0c1n1', 'nvme0c2n1'], fake.log.join());
      assert.deepEqual(fake.log, []);
    });
  }

  for (const [what, second] of [
    ['another EUI64', { ...ALL, eui64: bytes(8, 9) }],
    ['another NGUID', { ...ALL, nguid: bytes(16, 9) }],
    ['another UUID', { ...ALL, uuid: UUID.replace('0b', '0c') }],
    ['another command set', { ...ALL, csi: Csi.Zoned }],
    ['an identifier less', { eui64: ALL.eui64!, nguid: ALL.nguid!, csi: Csi.Nvm }],
    ['none', {}],
  ] as [string, NamespaceIds][]) {
    test(`refused with a sentence: ${what}`, () => {
      const fake = two(ALL, second);
      assert.deepEqual(fake.paths(), ['nvme0c1n1']);
      assert.deepEqual(fake.log, [
        'namespace 1 of nqn.test:subsystem is not used: its identifiers differ from those that another controller tells ' +
          'for the same number',
      ]);
      assert.equal(fake.read().status, BioStatus.Ok, 'the head that is there goes on');
      assert.equal(fake.controllers[1]!.host.state, 'live', 'so does the controller, for its other namespaces');
    });
  }

  for (const nmic of [
    [1, 0],
    [0, 1],
    [0, 0],
  ] as const) {
    test(`refused: not shared (NMIC ${nmic.join(' and ')})`, () => {
      const fake = two(ALL, ALL, nmic);
      assert.deepEqual(fake.paths(), ['nvme0c1n1']);
      assert.match(fake.log.join(), /namespace 1 of .* not declared as shared \(NMIC\)/);
    });
  }

  test('a head that nobody has a path to any more takes one that is not shared', () => {
    const fake = new FakeSubsystem({ delayedRemovalSecs: 60 });
    const first = fake.add({ ctrlLossTmoMs: 0 });
    first.nmic = 0;
    first.start().drop();
    fake.drive();
    assert.deepEqual([fake.host.controllers.length, fake.paths()], [0, []]);
    const head = fake.head();
    const second = fake.add();
    second.nmic = 0;
    second.start();
    fake.drive();
    assert.equal(fake.head(), head);
    assert.deepEqual(fake.paths(), ['nvme0c2n1']);
  });

  for (const [what, change, why] of [
    ['another serial number', { sn: 'OTHER' }, /another subsystem of the same name/],
    ['another model', { mn: 'OTHER' }, /another subsystem of the same name/],
    ['a subsystem of one controller', { cmic: 1 }, /does not support several controllers/],
  ] as [string, object, RegExp][]) {
    test(`a controller is refused for good: ${what}`, () => {
      const fake = new FakeSubsystem();
      fake.add().start();
      const second = fake.add();
      Object.assign(second.identify, change);
      second.start();
      fake.drive();
      assert.equal(second.host.state, 'dead');
      assert.match(second.host.error!.message, why);
      assert.equal(second.host.error!.retryable, false);
      assert.deepEqual(fake.paths(), ['nvme0c1n1']);
    });
  }

  test('a controller is refused for good: connected already', () => {
    const fake = new FakeSubsystem();
    fake.add().start();
    const second = fake.add();
    second.cntlid = 1;
    second.start();
    assert.equal(second.host.state, 'dead');
    assert.match(second.host.error!.message, /controller 1 is connected already/);
  });
});

describe('row 54: identifiers that are in use are refused', () => {
  for (const ids of [{ eui64: bytes(8, 1) }, { nguid: bytes(16, 2) }, { uuid: UUID }] as NamespaceIds[]) {
    const kind = Object.keys(ids)[0]!;
    test(`in another subsystem, by ${kind}, until its owner has gone`, () => {
      const registry = new NamespaceRegistry();
      const clock = new FakeClock(1000);
      const [one, other] = ['nqn.test:one', 'nqn.test:other'].map((nqn) => {
        const fake = new FakeSubsystem({ nqn }, { clock, registry });
        const controller = fake.add();
        controller.ids.set(1, ids);
        controller.namespaces.set(2, 64);
        controller.ids.set(2, { uuid: nqn.includes('one') ? UUID.replace('0b', '1b') : UUID.replace('0b', '2b') });
        controller.start();
        fake.drive();
        return fake;
      }) as [FakeSubsystem, FakeSubsystem];
      assert.deepEqual([...one.host.heads.keys()], [1, 2]);
      assert.deepEqual([...other.host.heads.keys()], [2], 'the other namespace is used');
      assert.match(
        other.log.join(),
        new RegExp(`^namespace 1 of nqn.test:other is not used: ${kind} \\S+ is that of namespace 1 of nqn.test:one: `),
      );
      one.host.remove();
      one.run(10);
      assert.ok(one.host.empty);
      other.drive();
      assert.deepEqual(other.paths(), ['nvme0c1n1']);
      assert.equal(other.read().status, BioStatus.Ok);
    });
  }

  test('by another namespace of the same subsystem', () => {
    const fake = new FakeSubsystem();
    const controller = fake.add();
    controller.namespaces.set(2, 64);
    controller.ids.set(1, { uuid: UUID }).set(2, { uuid: UUID });
    controller.start();
    fake.drive();
    assert.deepEqual([...fake.host.heads.keys()], [1]);
    assert.match(fake.log.join(), /namespace 2 of nqn.test:subsystem is not used: uuid .* is that of namespace 1 of/);
  });

  test('not by the same namespace of a subsystem that is connected to twice', () => {
    const registry = new NamespaceRegistry();
    const clock = new FakeClock(1000);
    const fakes = [0, 1].map(() => {
      const fake = new FakeSubsystem({}, { clock, registry });
      fake.add().ids.set(1, { uuid: UUID });
      fake.controllers[0]!.start();
      fake.drive();
      return fake;
    });
    for (const fake of fakes) assert.deepEqual([...fake.host.heads.keys()], [1], fake.log.join());
    // Both own the identifiers: when one goes, another disk still may not have them.
    fakes[0]!.host.remove();
    fakes[0]!.run(10);
    const other = new FakeSubsystem({ nqn: 'nqn.test:other' }, { clock, registry });
    other.add().ids.set(1, { uuid: UUID });
    other.controllers[0]!.start();
    other.drive();
    assert.deepEqual([...other.host.heads.keys()], []);
    assert.match([...other.host.refused.values()].join(), /^namespace 1 of nqn.test:other is not used: uuid /);
  });

  test('identifiers of zeroes belong to nobody', () => {
    const fake = new FakeSubsystem();
    const controller = fake.add();
    controller.namespaces.set(2, 64);
    const none = { nguid: bytes(16, 0), eui64: bytes(8, 0), uuid: '00000000-0000-0000-0000-000000000000' };
    controller.ids.set(1, none).set(2, none);
    controller.start();
    fake.drive();
    assert.deepEqual([...fake.host.heads.keys()], [1, 2], fake.log.join());
  });

  test('a disk that gets another number is used under it once all controllers say so', () => {
    const fake = new FakeSubsystem();
    for (let i = 0; i < 2; i++) {
      const controller = fake.add();
      controller.ids.set(1, { uuid: UUID }).set(2, { uuid: UUID });
      controller.start();
    }
    for (const controller of fake.controllers) {
      controller.namespaces.delete(1);
      controller.namespaces.set(2, 1024);
      controller.event(2, 0, 4);
      fake.drive();
    }
    assert.deepEqual([fake.paths(1), fake.paths(2)], [[], ['nvme0c1n2', 'nvme0c2n2']]);
    assert.equal(fake.removed.length, 1);
  });
});
