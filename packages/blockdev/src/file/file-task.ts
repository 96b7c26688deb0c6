import { Memory } from '@nvbraid/base';
import { type Io, IoOp, IoResult } from '../block-device.ts';
import { type Done, EIO } from './file-calls.ts';

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

/** An operation in line or on the thread pool; used again and again. */
export class Task {
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
  /** For the calls; made once. */
  readonly done: Done;

  constructor(poolDone: (task: Task, count: number) => void) {
    this.done = (error, count = 0) => poolDone(this, error === null ? count : (error.errno ?? EIO));
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
