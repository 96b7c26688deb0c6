import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LatencyHistogram } from '../src/host-latency.ts';

test('percentiles are right to 4 % or an eighth of a microsecond', () => {
  const latencyMs = fc.double({ min: 0, max: 100_000, noNaN: true });
  fc.assert(
    fc.property(
      fc.array(latencyMs, { minLength: 1, maxLength: 200 }),
      fc.double({ min: 0.01, max: 1, noNaN: true }),
      (values, p) => {
        const histogram = new LatencyHistogram();
        for (const value of values) histogram.record(value);
        const sorted = values.toSorted((a, b) => a - b);
        const exactUs = sorted[Math.max(1, Math.ceil(values.length * p)) - 1]! * 1000;
        const us = histogram.percentileUs(p);
        assert.ok(us >= exactUs - 1e-6 * exactUs && us <= exactUs * 1.04 + 0.126, `${us} for ${exactUs}`);
      },
    ),
  );
});

test('buckets are powers of two, in order, and hold every value once', () => {
  const histogram = new LatencyHistogram();
  assert.deepEqual(histogram.buckets(), []);
  for (const us of [0, 0.9, 1, 1.9, 3, 1000, 1023.9, 1024, 5e6]) histogram.record(us / 1000);
  assert.deepEqual(
    histogram.buckets().map(({ belowUs, count }) => [belowUs, count]),
    [
      [1, 2],
      [2, 2],
      [4, 1],
      [1024, 2],
      [2048, 1],
      [2 ** 23, 1],
    ],
  );
});

test('summary, add, clear, and values beyond all buckets', () => {
  const a = new LatencyHistogram();
  assert.deepEqual(a.summary(), { count: 0, meanUs: 0, p50Us: 0, p99Us: 0, p999Us: 0, maxUs: 0 });
  for (let i = 1; i <= 1000; i++) a.record(i / 1000);
  const b = new LatencyHistogram();
  b.record(1e9);
  b.record(-1);
  a.add(b);
  assert.equal(a.count, 1002);
  const { p50Us, p99Us, maxUs } = a.summary();
  assert.ok(p50Us >= 499 && p50Us < 520 && p99Us >= 989 && p99Us < 1030, `${p50Us} ${p99Us}`);
  assert.equal(maxUs, 1e12);
  a.clear();
  assert.equal(a.summary().count, 0);
});
