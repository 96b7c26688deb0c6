import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  formatCount,
  formatDuration,
  formatMicroseconds,
  formatSize,
  parseSize,
  parseWholeNumber,
  plural,
} from '../src/size.ts';

const SIZES: readonly [string, number | null][] = [
  ['0', 0],
  ['4096', 4096],
  ['0x1000', 4096],
  ['4k', 4096],
  ['4K', 4096],
  ['4KiB', 4096],
  ['4kb', 4000],
  ['512MiB', 536870912],
  ['1GiB', 1073741824],
  ['1g', 1073741824],
  ['1GB', 1000000000],
  ['1.5GiB', 1610612736],
  ['0.5k', 512],
  ['2TiB', 2199023255552],
  ['10b', 10],
  ['', null],
  ['k', null],
  ['-1', null],
  ['1.3b', null],
  ['4 k', null],
  ['4kk', null],
  ['4x', null],
  ['1e3', null],
  ['0x', null],
  ['4toString', null],
  ['9007199254740993', null],
  ['99999TiB', null],
];

for (const [text, bytes] of SIZES)
  test(`parseSize ${JSON.stringify(text)}`, () => assert.equal(parseSize(text), bytes));

test('whole numbers', () => {
  assert.equal(parseWholeNumber('0x1F'), 31);
  assert.equal(parseWholeNumber('12'), 12);
  for (const text of ['1.0', '1k', '', ' 1', '+1', '1_0']) assert.equal(parseWholeNumber(text), null);
});

test('every size that is formatted exactly is parsed back', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 1023 }),
      fc.constantFrom(1, 1024, 1024 ** 2, 1024 ** 3, 1024 ** 4),
      (n, unit) => {
        assert.equal(parseSize(formatSize(n * unit).replace(' ', '')), n * unit);
      },
    ),
  );
});

test('numbers for people', () => {
  assert.equal(formatSize(1536), '1.5 KiB');
  assert.equal(formatSize(1073741824), '1 GiB');
  assert.equal(formatCount(999), '999');
  assert.equal(formatCount(45123), '45.1k');
  assert.equal(formatCount(1234567), '1.23M');
  assert.equal(formatMicroseconds(83.4), '83 us');
  assert.equal(formatMicroseconds(1240), '1.24 ms');
  assert.equal(formatDuration(2500), '2.5 s');
  assert.equal(formatDuration(200_000), '3 min 20 s');
  assert.equal(formatDuration(7_500_000), '2 h 5 min');
  assert.equal(plural(1, 'block'), '1 block');
  assert.equal(plural(0, 'block'), '0 blocks');
});
