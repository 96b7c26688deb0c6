import { equalBytes, Memory } from '@nvbraid/base';
import { type BackgroundWork, type BlockDevice, type Io, IoOp, IoResult, type OpenOptions } from '../block-device.ts';
import {
  LOCK_SPINS,
  MAX_COMPARE_BYTES,
  MAX_TRANSFER_BYTES,
  OPTIMISTIC_READS,
  ZERO_STEP_BYTES,
  ZERO_WRITE_BYTES,
} from '../limits.ts';
import { BUSY, StripeLocks } from '../stripe-locks.ts';
import type { UncorrectableMarks } from '../uncorrectable-marks.ts';
import { FailureLog } from './failure-log.ts';
import { EAGAIN, EOPNOTSUPP, type FileCalls, wouldWait, ZeroMode } from './file-calls.ts';
import { cannotZero, describe } from './file-errors.ts';
import { FileState, type PreparedFileDevice } from './file-spec.ts';
import { NO_IO, Start, Task } from './file-task.ts';
import { FlushGate } from './flush-gate.ts';
import { openMarks } from './marks-file.ts';
import type { PoolLine } from './pool-line.ts';
import { type ThreadPool, threadPool } from './thread-pool.ts';
import { WaitLine } from './wait-line.ts';

/**
 * One thread's view of a file or block device.
 *
 * Reads of cached data and small writes are system calls in `submit`, since the thread pool would cost several times
 * what they take. (A write into the page cache can be held up by the kernel when too much is dirty, or when it covers
 * part of a page that is not in memory; `asyncWriteBytes: 0` avoids that at the price of the thread pool.) Everything
 * that is sure to wait for a disk runs on the pool: reads of cold data, long writes, fdatasync, fallocate. It takes a
 * place there first, or waits for one (`PoolLine`), which owners of operations share fairly, and holds no stripe
 * while it waits.
 *
 * The kernel does not keep a read whole against a write of the same page. Blocks are kept whole by stripe locks, used
 * as soon as there is anything to collide with: other threads, or an operation of this thread on the pool. A write
 * holds its stripes, a read repeats when they changed. What finds a stripe taken waits in line in its thread, holding
 * nothing; what overlaps something in line gets in line behind it.
 */
export class FileDevice implements BlockDevice {
  readonly blockSize: number;
  readonly blockCount: number;
  readonly readOnly: boolean;
  readonly volatileWriteCache: boolean;
  readonly thin: boolean;
  readonly compareAndWrite: boolean;
  readonly marks: UncorrectableMarks | null;
  readonly memory = null;

  readonly #fd: number;
  readonly #calls: FileCalls;
  readonly #closeFd: () => void;
  readonly #locks: StripeLocks;
  readonly #state: Int32Array;
  readonly #shared: boolean;
  readonly #background: BackgroundWork | null;
  readonly #asyncWriteBytes: number;
  readonly #gate: FlushGate;
  readonly #line: WaitLine;
  readonly #pool: ThreadPool;
  readonly #free: Task[] = [];
  readonly #failures: FailureLog;
  /** False once the file system said that it cannot read without waiting. */
  #readsNow = true;
  /** False once the file system said that it cannot make this kind of zeroes: they are written then. */
  readonly #canZero = [true, true];
  /** Operations that have not called `done` yet. */
  #pending = 0;
  /** Calls on the thread pool that move data. */
  #onPool = 0;
  /** Of these, how many hold stripes. */
  #holding = 0;
  #closed = false;
  #idle: (() => void) | null = null;

  /**
   * @param fd belongs to this thread if several have the device open
   * @param closeFd called last
   * @param pool default: that of this thread
   */
  constructor(
    prepared: PreparedFileDevice,
    fd: number,
    options: OpenOptions,
    calls: FileCalls,
    closeFd: () => void,
    pool = threadPool,
  ) {
    this.blockSize = prepared.blockSize;
    this.blockCount = prepared.blockCount;
    this.readOnly = prepared.readOnly;
    this.volatileWriteCache = prepared.volatileWriteCache;
    this.thin = prepared.thin;
    this.compareAndWrite = prepared.compareAndWrite ?? false;
    this.#fd = fd;
    this.#calls = calls;
    this.#closeFd = closeFd;
    this.#state = new Int32Array(prepared.state, 0, FileState.Locks);
    this.#locks = new StripeLocks(new Int32Array(prepared.state, FileState.Locks * 4), prepared.blockSize);
    this.#shared = options.threads > 1;
    this.#background = options.background ?? null;
    this.#failures = new FailureLog(prepared.path, options.log ?? (() => {}));
    this.marks = openMarks(prepared, options);
    this.#asyncWriteBytes = prepared.asyncWriteBytes;
    this.#line = new WaitLine(
      {
        start: (task) => this.#startTask(task),
        end: (task) => this.#endTask(task, task.io.result),
        abandon: (task) => this.#abandon(task),
      },
      this.#shared,
    );
    this.#gate = new FlushGate(
      (done) => this.#sync(done),
      (io, failed) => this.#finish(io, failed ? IoResult.MediaError : IoResult.Ok),
      pool.data,
    );
    this.#pool = pool;
  }

  submit(io: Io): boolean {
    if (this.#closed) {
      io.result = IoResult.Failed;
      return true;
    }
    let start: Start;
    if (io.op !== IoOp.Flush && this.#line.blocks(io)) {
      start = Start.Busy;
    } else {
      start = this.#start(io, null);
      if (start === Start.Done) return true;
    }
    this.#pending++;
    this.#background?.started();
    if (start === Start.Busy) this.#line.add(this.#takeTask(io));
    return false;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#pending > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    this.#closeFd();
  }

  // ---- starting ----

  /** @param task null for an operation that has not been in line or on the pool */
  #start(io: Io, task: Task | null): Start {
    if (task !== null && io.revoked === true) return this.#over(io, IoResult.Failed);
    switch (io.op) {
      case IoOp.Read:
        return this.#startRead(io, task);
      case IoOp.Write:
        return this.#startWrite(io, task);
      case IoOp.Flush:
        if (this.readOnly) return this.#over(io, IoResult.Ok);
        if (this.#failed) return this.#over(io, IoResult.MediaError);
        this.#gate.add(io);
        return Start.Later;
      case IoOp.CompareAndWrite:
        return this.#startCompareAndWrite(io, task);
      default:
        return this.#startZero(io, task);
    }
  }

  /** Who finds a stripe taken waits for it without a place on the pool. */
  #startTask(t: Task): Start {
    const start = this.#start(t.io, t);
    if (start === Start.Busy) this.#leave(t);
    return start;
  }

  /** A stripe is taken. @param task as given to `#start` */
  #busy(t: Task, task: Task | null): Start {
    if (task === null) this.#giveTask(t);
    return Start.Busy;
  }

  #startRead(io: Io, task: Task | null): Start {
    if (io.length > MAX_TRANSFER_BYTES) return this.#over(io, IoResult.NotSupported);
    const exclusive = task !== null && task.attempts >= OPTIMISTIC_READS;
    let sum = 0;
    if (!exclusive) {
      const guarded = this.#guarded;
      sum = this.#begin(io.offset, io.length);
      if (sum === BUSY) return Start.Busy;
      for (let n = 0; n < OPTIMISTIC_READS && this.#readsNow; n++) {
        const count = this.#calls.readNow(this.#fd, io.memory, io.memoryOffset, io.length, io.offset);
        if (count !== io.length) {
          if (count >= 0 || wouldWait(count)) {
            if (count === EOPNOTSUPP) this.#readsNow = false;
            break;
          }
          return this.#over(io, this.#failures.failure('read', count));
        }
        if (!guarded || this.#locks.unchanged(io.offset, io.length, sum)) return this.#over(io, IoResult.Ok);
        sum = this.#begin(io.offset, io.length);
        if (sum === BUSY) return Start.Busy;
      }
    }
    const t = task ?? this.#takeTask(io);
    if (!this.#place(t, this.#pool.data)) return Start.Later;
    if (exclusive && !this.#lock(io.offset, io.length)) return Start.Busy;
    t.sum = sum;
    t.locked = exclusive;
    t.at = 0;
    this.#toPool(t);
    this.#readLater(t);
    return Start.Later;
  }

  #startWrite(io: Io, task: Task | null): Start {
    if (this.readOnly) return this.#over(io, IoResult.ReadOnly);
    if (this.#failed) return this.#over(io, IoResult.MediaError);
    if (io.length > MAX_TRANSFER_BYTES) return this.#over(io, IoResult.NotSupported);
    if (io.length <= this.#asyncWriteBytes) {
      const guarded = this.#guarded;
      if (guarded && !this.#lock(io.offset, io.length)) return Start.Busy;
      const result = this.#writeNow(io);
      if (guarded) this.#locks.unlock(io.offset, io.length);
      if (result !== IoResult.Ok || !io.fua) return this.#over(io, result);
      if (task !== null) this.#giveTask(task);
      this.#gate.add(io);
      return Start.Later;
    }
    const t = task ?? this.#takeTask(io);
    if (!this.#place(t, this.#pool.data)) return Start.Later;
    if (!this.#lock(io.offset, io.length)) return this.#busy(t, task);
    t.locked = true;
    t.at = 0;
    this.#toPool(t);
    this.#writeLater(t);
    return Start.Later;
  }

  #writeNow(io: Io): IoResult {
    let at = 0;
    while (at < io.length) {
      const count = this.#calls.writeNow(this.#fd, io.memory, io.memoryOffset + at, io.length - at, io.offset + at);
      if (count <= 0) return this.#failures.failure('write', count);
      at += count;
    }
    return IoResult.Ok;
  }

  /** The stripes are held from the first byte read to the last one written, be it here or on the pool. */
  #startCompareAndWrite(io: Io, task: Task | null): Start {
    if (!this.compareAndWrite || io.length > MAX_COMPARE_BYTES) return this.#over(io, IoResult.NotSupported);
    if (this.#failed) return this.#over(io, IoResult.MediaError);
    if (!this.#lock(io.offset, io.length)) return Start.Busy;
    const t = task ?? this.#takeTask(io);
    if (t.blocks === null || t.blocks.length < io.length) t.blocks = Memory.alloc(io.length);
    t.locked = true;
    t.matched = false;
    t.at = 0;
    const now = this.#readsNow && io.length <= this.#asyncWriteBytes;
    const count = now ? this.#calls.readNow(this.#fd, t.blocks, 0, io.length, io.offset) : EAGAIN;
    if (count !== io.length) {
      if (count === EOPNOTSUPP) this.#readsNow = false;
      if (!this.#place(t, this.#pool.data)) {
        t.locked = false;
        this.#locks.unlock(io.offset, io.length);
        return Start.Later;
      }
      this.#toPool(t); // an error shows itself there again
      this.#readBlocksLater(t);
      return Start.Later;
    }
    const result = this.#matches(t) ? this.#writeNow(io) : IoResult.Miscompare;
    this.#locks.unlock(io.offset, io.length);
    t.locked = false;
    const later = result === IoResult.Ok && io.fua;
    if (task === null || later) this.#giveTask(t);
    if (!later) return this.#over(io, result);
    this.#gate.add(io);
    return Start.Later;
  }

  #matches(t: Task): boolean {
    const { io } = t;
    return equalBytes(t.blocks!, 0, io.compare!, io.compareOffset!, io.length);
  }

  #readBlocksLater(t: Task): void {
    const { io, at } = t;
    this.#calls.readLater(this.#fd, t.blocks!, at, io.length - at, io.offset + at, t.done);
  }

  #blocksRead(t: Task, count: number): void {
    const { io } = t;
    if (count > 0 && t.at + count < io.length) {
      t.at += count;
      this.#readBlocksLater(t);
      return;
    }
    if (count > 0 && io.revoked !== true && this.#matches(t)) {
      t.matched = true;
      t.at = 0;
      this.#writeLater(t);
      return;
    }
    this.#fromPool(t, io.offset, io.length);
    if (count > 0) this.#endTask(t, io.revoked === true ? IoResult.Failed : IoResult.Miscompare);
    else {
      if (count === 0) this.#truncated();
      else this.#failures.failure('read', count);
      this.#endTask(t, IoResult.Unreadable);
    }
    this.#line.run();
  }

  #startZero(io: Io, task: Task | null): Start {
    if (this.readOnly) return this.#over(io, IoResult.ReadOnly);
    if (this.#failed) return this.#over(io, IoResult.MediaError);
    if (io.length === 0) return this.#over(io, IoResult.Ok);
    const at = task?.at ?? 0;
    const mode = zeroMode(io);
    const canZero = this.#canZero[mode];
    const step = Math.min(io.length - at, canZero ? ZERO_STEP_BYTES : ZERO_WRITE_BYTES);
    const t = task ?? this.#takeTask(io);
    if (!this.#place(t, canZero ? this.#pool.zero : this.#pool.data)) return Start.Later;
    if (!this.#lock(io.offset + at, step)) return this.#busy(t, task);
    t.at = at;
    t.locked = true;
    t.step = step;
    t.stepAt = 0;
    t.written = !canZero;
    this.#toPool(t);
    if (!t.written) this.#calls.zeroLater(this.#fd, mode, io.offset + at, step, t.done);
    else this.#writeZeroesLater(t);
    return Start.Later;
  }

  // ---- the thread pool ----

  /** Sees to it that the task has a place in that line; false when it will have its turn later. */
  #place(t: Task, line: PoolLine): boolean {
    if (t.placed) return true;
    t.line = line;
    t.placed = t.paid ? line.takeAgain() : line.take(t.owner);
    if (t.placed) t.paid = true;
    else if (t.paid) line.addAgain(t);
    else line.add(t);
    return t.placed;
  }

  /** The task's turn in line for the pool. */
  #turn(t: Task): void {
    t.placed = true;
    t.paid = true;
    // Who has begun to wait for its stripes meanwhile comes first.
    if (t.io.revoked !== true && this.#line.blocks(t.io)) {
      this.#leave(t);
      this.#line.add(t);
    } else this.#restart(t);
  }

  #leave(t: Task): void {
    if (!t.placed) return;
    t.placed = false;
    t.line!.leave();
  }

  #toPool(t: Task): void {
    this.#onPool++;
    if (t.locked) this.#holding++;
  }

  /** Gives the stripes and the place back. */
  #fromPool(t: Task, lockedOffset: number, lockedLength: number): void {
    this.#onPool--;
    if (t.locked) {
      t.locked = false;
      this.#holding--;
      this.#locks.unlock(lockedOffset, lockedLength);
    }
    this.#leave(t);
  }

  #readLater(t: Task): void {
    const { io, at } = t;
    this.#calls.readLater(this.#fd, io.memory, io.memoryOffset + at, io.length - at, io.offset + at, t.done);
  }

  #writeLater(t: Task): void {
    const { io, at } = t;
    this.#calls.writeLater(this.#fd, io.memory, io.memoryOffset + at, io.length - at, io.offset + at, t.done);
  }

  #writeZeroesLater(t: Task): void {
    const position = t.io.offset + t.at + t.stepAt;
    this.#calls.writeLater(this.#fd, zeroes(), 0, t.step - t.stepAt, position, t.done);
  }

  /** A call on the pool is over. @param count bytes, or a negative error number */
  #poolDone(t: Task, count: number): void {
    switch (t.io.op) {
      case IoOp.Read:
        return this.#readDone(t, count);
      case IoOp.Write:
        return this.#writeDone(t, count);
      case IoOp.CompareAndWrite:
        return t.matched ? this.#writeDone(t, count) : this.#blocksRead(t, count);
      default:
        return this.#zeroDone(t, count);
    }
  }

  #readDone(t: Task, count: number): void {
    const { io } = t;
    if (count > 0 && t.at + count < io.length) {
      t.at += count;
      this.#readLater(t);
      return;
    }
    const whole = t.locked || this.#locks.unchanged(io.offset, io.length, t.sum);
    this.#fromPool(t, io.offset, io.length);
    if (count <= 0) {
      // No bytes inside the device: the file was truncated after it was opened.
      this.#endTask(t, count === 0 ? this.#truncated() : this.#failures.failure('read', count));
    } else if (whole) {
      this.#endTask(t, IoResult.Ok);
    } else {
      t.attempts++;
      this.#restart(t);
    }
    this.#line.run();
  }

  #writeDone(t: Task, count: number): void {
    const { io } = t;
    if (count > 0 && t.at + count < io.length) {
      t.at += count;
      this.#writeLater(t);
      return;
    }
    this.#fromPool(t, io.offset, io.length);
    this.#endChange(t, count > 0 ? IoResult.Ok : this.#failures.failure('write', count));
    this.#line.run();
  }

  #zeroDone(t: Task, count: number): void {
    const { io } = t;
    const mode = zeroMode(io);
    if (t.written && count > 0 && t.stepAt + count < t.step) {
      t.stepAt += count;
      this.#writeZeroesLater(t);
      return;
    }
    this.#fromPool(t, io.offset + t.at, t.step);
    if (count < 0 && io.revoked === true) {
      this.#endTask(t, IoResult.Failed);
    } else if (count < 0 && !t.written && cannotZero(count)) {
      this.#canZero[mode] = false;
      t.paid = false;
      this.#restart(t);
    } else if (count < 0 || (t.written && count === 0)) {
      this.#endChange(t, this.#failures.failure('zero', count));
    } else {
      t.at += t.step;
      t.paid = false;
      if (t.at < io.length) this.#restart(t);
      else this.#endChange(t, IoResult.Ok);
    }
    this.#line.run();
  }

  /** Starts again what has been on the pool; it keeps its place before those who came later. */
  #restart(t: Task): void {
    const start = this.#startTask(t);
    if (start === Start.Busy) this.#line.add(t);
    else if (start === Start.Done) this.#endTask(t, t.io.result);
  }

  // ---- stripes ----

  /** True while an operation can be in the way of another. */
  get #guarded(): boolean {
    return this.#shared || this.#onPool > 0;
  }

  #begin(offset: number, length: number): number {
    let sum = this.#locks.begin(offset, length);
    // Another thread's system call is over in microseconds; the pool of this thread may take long.
    if (this.#shared && this.#holding === 0) {
      for (let n = 0; n < LOCK_SPINS && sum === BUSY; n++) sum = this.#locks.begin(offset, length);
    }
    return sum;
  }

  #lock(offset: number, length: number): boolean {
    let taken = this.#locks.tryLock(offset, length);
    if (this.#shared && this.#holding === 0) {
      for (let n = 0; n < LOCK_SPINS && !taken; n++) taken = this.#locks.tryLock(offset, length);
    }
    return taken;
  }

  // ---- ending ----

  #over(io: Io, result: IoResult): Start {
    io.result = result;
    return Start.Done;
  }

  /** A change is in the page cache; with FUA that is not enough. */
  #endChange(t: Task, result: IoResult): void {
    const { io } = t;
    if (result === IoResult.Ok && this.#failed) result = IoResult.MediaError;
    if (result !== IoResult.Ok || !io.fua) {
      this.#endTask(t, result);
      return;
    }
    this.#giveTask(t);
    this.#gate.add(io);
  }

  #endTask(t: Task, result: IoResult): void {
    const { io } = t;
    this.#giveTask(t);
    this.#finish(io, result);
  }

  #finish(io: Io, result: IoResult): void {
    this.#pending--;
    this.#background?.finished();
    io.result = result;
    io.done(io);
    if (this.#pending === 0 && this.#idle !== null) this.#idle();
  }

  #takeTask(io: Io): Task {
    const t =
      this.#free.pop() ??
      new Task(
        (task, count) => this.#poolDone(task, count),
        (task) => this.#turn(task),
      );
    t.io = io;
    t.at = 0;
    t.paid = false;
    t.attempts = 0;
    return t;
  }

  #giveTask(t: Task): void {
    t.io = NO_IO;
    this.#free.push(t);
    this.#leave(t);
  }

  // ---- failing ----

  get #failed(): boolean {
    return Atomics.load(this.#state, FileState.Failed) !== 0;
  }

  #sync(done: (failed: boolean) => void): void {
    this.#calls.syncLater(this.#fd, (error) => {
      if (error !== null && Atomics.exchange(this.#state, FileState.Failed, 1) === 0) {
        // The kernel drops what it could not write and reports that once: a later fdatasync would lie.
        this.#failures.tell(
          `fdatasync failed (${describe(error)}); written blocks may be lost, so the device takes no ` +
            'more writes or flushes until it is opened anew',
        );
      }
      done(error !== null || this.#failed);
    });
  }

  #truncated(): IoResult {
    this.#failures.say('shorter than when it was opened; its end cannot be read');
    return IoResult.MediaError;
  }

  /** Another thread has held the stripes for longer than any system call takes. */
  #abandon(t: Task): void {
    this.#failures.say('a thread died while it wrote; some blocks cannot be used until the device is opened anew');
    t.io.result = IoResult.Failed;
  }
}

let zeroMemory: Memory | null = null;

function zeroes(): Memory {
  zeroMemory ??= Memory.alloc(ZERO_WRITE_BYTES);
  return zeroMemory;
}

function zeroMode(io: Io): ZeroMode {
  return io.op === IoOp.Deallocate || io.deallocate ? ZeroMode.Punch : ZeroMode.Keep;
}
