import { assert, Memory } from '@nvbraid/base';
import { BlockRegister, type BlockValue } from './history/block-register.ts';
import { BlockKind, emptyStamp, readStamp, SECTOR_BYTES, type Stamp, writeStamp } from './history/block-stamp.ts';
import { EventKind, EventLog } from './history/event-log.ts';
import { limits } from './history/limits.ts';

export { BlockKind, emptyStamp, readStamp, type Stamp, writeStamp } from './history/block-stamp.ts';

export interface HistoryOptions {
  /** Bytes, a multiple of 512. */
  readonly blockSize: number;
  /** Any 32-bit number that is new for every run: it tells the blocks of this run from those of earlier ones. */
  readonly run: number;
  /** What the namespace holds before the first write: `zero` everywhere, or `any` content. Default `zero`. */
  readonly initial?: 'zero' | 'any';
  /** True to keep what `crash` needs: writes without FUA may be lost until a Flush. Default false. */
  readonly volatileCache?: boolean;
}

/** A write or zeroing under way. */
export interface WriteTicket {
  readonly slba: number;
  readonly blocks: number;
  readonly begun: number;
  readonly writer: number;
  readonly seq: number;
  /** One per block. */
  readonly values: BlockValue[];
}

/** A read under way. */
export interface ReadTicket {
  readonly slba: number;
  readonly blocks: number;
  readonly begun: number;
}

export interface FlushTicket {
  readonly begun: number;
}

/**
 * - `stale`: the block was overwritten before the read began, or a later value had been seen before: a lost write, a
 *   stale path, or an old command that ran late;
 * - `torn`: pieces of several writes, or a wrong checksum;
 * - `misplaced`: the block belongs to another LBA;
 * - `unwritten`: content that nobody wrote here;
 * - `refused`: a write that was refused has happened.
 */
export type ViolationKind = 'stale' | 'torn' | 'misplaced' | 'unwritten' | 'refused';

export interface Violation {
  readonly kind: ViolationKind;
  readonly lba: number;
  /** One sentence. */
  readonly message: string;
  /** What happened to the block, oldest first: the last events, then what a read could legally have returned. */
  readonly history: readonly string[];
}

/**
 * Checks that a namespace behaves like one: whatever paths, controllers and processes stand between, each block is an
 * atomic register. Announce every operation before it is submitted (`begin…`) and after its end is known
 * (`complete…`, `fail…`, …). Writes are stamped by `beginWrite`, reads are judged by `completeRead`.
 *
 * A read must return the last completed write or one that was under way; two reads one after the other must not go
 * back. A write that failed may or may not have happened, but not later than its failure was reported, unless it was
 * said that it `mayStillRun`. A legal history is never flagged; apart from content that is overwritten before anybody
 * reads it, an illegal one always is (but see `unjudged`).
 */
export class HistoryChecker {
  readonly blockSize: number;
  readonly run: number;
  /** The first violation. */
  violation: Violation | null = null;
  violations = 0;
  /** Blocks read and judged. */
  checkedBlocks = 0;
  /** Blocks read whose value could not be judged, since a hung operation had made the history too long to keep. */
  unjudged = 0;
  readonly #initialZero: boolean;
  readonly #volatileCache: boolean;
  readonly #blocks = new Map<number, BlockRegister>();
  readonly #seq = new Map<number, number>();
  readonly #log = new EventLog(limits.eventsKept);
  readonly #stamp: Stamp = emptyStamp();
  #tick = 0;
  #flushed = 0;

  constructor(options: HistoryOptions) {
    assert(options.blockSize > 0 && options.blockSize % SECTOR_BYTES === 0, 'block size must be a multiple of 512');
    this.blockSize = options.blockSize;
    this.run = options.run >>> 0;
    this.#initialZero = options.initial !== 'any';
    this.#volatileCache = options.volatileCache === true;
  }

  /** Stamps `blocks` blocks at `offset` of `memory`, which are then to be written to `slba`. */
  beginWrite(writer: number, slba: number, blocks: number, memory: Memory | Uint8Array, offset = 0): WriteTicket {
    const into = memory instanceof Memory ? memory : Memory.over(memory);
    const ticket = this.#begin(writer, slba, blocks, false);
    for (let i = 0; i < blocks; i++) {
      writeStamp(into, offset + i * this.blockSize, this.blockSize, this.run, writer, ticket.seq, slba + i);
    }
    return ticket;
  }

  /** A Write Zeroes, or a Deallocate of a namespace whose deallocated blocks read as zeroes. */
  beginZeroes(writer: number, slba: number, blocks: number): WriteTicket {
    return this.#begin(writer, slba, blocks, true);
  }

  /** The write was acknowledged. `fua`: it had Force Unit Access. */
  completeWrite(ticket: WriteTicket, fua = false): void {
    const tick = this.#endWrite(ticket, EventKind.WriteCompletes);
    for (let i = 0; i < ticket.blocks; i++) {
      const value = ticket.values[i]!;
      value.first = Math.min(value.first, tick);
      value.certain = true;
      value.completed = tick;
      if (fua) value.stable = true;
      this.#prune(ticket.slba + i);
    }
  }

  /**
   * The write ended without an answer, or with an error: any of its blocks may have been written, or not.
   * @param mayStillRun true when the controller may run it even later, until `settleWrite`: the connection is gone,
   *   but nothing makes sure yet that the controller has stopped. Costs memory until then.
   */
  failWrite(ticket: WriteTicket, mayStillRun = false): void {
    const tick = this.#endWrite(ticket, EventKind.WriteFails);
    if (!mayStillRun) this.#close(ticket, tick);
  }

  /** From now on a write that failed with `mayStillRun` has happened or never will. */
  settleWrite(ticket: WriteTicket): void {
    const tick = ++this.#tick;
    this.#log.add(tick, EventKind.WriteSettled, ticket.slba, ticket.blocks, ticket.writer, ticket.seq, ticket.begun);
    this.#close(ticket, tick);
  }

  /** The write was answered with a status that promises that nothing was written. */
  refuseWrite(ticket: WriteTicket): void {
    this.#endWrite(ticket, EventKind.WriteRefused);
    for (let i = 0; i < ticket.blocks; i++) {
      const lba = ticket.slba + i;
      const value = ticket.values[i]!;
      const register = this.#register(lba);
      if (value.certain && !value.zero) {
        this.#flag('refused', lba, `${nameOf(value)} was refused, but a read had returned it`);
      }
      register.remove(value);
      this.#prune(lba);
    }
  }

  beginRead(slba: number, blocks: number): ReadTicket {
    const begun = ++this.#tick;
    for (let i = 0; i < blocks; i++) this.#register(slba + i).begin(begun);
    this.#log.add(begun, EventKind.ReadBegins, slba, blocks, -1, 0, begun);
    return { slba, blocks, begun };
  }

  /** Judges what the read brought. Answers false when it, or one before it, was not legal. */
  completeRead(ticket: ReadTicket, memory: Memory | Uint8Array, offset = 0): boolean {
    const from = memory instanceof Memory ? memory : Memory.over(memory);
    const tick = ++this.#tick;
    for (let i = 0; i < ticket.blocks; i++) {
      const lba = ticket.slba + i;
      const register = this.#register(lba);
      register.end(ticket.begun);
      const stamp = readStamp(from, offset + i * this.blockSize, this.blockSize, this.run, this.#stamp);
      const own = stamp.kind === BlockKind.Stamped || stamp.kind === BlockKind.Torn;
      this.#log.add(tick, EventKind.ReadReturns, lba, 1, own ? stamp.writer : -1, stamp.seq, ticket.begun);
      this.checkedBlocks++;
      this.#judge(register, lba, stamp, ticket.begun, tick);
      this.#prune(lba);
    }
    return this.violation === null;
  }

  /** The read ended without data: it says nothing. */
  failRead(ticket: ReadTicket): void {
    const tick = ++this.#tick;
    this.#log.add(tick, EventKind.ReadFails, ticket.slba, ticket.blocks, -1, 0, ticket.begun);
    for (let i = 0; i < ticket.blocks; i++) {
      this.#register(ticket.slba + i).end(ticket.begun);
      this.#prune(ticket.slba + i);
    }
  }

  beginFlush(): FlushTicket {
    return { begun: ++this.#tick };
  }

  /** The flush was acknowledged: what was completed before it began survives a crash. */
  completeFlush(ticket: FlushTicket): void {
    const tick = ++this.#tick;
    this.#flushed = Math.max(this.#flushed, ticket.begun);
    this.#log.add(tick, EventKind.FlushCompletes, 0, 0, -1, 0, ticket.begun);
  }

  /**
   * The device lost its volatile cache: each block holds one of the values that may have been on the medium. Needs
   * `volatileCache`. Operations under way must be failed before (they happened or not) and none may run across it.
   */
  crash(): void {
    assert(this.#volatileCache, 'crash() needs the option volatileCache');
    const tick = ++this.#tick;
    this.#log.add(tick, EventKind.Crash, 0, 0, -1, 0, tick);
    for (const [lba, register] of this.#blocks) {
      assert(!register.busy, `operations are under way at LBA ${lba}`);
      register.crash(tick, this.#flushed);
    }
  }

  #begin(writer: number, slba: number, blocks: number, zero: boolean): WriteTicket {
    const begun = ++this.#tick;
    const seq = (this.#seq.get(writer) ?? 0) + 1;
    this.#seq.set(writer, seq);
    const values: BlockValue[] = [];
    const stamp = { writer, seq };
    for (let i = 0; i < blocks; i++) {
      const register = this.#register(slba + i);
      const value: BlockValue = {
        stamp,
        zero,
        first: Number.POSITIVE_INFINITY,
        last: begun,
        certain: false,
        completed: Number.POSITIVE_INFINITY,
        stable: false,
        digest: null,
      };
      register.begin(begun);
      register.add(value);
      values.push(value);
    }
    this.#log.add(begun, zero ? EventKind.ZeroesBegin : EventKind.WriteBegins, slba, blocks, writer, seq, begun);
    return { slba, blocks, begun, writer, seq, values };
  }

  #endWrite(ticket: WriteTicket, kind: EventKind): number {
    const tick = ++this.#tick;
    this.#log.add(tick, kind, ticket.slba, ticket.blocks, ticket.writer, ticket.seq, ticket.begun);
    for (let i = 0; i < ticket.blocks; i++) this.#register(ticket.slba + i).end(ticket.begun);
    return tick;
  }

  /** The write has happened before `tick` or never will. */
  #close(ticket: WriteTicket, tick: number): void {
    for (let i = 0; i < ticket.blocks; i++) {
      const value = ticket.values[i]!;
      value.first = Math.min(value.first, tick);
      this.#prune(ticket.slba + i);
    }
  }

  #register(lba: number): BlockRegister {
    let register = this.#blocks.get(lba);
    if (register === undefined) {
      register = new BlockRegister(this.#initialZero);
      this.#blocks.set(lba, register);
    }
    return register;
  }

  #prune(lba: number): void {
    const stableBefore = this.#volatileCache ? this.#flushed : Number.POSITIVE_INFINITY;
    this.#register(lba).prune(this.#tick, stableBefore, limits.valuesPerBlock);
  }

  #judge(register: BlockRegister, lba: number, stamp: Stamp, start: number, end: number): void {
    switch (stamp.kind) {
      case BlockKind.Torn:
        this.#flag('torn', lba, `the block is torn: ${stamp.detail}`);
        return;
      case BlockKind.Stamped:
        this.#judgeStamped(register, lba, stamp, start, end);
        return;
      default:
        this.#judgeAnonymous(register, lba, stamp, start, end);
    }
  }

  #judgeStamped(register: BlockRegister, lba: number, stamp: Stamp, start: number, end: number): void {
    const name = `writer ${stamp.writer} seq ${stamp.seq}`;
    if (stamp.lba !== lba) {
      this.#flag('misplaced', lba, `the block holds what ${name} wrote to LBA ${stamp.lba}`);
      return;
    }
    const value = register.find(stamp.writer, stamp.seq);
    if (value === null) {
      if (start < register.forgottenUntil) {
        this.unjudged++;
        return;
      }
      const issued = stamp.seq > 0 && stamp.seq <= (this.#seq.get(stamp.writer) ?? 0);
      if (issued) this.#flag('stale', lba, `the read returned ${name}, which had been overwritten before it began`);
      else this.#flag('unwritten', lba, `the read returned ${name}, which was never written`);
      return;
    }
    const conflict = register.conflict(value, start, end);
    if (conflict !== null) {
      this.#flag('stale', lba, `the read returned ${name}, which ${nameOf(conflict)} had replaced`);
      return;
    }
    register.observe(value, start, end);
  }

  /** Zeroes and foreign content do not say whose they are: only when one value alone can explain them it is noted. */
  #judgeAnonymous(register: BlockRegister, lba: number, stamp: Stamp, start: number, end: number): void {
    const zero = stamp.kind === BlockKind.Zero;
    let explanations = 0;
    let only: BlockValue | null = null;
    for (const value of register.values) {
      const matches = value.zero ? zero : value.stamp === null && (value.digest ?? stamp.digest) === stamp.digest;
      if (!matches || register.conflict(value, start, end) !== null) continue;
      explanations++;
      only = value;
    }
    if (explanations === 0) {
      if (start < register.forgottenUntil) {
        this.unjudged++;
        return;
      }
      const what = zero ? 'zeroes' : 'something that was not written by this run';
      const kind = zero || !this.#initialZero ? 'stale' : 'unwritten';
      this.#flag(kind, lba, `the read returned ${what}, which cannot be there any more`);
      return;
    }
    if (explanations > 1) return;
    register.observe(only!, start, end);
    if (!only!.zero) only!.digest = stamp.digest;
  }

  #flag(kind: ViolationKind, lba: number, what: string): void {
    this.violations++;
    if (this.violation !== null) return;
    const register = this.#register(lba);
    const history = this.#log.linesOf(lba, limits.eventsInReport);
    for (const value of register.values.slice(-limits.valuesInReport)) {
      const sure = value.certain ? `there by #${value.first}` : 'written or not';
      history.push(`   legal: ${nameOf(value)} (${sure})`);
    }
    this.violation = { kind, lba, message: `LBA ${lba}: ${what}`, history };
  }
}

function nameOf(value: BlockValue): string {
  if (value.stamp === null) return value.zero ? 'the zeroes of the beginning' : 'the content of the beginning';
  const name = `writer ${value.stamp.writer} seq ${value.stamp.seq}`;
  return value.zero ? `zeroes by ${name}` : name;
}
