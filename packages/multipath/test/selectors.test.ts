import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AccessState, ActiveCounter, defineSelector, Iopolicy, SELECTORS } from '../src/index.ts';
import { Fixture } from './support/fixture.ts';

const { Optimized, NonOptimized, Other } = AccessState;

describe('row 35: numa', () => {
  test('takes the nearest optimized path for each node', () => {
    const f = new Fixture({ head: { nodeCount: 4, distance: (a, b) => 10 + 10 * Math.abs(a - b) } });
    f.path('n0', Optimized, { numaNode: 0 });
    f.path('n3', Optimized, { numaNode: 3 });
    assert.deepEqual(
      [0, 1, 2, 3].map((node) => f.head.findPath(node)?.name),
      ['n0', 'n0', 'n3', 'n3'],
    );
  });

  test('the first of equally near paths wins, and a path without a node counts as local', () => {
    const f = new Fixture({ head: { nodeCount: 2 } });
    f.path('remote', Optimized, { numaNode: 1 });
    f.path('nowhere', Optimized);
    f.path('local', Optimized, { numaNode: 0 });
    assert.equal(f.head.findPath(0)?.name, 'nowhere');
    assert.equal(f.head.findPath(1)?.name, 'remote');
  });

  test('distance decides among non-optimized paths as well, but never between the states', () => {
    const f = new Fixture({ head: { nodeCount: 2 } });
    const far = f.path('far', NonOptimized, { numaNode: 1 });
    const near = f.path('near', NonOptimized, { numaNode: 0 });
    assert.equal(f.head.findPath(0), near);
    far.accessState = Optimized;
    assert.equal(f.head.findPath(0), far);
  });

  test('stays on its path although a nearer one comes, until the slot is emptied', () => {
    const f = new Fixture({ head: { nodeCount: 2 } });
    f.path('far', Optimized, { numaNode: 1 });
    assert.deepEqual(f.select(2), ['far', 'far']);
    f.path('near', Optimized, { numaNode: 0 });
    assert.deepEqual(f.select(2), ['far', 'far']);
    f.head.clearPaths();
    assert.deepEqual(f.select(2), ['near', 'near']);
  });

  test('falls back to a non-optimized path and returns by itself', () => {
    const f = new Fixture();
    const good = f.path('good');
    f.path('spare', NonOptimized);
    assert.deepEqual(f.select(1), ['good']);
    good.accessState = NonOptimized;
    good.disabled = true;
    assert.deepEqual(f.select(2), ['spare', 'spare']);
    good.disabled = false;
    good.accessState = Optimized;
    assert.deepEqual(f.select(2), ['good', 'good']);
  });

  test('never answers what is disabled or neither optimized nor not (the uninitialised candidates of version 1)', () => {
    const f = new Fixture();
    assert.equal(f.head.findPath(), null);
    const path = f.path('p', Other);
    assert.equal(f.head.findPath(), null);
    assert.equal(f.head.currentPath[0], null);
    path.accessState = Optimized;
    assert.equal(f.head.findPath(), path);
    path.disabled = true;
    assert.equal(f.head.findPath(), null);
    assert.equal(f.head.currentPath[0], null);
  });
});

describe('row 36: round-robin', () => {
  const withPaths = (...states: AccessState[]): Fixture => {
    const f = new Fixture({ policy: 'round-robin', head: { nodeCount: 2 } });
    states.forEach((state, i) => {
      f.path('abcdef'[i]!, state);
    });
    return f;
  };

  test('goes around the optimized paths', () => {
    const f = withPaths(Optimized, Optimized, NonOptimized, Optimized);
    assert.deepEqual(f.select(7), ['a', 'b', 'd', 'a', 'b', 'd', 'a']);
  });

  test('an empty slot is filled with the first path, whatever its node', () => {
    const f = new Fixture({ policy: 'round-robin', head: { nodeCount: 2 } });
    f.path('remote', Optimized, { numaNode: 1 });
    f.path('local', Optimized, { numaNode: 0 });
    assert.deepEqual(f.select(1), ['remote']);
  });

  test('each node has its own place in the round', () => {
    const f = withPaths(Optimized, Optimized, Optimized);
    assert.deepEqual(f.select(2, 0), ['a', 'b']);
    assert.deepEqual(f.select(1, 1), ['a']);
    assert.deepEqual(f.select(2, 0), ['c', 'a']);
    assert.deepEqual(f.select(2, 1), ['b', 'c']);
  });

  test('a single path is taken in whatever state it gets into, unless disabled', () => {
    const f = withPaths(Optimized);
    const [path] = f.head.paths;
    assert.deepEqual(f.select(2), ['a', 'a']);
    path!.accessState = Other;
    assert.deepEqual(f.select(2), ['a', 'a']);
    path!.disabled = true;
    assert.deepEqual(f.select(1), ['none']);
    assert.equal(f.head.currentPath[0], path);
    path!.disabled = false;
    f.head.clearPaths();
    assert.deepEqual(f.select(1), ['none'], 'an empty slot is only filled by the rules of all policies');
  });

  test('the old path stays, and its slot, when no other one is optimized', () => {
    const f = withPaths(Optimized, NonOptimized, NonOptimized);
    assert.deepEqual(f.select(3), ['a', 'a', 'a']);
    f.head.paths[0]!.disabled = true;
    assert.deepEqual(f.select(1), ['c']);
    assert.equal(f.head.currentPath[0]?.name, 'c');
  });

  test('a non-optimized old path stays when it is the only one that works', () => {
    const f = withPaths(NonOptimized, Optimized, Other);
    const [a, b] = f.head.paths;
    b!.disabled = true;
    assert.deepEqual(f.select(3), ['a', 'a', 'a']);
    a!.disabled = true;
    assert.deepEqual(f.select(1), ['none']);
    assert.equal(f.head.currentPath[0], a, 'the slot is left alone');
  });

  test('among non-optimized paths the last one after the old one is taken', () => {
    const f = withPaths(NonOptimized, NonOptimized, NonOptimized);
    assert.deepEqual(f.select(5), ['a', 'c', 'b', 'a', 'c']);
  });

  test('neither the old path nor another one in a state that is neither is taken', () => {
    const f = withPaths(Optimized, Optimized);
    const [a, b] = f.head.paths;
    assert.deepEqual(f.select(1), ['a']);
    a!.accessState = Other;
    assert.deepEqual(f.select(2), ['b', 'b']);
    b!.accessState = Other;
    assert.deepEqual(f.select(1), ['none']);
  });
});

describe('row 37: queue-depth', () => {
  test('takes the optimized path with the smallest depth, the first of equals', () => {
    const f = new Fixture({ policy: 'queue-depth' });
    const [a, b, c] = [f.path('a'), f.path('b'), f.path('c')];
    a.nrActive.value = 3;
    b.nrActive.value = 2;
    c.nrActive.value = 2;
    assert.deepEqual(f.select(2), ['b', 'b']);
    b.disabled = true;
    assert.deepEqual(f.select(1), ['c']);
  });

  test('a deep optimized path comes before an idle non-optimized one', () => {
    const f = new Fixture({ policy: 'queue-depth' });
    f.path('idle', NonOptimized);
    const deep = f.path('deep');
    deep.nrActive.value = 1000;
    assert.deepEqual(f.select(1), ['deep']);
    deep.accessState = Other;
    assert.deepEqual(f.select(1), ['idle']);
  });

  test('among non-optimized paths the smallest depth wins', () => {
    const f = new Fixture({ policy: 'queue-depth' });
    const [a, b] = [f.path('a', NonOptimized), f.path('b', NonOptimized)];
    a.nrActive.value = 2;
    b.nrActive.value = 1;
    assert.deepEqual(f.select(1), ['b']);
    assert.equal(f.head.currentPath[0], null, 'slots are not used');
  });

  test('an optimized path with depth 0 ends the scan', () => {
    const asked: string[] = [];
    const f = new Fixture({
      policy: 'queue-depth',
      template: {
        isDisabled: (path) => {
          asked.push(path.name);
          return false;
        },
      },
    });
    f.path('busy').nrActive.value = 1;
    f.path('free');
    f.path('later');
    assert.deepEqual(f.select(1), ['free']);
    assert.deepEqual(asked, ['busy', 'free']);
  });

  test('counts once per request, on the counter that paths share, while the policy is active', () => {
    const f = new Fixture({ policy: 'numa' });
    const shared = new ActiveCounter();
    const a = f.path('a', Optimized, { nrActive: shared });
    const b = f.path('b', Optimized, { nrActive: shared });
    const own = f.path('own');
    const [before] = f.submit();
    assert.equal(shared.value, 0, 'numa does not count');
    assert.ok(f.iopolicy.store('queue-depth'));
    const [counted] = f.submit();
    assert.equal(shared.value, 1);
    f.head.endBio(before!, 0);
    assert.equal(shared.value, 1, 'what was not counted is not taken off');
    assert.equal(f.head.findPath(), own, 'b is as deep as a: they share what limits them');
    assert.ok(f.iopolicy.store('round-robin'));
    f.head.endBio(counted!, 0);
    assert.equal(shared.value, 0, 'what was counted is taken off under another policy, too');
    assert.equal(a.nrActive, b.nrActive);
  });

  test('the counter does not fall below zero when the driver resets it meanwhile', () => {
    const f = new Fixture({ policy: 'queue-depth' });
    const path = f.path('a');
    const [bio] = f.submit();
    path.nrActive.value = 0;
    f.head.endBio(bio!, 0);
    assert.equal(path.nrActive.value, 0);
  });

  test('a retry on the path is not counted twice, a failover moves the count', () => {
    const f = new Fixture({ policy: 'queue-depth' });
    const [a, b] = [f.path('a'), f.path('b')];
    const [bio] = f.submit();
    f.head.endBio(bio!, 2);
    assert.equal(a.nrActive.value, 1);
    a.disabled = true;
    f.head.endBio(bio!, 1);
    assert.equal(a.nrActive.value, 0);
    f.tick();
    assert.equal(b.nrActive.value, 1);
  });
});

describe('a policy from outside', () => {
  /** Always the last usable path in the list: a whole policy. */
  const last = defineSelector({
    name: 'last',
    select(head) {
      for (let i = head.paths.length - 1; i >= 0; i--) if (head.usable(head.paths[i]!)) return head.paths[i]!;
      return null;
    },
  });

  test('is chosen by its name like the others', () => {
    const iopolicy = new Iopolicy({ selectors: [last] });
    const f = new Fixture({ iopolicy });
    f.path('a');
    f.path('b');
    assert.deepEqual(iopolicy.names(), [...SELECTORS.map(({ name }) => name), 'last']);
    assert.deepEqual(f.select(1), ['a']);
    assert.ok(iopolicy.store('last'));
    assert.deepEqual(f.select(2), ['b', 'b']);
  });

  test('must have a proper name that nobody else has', () => {
    assert.throws(() => defineSelector({ name: 'No Name', select: () => null }), { code: 'EINVAL' });
    assert.throws(() => defineSelector({ name: 'x'.repeat(256), select: () => null }), { code: 'EINVAL' });
    assert.throws(() => new Iopolicy({ selectors: [last, last] }), { code: 'EINVAL' });
  });
});
