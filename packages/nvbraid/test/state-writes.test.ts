import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StateWrites } from '../src/state-writes.ts';

test('writes of one place go one after the other, those of another do not wait', async () => {
  const writes = new StateWrites();
  const order: string[] = [];
  const open: Record<string, () => void> = {};
  const add = (place: string, name: string): void =>
    writes.add(
      place,
      () => {
        order.push(`begin ${name}`);
        return new Promise((resolve) => {
          open[name] = resolve;
        });
      },
      assert.fail,
      (saved) => order.push(`${name} ${saved}`),
    );
  add('a', 'first');
  add('a', 'second');
  add('b', 'other');
  let settled = false;
  const all = writes.settled().then(() => {
    settled = true;
  });
  await new Promise(setImmediate);
  assert.deepEqual(order, ['begin first', 'begin other']);
  open.first!();
  open.other!();
  await new Promise(setImmediate);
  assert.deepEqual(order.slice(2).sort(), ['begin second', 'first true', 'other true']);
  // Asked for while the others settle: `settled` waits for it as well.
  add('a', 'third');
  open.second!();
  await new Promise(setImmediate);
  assert.equal(settled, false);
  open.third!();
  await all;
  assert.deepEqual(order.slice(-2), ['begin third', 'third true']);
});

test('a write that fails is told, and does not keep the next one from being made', async () => {
  const writes = new StateWrites();
  const told: unknown[] = [];
  writes.add(
    'a',
    () => Promise.reject(new Error('no space')),
    (message) => told.push(message),
    (saved) => told.push(saved),
  );
  writes.add(
    'a',
    () => Promise.resolve(),
    assert.fail,
    (saved) => told.push(saved),
  );
  await writes.settled();
  assert.deepEqual(told, ['no space', false, true]);
});
