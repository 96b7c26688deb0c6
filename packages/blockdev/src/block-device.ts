import type { Memory, Timers } from '@nvbraid/base';
import type { UncorrectableMarks } from './uncorrectable-marks.ts';
import type { ZoneGeometry, ZoneTable } from './zoned/zone-table.ts';

/**
 * The operations of a block device. Those with Zone in their names exist on zoned devices only; `offset` is the first
 * byte of a zone, the All operations are for every zone in a state that they are made for.
 */
export const IoOp = {
  Read: 0,
  Write: 1,
  Flush: 2,
  WriteZeroes: 3,
  Deallocate: 4,
  /** Writes `memory` if the blocks hold what lies in `compare`, as one step towards everything else; else Miscompare. */
  CompareAndWrite: 5,
  /** A write to where the zone's write pointer is; afterwards `offset` says where that was. */
  ZoneAppend: 0x10,
  ZoneOpen: 0x11,
  ZoneClose: 0x12,
  ZoneFinish: 0x13,
  ZoneReset: 0x14,
  ZoneOffline: 0x15,
  ZoneOpenAll: 0x19,
  ZoneCloseAll: 0x1a,
  ZoneFinishAll: 0x1b,
  ZoneResetAll: 0x1c,
  ZoneOfflineAll: 0x1d,
} as const;
export type IoOp = (typeof IoOp)[keyof typeof IoOp];

/** How an operation ended. Not NVMe words: the target maps them to a status. */
export const IoResult = {
  Ok: 0,
  /** The medium refused to give or to take the data. */
  MediaError: 1,
  NoSpace: 2,
  ReadOnly: 3,
  OutOfRange: 4,
  NotSupported: 5,
  /** Anything else; the cause is logged by the device. */
  Failed: 6,
  /** CompareAndWrite: the blocks hold something else. */
  Miscompare: 7,
  /** CompareAndWrite: the blocks cannot be read. */
  Unreadable: 8,
  /** The range leaves the zone, or its writable part. */
  ZoneBoundary: 9,
  ZoneFull: 10,
  ZoneReadOnly: 11,
  ZoneOffline: 12,
  /** Not where the write pointer is. */
  ZoneInvalidWrite: 13,
  TooManyActiveZones: 14,
  TooManyOpenZones: 15,
  InvalidZoneTransition: 16,
} as const;
export type IoResult = (typeof IoResult)[keyof typeof IoResult];

/**
 * Whose operations they are. Those of different owners take turns at what a thread has little of: a file's way to the
 * disk. One object for each host and thread.
 */
export interface IoOwner {
  /** Its part, relative to others': at least 1. */
  readonly weight: number;
}

/**
 * One operation. The caller owns the object and lends it to the device from `submit` until it is done; it is meant to
 * be used again and again, so that an operation allocates nothing.
 */
export interface Io {
  op: IoOp;
  /** First byte; a multiple of the block size. */
  offset: number;
  /** Bytes; a multiple of the block size. 0 for Flush. */
  length: number;
  /** Source of a write, destination of a read. It may be changed or reused only when the operation is done. */
  memory: Memory;
  memoryOffset: number;
  /** The data of this write must be on stable storage when it is done (force unit access). */
  fua: boolean;
  /** For WriteZeroes: the device may also give the space back. */
  deallocate: boolean;
  /** CompareAndWrite: `length` bytes at `compareOffset` that the blocks must hold. Left alone as `memory` is. */
  compare?: Memory;
  compareOffset?: number;
  result: IoResult;
  /**
   * True once the association that sent the operation is over: what has not been given to the medium by now must not be
   * given to it any more, since the host may have sent its data again by another way. A device that lets operations
   * wait, or does them in steps, looks at it before each step, and ends the operation with Failed. Absent: never.
   */
  readonly revoked?: boolean;
  /** Absent: one that is common to all operations without. */
  readonly owner?: IoOwner | undefined;
  /** Called with the object itself, in the thread that submitted, when `submit` answered false. */
  done(io: Io): void;
}

/**
 * A block device, seen from one thread. Every operation on a single block is atomic towards every other one, in this
 * and in other threads: a read returns a block as some write left it, never a mixture. A range of several blocks is
 * not atomic as a whole. Reads of blocks that were deallocated return zeroes.
 */
export interface BlockDevice {
  readonly blockSize: number;
  readonly blockCount: number;
  readonly readOnly: boolean;
  /** True when completed writes may still be lost by a crash until a Flush: NVMe's volatile write cache. */
  readonly volatileWriteCache: boolean;
  /** True when Deallocate gives space back. */
  readonly thin: boolean;
  /** True when it knows CompareAndWrite, for up to MAX_COMPARE_BYTES; where absent or false it answers NotSupported. */
  readonly compareAndWrite?: boolean;
  /**
   * The blocks that are marked uncorrectable. The device itself does not look at them: its user does, before each
   * operation. Absent or null: it cannot keep any.
   */
  readonly marks?: UncorrectableMarks | null;
  /**
   * The whole device as memory, when a read may be answered by sending these bytes without a copy: no other thread
   * writes to them, and this one only in `submit` and, for zeroing under way, in later turns of its event loop. Null
   * otherwise, and whenever filters stand in between.
   */
  readonly memory: Memory | null;
  /** The zones of a zoned device. */
  readonly zones?: ZoneTable;
  /**
   * Starts an operation. The range has been checked by the caller.
   * @returns true when it is done and `io.result` is set; false when `io.done(io)` will be called later.
   */
  submit(io: Io): boolean;
  /**
   * Waits for operations under way and gives back what the device holds in this thread. From the call on, `submit`
   * answers Failed if it needs what is given back: who is in the middle of a list of operations learns it that way.
   */
  close(): Promise<void>;
}

/**
 * What a device is, as data that can be posted to another thread. Made by `memoryDevice`, `fileDevice`, `nullDevice`
 * and the makers of the filters.
 */
export interface DeviceSpec {
  readonly kind: string;
}

/**
 * A spec after `prepareDevice`: what the threads share (memory, descriptors, locks) is inside, so that each thread can
 * open its own BlockDevice from it. It can be posted to worker threads of this process, not to other processes.
 */
export interface PreparedDevice extends DeviceSpec {
  readonly blockSize: number;
  readonly blockCount: number;
  readonly readOnly: boolean;
  readonly volatileWriteCache: boolean;
  readonly thin: boolean;
  /** See BlockDevice. */
  readonly compareAndWrite?: boolean;
  /** How a zoned device is cut into zones. */
  readonly zoneGeometry?: ZoneGeometry;
  /** Whether its blocks can be marked uncorrectable: see BlockDevice's `marks`. */
  readonly uncorrectable?: boolean;
}

/**
 * Told about operations that end through Node's event loop, so that a thread that sleeps in a loop of its own knows
 * that it must let Node's run. Calls come in pairs and may overlap: count them.
 */
export interface BackgroundWork {
  started(): void;
  /** Called before the operation's `done`. */
  finished(): void;
}

/** How one thread opens a device. */
export interface OpenOptions {
  /** How many threads of the process have the device open together; with 1 nothing is locked. */
  readonly threads: number;
  /** Which of them this is, from 0 on: what is random differs between threads. Default 0. */
  readonly thread?: number;
  readonly background?: BackgroundWork;
  /** What filters wait with. Default: the machine's clock and the timers of Node's event loop. */
  readonly timers?: Timers;
  /** Receives what an operator must know and an IoResult cannot say, as one sentence. */
  readonly log?: (message: string) => void;
}
