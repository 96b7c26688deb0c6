import type { Memory } from '@nvbraid/base';
import { type Done, EAGAIN, EIO, EOPNOTSUPP, type FileCalls, type ZeroMode } from '../../src/file/file-calls.ts';
import { FileDevice } from '../../src/file/file-device.ts';
import type { PreparedFileDevice } from '../../src/file/file-spec.ts';
import { FileState } from '../../src/file/file-spec.ts';
import { PoolLine } from '../../src/file/pool-line.ts';
import type { ThreadPool } from '../../src/file/thread-pool.ts';
import { fileDevice, type OpenOptions } from '../../src/index.ts';
import { StripeLocks } from '../../src/stripe-locks.ts';

/** A call that waits for the test to end it. */
export interface Call {
  name: 'read' | 'write' | 'sync' | 'zero';
  position: number;
  length: number;
  mode?: ZeroMode;
  /** @param result bytes (default: all of them), or a negative error number */
  end(result?: number): void;
}

/** System calls over a plain array, each ended by the test. */
export class ScriptedCalls implements FileCalls {
  readonly data: Uint8Array;
  /** On the thread pool, oldest first. */
  readonly pool: Call[] = [];
  /** Every call in the order it was made: `pwrite 0+4096`, `read 0+4096`, `sync`… */
  readonly trace: string[] = [];
  /** What the next Now calls answer instead of doing it. */
  readonly nextNow: number[] = [];
  cached = true;
  nowait = true;
  canZero = true;

  constructor(size: number) {
    this.data = new Uint8Array(size);
  }

  readNow(_fd: number, memory: Memory, memoryOffset: number, length: number, position: number): number {
    if (!this.nowait) return EOPNOTSUPP;
    if (!this.cached) return EAGAIN;
    this.trace.push(`preadv2 ${position}+${length}`);
    return this.nextNow.shift() ?? this.#get(memory, memoryOffset, length, position);
  }

  writeNow(_fd: number, memory: Memory, memoryOffset: number, length: number, position: number): number {
    this.trace.push(`pwrite ${position}+${length}`);
    return this.nextNow.shift() ?? this.#set(memory, memoryOffset, length, position);
  }

  readLater(_fd: number, memory: Memory, memoryOffset: number, length: number, position: number, done: Done): void {
    this.#later('read', position, length, done, (count) => this.#get(memory, memoryOffset, count, position));
  }

  writeLater(_fd: number, memory: Memory, memoryOffset: number, length: number, position: number, done: Done): void {
    this.#later('write', position, length, done, (count) => this.#set(memory, memoryOffset, count, position));
  }

  syncLater(_fd: number, done: Done): void {
    this.#later('sync', 0, 0, done, () => 0);
  }

  zeroLater(_fd: number, mode: ZeroMode, position: number, length: number, done: Done): void {
    if (!this.canZero) {
      this.#later('zero', position, length, done, () => EOPNOTSUPP);
    } else {
      this.#later('zero', position, length, done, () => {
        this.data.fill(0, position, position + length);
        return 0;
      });
    }
    this.pool.at(-1)!.mode = mode;
  }

  /** Ends the oldest call on the pool, which must be of this name. */
  end(name: Call['name'], result?: number): void {
    const call = this.pool.shift();
    if (call?.name !== name) throw new Error(`the oldest call is ${call?.name ?? 'none'}, not ${name}`);
    call.end(result);
  }

  #later(name: Call['name'], position: number, length: number, done: Done, run: (count: number) => number): void {
    this.trace.push(name === 'sync' ? name : `${name} ${position}+${length}`);
    const end = (result = length): void => {
      const count = result < 0 ? result : run(result);
      done(count < 0 ? { errno: count } : null, count);
    };
    this.pool.push({ name, position, length, end });
  }

  #get(memory: Memory, memoryOffset: number, length: number, position: number): number {
    memory.bytes.set(this.data.subarray(position, position + length), memoryOffset);
    return length;
  }

  #set(memory: Memory, memoryOffset: number, length: number, position: number): number {
    this.data.set(memory.bytes.subarray(memoryOffset, memoryOffset + length), position);
    return length;
  }
}

export const BLOCK = 4096;

/** What `prepareDevice` would answer, without a file. */
export function preparedFile(blocks: number, asyncWriteBytes = 4 * BLOCK): PreparedFileDevice {
  const size = blocks * BLOCK;
  return {
    ...fileDevice({ path: 'disk.img', size, blockSize: BLOCK, asyncWriteBytes }),
    blockCount: blocks,
    volatileWriteCache: true,
    thin: true,
    fd: -1,
    blockDevice: false,
    state: new SharedArrayBuffer((FileState.Locks + StripeLocks.words(size, BLOCK)) * 4),
    marks: null,
  };
}

/** A view of one thread on a scripted file. @param pool default: one with room for whatever a test starts */
export function scripted(
  prepared: PreparedFileDevice,
  options: Partial<OpenOptions> = {},
  pool: ThreadPool = { data: new PoolLine(10_000), zero: new PoolLine(10_000) },
): { device: FileDevice; calls: ScriptedCalls } {
  const calls = new ScriptedCalls(prepared.size!);
  const device = new FileDevice(prepared, -1, { threads: 1, ...options }, calls, () => {}, pool);
  return { device, calls };
}

export const BROKEN = EIO;
