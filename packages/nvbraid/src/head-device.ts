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
    this.#start(io).then(
      () => this.#ended(io, IoResult.Ok),
      (error: unknown) => this.#ended(io, resultOf(error)),
    );
    return false;
  }

  #start(io: Io): Promise<void> {
    const head = this.#head;
    const { blockSize } = head;
    const slba = io.offset / blockSize;
    const blocks = io.length / blockSize;
    switch (io.op) {
      case IoOp.Read:
        return head.readMemory(slba, io.memory, io.memoryOffset, io.length);
      case IoOp.Write:
        return head.writeMemory(slba, io.memory, io.memoryOffset, io.length, io.fua);
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

function resultOf(error: unknown): IoResult {
  if (!(error instanceof NvmeError)) return IoResult.Failed;
  switch (error.status & 0x7ff) {
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
