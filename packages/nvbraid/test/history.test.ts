import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Memory, Rng } from '@nvbraid/base';
import { HistoryChecker, type ReadTicket, type WriteTicket } from '../src/history.ts';

const BLOCK = 1024;
const BLOCKS = 24;
const SEED = 4420;

/** A namespace in memory whose commands happen one block at a time, at random moments between start and end. */
class Device {
  readonly bytes = new Uint8Array(BLOCKS * BLOCK);

  block(lba: number): Uint8Array {
    return this.bytes.subarray(lba * BLOCK, (lba + 1) * BLOCK);
  }
}

interface Command {
  write: WriteTicket | null;
  read: ReadTicket | null;
  slba: number;
  blocks: number;
  buffer: Uint8Array;
  /** Blocks that have not happened yet. */
  pending: number[];
  fate: 'completes' | 'fails' | 'dropped';
}

type Fault = 'none' | 'lost' | 'stale' | 'torn' | 'late' | 'misplaced' | 'phantom';

/** Runs commands against a Device and the checker; `fault` is injected once, where it cannot be missed. */
class Simulation {
  readonly rng: Rng;
  readonly device = new Device();
  readonly checker: HistoryChecker;
  readonly running: Command[] = [];
  readonly unsettled: { command: Command; age: number }[] = [];

  constructor(seed: number, initial: 'zero' | 'any' = 'zero') {
    this.rng = new Rng(seed);
    if (initial === 'any') this.rng.fill(this.device.bytes);
    this.checker = new HistoryChecker({ blockSize: BLOCK, run: seed, initial });
  }

  start(): void {
    const blocks = this.rng.between(1, 4);
    const slba = this.rng.below(BLOCKS - blocks + 1);
    const buffer = new Uint8Array(blocks * BLOCK);
    const pending = this.shuffled(blocks);
    const kind = this.rng.below(20);
    if (kind < 9) {
      const write = this.checker.beginWrite(this.rng.below(4), slba, blocks, buffer);
      const fate = this.rng.pick(['completes', 'completes', 'completes', 'completes', 'fails', 'dropped'] as const);
      this.running.push({ write, read: null, slba, blocks, buffer, pending, fate });
    } else if (kind === 9) {
      const write = this.checker.beginZeroes(this.rng.below(4), slba, blocks);
      this.running.push({ write, read: null, slba, blocks, buffer, pending, fate: 'completes' });
    } else {
      const read = this.checker.beginRead(slba, blocks);
      this.running.push({ write: null, read, slba, blocks, buffer, pending, fate: 'completes' });
    }
  }

  shuffled(count: number): number[] {
    const order = Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = this.rng.below(i + 1);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    return order;
  }

  /** One block of one command happens. */
  happen(command: Command): void {
    const i = command.pending.pop()!;
    const mine = command.buffer.subarray(i * BLOCK, (i + 1) * BLOCK);
    const there = this.device.block(command.slba + i);
    if (command.write !== null) there.set(mine);
    else mine.set(there);
  }

  end(command: Command): void {
    this.running.splice(this.running.indexOf(command), 1);
    if (command.read !== null) {
      if (this.rng.chance(0.03)) this.checker.failRead(command.read);
      else this.checker.completeRead(command.read, command.buffer);
    } else if (command.fate === 'completes') {
      this.checker.completeWrite(command.write!);
    } else if (command.fate === 'fails') {
      command.pending.length = 0;
      this.checker.failWrite(command.write!);
    } else {
      this.checker.failWrite(command.write!, true);
      this.unsettled.push({ command, age: this.rng.below(30) });
    }
  }

  /** What a lost command still does, and the end of that. */
  late(): void {
    const entry = this.rng.pick(this.unsettled);
    if (entry.command.pending.length > 0 && this.rng.chance(0.5)) this.happen(entry.command);
    if (entry.age-- > 0) return;
    this.unsettled.splice(this.unsettled.indexOf(entry), 1);
    this.checker.settleWrite(entry.command.write!);
  }

  step(): void {
    if (this.unsettled.length > 0 && this.rng.chance(0.3)) this.late();
    if (this.running.length < 8 && this.rng.chance(0.4)) {
      this.start();
      return;
    }
    if (this.running.length === 0) return;
    const command = this.rng.pick(this.running);
    const mayEnd = command.pending.length === 0 || (command.fate !== 'completes' && this.rng.chance(0.3));
    if (mayEnd) this.end(command);
    else this.happen(command);
  }

  drain(): void {
    while (this.running.length > 0) {
      const command = this.running[0]!;
      while (command.pending.length > 0) this.happen(command);
      this.end(command);
    }
    while (this.unsettled.length > 0) this.checker.settleWrite(this.unsettled.pop()!.command.write!);
  }

  write(lba: number, writer = 9): Uint8Array {
    const buffer = new Uint8Array(BLOCK);
    const ticket = this.checker.beginWrite(writer, lba, 1, buffer);
    this.device.block(lba).set(buffer);
    this.checker.completeWrite(ticket);
    return buffer;
  }

  read(lba: number): void {
    const ticket = this.checker.beginRead(lba, 1);
    this.checker.completeRead(ticket, this.device.block(lba));
  }

  inject(fault: Fault): void {
    const lba = this.rng.below(BLOCKS - 1);
    const there = this.device.block(lba);
    switch (fault) {
      case 'none':
        break;
      case 'lost': {
        const before = there.slice();
        this.write(lba);
        there.set(before);
        break;
      }
      case 'stale': {
        const old = this.write(lba).slice();
        this.write(lba);
        this.read(lba);
        there.set(old);
        break;
      }
      case 'torn': {
        const old = this.write(lba).slice();
        this.write(lba);
        there.set(old.subarray(512), 512);
        break;
      }
      case 'late': {
        const lost = this.write(lba, 1).slice();
        this.write(lba, 2);
        // The first attempt of the first write, which was retried, arrives now.
        there.set(lost);
        break;
      }
      case 'misplaced':
        this.write(lba);
        this.device.block(lba + 1).set(there);
        this.read(lba + 1);
        break;
      case 'phantom': {
        const buffer = new Uint8Array(BLOCK);
        this.checker.refuseWrite(this.checker.beginWrite(3, lba, 1, buffer));
        there.set(buffer);
        break;
      }
    }
    this.read(lba);
  }
}

for (const initial of ['zero', 'any'] as const) {
  test(`legal histories are never flagged (initial ${initial})`, (t) => {
    t.diagnostic(`seed ${SEED}`);
    let checked = 0;
    for (let i = 0; i < 60; i++) {
      const simulation = new Simulation(SEED + i, initial);
      for (let step = 0; step < 600; step++) simulation.step();
      simulation.drain();
      for (let lba = 0; lba < BLOCKS; lba++) simulation.read(lba);
      const violation = simulation.checker.violation;
      assert.equal(violation, null, `seed ${SEED + i}: ${violation?.message}\n${violation?.history.join('\n')}`);
      assert.equal(simulation.checker.unjudged, 0);
      checked += simulation.checker.checkedBlocks;
    }
    t.diagnostic(`${checked} blocks checked`);
  });
}

const EXPECTED: Record<Exclude<Fault, 'none'>, RegExp> = {
  lost: /^(stale|unwritten)$/,
  stale: /^stale$/,
  torn: /^torn$/,
  late: /^stale$/,
  misplaced: /^misplaced$/,
  phantom: /^stale$/,
};

for (const fault of Object.keys(EXPECTED) as Exclude<Fault, 'none'>[]) {
  test(`one ${fault} block in a busy history is caught`, (t) => {
    t.diagnostic(`seed ${SEED}`);
    for (let i = 0; i < 30; i++) {
      const simulation = new Simulation(SEED + i);
      const until = simulation.rng.between(0, 300);
      for (let step = 0; step < until; step++) simulation.step();
      simulation.drain();
      simulation.inject(fault);
      const violation = simulation.checker.violation;
      assert.ok(violation !== null, `seed ${SEED + i}: ${fault} was not caught`);
      assert.match(violation.kind, EXPECTED[fault]);
      assert.ok(violation.history.length > 0);
      assert.equal(simulation.checker.violations, 1);
    }
  });
}

test('the report names the writers, in order', () => {
  const checker = new HistoryChecker({ blockSize: 512, run: 1 });
  const first = new Uint8Array(512);
  const second = new Uint8Array(512);
  const a = checker.beginWrite(1, 8, 1, first);
  checker.completeWrite(a);
  const b = checker.beginWrite(2, 8, 1, second);
  checker.completeWrite(b);
  assert.equal(checker.completeRead(checker.beginRead(8, 1), first), false);
  assert.equal(checker.violation?.kind, 'stale');
  assert.match(checker.violation!.message, /^LBA 8: the read returned writer 1 seq 1/);
  assert.deepEqual(checker.violation!.history, [
    '      #1 write begins (writer 1 seq 1), LBA 8',
    '      #2 write completes (writer 1 seq 1), LBA 8, begun at #1',
    '      #3 write begins (writer 2 seq 1), LBA 8',
    '      #4 write completes (writer 2 seq 1), LBA 8, begun at #3',
    '      #5 read begins, LBA 8',
    '      #6 read returns (writer 1 seq 1), LBA 8, begun at #5',
    '   legal: writer 2 seq 1 (there by #4)',
  ]);
});

test('zeroes are legal only where nothing was completed', () => {
  const zeroes = new Uint8Array(BLOCK);
  const checker = new HistoryChecker({ blockSize: BLOCK, run: 1 });
  assert.ok(checker.completeRead(checker.beginRead(0, 1), zeroes));
  const write = checker.beginWrite(1, 0, 1, new Uint8Array(BLOCK));
  assert.ok(checker.completeRead(checker.beginRead(0, 1), zeroes), 'the write is under way');
  checker.completeWrite(write);
  assert.ok(!checker.completeRead(checker.beginRead(0, 1), zeroes));
});

test('what a namespace held before may be anything, but only one thing', () => {
  const checker = new HistoryChecker({ blockSize: BLOCK, run: 1, initial: 'any' });
  assert.ok(checker.completeRead(checker.beginRead(0, 1), new Uint8Array(BLOCK).fill(1)));
  assert.ok(checker.completeRead(checker.beginRead(0, 1), new Uint8Array(BLOCK).fill(1)));
  assert.ok(!checker.completeRead(checker.beginRead(0, 1), new Uint8Array(BLOCK).fill(2)));
});

test('blocks of an earlier run are foreign', () => {
  const old = new Uint8Array(BLOCK);
  new HistoryChecker({ blockSize: BLOCK, run: 1 }).beginWrite(1, 0, 1, old);
  const checker = new HistoryChecker({ blockSize: BLOCK, run: 2 });
  assert.ok(!checker.completeRead(checker.beginRead(0, 1), old));
  assert.equal(checker.violation?.kind, 'unwritten');
});

test('a flipped bit is caught wherever it is', (t) => {
  t.diagnostic(`seed ${SEED}`);
  const rng = new Rng(SEED);
  for (let i = 0; i < 500; i++) {
    const checker = new HistoryChecker({ blockSize: BLOCK, run: 1 });
    const memory = Memory.alloc(BLOCK * 2);
    checker.completeWrite(checker.beginWrite(1, 5, 1, memory, BLOCK));
    memory.bytes[BLOCK + rng.below(BLOCK)]! ^= 1 << rng.below(8);
    assert.ok(!checker.completeRead(checker.beginRead(5, 1), memory, BLOCK), `round ${i}`);
  }
});

test('a hung read does not make memory grow, and what was forgotten is not judged', () => {
  const checker = new HistoryChecker({ blockSize: 512, run: 1 });
  const buffer = new Uint8Array(512);
  const early = new Uint8Array(512);
  const hung = checker.beginRead(0, 1);
  for (let i = 0; i < 5000; i++) {
    checker.completeWrite(checker.beginWrite(1, 0, 1, buffer));
    if (i === 10) early.set(buffer);
  }
  assert.ok(checker.completeRead(hung, early));
  assert.equal(checker.unjudged, 1);
  assert.ok(!checker.completeRead(checker.beginRead(0, 1), early), 'a read that began now is judged');
});

/** Loss of a volatile cache: the model keeps, per block, what the medium holds at least and what came after. */
for (const lose of [false, true]) {
  test(lose ? 'losing a flushed write in a crash is caught' : 'losing unflushed writes in crashes is legal', (t) => {
    t.diagnostic(`seed ${SEED}`);
    for (let i = 0; i < 80; i++) crashStory(new Rng(SEED + i), lose);
  });
}

function crashStory(rng: Rng, lose: boolean): void {
  const checker = new HistoryChecker({ blockSize: 512, run: rng.seed, volatileCache: true });
  /** Per block: the values that may be on the medium, oldest first; the last one is the current one. */
  const medium: Uint8Array[][] = Array.from({ length: 4 }, () => [new Uint8Array(512)]);
  const gone: (Uint8Array | null)[] = [null, null, null, null];
  for (let round = 0; round < 6; round++) {
    for (let step = 0; step < 20; step++) {
      const lba = rng.below(4);
      const values = medium[lba]!;
      if (rng.chance(0.5)) {
        const buffer = new Uint8Array(512);
        const ticket = checker.beginWrite(rng.below(2), lba, 1, buffer);
        const fua = rng.chance(0.2);
        checker.completeWrite(ticket, fua);
        if (fua) gone[lba] = values.at(-1)!;
        if (fua) values.length = 0;
        values.push(buffer);
      } else if (rng.chance(0.2)) {
        checker.completeFlush(checker.beginFlush());
        medium.forEach((all, at) => {
          if (all.length > 1) gone[at] = all.at(-2)!;
          all.splice(0, all.length - 1);
        });
      } else {
        assert.ok(checker.completeRead(checker.beginRead(lba, 1), values.at(-1)!), checker.violation?.message);
      }
    }
    checker.crash();
    for (let lba = 0; lba < 4; lba++) {
      const survivor = rng.pick(medium[lba]!);
      medium[lba] = [survivor];
      if (rng.chance(0.8)) {
        const legal = checker.completeRead(checker.beginRead(lba, 1), survivor);
        assert.ok(legal, `seed ${rng.seed}: ${checker.violation?.message}\n${checker.violation?.history.join('\n')}`);
      }
    }
  }
  if (!lose) return;
  const lba = gone.findIndex((value) => value !== null);
  checker.crash();
  assert.ok(!checker.completeRead(checker.beginRead(lba, 1), gone[lba]!), `seed ${rng.seed}`);
}
