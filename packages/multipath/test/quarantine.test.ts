import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AccessState, BioFlag, NO_NODE, Outcome, type QuarantineOptions } from '../src/index.ts';
import { Fixture, type TestPath } from './support/fixture.ts';

const OPTIONS: QuarantineOptions = {
  windowMs: 1000,
  minSamples: 10,
  errorRate: 0.3,
  slowMs: 50,
  slowRate: 0.5,
  probeIntervalMs: 200,
  goodProbes: 2,
};

function guarded(policy = 'round-robin', names: string[] = ['a', 'b']): { f: Fixture; probed: TestPath[] } {
  const probed: TestPath[] = [];
  const f = new Fixture({
    policy,
    head: { quarantine: OPTIONS, nodeCount: 2 },
    template: { probePath: (path) => void probed.push(path) },
  });
  for (const name of names) f.path(name);
  return { f, probed };
}

/** One completion on a path, whatever the policy would choose. */
function complete(f: Fixture, path: TestPath, outcome: Outcome, tookMs = 0): void {
  for (const other of f.head.paths) other.disabled = other !== path;
  const bio = f.bio();
  bio.flags = BioFlag.NoRetry;
  f.head.submitBio(bio);
  for (const other of f.head.paths) other.disabled = false;
  f.clock.advance(tookMs);
  f.head.endBio(bio, outcome);
  f.head.tick(f.clock.nowMs());
}

function spoil(f: Fixture, path: TestPath): void {
  for (let i = 0; i < OPTIONS.minSamples!; i++) complete(f, path, Outcome.Retryable);
}

describe('quarantine of marginal paths', () => {
  test('too many errors take a path out of selection, under every policy', () => {
    for (const policy of ['numa', 'round-robin', 'queue-depth', 'service-time']) {
      const { f } = guarded(policy);
      const [a] = f.head.paths;
      for (let i = 0; i < 7; i++) complete(f, a!, Outcome.Ok);
      for (let i = 0; i < 2; i++) complete(f, a!, Outcome.PathError);
      assert.equal(a!.marginal, false, 'too few to say anything');
      f.head.setCurrentPath(1, a!);
      complete(f, a!, Outcome.Retryable);
      assert.equal(a!.marginal, true, policy);
      assert.ok(!f.head.currentPath.includes(a!));
      assert.deepEqual(new Set(f.select(6)), new Set(['b']), policy);
      assert.equal(f.logs.at(-1), 'disk0: path a is marginal: 3 errors among 10');
      assert.ok(!f.head.currentPath.includes(a!));
      assert.equal(f.head.marginalCount, 1);
    }
  });

  test('fewer errors do not, and the device’s own errors are not the path’s', () => {
    const { f } = guarded();
    const [a] = f.head.paths;
    for (let i = 0; i < 100; i++) complete(f, a!, i % 10 >= 8 ? Outcome.PathError : Outcome.Ok);
    for (let i = 0; i < 100; i++) complete(f, a!, Outcome.Final);
    assert.equal(a!.marginal, false);
  });

  test('what happened before the window is forgotten', () => {
    const { f } = guarded();
    const [a] = f.head.paths;
    for (let i = 0; i < 9; i++) complete(f, a!, Outcome.PathError);
    f.clock.advance(1000);
    for (let i = 0; i < 9; i++) complete(f, a!, Outcome.PathError);
    assert.equal(a!.marginal, false);
    f.clock.advance(999);
    complete(f, a!, Outcome.PathError);
    assert.equal(a!.marginal, true);
  });

  test('too many slow answers do it, too', () => {
    const { f } = guarded();
    const [a, b] = f.head.paths;
    for (let i = 0; i < 10; i++) {
      complete(f, a!, Outcome.Ok, 50);
      complete(f, b!, Outcome.Ok, i % 2 === 0 ? 51 : 0);
    }
    assert.deepEqual([a!.marginal, b!.marginal], [false, true]);
    assert.equal(f.logs.at(-1), 'disk0: path b is marginal: 5 slow answers among 10');
  });

  test('less than the share of slow answers does not, nor what an earlier window saw', () => {
    const { f } = guarded();
    const [a] = f.head.paths;
    for (let i = 0; i < 10; i++) complete(f, a!, Outcome.Ok, i < 4 ? 51 : 0);
    assert.equal(a!.marginal, false);
    f.clock.advance(1000);
    for (let i = 0; i < 10; i++) complete(f, a!, Outcome.Ok, i < 4 ? 51 : 0);
    assert.equal(a!.windowSlow, 4);
    for (let window = 0; window < 2; window++) {
      f.clock.advance(1000);
      for (let i = 0; i < 10; i++) complete(f, a!, i < 2 ? Outcome.PathError : Outcome.Ok);
    }
    assert.equal(a!.windowErrors, 2);
    assert.equal(a!.marginal, false);
  });

  test('one probe counts once, and a path that returns has no probe to wait for', () => {
    const { f } = guarded();
    const [a] = f.head.paths;
    spoil(f, a!);
    f.tick(200);
    f.head.endProbe(a!, true);
    f.head.endProbe(a!, true);
    assert.deepEqual([a!.goodProbes, a!.marginal], [1, true]);
    f.head.deletePath(a!);
    f.head.addPath(a!);
    f.tick(1000);
    assert.equal(f.head.nextDeadlineMs(), Number.POSITIVE_INFINITY);
    assert.equal(a!.goodProbes, 0);
    f.head.endProbe(a!, true);
    assert.equal(a!.goodProbes, 0);
  });

  test('probes bring it back: the first after the interval, the next after the end of the one before', () => {
    const { f, probed } = guarded();
    const [a] = f.head.paths;
    spoil(f, a!);
    const t0 = f.clock.nowMs();
    assert.equal(f.head.nextDeadlineMs(), t0 + 200);
    f.tick(199);
    assert.deepEqual(probed, []);
    f.tick(1);
    f.tick(500);
    assert.deepEqual(probed, [a], 'one at a time');
    assert.equal(f.head.nextDeadlineMs(), Number.POSITIVE_INFINITY);
    f.head.endProbe(a!, true);
    assert.equal(a!.marginal, true, 'it took longer than slowMs');
    for (const [ok, good] of [
      [true, 1],
      [false, 0],
      [true, 1],
    ] as const) {
      f.wakes = 0;
      f.tick(200);
      f.head.endProbe(a!, ok);
      assert.equal(a!.goodProbes, good);
      assert.equal(f.wakes, 1, 'the owner hears of the new deadline');
      assert.equal(f.head.nextDeadlineMs(), f.clock.nowMs() + 200);
      assert.equal(a!.marginal, true);
    }
    f.tick(200);
    f.clock.advance(50);
    f.head.endProbe(a!, true);
    assert.equal(a!.marginal, false);
    assert.equal(f.head.marginalCount, 0);
    assert.equal(f.logs.at(-1), 'disk0: path a is good again');
    assert.deepEqual(new Set(f.select(2)), new Set(['a', 'b']));
    assert.equal(probed.length, 5);
    f.tick(1e6);
    assert.equal(probed.length, 5);
  });

  test('a path that is good again begins with a clean record and gets the slots back', () => {
    const { f } = guarded('numa');
    const [a, b] = f.head.paths;
    assert.equal(f.head.findPath(), a);
    spoil(f, a!);
    assert.equal(f.head.findPath(), b);
    for (let i = 0; i < 2; i++) {
      f.tick(200);
      f.head.endProbe(a!, true);
    }
    assert.deepEqual(f.head.currentPath, [a, a]);
    for (let i = 0; i < 9; i++) complete(f, a!, Outcome.PathError);
    assert.equal(a!.marginal, false);
  });

  test('a marginal path is used rather than none, and left as soon as there is a healthy one', () => {
    for (const policy of ['numa', 'round-robin', 'queue-depth', 'service-time']) {
      const { f } = guarded(policy, ['a', 'b', 'c']);
      const [a, b, c] = f.head.paths;
      c!.accessState = AccessState.NonOptimized;
      spoil(f, a!);
      b!.disabled = true;
      assert.deepEqual(f.select(2), ['c', 'c'], `${policy}: a healthy one that is not optimized is better`);
      c!.disabled = true;
      assert.deepEqual(f.select(2), ['a', 'a'], policy);
      a!.disabled = true;
      assert.deepEqual(f.select(1), ['none'], policy);
      a!.disabled = false;
      f.select(1);
      b!.disabled = false;
      assert.deepEqual(f.select(2), ['b', 'b'], policy);
    }
  });

  test('a marginal path that is used has been judged already', () => {
    const { f } = guarded('numa', ['a']);
    const [a] = f.head.paths;
    spoil(f, a!);
    spoil(f, a!);
    assert.equal(f.head.marginalCount, 1);
    assert.equal(f.logs.filter((line) => line.includes('marginal')).length, 1);
  });

  test('an error in a callback does not leave marginal paths acceptable', () => {
    let broken = false;
    const f = new Fixture({
      policy: 'queue-depth',
      head: { quarantine: OPTIONS },
      template: {
        probePath: () => {},
        isDisabled: (path) => {
          if (broken && path.name === 'a') throw new Error('broken');
          return path.disabled;
        },
      },
    });
    const [a, b] = [f.path('a'), f.path('b')];
    spoil(f, a);
    b.disabled = true;
    broken = true;
    assert.throws(() => f.head.findPath(), /broken/);
    assert.equal(f.head.usable(a), false);
  });

  test('deleting a path ends its quarantine; a late end of its probe means nothing', () => {
    const { f, probed } = guarded();
    const [a] = f.head.paths;
    spoil(f, a!);
    f.tick(200);
    assert.deepEqual(probed, [a]);
    f.head.deletePath(a!);
    assert.equal(f.head.marginalCount, 0);
    f.head.endProbe(a!, true);
    f.head.endProbe(a!, true);
    assert.equal(f.head.marginalCount, 0);
    assert.equal(f.logs.filter((line) => line.includes('good again')).length, 0);
    const [bio] = f.submit();
    f.head.endBio(bio!, Outcome.Ok);
    f.head.addPath(a!);
    assert.equal(a!.marginal, false);
    assert.equal(a!.numaNode, NO_NODE);
  });

  test('completions of a path that was deleted judge nobody', () => {
    const { f } = guarded('numa', ['a']);
    const [a] = f.head.paths;
    const bios = f.submit(20);
    f.head.deletePath(a!);
    for (const bio of bios) f.head.endBio(bio, Outcome.PathError);
    assert.equal(a!.marginal, false);
    assert.equal(f.head.marginalCount, 0);
    f.head.addPath(a!);
    complete(f, a!, Outcome.PathError);
    assert.equal(a!.marginal, false, 'nor does what it did before count when it returns');
  });

  test('several paths are probed when each of them is due', () => {
    const { f, probed } = guarded('numa', ['a', 'b', 'c']);
    const [a, b] = f.head.paths;
    spoil(f, a!);
    f.tick(50);
    spoil(f, b!);
    assert.equal(f.head.nextDeadlineMs(), f.clock.nowMs() + 150);
    f.tick(150);
    assert.deepEqual(probed, [a]);
    assert.equal(f.head.nextDeadlineMs(), f.clock.nowMs() + 50);
    f.tick(50);
    assert.deepEqual(probed, [a, b]);
  });

  test('requests that wait are sent when a path is good again', () => {
    const { f } = guarded('numa', ['a']);
    const [a] = f.head.paths;
    spoil(f, a!);
    a!.disabled = true;
    f.submit();
    a!.disabled = false;
    for (let i = 0; i < 2; i++) {
      f.tick(200);
      f.head.endProbe(a!, true);
    }
    f.sent.length = 0;
    f.tick();
    assert.equal(f.sent.length, 1);
  });

  test('options are positive numbers; without quarantine a probe means nothing', () => {
    for (const [name, value] of [
      ['windowMs', 0],
      ['errorRate', -1],
      ['goodProbes', Number.NaN],
    ] as const) {
      const head = { quarantine: { [name]: value } };
      assert.throws(() => new Fixture({ head, template: { probePath: () => {} } }), { code: 'EINVAL' });
    }
    const f = new Fixture();
    f.head.endProbe(f.path('a'), true);
    assert.equal(f.head.paths[0]!.marginal, false);
  });
});
