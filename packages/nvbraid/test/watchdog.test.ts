import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NEVER } from '@nvbraid/base';
import type { QueueDriver } from '../src/queue-driver.ts';
import { Watchdog } from '../src/watchdog.ts';

/* Which stillness counts as late, under driven time: a queue is played by the few facts that a watchdog asks for. */

function played() {
  const facts = { receivingPdu: false, pdusBegun: 0, r2tSinceMs: NEVER, backlogBytes: 0, drains: 0, paused: false };
  const core = {
    get pduUnderWay() {
      return facts.receivingPdu ? facts.pdusBegun : -1;
    },
    oldestR2t: (nowMs: number, restart: boolean) => {
      if (restart && facts.r2tSinceMs !== NEVER) facts.r2tSinceMs = nowMs;
      return facts.r2tSinceMs;
    },
  };
  const driver = {
    core,
    gone: false,
    get paused() {
      return facts.paused;
    },
    get drains() {
      return facts.drains;
    },
    connection: {
      get backlogBytes() {
        return facts.backlogBytes;
      },
    },
  } as unknown as QueueDriver;
  const said: string[] = [];
  const dog = new Watchdog({ pduTimeoutMs: 100, sendTimeoutMs: 200, r2tTimeoutMs: 300 }, (_driver, limit) =>
    said.push(limit),
  );
  const look = (nowMs: number): string[] => {
    said.length = 0;
    dog.look([driver], nowMs);
    return [...said];
  };
  return { facts, look, dog };
}

test('a PDU that never ends is late, one after the other is not', () => {
  const { facts, look } = played();
  facts.receivingPdu = true;
  facts.pdusBegun = 7;
  assert.deepEqual(look(0), []);
  assert.deepEqual(look(99), []);
  facts.pdusBegun = 8; // another one is on its way by chance
  assert.deepEqual(look(100), []);
  assert.deepEqual(look(199), []);
  assert.deepEqual(look(200), ['pduTimeoutMs']);
});

test('a PDU that ended between two looks leaves no suspicion', () => {
  const { facts, look } = played();
  facts.receivingPdu = true;
  look(0);
  facts.receivingPdu = false;
  look(90);
  facts.receivingPdu = true;
  assert.deepEqual(look(120), []);
  assert.deepEqual(look(219), []);
  assert.deepEqual(look(220), ['pduTimeoutMs']);
});

test('what we do not read is not late', () => {
  const { facts, look } = played();
  facts.receivingPdu = true;
  facts.r2tSinceMs = 0;
  look(0);
  facts.paused = true;
  assert.deepEqual(look(1000), []);
  facts.paused = false;
  assert.deepEqual(look(1001), []);
  assert.deepEqual(look(1101), ['pduTimeoutMs']);
  facts.receivingPdu = false;
  assert.deepEqual(look(1299), []);
  assert.deepEqual(look(1300), ['r2tTimeoutMs']);
});

test('a peer that receives nothing is late; one that empties what waits, however often it fills again, is not', () => {
  const { facts, look } = played();
  facts.backlogBytes = 10;
  for (let now = 0; now <= 1000; now += 100) {
    assert.deepEqual(look(now), []);
    facts.drains++;
  }
  assert.deepEqual(look(1100), []);
  facts.backlogBytes = 5; // a few bytes now and then do not count
  assert.deepEqual(look(1200), []);
  assert.deepEqual(look(1300), ['sendTimeoutMs']);
});

test('looks are a quarter of the shortest time apart, within bounds', () => {
  assert.equal(played().dog.intervalMs, 25);
  const of = (ms: number): number =>
    new Watchdog({ pduTimeoutMs: ms, sendTimeoutMs: 1e6, r2tTimeoutMs: 1e6 }, () => {}).intervalMs;
  assert.deepEqual([of(1), of(1e6)], [10, 5000]);
});
