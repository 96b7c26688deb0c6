import { type BackgroundWork, IoResult } from './block-device.ts';
import { LOCK_SPINS, MAX_MARKS, WAIT_RETRIES, WAIT_RETRY_MS } from './limits.ts';

/** First byte and the one behind the last, ascending, with gaps between them. */
export type MarkedRanges = readonly (readonly [start: number, end: number])[];

/** Makes the marks survive; fulfilled when they do. */
export type SaveMarks = (ranges: MarkedRanges) => Promise<void>;

/** Words before the tables. */
const COUNT = 0;
const GENERATION = 1;
const LOCK = 2;
/** Ranges in each of the two tables. */
const LENGTHS = 3;
const TABLES_AT = 64;
const TABLE_NUMBERS = 2 * MAX_MARKS;

/** What several threads share of a device's marks: no mark at first. */
export function marksBuffer(): SharedArrayBuffer {
  return new SharedArrayBuffer(TABLES_AT + 2 * TABLE_NUMBERS * 8);
}

/**
 * The blocks that Write Uncorrectable has marked: they cannot be read until they are written. Seen by all threads at
 * once; a thread that reads or writes looks at one word (`any`) as long as there are none.
 *
 * The list lies in two tables of shared memory, of which the generation says which one counts. A change is made by one
 * thread at a time, in this order: the new list is saved, then put into the other table, then the generation is raised.
 * So what a thread sees of the list is never half changed, and never something that a crash would undo.
 *
 * Whoever writes marked blocks must have the data on stable storage before it calls `clear`, and must not answer before
 * `clear` has ended. Then, if the power fails,
 * - before the list was saved, the blocks are still marked, and nobody was told that the write had succeeded;
 * - after it, the new data is there. Were the mark taken away first, blocks could come back as readable that hold what
 *   they held before they were marked, or worse.
 * A write that has been answered is never turned into an error, because its marks were gone before.
 */
export class UncorrectableMarks {
  readonly #words: Int32Array;
  readonly #tables: readonly [Float64Array, Float64Array];
  readonly #blockSize: number;
  readonly #save: SaveMarks | null;
  readonly #background: BackgroundWork | null;
  /** Changes of this thread, one after the other. */
  readonly #changes: Change[] = [];
  #changing = false;

  /** @param save null: the marks end with the process, as the blocks do */
  constructor(
    buffer: SharedArrayBuffer,
    blockSize: number,
    save: SaveMarks | null = null,
    background?: BackgroundWork,
  ) {
    this.#words = new Int32Array(buffer, 0, TABLES_AT / 4);
    this.#tables = [
      new Float64Array(buffer, TABLES_AT, TABLE_NUMBERS),
      new Float64Array(buffer, TABLES_AT + TABLE_NUMBERS * 8, TABLE_NUMBERS),
    ];
    this.#blockSize = blockSize;
    this.#save = save;
    this.#background = background ?? null;
  }

  /** Whether there is any mark: one load, for the way of every command. */
  get any(): boolean {
    return this.#words[COUNT] !== 0;
  }

  /** Whether a byte of the range is marked. */
  overlaps(offset: number, length: number): boolean {
    for (;;) {
      const generation = Atomics.load(this.#words, GENERATION);
      const at = this.#firstBehind(generation, offset);
      const found = at < this.#length(generation) && this.#table(generation)[2 * at]! < offset + length;
      // A table is written again two generations later at the earliest.
      if (this.#unchanged(generation)) return found && length > 0;
    }
  }

  /** The marked parts of a range, at most `limit` of them. */
  within(offset: number, length: number, limit = MAX_MARKS): [start: number, end: number][] {
    for (;;) {
      const generation = Atomics.load(this.#words, GENERATION);
      const table = this.#table(generation);
      const found: [number, number][] = [];
      for (let at = this.#firstBehind(generation, offset); at < this.#length(generation); at++) {
        const start = table[2 * at]!;
        if (start >= offset + length || found.length === limit) break;
        found.push([Math.max(start, offset), Math.min(table[2 * at + 1]!, offset + length)]);
      }
      if (this.#unchanged(generation)) return found;
    }
  }

  /** Marks a range of whole blocks. NoSpace: there are too many marks. MediaError: they could not be saved. */
  mark(offset: number, length: number, done: (result: IoResult) => void): void {
    this.#change({ offset, length, marking: true, done });
  }

  /** Takes the marks from a range whose new data is on stable storage. */
  clear(offset: number, length: number, done: (result: IoResult) => void): void {
    this.#change({ offset, length, marking: false, done });
  }

  /** Puts in what was saved by another process, before any thread works with it. False: there are too many. */
  load(ranges: MarkedRanges): boolean {
    if (ranges.length > MAX_MARKS) return false;
    this.#publish(ranges);
    return true;
  }

  // ---- changes ----

  #change(change: Change): void {
    this.#changes.push(change);
    if (this.#changing) return;
    this.#changing = true;
    this.#background?.started();
    void this.#run();
  }

  async #run(): Promise<void> {
    for (let change = this.#changes.shift(); change !== undefined; change = this.#changes.shift()) {
      let result: IoResult = IoResult.Failed;
      if (await this.#lock()) {
        result = await this.#apply(change);
        Atomics.store(this.#words, LOCK, 0);
      }
      if (this.#changes.length === 0) {
        this.#changing = false;
        this.#background?.finished();
        change.done(result);
        return;
      }
      change.done(result);
    }
  }

  /** False when the thread that holds it has held it for longer than any disk takes: it has died. */
  async #lock(): Promise<boolean> {
    for (let n = 0; n < LOCK_SPINS + WAIT_RETRIES; n++) {
      if (Atomics.compareExchange(this.#words, LOCK, 0, 1) === 0) return true;
      if (n >= LOCK_SPINS) await new Promise((resolve) => setTimeout(resolve, WAIT_RETRY_MS));
    }
    return false;
  }

  async #apply(change: Change): Promise<IoResult> {
    const before = this.within(0, Number.MAX_SAFE_INTEGER);
    const after = change.marking ? withRange(before, change) : withoutRange(before, change);
    if (change.marking ? this.#cost(after) > MAX_MARKS : after.length > MAX_MARKS) return IoResult.NoSpace;
    if (this.#save !== null) {
      try {
        await this.#save(after);
      } catch {
        return IoResult.MediaError; // `save` has said why
      }
    }
    this.#publish(after);
    return IoResult.Ok;
  }

  /** Ranges that a list can become by taking blocks away: so that taking away never fails for want of room. */
  #cost(ranges: MarkedRanges): number {
    let cost = 0;
    for (const [start, end] of ranges) cost += Math.ceil((end - start) / this.#blockSize / 2);
    return cost;
  }

  #publish(ranges: MarkedRanges): void {
    const next = (this.#words[GENERATION]! + 1) | 0;
    const table = this.#table(next);
    for (const [i, [start, end]] of ranges.entries()) {
      table[2 * i] = start;
      table[2 * i + 1] = end;
    }
    this.#words[LENGTHS + (next & 1)] = ranges.length;
    Atomics.store(this.#words, GENERATION, next);
    Atomics.store(this.#words, COUNT, ranges.length);
  }

  // ---- looking ----

  /** An exchange, since the reads before a load alone may be delayed past it. */
  #unchanged(generation: number): boolean {
    return Atomics.compareExchange(this.#words, GENERATION, generation, generation) === generation;
  }

  #table(generation: number): Float64Array {
    return this.#tables[(generation & 1) as 0 | 1];
  }

  #length(generation: number): number {
    return this.#words[LENGTHS + (generation & 1)]!;
  }

  /** The first range that ends behind `offset`. */
  #firstBehind(generation: number, offset: number): number {
    const table = this.#table(generation);
    let low = 0;
    let high = this.#length(generation);
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (table[2 * middle + 1]! > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

interface Change {
  readonly offset: number;
  readonly length: number;
  readonly marking: boolean;
  readonly done: (result: IoResult) => void;
}

function withRange(ranges: MarkedRanges, { offset, length }: Change): MarkedRanges {
  let start = offset;
  let end = offset + length;
  const before = ranges.filter((range) => range[1] < start);
  const behind = ranges.filter((range) => range[0] > end);
  for (const range of ranges) {
    if (range[1] < offset || range[0] > offset + length) continue;
    start = Math.min(start, range[0]);
    end = Math.max(end, range[1]);
  }
  return [...before, [start, end], ...behind];
}

function withoutRange(ranges: MarkedRanges, { offset, length }: Change): MarkedRanges {
  const end = offset + length;
  return ranges.flatMap((range) => {
    if (range[1] <= offset || range[0] >= end) return [range];
    const left: [number, number][] = [];
    if (range[0] < offset) left.push([range[0], offset]);
    if (range[1] > end) left.push([end, range[1]]);
    return left;
  });
}
