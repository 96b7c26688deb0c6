import { Memory } from '@nvbraid/base';
import { type Io, IoOp, type IoOwner, IoResult } from '../block-device.ts';
import { ZERO_WRITE_BYTES } from '../limits.ts';
import { type Done, EIO } from './file-calls.ts';
import type { PoolCall, PoolLine } from './pool-line.ts';

/** How the start of an operation went. */
export const Start = {
  /** It is over and has its result. */
  Done: 0,
  /** It will end by itself. */
  Later: 1,
  /** A stripe of it is taken. */
  Busy: 2,
} as const;
export type Start = (typeof Start)[keyof typeof Start];

/** An operation in one of the lines or on the thread pool; used again and again. */
export class Task implements PoolCall {
  io: Io = NO_IO;
  /** Bytes done; for zeroing, of the steps before this one. */
  at = 0;
  /** Zeroing: bytes of this step, and how many of them have been written. */
  step = 0;
  stepAt = 0;
  /** Zeroing: this step is done by writing zeroes. */
  written = false;
  /** Sum of sequence numbers of an optimistic read. */
  sum = 0;
  locked = false;
  /** CompareAndWrite: where the blocks are read to; kept for the next one. */
  blocks: Memory | null = null;
  /** CompareAndWrite: they were as expected and are being written. */
  matched = false;
  /** Reads that a write disturbed. */
  attempts = 0;
  /** How often it was looked at in line for other threads' sake. */
  looks = 0;
  next: PoolCall | null = null;
  /** Where it waits for a place on the thread pool, or has one. */
  line: PoolLine | null = null;
  placed = false;
  /** It has had a place for what it does now: if it must give that back, it need not wait for its owner's turn again. */
  paid = false;
  /** For the calls; made once. */
  readonly done: Done;
  readonly #turn: (task: Task) => void;

  constructor(poolDone: (task: Task, count: number) => void, turn: (task: Task) => void) {
    this.done = (error, count = 0) => poolDone(this, error === null ? count : (error.errno ?? EIO));
    this.#turn = turn;
  }

  get owner(): IoOwner | undefined {
    return this.io.owner;
  }

  get revoked(): boolean {
    return this.io.revoked === true;
  }

  get bytes(): number {
    const { op, length } = this.io;
    return op === IoOp.WriteZeroes || op === IoOp.Deallocate ? Math.min(length - this.at, ZERO_WRITE_BYTES) : length;
  }

  turn(): void {
    this.#turn(this);
  }
}

export const NO_IO: Io = {
  op: IoOp.Flush,
  offset: 0,
  length: 0,
  memory: Memory.alloc(0),
  memoryOffset: 0,
  fua: false,
  deallocate: false,
  result: IoResult.Ok,
  done: () => {},
};
