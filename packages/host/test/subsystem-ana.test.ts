import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BioStatus } from '@nvbraid/multipath';
import { type AnaGroup, AnaState, anaLog, DNR, GetLogPageSqe, Status } from '@nvbraid/wire';
import type { FakeController, Reply } from './fake-controller.ts';
import { FakeSubsystem } from './fake-subsystem.ts';

const GROUPS = 4;
const NAMESPACES = 8;
const LOG_BYTES = 16 + 32 * GROUPS + 4 * NAMESPACES;

/** A controller whose ANA log is what a test says. */
class Asymmetric {
  readonly fake: FakeController;
  groups: AnaGroup[] = [group(1, AnaState.Optimized, 1)];
  /** Instead of a log of `groups`. */
  reply: Reply | 'silence' | null = null;
  /** Of reads. */
  status = 0;
  reads = 0;
  chgcnt = 0;

  constructor(subsystem: FakeSubsystem, options: Parameters<FakeSubsystem['add']>[0] = {}) {
    this.fake = subsystem.add(options);
    Object.assign(this.fake.identify, {
      ...{ cmic: 0xb, anagrpmax: GROUPS, nanagrpid: GROUPS, mnan: NAMESPACES, nn: 16, anatt: 10 },
    });
    this.fake.rules.unshift(({ name, view }) => {
      if (name === 'I/O 02h' && this.status !== 0) return { status: this.status };
      if (name !== 'Get Log Page 0ch') return undefined;
      this.reads++;
      assert.equal(4 * (GetLogPageSqe.numd.get(view, 0) + 1), LOG_BYTES, 'the log is read as long as it may be');
      if (this.reply !== null) return this.reply;
      const data = new Uint8Array(LOG_BYTES);
      data.set(anaLog({ chgcnt: ++this.chgcnt, groups: this.groups }));
      return { data };
    });
  }

  /** The groups change, and the controller tells it. */
  become(...groups: AnaGroup[]): void {
    this.groups = groups;
    this.fake.event(2, 3, 0x0c);
  }
}

function group(grpid: number, state: AnaState, ...nsids: number[]): AnaGroup {
  return { grpid, state, nsids, chgcnt: 1 };
}

/** Started; the second one is worse, so that the first one is used whenever it can be. */
function two(options: Parameters<FakeSubsystem['add']>[0] = {}) {
  const subsystem = new FakeSubsystem();
  const [first, second] = [new Asymmetric(subsystem, options), new Asymmetric(subsystem, options)];
  second.groups = [group(1, AnaState.NonOptimized, 1)];
  for (const one of [first, second]) one.fake.start();
  subsystem.drive();
  const stateOf = (index: number) => subsystem.head().paths[index]!.anaState;
  const used = (): string => {
    const before = subsystem.head().paths.map(({ ioCount }) => ioCount);
    assert.equal(subsystem.read().status, BioStatus.Ok);
    return subsystem
      .head()
      .paths.filter(({ ioCount }, i) => ioCount > before[i]!)
      .map(({ name }) => name)
      .join();
  };
  return { subsystem, first, second, stateOf, used };
}

describe('row 56: an ANA log that is of no use', () => {
  for (const [what, change, why] of [
    ['MNAN beyond NN', { mnan: 17 }, /ANA is not used: MNAN 17 is greater than NN 16/],
    ['a log that no command can carry', { nanagrpid: 300, mdts: 1 }, /its log of \d+ bytes does not fit into a com/],
  ] as [string, object, RegExp][]) {
    test(`${what}: it is not read, and the path is as good as any`, () => {
      const subsystem = new FakeSubsystem();
      const one = new Asymmetric(subsystem);
      Object.assign(one.fake.identify, change);
      one.fake.start();
      subsystem.drive();
      assert.equal(one.reads, 0);
      assert.match(subsystem.log.join(), why);
      assert.equal(subsystem.head().paths[0]!.anaState, null);
      assert.equal(subsystem.read().status, BioStatus.Ok);
    });
  }

  test('MNAN 0 stands for NN namespaces', () => {
    const subsystem = new FakeSubsystem();
    const one = new Asymmetric(subsystem);
    Object.assign(one.fake.identify, { mnan: 0, nn: NAMESPACES });
    one.fake.start();
    assert.equal(one.reads, 1);
  });

  const damaged = (at: number, ...bytes: number[]): Reply => {
    const data = new Uint8Array(LOG_BYTES);
    data.set(anaLog({ chgcnt: 1, groups: [group(1, AnaState.Inaccessible, 1)] }));
    data.set(bytes, at);
    return { data };
  };
  for (const [what, reply, why] of [
    ['more groups than bytes', damaged(8, 0xff, 0xff), /group \d+ of 65535|group identifier 0/],
    ['group 0', damaged(16, 0), /group identifier 0 is not 1 to 4/],
    ['a group beyond ANAGRPMAX', damaged(16, 5), /group identifier 5 is not 1 to 4/],
    ['more namespaces than bytes', damaged(20, 0xff, 0xff, 0xff, 0xff), /namespaces of group 1 lie outside/],
    ['state 0', damaged(32, 0), /group 1 has the unknown state 0/],
    ['a reserved state', damaged(32, 7), /group 1 has the unknown state 7/],
    ['namespace 0', damaged(48, 0), /namespaces of group 1 are not ascending/],
    ['a refusal', { status: Status.InvalidLogPage | DNR }, /the ANA log cannot be read/],
  ] as [string, Reply, RegExp][]) {
    test(`${what}: a sentence, and what was known stays`, () => {
      const { subsystem, first, stateOf, used } = two();
      first.reply = reply;
      first.become(group(1, AnaState.Inaccessible, 1));
      subsystem.drive();
      assert.match(subsystem.log.join(), why);
      assert.equal(stateOf(0), AnaState.Optimized);
      assert.equal(used(), 'nvme0c1n1');
      assert.equal(first.fake.host.resets, 0);
      // The next event brings the truth.
      first.reply = null;
      first.become(group(1, AnaState.Inaccessible, 1));
      subsystem.drive();
      assert.equal(used(), 'nvme0c2n1');
    });
  }

  test('commands that are refused for a state that the log cannot tell: the controller is reset, the other one is used', () => {
    for (const reply of [{ status: Status.InvalidLogPage }, damaged(32, 0)]) {
      const { subsystem, first, used } = two({ reconnectDelayMs: 1000 });
      subsystem.run(2000);
      first.reply = reply;
      first.status = Status.AnaInaccessible;
      assert.equal(subsystem.read().status, BioStatus.Ok);
      assert.equal(first.fake.host.resets, 1);
      assert.match(first.fake.host.error!.message, /ANA state that the controller cannot tell/);
      assert.equal(used(), 'nvme0c2n1');
      // It comes back as a path without states, and is not hurried while it goes on like this.
      subsystem.run(1000);
      assert.equal(subsystem.head().paths[0]!.anaState, null);
      for (let i = 0; i < 100; i++) assert.equal(subsystem.read().status, BioStatus.Ok);
      assert.ok(first.fake.host.resets <= 3, `${first.fake.host.resets} resets`);
      first.reply = null;
      first.status = 0;
      subsystem.run(3000);
      assert.equal(used(), 'nvme0c1n1');
    }
  });

  test('a namespace that no group names waits until one does', () => {
    const { subsystem, first, used } = two();
    first.become(group(2, AnaState.Optimized, 2));
    subsystem.drive();
    assert.match(subsystem.log.join(), /nvme0c1n1: the ANA log does not name the namespace/);
    assert.equal(used(), 'nvme0c2n1');
    first.become(group(3, AnaState.Optimized, 1));
    subsystem.drive();
    assert.equal(used(), 'nvme0c1n1');
  });
});

describe('row 56: groups', () => {
  test('a namespace follows its group, and moves with it to another one', () => {
    const { subsystem, first, used } = two();
    const { paths } = subsystem.head();
    assert.equal(used(), 'nvme0c1n1');
    first.become(group(1, AnaState.Inaccessible), group(2, AnaState.Optimized, 1));
    subsystem.drive();
    assert.deepEqual([paths[0]!.anaGroupId, paths[0]!.anaState, used()], [2, AnaState.Optimized, 'nvme0c1n1']);
    first.become(group(1, AnaState.Optimized), group(2, AnaState.PersistentLoss, 1));
    subsystem.drive();
    assert.deepEqual([paths[0]!.anaState, used()], [AnaState.PersistentLoss, 'nvme0c2n1']);
    first.become(group(1, AnaState.Optimized, 1), group(2, AnaState.PersistentLoss));
    subsystem.drive();
    assert.deepEqual([paths[0]!.anaGroupId, used()], [1, 'nvme0c1n1']);
  });

  test('a refused command makes its path wait for the log, and goes another way', () => {
    const { subsystem, first, stateOf, used } = two();
    for (const [status, state] of [
      [Status.AnaInaccessible, AnaState.Inaccessible],
      [Status.AnaPersistentLoss, AnaState.PersistentLoss],
      [Status.AnaTransition, AnaState.Change],
    ] as const) {
      const { reads } = first;
      // The command is refused before the event arrives.
      first.status = status;
      first.groups = [group(1, state, 1)];
      assert.equal(subsystem.read().status, BioStatus.Ok);
      assert.equal(first.reads, reads + 1);
      assert.equal(stateOf(0), state);
      first.status = 0;
      first.become(group(1, AnaState.Optimized, 1));
      subsystem.drive();
      assert.equal(used(), 'nvme0c1n1');
    }
    assert.equal(first.fake.host.resets, 0);
  });

  test('until the log is there no further command goes that way', () => {
    const { subsystem, first } = two();
    first.status = Status.AnaInaccessible;
    first.reply = 'silence';
    for (let i = 0; i < 3; i++) assert.equal(subsystem.read().status, BioStatus.Ok);
    assert.deepEqual(
      subsystem.head().paths.map(({ ioCount }) => ioCount),
      [1, 3],
    );
  });
});

describe('row 56: the time in change', () => {
  test('is twice ANATT, to the millisecond; then the controller is reset', () => {
    const { subsystem, first, second } = two();
    first.become(group(1, AnaState.Change, 1));
    subsystem.run(19_950).run(49, 1);
    assert.deepEqual([first.fake.host.state, first.fake.host.resets], ['live', 0]);
    first.groups = [group(1, AnaState.Optimized, 1)];
    subsystem.run(1, 1);
    assert.equal(first.fake.host.resets, 1);
    assert.match(first.fake.states.join(), /live,resetting,connecting/);
    assert.equal(second.fake.host.resets, 0);
  });

  test('begins anew with each log that has a group in change', () => {
    const { subsystem, first } = two();
    for (let i = 0; i < 4; i++) {
      first.become(group(1, AnaState.Optimized, 1), group(1 + (i % 2) + 1, AnaState.Change));
      subsystem.run(15_000);
    }
    assert.equal(first.fake.host.resets, 0);
    subsystem.run(6000);
    assert.equal(first.fake.host.resets, 1);
  });

  test('ends with the change, with the association, and where ANATT is 0 never', () => {
    const { subsystem, first } = two();
    first.become(group(1, AnaState.Change, 1));
    subsystem.run(10_000);
    first.become(group(1, AnaState.Optimized, 1));
    subsystem.run(60_000);
    assert.equal(first.fake.host.resets, 0);
    first.become(group(1, AnaState.Change, 1));
    subsystem.run(10_000);
    first.groups = [group(1, AnaState.Optimized, 1)];
    first.fake.drop();
    subsystem.run(60_000);
    assert.equal(first.fake.host.resets, 1, 'that of the lost connection');
    first.fake.identify.anatt = 0;
    first.fake.drop();
    subsystem.run(100);
    first.become(group(1, AnaState.Change, 1));
    subsystem.run(600_000, 1000);
    assert.equal(first.fake.host.resets, 2);
  });
});
