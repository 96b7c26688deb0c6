import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LoadReport, median, overhead, overheadTable, summarize, table } from '../statistics.ts';

function report(iops: number, cpu_us_server: number): LoadReport {
  return { ios: iops, iops, mbps: 0, p50_us: 1, p99_us: iops / 10, p999_us: 3, cpu_us_client: 1, cpu_us_server };
}

test('the median is the middle value, or the mean of the middle two', () => {
  assert.equal(median([3, 100, 1]), 3);
  assert.equal(median([10, 1, 100, 2]), 6);
  assert.ok(Number.isNaN(median([])));
});

test('the ratio of a case is the median of the ratios of its rounds', () => {
  // The machine is half as fast in the second and third round: the ratio of the medians would be 50 / 100.
  const rounds = [
    { ours: report(90, 4), c: report(100, 2) },
    { ours: report(50, 5), c: report(51, 3) },
    { ours: report(48, 6), c: report(120, 4) },
  ];
  const result = summarize('read-4k-qd32', rounds);
  assert.deepEqual(result, {
    case: 'read-4k-qd32',
    iops: 50,
    c_iops: 100,
    ratio: 0.9,
    p99_us: 5,
    c_p99_us: 10,
    cpu_us: 5,
    c_cpu_us: 3,
    cpu_ratio: 1.667,
    cpu_ratio_min: 1.5,
    cpu_ratio_max: 2,
    ratio_min: 0.4,
    ratio_max: 0.98,
    rounds: 3,
  });
  const [headings, row] = table([result]).split('\n');
  assert.equal(row!.indexOf('0.90') + 4, headings!.indexOf('ratio') + 5);
  assert.match(row!, /^read-4k-qd32 +50 +100 +0\.90 +0\.40-0\.98 +5 +10 +5\.00 +3\.00 +1\.67 +1\.50-2\.00$/);
});

test('hosts are compared by their own CPU time', () => {
  const ours = { ...report(90, 4), cpu_us_client: 3 };
  const { cpu_us, c_cpu_us, cpu_ratio } = summarize('host', [{ ours, c: report(100, 2) }], 'client');
  assert.deepEqual([cpu_us, c_cpu_us, cpu_ratio], [3, 1, 3]);
});

test('what a head costs is the median of its pairs', () => {
  const pair = (single: number, head: number) => ({
    single: { ...report(1, 1), cpu_us_client: single },
    head: { ...report(1, 1), cpu_us_client: head },
  });
  // The machine is twice as slow in the second pair: that is not the head's.
  const result = overhead('head, 1 path', [pair(2, 2.1), pair(4, 4.12), pair(2, 1.9)]);
  assert.deepEqual(result, {
    case: 'head, 1 path',
    cpu_us: 2.1,
    single_cpu_us: 2,
    overhead: 0.03,
    overhead_min: -0.05,
    overhead_max: 0.05,
    pairs: 3,
  });
  assert.match(overheadTable([result]).split('\n')[1]!, /^head, 1 path +2\.10 +2\.00 +3\.0 % +-5\.0 % to 5\.0 % +3$/);
});
