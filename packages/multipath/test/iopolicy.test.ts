import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AccessState, Iopolicy } from '../src/index.ts';
import { Fixture } from './support/fixture.ts';

describe('row 38: the policy at run time', () => {
  test('the default is numa, a parameter chooses another', () => {
    assert.equal(new Iopolicy().show(), 'numa');
    assert.equal(new Iopolicy({ initial: 'queue-depth' }).show(), 'queue-depth');
    assert.throws(() => new Iopolicy({ initial: 'rr' }), { code: 'EINVAL' });
    assert.deepEqual(new Iopolicy().names(), ['numa', 'round-robin', 'queue-depth', 'service-time']);
  });

  test('only an exact name changes it', () => {
    const iopolicy = new Iopolicy();
    for (const name of ['', 'num', 'numa ', 'NUMA', 'round', 'round-robin\n', 'queue_depth', 'constructor']) {
      assert.equal(iopolicy.store(name), false, JSON.stringify(name));
      assert.equal(iopolicy.show(), 'numa');
    }
    assert.equal(iopolicy.store('round-robin'), true);
    assert.equal(iopolicy.show(), 'round-robin');
  });

  test('a change logs old and new, empties the slots of all its heads and kicks their queues', () => {
    const logs: string[] = [];
    const iopolicy = new Iopolicy({ log: (message) => logs.push(message) });
    const heads = [new Fixture({ iopolicy }), new Fixture({ iopolicy })];
    const other = new Fixture();
    for (const f of [...heads, other]) {
      const path = f.path('p');
      f.select(1);
      path.disabled = true;
      f.head.clearPaths();
      f.submit();
      path.disabled = false;
      f.head.currentPath[0] = path;
      f.wakes = 0;
    }
    assert.ok(iopolicy.store('queue-depth'));
    assert.deepEqual(logs, ['iopolicy changed from numa to queue-depth']);
    for (const f of heads) {
      assert.equal(f.head.currentPath[0], null);
      assert.equal(f.wakes, 1);
      assert.equal(f.head.nextDeadlineMs(), Number.NEGATIVE_INFINITY);
    }
    assert.notEqual(other.head.currentPath[0], null);
    assert.equal(other.wakes, 0);
  });

  test('the name that it has already changes nothing', () => {
    const logs: string[] = [];
    const iopolicy = new Iopolicy({ log: (message) => logs.push(message) });
    const f = new Fixture({ iopolicy });
    const path = f.path('p');
    f.select(1);
    assert.ok(iopolicy.store('numa'));
    assert.equal(f.head.currentPath[0], path);
    assert.deepEqual(logs, []);
  });

  test('the next request goes by the new policy', () => {
    const f = new Fixture({ policy: 'numa' });
    f.path('a');
    f.path('b');
    f.path('c', AccessState.NonOptimized);
    f.submit(3);
    assert.deepEqual(f.takeSent(), ['a', 'a', 'a']);
    f.iopolicy.store('round-robin');
    f.submit(4);
    assert.deepEqual(f.takeSent(), ['a', 'b', 'a', 'b']);
    f.iopolicy.store('numa');
    f.submit(2);
    assert.deepEqual(f.takeSent(), ['a', 'a']);
  });
});
