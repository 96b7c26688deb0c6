import { copyBytes, equalBytes, Memory, NvbraidError } from '@nvbraid/base';
import {
  type BackgroundWork,
  type BlockDevice,
  type DeviceSpec,
  type Io,
  IoOp,
  IoResult,
  type OpenOptions,
  type PreparedDevice,
} from './block-device.ts';
import { checkGeometry } from './geometry.ts';
import { LOCK_SLEEPS, LOCK_SPINS, MAX_COMPARE_BYTES, OPTIMISTIC_READS, SHARED_READ_BYTES } from './limits.ts';
import { BUSY, StripeLocks } from './stripe-locks.ts';
import { marksBuffer, UncorrectableMarks } from './uncorrectable-marks.ts';
import { type ZeroLine, type ZeroLineOwner, zeroLine } from './zero-line.ts';

export interface MemoryDeviceSpec extends DeviceSpec {
  readonly kind: 'memory';
  readonly blockSize: number;
  readonly buffer: SharedArrayBuffer;
  /** See UncorrectableMarks. */
  readonly marks: SharedArrayBuffer;
  /** Table of sequence locks, used when several threads have the device open. */
  readonly locks: SharedArrayBuffer;
}

/**
 * A device in memory; zeroes at first, gone with the process. The memory is reserved here and taken from the system
 * as it is written.
 * @param options.size bytes, a multiple of `blockSize`
 * @throws NvbraidError EINVAL for a wrong size, also one that the machine cannot give
 */
export function memoryDevice(options: { size: number; blockSize?: number }): MemoryDeviceSpec {
  const { size, blockSize = 4096 } = options;
  checkGeometry('memory device', size, blockSize);
  const locks = new SharedArrayBuffer(StripeLocks.words(size, blockSize) * 4);
  try {
    return { kind: 'memory', blockSize, buffer: new SharedArrayBuffer(size), marks: marksBuffer(), locks };
  } catch (cause) {
    throw new NvbraidError('EINVAL', `memory device: this machine cannot give ${size} bytes in one piece`, {
      cause,
      context: { size },
    });
  }
}

export interface PreparedMemoryDevice extends MemoryDeviceSpec, PreparedDevice {
  readonly kind: 'memory';
}

export function prepareMemory(spec: MemoryDeviceSpec): PreparedMemoryDevice {
  return {
    ...spec,
    blockCount: checkGeometry('memory device', spec.buffer.byteLength, spec.blockSize),
    readOnly: false,
    volatileWriteCache: false,
    thin: false,
    compareAndWrite: true,
    uncorrectable: true,
  };
}

/** Every operation is done when `submit` returns, but for zeroing beyond what fits into one turn of the event loop. */
export class MemoryDevice implements BlockDevice, ZeroLineOwner {
  readonly blockSize: number;
  readonly blockCount: number;
  readonly readOnly = false;
  readonly volatileWriteCache = false;
  readonly thin = false;
  readonly compareAndWrite = true;
  readonly marks: UncorrectableMarks;
  readonly memory: Memory | null;
  readonly #memory: Memory;
  /** Null when this thread is alone: then operations follow each other anyway. */
  readonly #locks: StripeLocks | null;
  readonly #background: BackgroundWork | null;
  readonly #line: ZeroLine;
  /** Operations in the line. */
  #zeroing = 0;
  #closing: Promise<void> | null = null;
  #idle: (() => void) | null = null;

  /** @param line shared by all devices of the thread */
  constructor(prepared: PreparedMemoryDevice, options: OpenOptions, line = zeroLine) {
    this.blockSize = prepared.blockSize;
    this.blockCount = prepared.blockCount;
    this.#memory = new Memory(prepared.buffer);
    const shared = options.threads > 1;
    this.memory = shared ? null : this.#memory;
    this.#locks = shared ? new StripeLocks(new Int32Array(prepared.locks), prepared.blockSize) : null;
    this.marks = new UncorrectableMarks(prepared.marks, prepared.blockSize, null, options.background);
    this.#background = options.background ?? null;
    this.#line = line;
  }

  submit(io: Io): boolean {
    if (this.#closing !== null) {
      io.result = IoResult.Failed;
      return true;
    }
    const locks = this.#locks;
    switch (io.op) {
      case IoOp.Read:
        if (locks !== null) {
          io.result = this.#readShared(io, locks);
          return true;
        }
        copyBytes(this.#memory, io.offset, io.memory, io.memoryOffset, io.length);
        break;
      case IoOp.Write:
        if (locks !== null) {
          io.result = this.#changeShared(io, 0, io.length, locks);
          return true;
        }
        this.#store(io, 0, io.length);
        break;
      case IoOp.CompareAndWrite:
        io.result = this.#compareAndWrite(io, locks);
        return true;
      case IoOp.WriteZeroes:
      case IoOp.Deallocate:
        if (!this.#line.take(io.length)) {
          this.#zeroing++;
          this.#background?.started();
          this.#line.add(this, io);
          return false;
        }
        io.result = this.zero(io, 0, io.length);
        return true;
      case IoOp.Flush:
        break;
    }
    io.result = IoResult.Ok;
    return true;
  }

  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#idle = resolve;
      if (this.#zeroing === 0) resolve();
    });
    return this.#closing;
  }

  zero(io: Io, at: number, length: number): IoResult {
    if (this.#locks !== null) return this.#changeShared(io, at, length, this.#locks);
    this.#store(io, at, length);
    return IoResult.Ok;
  }

  zeroed(io: Io): void {
    this.#zeroing--;
    this.#background?.finished();
    io.done(io);
    if (this.#zeroing === 0) this.#idle?.();
  }

  /** Takes all stripes of the range together: between the look and the write nobody changes it. */
  #compareAndWrite(io: Io, locks: StripeLocks | null): IoResult {
    if (io.length > MAX_COMPARE_BYTES) return IoResult.NotSupported;
    if (locks !== null && !lockPatiently(locks, io.offset, io.length)) return IoResult.Failed;
    const same = equalBytes(this.#memory, io.offset, io.compare!, io.compareOffset!, io.length);
    if (same) copyBytes(io.memory, io.memoryOffset, this.#memory, io.offset, io.length);
    locks?.unlock(io.offset, io.length);
    return same ? IoResult.Ok : IoResult.Miscompare;
  }

  #store(io: Io, at: number, length: number): void {
    const to = io.offset + at;
    if (io.op === IoOp.Write) copyBytes(io.memory, io.memoryOffset + at, this.#memory, to, length);
    else this.#memory.bytes.fill(0, to, to + length);
  }

  #readShared(io: Io, locks: StripeLocks): IoResult {
    let at = 0;
    while (at < io.length) {
      const length = Math.min(io.length - at, SHARED_READ_BYTES);
      if (!this.#readOptimistic(io, at, length, locks) && !this.#readLocked(io, at, length, locks)) {
        return IoResult.Failed;
      }
      at += length;
    }
    return IoResult.Ok;
  }

  #readOptimistic(io: Io, at: number, length: number, locks: StripeLocks): boolean {
    const from = io.offset + at;
    for (let n = 0; n < OPTIMISTIC_READS; n++) {
      const sum = locks.begin(from, length);
      if (sum === BUSY) continue;
      copyBytes(this.#memory, from, io.memory, io.memoryOffset + at, length);
      if (locks.unchanged(from, length, sum)) return true;
    }
    return false;
  }

  /** Writers came in between again and again: shut them out, stripe by stripe. */
  #readLocked(io: Io, at: number, length: number, locks: StripeLocks): boolean {
    const end = at + length;
    while (at < end) {
      const from = io.offset + at;
      const step = stepIn(from, end - at, locks.stripeBytes);
      if (!lockPatiently(locks, from, step)) return false;
      copyBytes(this.#memory, from, io.memory, io.memoryOffset + at, step);
      locks.unlock(from, step);
      at += step;
    }
    return true;
  }

  /** Stores bytes `at` to `at + length` of the operation, stripe by stripe. */
  #changeShared(io: Io, at: number, length: number, locks: StripeLocks): IoResult {
    const end = at + length;
    while (at < end) {
      const to = io.offset + at;
      const step = stepIn(to, end - at, locks.stripeBytes);
      if (!lockPatiently(locks, to, step)) return IoResult.Failed;
      this.#store(io, at, step);
      locks.unlock(to, step);
      at += step;
    }
    return IoResult.Ok;
  }
}

/** Bytes from `offset` to the end of its stripe, at most `left`. */
function stepIn(offset: number, left: number, stripeBytes: number): number {
  return Math.min(left, stripeBytes - (offset % stripeBytes));
}

/** False only when the holder died with the lock in its hands. */
function lockPatiently(locks: StripeLocks, offset: number, length: number): boolean {
  for (let n = 0; n < LOCK_SPINS; n++) if (locks.tryLock(offset, length)) return true;
  for (let n = 0; n < LOCK_SLEEPS; n++) {
    locks.sleep(offset);
    if (locks.tryLock(offset, length)) return true;
  }
  return false;
}
