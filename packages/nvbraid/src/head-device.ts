import type { Memory } from '@nvbraid/base';
import { type BlockDevice, type Io, IoOp, IoResult } from '@nvbraid/blockdev';
import { NvmeError } from '@nvbraid/host';
import { Oncs, Status, Vwc } from '@nvbraid/wire';
import type { HostHead } from './host-head.ts';

/**
 * A head as a block device: for whatever serves block devices to others, NBD for one. What the device can do is what its
 * controllers say.
 */
export class HeadDevice implements BlockDevice {
  readonly memory: Memory | null = null;
  readonly #head: HostHead;
  #pending = 0;
  /** The operation that `submit` is busy with. */
  #submitting: Io | null = null;
  #known = { vwc: Vwc.Present as number, oncs: 0 };
  #idle: (() => void) | null = null;

  constructor(head: HostHead) {
    this.#head = head;
  }

  get blockSize(): number {
    return this.#head.blockSize;
  }

  get blockCount(): number {
    return this.#head.blockCount;
  }

  get readOnly(): boolean {
    return this.#head.readOnly;
  }

  /** One controller that may lose what it has confirmed is enough. */
  get volatileWriteCache(): boolean {
    return (this.#capabilities().vwc & Vwc.Present) !== 0;
  }

  get thin(): boolean {
    return (this.#capabilities().oncs & Oncs.DatasetManagement) !== 0;
  }

  /** Whether Write Zeroes is a command here; without it zeroes have to be written. */
  get writesZeroes(): boolean {
    return (this.#capabilities().oncs & Oncs.WriteZeroes) !== 0;
  }

  /** What all controllers can do, and what one of them may do to the data; while none is there, as it was before. */
  #capabilities(): { readonly vwc: number; readonly oncs: number } {
    let vwc = 0;
    let oncs = 0xffff;
    let known = false;
    for (const { identify } of this.#head.subsystem.core.controllers) {
      if (identify === null) continue;
      known = true;
      vwc |= identify.vwc;
      oncs &= identify.oncs;
    }
    if (known) this.#known = { vwc, oncs };
    return this.#known;
  }

  submit(io: Io): boolean {
    this.#pending++;
    const head = this.#head;
    const slba = io.offset / head.blockSize;
    // Another operation may end meanwhile, and whoever hears of it submit the next one.
    const outer = this.#submitting;
    this.#submitting = io;
    if (io.op === IoOp.Read) head.submitRead(slba, io.memory, io.memoryOffset, io.length, this.#done, io);
    else if (io.op === IoOp.Write) {
      head.submitWrite(slba, io.memory, io.memoryOffset, io.length, io.fua, this.#done, io);
    } else {
      this.#start(io, slba).then(
        () => this.#ended(io, IoResult.Ok),
        (error: unknown) => this.#ended(io, error instanceof NvmeError ? resultOf(error.status) : IoResult.Failed),
      );
    }
    // `#done` has taken it away when it was called already.
    const now = this.#submitting !== io;
    this.#submitting = outer;
    if (now) this.#oneLess();
    return now;
  }

  readonly #done = (context: unknown, status: number): void => {
    const io = context as Io;
    const result = status === 0 ? IoResult.Ok : resultOf(status);
    if (io !== this.#submitting) return this.#ended(io, result);
    io.result = result;
    this.#submitting = null;
  };

  #start(io: Io, slba: number): Promise<void> {
    const head = this.#head;
    const blocks = io.length / head.blockSize;
    switch (io.op) {
      case IoOp.Flush:
        return head.flush();
      case IoOp.WriteZeroes:
        return head.writeZeroes(slba, blocks, { fua: io.fua, deallocate: io.deallocate });
      case IoOp.Deallocate:
        return head.deallocate(slba, blocks);
      default:
        return Promise.reject(new NvmeError('operation', Status.InvalidOpcode));
    }
  }

  #ended(io: Io, result: IoResult): void {
    io.result = result;
    io.done(io);
    this.#oneLess();
  }

  #oneLess(): void {
    if (--this.#pending === 0) this.#idle?.();
  }

  /** Fulfilled when nothing is under way; the head stays what it is. */
  close(): Promise<void> {
    if (this.#pending === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle = resolve;
    });
  }
}

function resultOf(status: number): IoResult {
  switch (status & 0x7ff) {
    case Status.CapacityExceeded:
      return IoResult.NoSpace;
    case Status.NamespaceIsWriteProtected:
      return IoResult.ReadOnly;
    case Status.LbaOutOfRange:
      return IoResult.OutOfRange;
    case Status.InvalidOpcode:
      return IoResult.NotSupported;
    case Status.WriteFault:
    case Status.UnrecoveredReadError:
      return IoResult.MediaError;
    default:
      return IoResult.Failed;
  }
}
