import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, NEVER } from '@nvbraid/base';
import { HostBlock, HostCounter, type HostOptions } from '../src/host-block.ts';
import { HostScheduler } from '../src/host-scheduler.ts';
import { HostShare } from '../src/host-share.ts';
import { COMMAND_COST_BYTES, TURN_BYTES } from '../src/limits.ts';
import type { QueueDriver } from '../src/queue-driver.ts';
import { targetLimits } from '../src/target-limits.ts';

/*
 * Who is served when, under a loop that the test plays: each connection always has something to receive or to send, and
 * asks the scheduler as a driver does.
 */

const limits = targetLimits({}, 64 << 20);

class Played {
  readonly core = { commandsCompleted: 0, outstanding: 0, awaitsData: false };
  share: HostShare | null = null;
  metered = true;
  waitsForTurn = false;
  commandsSeen = 0;
  outstandingSeen = 0;
  held = false;
  /** Bytes that wait to be sent. */
  toSend = 0;
  sent = 0;
  received = 0;
  readonly scheduler: HostScheduler;
  readonly log: string[];
  readonly name: string;

  constructor(scheduler: HostScheduler, log: string[], name: string) {
    this.scheduler = scheduler;
    this.log = log;
    this.name = name;
  }

  get driver(): QueueDriver {
    return this as unknown as QueueDriver;
  }
  hold(): void {
    this.held = true;
  }
  unhold(): void {
    this.held = false;
  }
  /** What one event does: a receive of `bytes`, when it may be. */
  readable(bytes: number, commands = 0): boolean {
    if (this.held || !this.scheduler.mayReceive(this.driver)) return false;
    this.received += bytes;
    this.core.commandsCompleted += commands;
    this.log.push(this.name);
    this.scheduler.moved(this.driver, bytes, 0);
    return true;
  }
  flush(): void {
    while (this.toSend > 0) {
      const most = this.scheduler.sendBytes(this.driver);
      if (most === 0) return this.scheduler.later(this.driver);
      const bytes = Math.min(this.toSend, most);
      this.toSend -= bytes;
      this.sent += bytes;
      this.log.push(this.name);
      this.scheduler.moved(this.driver, 0, bytes);
    }
  }
}

function playing(hosts: Record<string, HostOptions>) {
  const clock = new FakeClock(1000);
  const log: string[] = [];
  const scheduler = new HostScheduler(clock, null);
  const shares = new Map<string, HostShare>();
  const blocks = new Map<string, HostBlock>();
  for (const [name, options] of Object.entries(hosts)) {
    const block = HostBlock.create(1);
    block.set(options, limits);
    blocks.set(name, block);
    shares.set(name, new HostShare(shares.size, block, 0));
  }
  const open = (host: string): Played => {
    const played = new Played(scheduler, log, host);
    scheduler.add(played.driver, shares.get(host)!, true);
    return played;
  };
  return { clock, scheduler, open, log, shares, blocks };
}

test('a host alone is not held up by anything', () => {
  const { scheduler, open } = playing({ only: {} });
  const one = open('only');
  for (let i = 0; i < 100; i++) assert.ok(one.readable(1 << 20));
  one.toSend = 100 << 20;
  one.flush();
  assert.equal(one.toSend, 0);
  assert.equal(scheduler.patienceMs, NEVER);
});

test('sixteen busy connections of one host leave every turn to the one of another', () => {
  const { scheduler, open, log } = playing({ greedy: {}, polite: {} });
  const greedy = Array.from({ length: 16 }, () => open('greedy'));
  const polite = open('polite');
  for (let turn = 0; turn < 50; turn++) {
    log.length = 0;
    for (const one of greedy) one.readable(TURN_BYTES / 2);
    assert.ok(polite.readable(4096, 1), 'it is always served in the turn in which it has something');
    const before = log.indexOf('polite');
    assert.ok(before <= 2, `after ${before} pieces of the other: two make a turn`);
    scheduler.endTurn();
  }
  const moved = greedy.reduce((sum, one) => sum + one.received, 0);
  assert.ok(moved >= 50 * TURN_BYTES * 0.9, 'what one does not use the other gets, in every turn');
});

test('who waits to send goes on in turns, hosts one after the other, however many connections each has', () => {
  const { scheduler, open, log } = playing({ greedy: {}, polite: {} });
  const greedy = Array.from({ length: 8 }, () => open('greedy'));
  const polite = open('polite');
  for (const one of greedy) {
    one.toSend = 4 * TURN_BYTES;
    one.flush();
  }
  polite.toSend = 3 * TURN_BYTES;
  polite.flush();
  assert.equal(scheduler.patienceMs, 0, 'the thread must not sleep now');
  log.length = 0;
  for (let turn = 0; turn < 4 && polite.toSend > 0; turn++) scheduler.endTurn();
  assert.equal(polite.toSend, 0, 'three turns are enough for it');
  for (let turn = 0; turn < 40; turn++) scheduler.endTurn();
  assert.ok(greedy.every((one) => one.toSend === 0));
  assert.equal(scheduler.patienceMs, NEVER);
});

test('a piece larger than a turn is paid for in the turns after it', () => {
  const { scheduler, open } = playing({ a: {}, b: {} });
  const a = open('a');
  open('b');
  assert.ok(a.readable(4 * TURN_BYTES));
  let turns = 0;
  for (; !a.readable(1) && turns < 100; turns++) scheduler.endTurn();
  assert.equal(turns, 4);
});

test('small commands count by their number', () => {
  const { scheduler, open } = playing({ a: {}, b: {} });
  const a = open('a');
  open('b');
  assert.ok(a.readable(72 * 1000, 1000));
  let turns = 0;
  for (; !a.readable(1) && turns < 100; turns++) scheduler.endTurn();
  assert.equal(turns, Math.floor((72_000 + 1000 * COMMAND_COST_BYTES) / TURN_BYTES));
});

test('a weight is a share: three to one', () => {
  const { scheduler, open } = playing({ heavy: { weight: 3 }, light: {} });
  const heavy = open('heavy');
  const light = open('light');
  for (let turn = 0; turn < 100; turn++) {
    while (heavy.readable(16 * 1024));
    while (light.readable(16 * 1024));
    scheduler.endTurn();
  }
  const ratio = heavy.received / light.received;
  assert.ok(ratio > 2.9 && ratio < 3.1, `${ratio}`);
});

test('a host over its rate is not read until it has tokens, also when it is alone', () => {
  const { clock, scheduler, open, shares, blocks } = playing({ slow: { iops: 1000, iopsBurst: 10 } });
  const slow = open('slow');
  assert.ok(slow.readable(10 * 72, 10));
  assert.ok(!slow.readable(72, 1));
  assert.ok(slow.held, 'its socket is left alone');
  assert.equal(shares.get('slow')!.counters[HostCounter.throttled], 1);
  const waitMs = scheduler.patienceMs;
  assert.ok(waitMs > 0 && waitMs <= 2, `${waitMs} ms until one command may go`);
  scheduler.endTurn();
  assert.ok(slow.held, 'not before');
  clock.advance(2);
  scheduler.endTurn();
  assert.ok(slow.readable(72, 1));
  // Over a second it gets what was promised.
  let commands = 0;
  for (let ms = 0; ms < 1000; ms++) {
    clock.advance(1);
    scheduler.endTurn();
    while (slow.readable(72, 1)) commands++;
  }
  assert.ok(commands >= 990 && commands <= 1012, `${commands}`);
  blocks.get('slow')!.set({}, limits);
  clock.advance(10);
  scheduler.endTurn();
  for (let i = 0; i < 1000; i++) assert.ok(slow.readable(72, 1), 'changed while it runs');
});

test('a bandwidth holds in the long run, whatever the sizes', () => {
  const { clock, scheduler, open } = playing({ slow: { bytesPerSecond: 10_000_000, bytesBurst: 1 << 20 } });
  const slow = open('slow');
  for (let ms = 0; ms < 2000; ms++) {
    while (slow.readable(300_000));
    clock.advance(1);
    scheduler.endTurn();
  }
  assert.ok(slow.received > 19_000_000 && slow.received < 22_000_000, `${slow.received}`);
});

test('a host with as many commands as it may have is not read, unless data is on its way that ends some', () => {
  const { open, scheduler, shares } = playing({ deep: { commands: 8 } });
  const [one, two] = [open('deep'), open('deep')];
  one.core.outstanding = 8;
  assert.ok(one.readable(8 * 72));
  assert.ok(!two.readable(72));
  assert.ok(two.held);
  one.core.awaitsData = true;
  assert.ok(one.readable(4096));
  one.core.outstanding = 7;
  scheduler.moved(one.driver, 0, 24);
  assert.ok(!two.held && two.readable(72));
  scheduler.remove(one.driver);
  assert.equal(shares.get('deep')!.commands, 0, 'what a queue had goes with it');
});

test('an admin queue has its turns, and is never held', () => {
  const { scheduler, open, shares } = playing({ tiny: { commands: 1, iops: 1 } });
  const admin = new Played(scheduler, [], 'admin');
  scheduler.add(admin.driver, shares.get('tiny')!, false);
  open('tiny');
  admin.core.outstanding = 5;
  for (let i = 0; i < 10; i++) assert.ok(admin.readable(72, 1));
  assert.equal(shares.get('tiny')!.commands, 0);
});
