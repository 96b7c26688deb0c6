import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  AccessState,
  headAttributes,
  listAttributes,
  numaNodesShow,
  Outcome,
  queueDepthShow,
  showAttribute,
  storeAttribute,
} from '../src/index.ts';
import { Fixture, pathDisk } from './support/fixture.ts';

describe('row 48: the attribute tree', () => {
  const linked = (policy = 'numa'): Fixture => {
    const f = new Fixture({
      policy,
      live: false,
      head: { nodeCount: 6 },
      disk: {
        attributes: { name: 'queue', attributes: [{ name: 'rotational', show: () => '0' }] },
      },
      template: {
        deviceAttributes: () => ({ name: 'device', attributes: [{ name: 'wwid', show: () => 'w1' }] }),
        pathAttributes: (path) => ({
          name: 'driver',
          attributes: [{ name: 'up', show: () => String(!path.disabled) }],
        }),
      },
    });
    f.head.setLive(f.path('p0', AccessState.Optimized, { disk: pathDisk('d0'), numaNode: 1 }));
    f.head.setLive(f.path('p1', AccessState.NonOptimized, { disk: pathDisk('d1') }));
    f.path('hidden', AccessState.Optimized);
    return f;
  };

  test('lists everything as data', () => {
    const f = linked();
    f.submit();
    f.head.endBio(f.sent[0]!.bio, Outcome.Retryable);
    f.head.endBio(f.sent[0]!.bio, Outcome.PathError);
    f.head.setLive(f.head.paths[0]!);
    const tree = headAttributes(f.head);
    assert.equal(tree.name, 'disk0');
    assert.deepEqual(Object.fromEntries(listAttributes(tree)), {
      iopolicy: 'numa',
      delayed_removal_secs: '0',
      'multipath/p0/access_state': 'optimized',
      'multipath/p0/numa_node': '1',
      'multipath/p0/numa_nodes': '1',
      'multipath/p0/queue_depth': '',
      'multipath/p0/latency_ms': '',
      'multipath/p0/marginal': 'no',
      'multipath/p0/diag/command_count': '2',
      'multipath/p0/diag/command_error_count': '2',
      'multipath/p0/diag/command_retry_count': '1',
      'multipath/p0/diag/multipath_failover_count': '1',
      'multipath/p0/driver/up': 'true',
      'multipath/p1/access_state': 'non-optimized',
      'multipath/p1/numa_node': '',
      'multipath/p1/numa_nodes': '',
      'multipath/p1/queue_depth': '',
      'multipath/p1/latency_ms': '',
      'multipath/p1/marginal': 'no',
      'multipath/p1/diag/command_count': '0',
      'multipath/p1/diag/command_error_count': '0',
      'multipath/p1/diag/command_retry_count': '0',
      'multipath/p1/diag/multipath_failover_count': '0',
      'multipath/p1/driver/up': 'true',
      'diag/io_requeue_no_usable_path_count': '0',
      'diag/io_fail_no_available_path_count': '0',
      'diag/io_queued_count': '1',
      'device/wwid': 'w1',
      'queue/rotational': '0',
    });
  });

  test('values are those of the moment, also in a tree that was made before', () => {
    const f = linked();
    const tree = headAttributes(f.head);
    f.head.paths[0]!.accessState = AccessState.Other;
    f.head.paths[0]!.latencyMs = 1.23456;
    assert.equal(showAttribute(tree, 'multipath/p0/access_state'), 'other');
    assert.equal(showAttribute(tree, 'multipath/p0/latency_ms'), '1.235');
    f.head.requeueNoUsablePathCount = 3;
    f.head.failNoAvailablePathCount = 4;
    assert.equal(showAttribute(tree, 'diag/io_requeue_no_usable_path_count'), '3');
    assert.equal(showAttribute(tree, 'diag/io_fail_no_available_path_count'), '4');
  });

  test('policy and delay can be set, with the checks that they have', () => {
    const f = linked();
    const tree = headAttributes(f.head);
    storeAttribute(tree, 'iopolicy', 'queue-depth');
    assert.equal(f.iopolicy.show(), 'queue-depth');
    assert.throws(() => storeAttribute(tree, 'iopolicy', 'best'), {
      code: 'EINVAL',
      message: "unknown iopolicy 'best': numa, round-robin, queue-depth, service-time",
    });
    storeAttribute(tree, 'delayed_removal_secs', '30');
    assert.equal(showAttribute(tree, 'delayed_removal_secs'), '30');
    assert.ok(f.head.queueIfNoPath);
    assert.throws(() => storeAttribute(tree, 'delayed_removal_secs', '-1'), { code: 'EINVAL' });
    assert.throws(() => storeAttribute(tree, 'multipath/p0/queue_depth', '1'), { code: 'EACCES' });
    assert.throws(() => storeAttribute(tree, 'multipath/p9/queue_depth', '1'), { code: 'ENOENT' });
    assert.throws(() => showAttribute(tree, 'multipath'), { code: 'ENOENT' });
  });

  test('numa_nodes is a list of ranges, and empty under other policies', () => {
    const f = linked();
    const [p0, p1] = f.head.paths;
    for (const [node, path] of [p0, p1, p0, p0, p0, p1].entries()) f.head.setCurrentPath(node, path!);
    assert.equal(numaNodesShow(f.head, p0!), '0,2-4');
    assert.equal(numaNodesShow(f.head, p1!), '1,5');
    f.iopolicy.store('round-robin');
    f.head.setCurrentPath(0, p0!);
    assert.equal(numaNodesShow(f.head, p0!), '');
  });

  test('queue_depth is empty unless the policy counts', () => {
    const f = linked('queue-depth');
    f.submit(2);
    assert.equal(queueDepthShow(f.head, f.head.paths[0]!), '1');
    f.iopolicy.store('numa');
    assert.equal(queueDepthShow(f.head, f.head.paths[0]!), '');
  });

  test('a head without a disk has its own name', () => {
    assert.equal(headAttributes(new Fixture({ disk: null }).head).name, 'head0');
  });
});
