import assert from 'node:assert/strict';
import { test } from 'node:test';
import { skipOne, takeOne } from '../src/index.ts';

test('what is left is taken one by one; a negative number has no end', () => {
  const words = new Int32Array(new SharedArrayBuffer(8));
  words[1] = 2;
  assert.deepEqual([takeOne(words, 1), takeOne(words, 1), takeOne(words, 1)], [true, true, false]);
  assert.equal(takeOne(words, 0), false);
  words[0] = -1;
  assert.deepEqual([takeOne(words, 0), takeOne(words, 0)], [true, true]);
  assert.deepEqual([...words], [-1, 0]);
});

test('as many are skipped as were to be, and the next one is not', () => {
  const words = new Int32Array(new SharedArrayBuffer(4));
  words[0] = 2;
  assert.deepEqual([skipOne(words, 0), skipOne(words, 0), skipOne(words, 0)], [true, true, false]);
});
