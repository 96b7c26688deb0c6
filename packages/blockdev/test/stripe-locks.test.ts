import { equal, notEqual, ok } from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  MAX_BLOCK_SIZE,
  MAX_STRIPES,
  MAX_TRANSFER_BYTES,
  MIN_BLOCK_SIZE,
  STRIPE_BYTES,
  ZERO_STEP_BYTES,
} from '../src/limits.ts';
import { BUSY, StripeLocks } from '../src/stripe-locks.ts';

const PAGE = STRIPE_BYTES;

function locks(deviceBytes: number, blockSize = 4096): { table: Int32Array; locks: StripeLocks } {
  const table = new Int32Array(new SharedArrayBuffer(StripeLocks.words(deviceBytes, blockSize) * 4));
  return { table, locks: new StripeLocks(table, blockSize) };
}

describe('stripe locks', () => {
  it('have a word for each stripe of a small device, and a bounded table for a large one', () => {
    equal(StripeLocks.words(PAGE, 512), 1);
    equal(StripeLocks.words(3 * PAGE, 512), 4);
    equal(StripeLocks.words(2 ** 53 - PAGE, 512), MAX_STRIPES);
  });

  it('cover the longest range with different words', () => {
    for (let blockSize = MIN_BLOCK_SIZE; blockSize <= MAX_BLOCK_SIZE; blockSize *= 2) {
      const span = (MAX_STRIPES - 1) * Math.max(STRIPE_BYTES, blockSize);
      ok(MAX_TRANSFER_BYTES <= span && ZERO_STEP_BYTES <= span);
    }
    equal(Math.log2(MAX_STRIPES) % 1, 0);
    equal(STRIPE_BYTES % MIN_BLOCK_SIZE, 0);
    const far = locks(2 ** 50).locks;
    ok(far.tryLock(2 ** 49 + 512, MAX_TRANSFER_BYTES));
    far.unlock(2 ** 49 + 512, MAX_TRANSFER_BYTES);
    ok(far.tryLock(2 ** 49 + 512, MAX_TRANSFER_BYTES));
  });

  it('shut others out of every stripe of the range and of no other', () => {
    const { locks: mine } = locks(16 * PAGE);
    ok(mine.tryLock(2 * PAGE + 100, 2 * PAGE));
    for (let stripe = 0; stripe < 16; stripe++) {
      const taken = stripe >= 2 && stripe <= 4;
      equal(mine.begin(stripe * PAGE, 1) === BUSY, taken, `stripe ${stripe}`);
      equal(mine.begin(stripe * PAGE + PAGE - 1, 1) === BUSY, taken, `stripe ${stripe}`);
    }
    equal(mine.tryLock(PAGE, 2 * PAGE), false);
    ok(mine.tryLock(PAGE, PAGE), 'what failed left nothing behind');
    mine.unlock(2 * PAGE + 100, 2 * PAGE);
    notEqual(mine.begin(2 * PAGE, 3 * PAGE), BUSY);
  });

  it('tell readers about writers in their range, and about no others', () => {
    const { locks: mine } = locks(16 * PAGE);
    const sum = mine.begin(PAGE, 2 * PAGE);
    ok(mine.unchanged(PAGE, 2 * PAGE, sum));
    mine.tryLock(3 * PAGE, PAGE);
    ok(mine.unchanged(PAGE, 2 * PAGE, sum), 'a neighbour');
    mine.tryLock(2 * PAGE, PAGE);
    equal(mine.unchanged(PAGE, 2 * PAGE, sum), false, 'a writer inside');
    equal(mine.tryLock(PAGE, 2 * PAGE), false);
    mine.unlock(2 * PAGE, PAGE);
    equal(mine.unchanged(PAGE, 2 * PAGE, sum), false, 'a writer that was inside');
  });

  it('do not disturb readers by an attempt that failed', () => {
    const { locks: mine } = locks(16 * PAGE);
    mine.tryLock(2 * PAGE, PAGE);
    const sum = mine.begin(PAGE, PAGE);
    equal(mine.tryLock(PAGE, 2 * PAGE), false);
    ok(mine.unchanged(PAGE, PAGE, sum));
  });

  it('go on when the numbers overflow', () => {
    const { table, locks: mine } = locks(2 * PAGE);
    table.fill(0x7ffffffe);
    ok(mine.tryLock(0, 2 * PAGE));
    equal(mine.begin(0, 1), BUSY);
    mine.unlock(0, 2 * PAGE);
    const sum = mine.begin(0, 2 * PAGE);
    ok(mine.unchanged(0, 2 * PAGE, sum));
  });
});
