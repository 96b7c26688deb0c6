import { Memory } from '@nvbraid/base';
import { type BlockDevice, type Io, IoOp, type IoOwner, IoResult } from './block-device.ts';

const NOTHING = Memory.alloc(0);

/** What an operation needs besides its op; what is left out is zero, false or empty. */
export interface IoArguments {
  offset?: number;
  /** Default: all of `memory` behind `memoryOffset`. */
  length?: number;
  memory?: Memory | Uint8Array;
  memoryOffset?: number;
  fua?: boolean;
  deallocate?: boolean;
  /** CompareAndWrite: what the blocks must hold. */
  compare?: Memory | Uint8Array;
  compareOffset?: number;
  owner?: IoOwner | undefined;
}

/** An Io for tests and simple users. One object serves one operation at a time. */
export class IoRequest implements Io {
  op: IoOp = IoOp.Flush;
  offset = 0;
  length = 0;
  memory = NOTHING;
  memoryOffset = 0;
  fua = false;
  deallocate = false;
  compare = NOTHING;
  compareOffset = 0;
  result: IoResult = IoResult.Ok;
  revoked = false;
  owner: IoOwner | undefined = undefined;
  /** Called by `done`, which means: only when `submit` answered false. */
  onDone: (io: this) => void = () => {};

  set(op: IoOp, options: IoArguments = {}): this {
    const { memory = NOTHING, memoryOffset = 0 } = options;
    this.op = op;
    this.memory = memory instanceof Memory ? memory : Memory.over(memory);
    this.memoryOffset = memoryOffset;
    this.offset = options.offset ?? 0;
    this.length = options.length ?? this.memory.length - memoryOffset;
    this.fua = options.fua ?? false;
    this.deallocate = options.deallocate ?? false;
    const { compare = NOTHING } = options;
    this.compare = compare instanceof Memory ? compare : Memory.over(compare);
    this.compareOffset = options.compareOffset ?? 0;
    this.owner = options.owner;
    return this;
  }

  done(): void {
    this.onDone(this);
  }
}

/** Runs one operation to its end. */
export function runIo(device: BlockDevice, op: IoOp, options: IoArguments = {}): Promise<IoResult> {
  const io = new IoRequest().set(op, options);
  return new Promise((resolve) => {
    io.onDone = () => resolve(io.result);
    if (device.submit(io)) resolve(io.result);
  });
}

/** The name of a result, for messages. */
export function ioResultName(result: IoResult): string {
  return Object.keys(IoResult).find((name) => IoResult[name as keyof typeof IoResult] === result) ?? String(result);
}
