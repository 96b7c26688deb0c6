/* Four NVMe paths with 5 ms and 0.5 % loss each way: over TCP and over MPTCP. What it comes to is printed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { measureAll } from '../../bench/netns/matrix.ts';
import { listeningOn, Served } from '../../bench/netns/served.ts';
import { lossyShape } from '../../bench/netns/shape.ts';
import { tables } from '../../bench/netns/table.ts';
import { Topology } from '../../bench/netns/topology.ts';
import { COMMON, RATE_MBIT, skipped } from './bed.ts';

test('row 8: TCP and MPTCP with four paths on links with a delay and a loss: no error, no reconnect', {
  skip: skipped({ mptcp: true, impairment: 'segments' }),
}, async () => {
  const results = await measureAll({
    ...COMMON,
    lists: { transport: ['tcp', 'mptcp'], paths: [4], iopolicy: ['round-robin'], loss: ['1'] },
    ...{ rateMbit: RATE_MBIT, seconds: 1, rampSeconds: 0.5, queues: 1, depth: 16, progress: console.log },
  });
  for (const line of tables(results)) console.log(line);
  assert.equal(results.length, 4);
  for (const { op, transport, mib_s, failed } of results) {
    assert.ok(mib_s > 0, `${transport} ${op}`);
    assert.equal(failed, null);
  }
});

test('packets are lost on links with a loss', { skip: skipped({ mptcp: false, impairment: 'packet' }) }, async () => {
  const shape = { ...lossyShape(RATE_MBIT), lossPercent: 20 };
  const topology = await Topology.create({ ...COMMON, links: 1, endpoints: 0, shape, lossUnit: 'packet' });
  try {
    const served = await Served.start(topology, listeningOn('tcp', 1));
    await served.discover();
    await served.stop();
    const stats = await topology.stats();
    console.log(stats);
    const lost = stats!.reduce((sum, lane) => sum + lane.lost, 0);
    assert.ok(lost > 0);
    assert.ok(stats!.every((lane) => lane.packets > lane.lost));
  } finally {
    await topology.remove();
  }
});
