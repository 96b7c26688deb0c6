import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { systemClock } from '../src/system-clock.ts';
import { begunNowMs, endedNowMs } from '../src/turn-clock.ts';

/** Until the clock shows something else. */
function pass(): void {
  for (const start = systemClock.nowMs(); systemClock.nowMs() === start; );
}

for (const [what, now] of [
  ['begin', begunNowMs],
  ['end', endedNowMs],
] as const) {
  test(`all calls that ${what} in one turn have one time, those of the next turn another`, async () => {
    const before = systemClock.nowMs();
    const first = now();
    assert.ok(first >= before, 'a time of the past');
    pass();
    assert.equal(now(), first);
    await turn();
    const between = systemClock.nowMs();
    assert.ok(now() >= between, 'the time of an earlier turn');
  });
}

test('a call that begins long after another has ended in the same turn has a time of its own', () => {
  const ended = endedNowMs();
  pass();
  assert.ok(begunNowMs() > ended);
});
