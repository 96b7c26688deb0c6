import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@nvbraid/base';
import { HistoryChecker, type ReadTicket, type WriteTicket } from '../src/history.ts';

/*
 * The checker against a judge that knows nothing of its method: small random histories of one block, legal and illegal
 * ones, each tried in every order. Both must say the same after every event.
 */
const SEED = 20261122;
const HISTORIES = 1500;
const BLOCK = 512;

interface Op {
  kind: 'read' | 'write';
  /** Of a write: its number. Of a read: the number it returned; 0 is the beginning. */
  value: number;
  start: number;
  end: number;
  /** May be left out: it failed, or is under way. */
  optional: boolean;
}

/** Is there an order of the operations that respects time and explains every read? */
function linearizable(ops: readonly Op[], from = 0, done = 0): boolean {
  let open = false;
  let earliestEnd = Number.POSITIVE_INFINITY;
  for (let i = 0; i < ops.length; i++) {
    if (done & (1 << i)) continue;
    if (!ops[i]!.optional) open = true;
    // Only an operation that must happen forces those that begin after its end to come later.
    if (!ops[i]!.optional) earliestEnd = Math.min(earliestEnd, ops[i]!.end);
  }
  if (!open) return true;
  for (let i = 0; i < ops.length; i++) {
    const op = ops[i]!;
    if (done & (1 << i) || op.start > earliestEnd) continue;
    if (op.kind === 'read' && op.value !== from) continue;
    // An optional write may happen only before its own end: everything that began after it is still open.
    if (op.optional && ops.some((other, j) => done & (1 << j) && other.start > op.end)) continue;
    if (linearizable(ops, op.kind === 'write' ? op.value : from, done | (1 << i))) return true;
  }
  return false;
}

interface UnderWay {
  op: Op;
  read: ReadTicket | null;
  write: WriteTicket | null;
  settled: boolean;
}

class Story {
  readonly rng: Rng;
  readonly checker: HistoryChecker;
  readonly ops: Op[] = [];
  readonly running: UnderWay[] = [];
  readonly unsettled: UnderWay[] = [];
  readonly blocks: Uint8Array[] = [new Uint8Array(BLOCK)];
  readonly writes: Op[] = [];
  tick = 0;

  constructor(rng: Rng, initial: 'zero' | 'any') {
    this.rng = rng;
    this.checker = new HistoryChecker({ blockSize: BLOCK, run: 7, initial });
    if (initial === 'any') this.blocks[0] = new Uint8Array(BLOCK).fill(0x5a);
  }

  begin(): void {
    const start = ++this.tick;
    if (this.rng.chance(0.45)) {
      const buffer = new Uint8Array(BLOCK);
      const write = this.checker.beginWrite(this.rng.below(3), 0, 1, buffer);
      this.blocks.push(buffer);
      const op: Op = {
        kind: 'write',
        value: this.blocks.length - 1,
        start,
        end: Number.POSITIVE_INFINITY,
        optional: true,
      };
      this.ops.push(op);
      this.writes.push(op);
      this.running.push({ op, read: null, write, settled: false });
    } else {
      const op: Op = { kind: 'read', value: 0, start, end: Number.POSITIVE_INFINITY, optional: true };
      this.running.push({ op, read: this.checker.beginRead(0, 1), write: null, settled: false });
    }
  }

  end(): void {
    const at = this.rng.below(this.running.length);
    const [entry] = this.running.splice(at, 1) as [UnderWay];
    const end = ++this.tick;
    if (entry.read !== null) {
      if (this.rng.chance(0.05)) {
        this.checker.failRead(entry.read);
        return;
      }
      // Mostly something recent, so that both legal and illegal histories are common.
      const newest = this.blocks.length - 1;
      entry.op.value = Math.max(0, newest - this.rng.below(Math.min(4, newest + 1)));
      entry.op.end = end;
      entry.op.optional = false;
      this.ops.push(entry.op);
      this.checker.completeRead(entry.read, this.blocks[entry.op.value]!);
    } else {
      this.endWrite(entry, end);
    }
  }

  endWrite(entry: UnderWay, end: number): void {
    const how = this.rng.below(10);
    if (how === 0) {
      entry.op.end = end;
      this.checker.failWrite(entry.write!);
    } else if (how === 1) {
      this.checker.failWrite(entry.write!, true);
      this.unsettled.push(entry);
    } else if (how === 2) {
      this.ops.splice(this.ops.indexOf(entry.op), 1);
      this.checker.refuseWrite(entry.write!);
    } else {
      entry.op.end = end;
      entry.op.optional = false;
      this.checker.completeWrite(entry.write!);
    }
  }

  settle(): void {
    const entry = this.unsettled.pop()!;
    entry.op.end = ++this.tick;
    this.checker.settleWrite(entry.write!);
  }

  step(): void {
    if (this.unsettled.length > 0 && this.rng.chance(0.2)) this.settle();
    else if (this.running.length > 0 && (this.running.length === 4 || this.rng.chance(0.5))) this.end();
    else this.begin();
  }
}

for (const initial of ['zero', 'any'] as const) {
  test(`the checker agrees with trying every order (initial ${initial})`, (t) => {
    t.diagnostic(`seed ${SEED}`);
    let legal = 0;
    let illegal = 0;
    for (let i = 0; i < HISTORIES; i++) {
      const story = new Story(new Rng(SEED + i), initial);
      const steps = 6 + story.rng.below(20);
      for (let step = 0; step < steps && story.ops.length < 12; step++) {
        story.step();
        const known = linearizable(story.ops);
        assert.equal(
          story.checker.violation === null,
          known,
          `seed ${SEED + i}, step ${step}: ${JSON.stringify(story.ops)}\n${story.checker.violation?.message}\n${story.checker.violation?.history.join('\n')}`,
        );
        if (!known) break;
      }
      if (story.checker.violation === null) legal++;
      else illegal++;
    }
    t.diagnostic(`${legal} legal histories, ${illegal} illegal ones`);
    assert.ok(legal > HISTORIES / 20 && illegal > HISTORIES / 20);
  });
}
