import { Memory } from '@nvbraid/base';
import {
  type BlockDevice,
  type DeviceSpec,
  type Io,
  IoOp,
  type IoOwner,
  IoResult,
  type OpenOptions,
  type PreparedDevice,
} from '../block-device.ts';
import type { UncorrectableMarks } from '../uncorrectable-marks.ts';

/** A device that stands on another one. */
export interface FilterSpec extends DeviceSpec {
  readonly lower: DeviceSpec;
}

export interface PreparedFilter extends FilterSpec, PreparedDevice {
  readonly lower: PreparedDevice;
  /** See FilterKind. */
  readonly keepsNothing?: boolean;
}

/**
 * The base of filters. A new one is: a class that extends this and implements `submit`, a maker of its spec, and a row
 * in devices.ts.
 *
 * `submit` has three ways with an operation: answer it (set `io.result`, return true), pass it on as it is
 * (`return this.lower.submit(io)`, whereupon the lower device calls `io.done`), or send another one down in its place
 * with `LowerIo` and end the caller's when that one is done.
 */
export abstract class Filter implements BlockDevice {
  readonly blockSize: number;
  readonly blockCount: number;
  readonly readOnly: boolean;
  readonly volatileWriteCache: boolean;
  readonly thin: boolean;
  readonly compareAndWrite: boolean;
  readonly marks: UncorrectableMarks | null;
  /** Never the lower device's: reads would go past the filter. */
  readonly memory = null;
  protected readonly lower: BlockDevice;

  /** @param prepared has the geometry and the capabilities with this filter on top */
  constructor(prepared: PreparedFilter, lower: BlockDevice) {
    this.blockSize = prepared.blockSize;
    this.blockCount = prepared.blockCount;
    this.readOnly = prepared.readOnly;
    this.volatileWriteCache = prepared.volatileWriteCache;
    this.thin = prepared.thin;
    this.compareAndWrite = prepared.compareAndWrite ?? false;
    this.marks = prepared.uncorrectable === true ? (lower.marks ?? null) : null;
    this.lower = lower;
  }

  abstract submit(io: Io): boolean;

  close(): Promise<void> {
    return this.lower.close();
  }
}

/** What devices.ts must know of a filter. */
export interface FilterKind {
  /** What the filter changes about the device that can be seen from outside. */
  readonly changes?: Partial<
    Pick<PreparedDevice, 'readOnly' | 'volatileWriteCache' | 'thin' | 'compareAndWrite' | 'uncorrectable'>
  >;
  /** True when its state belongs to one thread, so that it cannot be opened by several. */
  readonly oneThread?: boolean;
  /** True when what it keeps was made for the blocks there were: the device keeps its size whatever happens below. */
  readonly fixedSize?: boolean;
  /** What its threads share, and what follows from its settings: merged into the prepared spec. */
  share?(spec: FilterSpec, lower: PreparedDevice): object;
  /** True when all data lies in the device below, as it is read here: what is a hole there is a hole here. */
  readonly keepsNothing?: boolean;
  /** What it needs from the system: merged into the prepared spec like `share`, and given back by `release`. */
  prepare?(prepared: PreparedFilter): Promise<object>;
  release?(prepared: PreparedFilter): Promise<void>;
  open(prepared: PreparedFilter, lower: BlockDevice, options: OpenOptions): BlockDevice;
}

/** An operation that a filter sends down. One object serves one operation at a time. */
export class LowerIo implements Io {
  op: IoOp = IoOp.Flush;
  offset = 0;
  length = 0;
  memory = NOTHING;
  memoryOffset = 0;
  fua = false;
  deallocate = false;
  compare: Memory = NOTHING;
  compareOffset = 0;
  result: IoResult = IoResult.Ok;
  readonly #ended: (io: LowerIo) => void;
  #upper: Io | null = null;

  /** @param ended called when the lower device is done, whether in `submit` or later */
  constructor(ended: (io: LowerIo) => void) {
    this.#ended = ended;
  }

  /** As the operation in whose place this one goes. */
  get revoked(): boolean {
    return this.#upper?.revoked === true;
  }

  get owner(): IoOwner | undefined {
    return this.#upper?.owner;
  }

  /** The same operation as the caller's. */
  copy(io: Io): this {
    this.#upper = io;
    this.op = io.op;
    this.offset = io.offset;
    this.length = io.length;
    this.memory = io.memory;
    this.memoryOffset = io.memoryOffset;
    this.fua = io.fua;
    this.deallocate = io.deallocate;
    this.compare = io.compare ?? NOTHING;
    this.compareOffset = io.compareOffset ?? 0;
    return this;
  }

  flush(): this {
    this.#upper = null;
    this.op = IoOp.Flush;
    this.offset = 0;
    this.length = 0;
    this.memory = NOTHING;
    this.memoryOffset = 0;
    this.fua = false;
    this.deallocate = false;
    return this;
  }

  write(offset: number, length: number, memory: Memory): this {
    this.flush();
    this.op = IoOp.Write;
    this.offset = offset;
    this.length = length;
    this.memory = memory;
    return this;
  }

  read(offset: number, length: number, memory: Memory): this {
    this.write(offset, length, memory);
    this.op = IoOp.Read;
    return this;
  }

  sendTo(lower: BlockDevice): void {
    if (lower.submit(this)) this.#ended(this);
  }

  done(): void {
    this.#ended(this);
  }
}

const NOTHING = Memory.alloc(0);
