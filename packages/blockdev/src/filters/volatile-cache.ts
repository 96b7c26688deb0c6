import { equalBytes, Memory, NvbraidError, Ring, Rng } from '@nvbraid/base';
import { type BlockDevice, type DeviceSpec, type Io, IoOp, IoResult } from '../block-device.ts';
import { MAX_COMPARE_BYTES, MAX_TRANSFER_BYTES, VOLATILE_CACHE_BLOCKS, WRITE_BACK_BYTES } from '../limits.ts';
import { Filter, type FilterKind, type FilterSpec, LowerIo, type PreparedFilter } from './filter.ts';

export interface VolatileCacheSpec extends FilterSpec {
  readonly kind: 'volatile-cache';
  /** Blocks that the cache holds before it writes back by itself. */
  readonly maxBlocks: number;
}

/**
 * A volatile write cache over another device, with a power failure at hand: see VolatileCache. For one thread only.
 * @throws NvbraidError EINVAL
 */
export function volatileCache(lower: DeviceSpec, options: { maxBlocks?: number } = {}): VolatileCacheSpec {
  const { maxBlocks = VOLATILE_CACHE_BLOCKS } = options;
  if (!Number.isSafeInteger(maxBlocks) || maxBlocks < 1 || maxBlocks > VOLATILE_CACHE_BLOCKS) {
    throw new NvbraidError(
      'EINVAL',
      `volatile cache: maxBlocks ${maxBlocks} is not from 1 to ${VOLATILE_CACHE_BLOCKS}`,
    );
  }
  return { kind: 'volatile-cache', lower, maxBlocks };
}

export const VOLATILE_CACHE: FilterKind = {
  changes: { volatileWriteCache: true },
  oneThread: true,
  open(prepared: PreparedFilter, lower: BlockDevice): BlockDevice {
    return new VolatileCache(prepared, (prepared as PreparedFilter & VolatileCacheSpec).maxBlocks, lower);
  },
};

export interface CrashOptions {
  /** Probability that a block survives that was written but not flushed: caches write back in any order. Default 0. */
  keep?: number;
  /** Seed of the choice. Default 1. */
  seed?: number;
}

/**
 * Keeps written blocks in memory until a Flush, and loses them in `crash`.
 *
 * Writes are done at once. Flush writes everything back and flushes the lower device; a write with FUA, WriteZeroes
 * and Deallocate go through to it. Those run one after the other (`#jobs`), so that two versions of a block are never
 * on their way down together. A block leaves the cache when exactly that version has been written below.
 */
export class VolatileCache extends Filter {
  readonly #maxBlocks: number;
  /** Block number to contents. An array is never changed once it is in here: a new write brings a new one. */
  readonly #blocks = new Map<number, Uint8Array>();
  readonly #jobs = new Ring<Io>();
  readonly #jobIo: LowerIo;
  readonly #staging: Memory;
  readonly #reads: OverlaidRead[] = [];
  #job: Io | null = null;
  /** True inside `#run`, which must not be entered again. */
  #running = false;
  /** What to do when the lower device has done its part of the job. */
  #next: (result: IoResult) => void = () => {};
  /** The operation that `submit` is working on, as long as that can still answer true. */
  #submitting: Io | null = null;
  #crashing = false;
  #closed = false;
  /** Called when no job is under way any more. */
  #quiet: (() => void) | null = null;

  constructor(prepared: PreparedFilter, maxBlocks: number, lower: BlockDevice) {
    super(prepared, lower);
    this.#maxBlocks = maxBlocks;
    this.#staging = Memory.alloc(Math.max(WRITE_BACK_BYTES, this.blockSize));
    this.#jobIo = new LowerIo((io) => this.#next(io.result));
  }

  /** Blocks that a crash would lose. */
  get dirtyBlocks(): number {
    return this.#blocks.size;
  }

  submit(io: Io): boolean {
    if (this.#crashing || this.#closed) return answer(io, IoResult.Failed);
    if (io.op === IoOp.Read) return this.#read(io);
    if (this.readOnly && io.op !== IoOp.Flush) return answer(io, IoResult.ReadOnly);
    if (io.op === IoOp.Write && !io.fua) {
      if (io.length > MAX_TRANSFER_BYTES) return answer(io, IoResult.NotSupported);
      if (this.#blocks.size < this.#maxBlocks) {
        this.#put(io);
        return answer(io, IoResult.Ok);
      }
    }
    this.#jobs.push(io);
    this.#submitting = io;
    this.#run();
    const done = this.#submitting === null;
    this.#submitting = null;
    return done;
  }

  /**
   * The power fails: what was not flushed is lost, except for a random part. Operations under way fail, as do new
   * ones until the promise resolves; then the device is back with what is left.
   */
  async crash(options: CrashOptions = {}): Promise<{ kept: number; lost: number }> {
    const { keep = 0, seed = 1 } = options;
    this.#crashing = true;
    while (this.#jobs.length > 0) fail(this.#jobs.shift()!);
    await this.#jobsOver();
    const rng = new Rng(seed);
    const dirty = [...this.#blocks.keys()].sort((a, b) => a - b);
    const kept = dirty.filter(() => rng.chance(keep));
    await new Promise<void>((resolve) => this.#writeBack(kept, () => resolve()));
    this.#blocks.clear();
    this.#crashing = false;
    return { kept: kept.length, lost: dirty.length - kept.length };
  }

  /** An orderly end: everything is written back. */
  override async close(): Promise<void> {
    this.#closed = true;
    await this.#jobsOver();
    await new Promise<void>((resolve) => this.#writeBack(this.#dirty(), () => resolve()));
    await super.close();
  }

  // ---- reads ----

  #read(io: Io): boolean {
    const first = io.offset / this.blockSize;
    const count = io.length / this.blockSize;
    let cached = 0;
    for (let n = 0; n < count; n++) if (this.#blocks.has(first + n)) cached++;
    if (cached === 0) return this.lower.submit(io);
    const read = this.#reads.pop() ?? new OverlaidRead((ended) => this.#reads.push(ended));
    for (let n = 0; n < count; n++) {
      const block = this.#blocks.get(first + n);
      // Taken now: a Flush may move the block down behind the lower read's back.
      if (block !== undefined) read.add(n * this.blockSize, block);
    }
    return cached === count ? read.answer(io) : read.start(io, this.lower);
  }

  // ---- jobs: everything that changes the lower device, one after the other ----

  #run(): void {
    if (this.#running) return;
    this.#running = true;
    while (this.#job === null) {
      const io = this.#jobs.shift();
      if (io === undefined) break;
      this.#job = io;
      if (io.revoked === true) {
        this.#endJob(IoResult.Failed);
      } else if (io.op === IoOp.Flush) {
        this.#writeBack(this.#dirty(), (result) => this.#flushLower(result));
      } else if (io.op === IoOp.Write && !io.fua) {
        this.#writeBack(this.#dirty(), (result) => {
          const revoked = io.revoked === true;
          if (result === IoResult.Ok && !this.#crashing && !revoked) this.#put(io);
          this.#endJob(revoked ? IoResult.Failed : result);
        });
      } else if (io.op === IoOp.CompareAndWrite) {
        this.#compareAndWrite(io);
      } else {
        this.#passOn(io);
      }
    }
    this.#running = false;
  }

  #flushLower(result: IoResult): void {
    if (result !== IoResult.Ok || this.#crashing) {
      this.#endJob(result);
      return;
    }
    this.#next = (flushed) => this.#endJob(flushed);
    this.#jobIo.flush().sendTo(this.lower);
  }

  #passOn(io: Io): void {
    const older = this.#blocksIn(io.offset / this.blockSize, io.length / this.blockSize);
    this.#next = (result) => {
      if (result === IoResult.Ok) for (const [n, block] of older) this.#drop(n, block);
      this.#endJob(result);
    };
    this.#jobIo.copy(io).sendTo(this.lower);
  }

  /**
   * Reads below, lays the cached blocks over that, compares and puts the new blocks into the cache, the last three
   * without anything in between: plain writes come at any time, but whole. With FUA, a Flush follows.
   */
  #compareAndWrite(io: Io): void {
    if (io.length > MAX_COMPARE_BYTES) {
      this.#endJob(IoResult.NotSupported);
      return;
    }
    this.#next = (result) => {
      if (result !== IoResult.Ok || this.#crashing) {
        this.#endJob(result === IoResult.MediaError ? IoResult.Unreadable : result);
        return;
      }
      const first = io.offset / this.blockSize;
      for (const [n, block] of this.#blocksIn(first, io.length / this.blockSize)) {
        this.#staging.bytes.set(block, (n - first) * this.blockSize);
      }
      if (!equalBytes(this.#staging, 0, io.compare!, io.compareOffset!, io.length)) {
        this.#endJob(IoResult.Miscompare);
        return;
      }
      this.#put(io);
      if (io.fua) this.#writeBack(this.#dirty(), (written) => this.#flushLower(written));
      else this.#endJob(IoResult.Ok);
    };
    this.#jobIo.read(io.offset, io.length, this.#staging).sendTo(this.lower);
  }

  #endJob(result: IoResult): void {
    const io = this.#job!;
    this.#job = null;
    io.result = this.#crashing ? IoResult.Failed : result;
    if (io === this.#submitting) this.#submitting = null;
    else io.done(io);
    this.#run();
    if (this.#job === null && this.#quiet !== null) {
      this.#quiet();
      this.#quiet = null;
    }
  }

  async #jobsOver(): Promise<void> {
    if (this.#job !== null) await new Promise<void>((resolve) => (this.#quiet = resolve));
  }

  // ---- blocks ----

  #put(io: Io): void {
    const { blockSize } = this;
    for (let at = 0; at < io.length; at += blockSize) {
      const from = io.memoryOffset + at;
      this.#blocks.set((io.offset + at) / blockSize, io.memory.bytes.slice(from, from + blockSize));
    }
  }

  #drop(number: number, block: Uint8Array): void {
    if (this.#blocks.get(number) === block) this.#blocks.delete(number);
  }

  /** The blocks of a range, which may be as long as the device: a look at each number, or at what there is. */
  #blocksIn(first: number, count: number): [number, Uint8Array][] {
    const blocks = this.#blocks;
    if (count > blocks.size) return [...blocks].filter(([n]) => n >= first && n < first + count);
    const found: [number, Uint8Array][] = [];
    for (let n = first; n < first + count; n++) {
      const block = blocks.get(n);
      if (block !== undefined) found.push([n, block]);
    }
    return found;
  }

  #dirty(): number[] {
    return [...this.#blocks.keys()].sort((a, b) => a - b);
  }

  /** Writes the blocks `numbers` (sorted) to the lower device, in runs. Ends at the first failure. */
  #writeBack(numbers: number[], ended: (result: IoResult) => void): void {
    const { blockSize } = this;
    const room = Math.floor(this.#staging.length / blockSize);
    const run: Uint8Array[] = [];
    let first = 0;
    let i = 0;
    let inLoop = false;
    let again = true;
    // A loop, not recursion, for lower devices that are done at once.
    const loop = (): void => {
      inLoop = true;
      while (again) {
        again = false;
        if (i === numbers.length || this.#interrupted) {
          ended(IoResult.Ok);
          return;
        }
        first = numbers[i]!;
        run.length = 0;
        while (i < numbers.length && run.length < room && numbers[i] === first + run.length) {
          const block = this.#blocks.get(numbers[i++]!)!;
          this.#staging.bytes.set(block, run.length * blockSize);
          run.push(block);
        }
        this.#jobIo.write(first * blockSize, run.length * blockSize, this.#staging).sendTo(this.lower);
      }
      inLoop = false;
    };
    this.#next = (result) => {
      if (result !== IoResult.Ok) {
        ended(result);
        return;
      }
      for (let n = 0; n < run.length; n++) this.#drop(first + n, run[n]!);
      again = true;
      if (!inLoop) loop();
    };
    loop();
  }

  /** The power failed in the middle of a job. */
  get #interrupted(): boolean {
    return this.#crashing && this.#job !== null;
  }
}

/** A read of which some blocks come from the cache. */
class OverlaidRead {
  #upper: Io | null = null;
  readonly #blocks: Uint8Array[] = [];
  readonly #offsets: number[] = [];
  readonly #lowerIo: LowerIo;
  readonly #ended: (read: OverlaidRead) => void;
  #inSubmit = false;

  constructor(ended: (read: OverlaidRead) => void) {
    this.#ended = ended;
    this.#lowerIo = new LowerIo(() => this.#lowerDone());
  }

  add(offset: number, block: Uint8Array): void {
    this.#offsets.push(offset);
    this.#blocks.push(block);
  }

  /** Everything comes from the cache. */
  answer(io: Io): boolean {
    this.#overlay(io);
    return answer(io, IoResult.Ok);
  }

  start(io: Io, lower: BlockDevice): boolean {
    this.#upper = io;
    this.#inSubmit = true;
    this.#lowerIo.copy(io).sendTo(lower);
    this.#inSubmit = false;
    return this.#upper === null;
  }

  #lowerDone(): void {
    const io = this.#upper!;
    this.#upper = null;
    io.result = this.#lowerIo.result;
    const later = !this.#inSubmit;
    this.#overlay(io);
    if (later) io.done(io);
  }

  #overlay(io: Io): void {
    for (let i = 0; i < this.#blocks.length; i++) {
      io.memory.bytes.set(this.#blocks[i]!, io.memoryOffset + this.#offsets[i]!);
    }
    this.#blocks.length = 0;
    this.#offsets.length = 0;
    this.#ended(this);
  }
}

function answer(io: Io, result: IoResult): true {
  io.result = result;
  return true;
}

function fail(io: Io): void {
  io.result = IoResult.Failed;
  io.done(io);
}
