/* One NVMe path over MPTCP carries what four links carry, and one over TCP what one link does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { measureAll } from '../../bench/netns/matrix.ts';
import { tables } from '../../bench/netns/table.ts';
import { COMMON, RATE_MBIT, skipped } from './bed.ts';

test('row 6: one connection over four links of one rate carries more than twice what TCP does', {
  skip: skipped({ mptcp: true, impairment: null }),
}, async () => {
  const results = await measureAll({
    ...COMMON,
    lists: { transport: ['tcp', 'mptcp'], paths: [1], iopolicy: ['numa'], loss: ['0'] },
    ...{ rateMbit: RATE_MBIT, seconds: 1, rampSeconds: 1, queues: 1, depth: 24, progress: console.log },
  });
  for (const line of tables(results)) console.log(line);
  for (const { failed } of results) assert.equal(failed, null);
  const mptcp = results.filter(({ transport }) => transport === 'mptcp');
  assert.equal(mptcp.length, 2);
  // The links are shaped: without aggregation it would be one, however busy or idle the machine is.
  for (const { op, ratio_to_tcp_1path: ratio } of mptcp) assert.ok(ratio! > 2, `${op}: ${ratio}`);
});
