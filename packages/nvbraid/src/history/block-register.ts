/*
 * One block, judged as an atomic register: every operation on it must seem to happen at one instant between its start
 * and its end. Since each write leaves a value of its own, a history is legal exactly when the values can be put into
 * an order (Gibbons and Korach, "Testing shared memories", 1997). For each value that was certainly there keep
 *
 *   first   the earliest end of an operation that wrote or returned it: it was there by then;
 *   last    the latest start of such an operation: it was still there, or came, after that.
 *
 * "a before b" is forced when `a.first < b.last`. The history is legal as long as no two values are forced both ways.
 * Time is the checker's own count of events, so starts and ends never tie.
 */
/** What one write left, or may have left, in a block. */
export interface BlockValue {
  /** Null for what the block held at the beginning. */
  readonly stamp: { readonly writer: number; readonly seq: number } | null;
  /** Zeroes: by Write Zeroes or Deallocate, or at the beginning. They cannot tell whose they are. */
  readonly zero: boolean;
  first: number;
  last: number;
  /** It was certainly there: the write completed, or somebody read it. */
  certain: boolean;
  /** When the write was acknowledged. */
  completed: number;
  /** A crash cannot take it back: FUA, or already seen after a crash. */
  stable: boolean;
  /** CRC32C of what the block held at the beginning, once a read has shown it. */
  digest: number | null;
}

export class BlockRegister {
  /** Every value that a legal read may still return, oldest first. */
  readonly values: BlockValue[] = [];
  /** Start ticks of the operations under way. */
  readonly #underWay: number[] = [];
  /**
   * Reads that began before this tick cannot be judged when they return a value that is not in `values`: it had to be
   * forgotten to bound memory.
   */
  forgottenUntil = -1;
  lossy = false;

  /** @param zero true when the block is known to hold zeroes at the beginning. */
  constructor(zero: boolean) {
    this.values.push({
      stamp: null,
      zero,
      first: 0,
      last: 0,
      certain: true,
      completed: 0,
      stable: true,
      digest: null,
    });
  }

  get busy(): boolean {
    return this.#underWay.length > 0;
  }

  begin(tick: number): void {
    this.#underWay.push(tick);
  }

  end(tick: number): void {
    const at = this.#underWay.indexOf(tick);
    if (at >= 0) this.#underWay.splice(at, 1);
  }

  add(value: BlockValue): void {
    this.values.push(value);
  }

  remove(value: BlockValue): void {
    const at = this.values.indexOf(value);
    if (at >= 0) this.values.splice(at, 1);
  }

  find(writer: number, seq: number): BlockValue | null {
    for (const value of this.values) {
      if (value.stamp !== null && value.stamp.seq === seq && value.stamp.writer === writer) return value;
    }
    return null;
  }

  /**
   * The value that makes it impossible that `value` was returned by a read from `start` to `end`: it was forced to
   * come both before and after. Null when the read is legal.
   */
  conflict(value: BlockValue, start: number, end: number): BlockValue | null {
    const first = Math.min(value.first, end);
    const last = Math.max(value.last, start);
    for (const other of this.values) {
      if (other !== value && other.certain && other.first < last && first < other.last) return other;
    }
    return null;
  }

  /** Takes note that a read from `start` to `end` returned `value`. */
  observe(value: BlockValue, start: number, end: number): void {
    value.first = Math.min(value.first, end);
    value.last = Math.max(value.last, start);
    value.certain = true;
  }

  /**
   * Forgets the values that no legal read can return any more: something else was there after them and before the
   * start of every operation that is under way or still to come.
   * @param stableBefore with a volatile cache: a crash may bring back what was overwritten by writes that completed
   *   after this tick. Infinity without.
   */
  prune(now: number, stableBefore: number, maxValues: number): void {
    if (this.values.length < 2) return;
    let oldest = now + 1;
    for (const start of this.#underWay) if (start < oldest) oldest = start;
    this.#dropOverwritten(oldest, stableBefore);
    if (this.values.length > maxValues) {
      const before = this.values.length;
      this.#dropOverwritten(now + 1, Number.POSITIVE_INFINITY);
      if (this.values.length < before) {
        this.forgottenUntil = now;
        this.lossy = true;
      }
    } else if (this.values.length === 1 && this.values[0]!.certain && !this.busy) {
      this.lossy = false;
      if (this.forgottenUntil === Number.POSITIVE_INFINITY) this.forgottenUntil = now;
    }
  }

  /**
   * A crash of a device with a volatile cache: of all values that may have been on the medium exactly one is there
   * now. Operations under way have happened or not.
   */
  crash(now: number, stableBefore: number): void {
    this.#dropOverwritten(now + 1, stableBefore);
    for (const value of this.values) {
      value.first = now;
      value.last = now;
      value.certain = false;
      value.completed = now;
      value.stable = true;
    }
    if (this.lossy) this.forgottenUntil = Number.POSITIVE_INFINITY;
  }

  #dropOverwritten(oldest: number, stableBefore: number): void {
    // The latest `last` among the values that count, and who has it: no value overwrites itself.
    let latest = -1;
    let second = -1;
    let holder: BlockValue | null = null;
    for (const value of this.values) {
      if (!value.certain || value.first >= oldest) continue;
      if (!value.stable && value.completed > stableBefore) continue;
      if (value.last > latest) {
        second = latest;
        latest = value.last;
        holder = value;
      } else if (value.last > second) {
        second = value.last;
      }
    }
    let kept = 0;
    for (const value of this.values) {
      const overwritten = value.first < (value === holder ? second : latest);
      if (!overwritten) this.values[kept++] = value;
    }
    this.values.length = kept;
  }
}
