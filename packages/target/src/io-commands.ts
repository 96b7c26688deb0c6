import { assert, type Memory } from '@nvbraid/base';
import { type Io, IoOp, IoResult } from '@nvbraid/blockdev';
import { DNR, DSM_RANGE_SIZE, DsmRange, DsmSqe, IoOpcode, RwSqe, Sqe, Status } from '@nvbraid/wire';
import { Counter, type IoCounters } from './io-counters.ts';
import type { NamespaceEntry, NamespaceTable } from './namespace-table.ts';
import { MAX_DATA_TRANSFER_BYTES } from './queue-limits.ts';
import type { CommandSet, Request } from './request.ts';

const BROADCAST_NSID = 0xffffffff;

/** NVMe status by IoResult. */
const STATUS_OF_RESULT: readonly number[] = [
  Status.Success,
  Status.UnrecoveredReadError, // replaced by Write Fault for everything but reads
  Status.CapacityExceeded | DNR,
  Status.NamespaceIsWriteProtected | DNR,
  Status.LbaOutOfRange | DNR,
  Status.InvalidOpcode | DNR,
  Status.InternalError,
];

/** What a command needs while a device works on it: one object per request, used again. */
class IoTask implements Io {
  op: IoOp = IoOp.Read;
  offset = 0;
  length = 0;
  memory: Memory;
  memoryOffset = 0;
  fua = false;
  deallocate = false;
  result: IoResult = IoResult.Ok;
  readonly commands: IoCommands;
  request: Request | null = null;
  entry: NamespaceEntry | null = null;
  /** Further steps of a command that is more than one operation: DSM ranges, namespaces of a broadcast Flush. */
  step = 0;
  flushes: NamespaceEntry[] | null = null;

  constructor(commands: IoCommands, memory: Memory) {
    this.commands = commands;
    this.memory = memory;
  }

  done(): void {
    this.commands.stepDone(this);
  }
}

/**
 * The NVM command set of one I/O queue: checks, then hands to the namespace's block device. Runs in whichever thread
 * owns the queue.
 */
export class IoCommands implements CommandSet {
  readonly #table: NamespaceTable;
  readonly #counters: Float64Array;
  readonly #tasks: IoTask[] = [];

  constructor(table: NamespaceTable, counters: IoCounters) {
    this.#table = table;
    this.#counters = counters.words;
  }

  closed(): void {}

  admit(request: Request): number {
    const status = this.#admit(request);
    if (status !== 0) this.#counters[Counter.errors]!++;
    return status;
  }

  execute(request: Request): void {
    const view = request.sqeView;
    const base = request.sqeBase;
    const opcode = request.opcode;
    if (opcode === IoOpcode.Flush) return this.#flush(request);
    const entry = this.#table.find(Sqe.nsid.get(view, base));
    // The table may have changed since `admit`, while the data of a write was on its way.
    const status = this.#check(entry, request);
    if (status !== 0) return this.#fail(request, status);
    const device = entry!.device;
    if (opcode !== IoOpcode.DatasetManagement && opcode !== IoOpcode.WriteZeroes) {
      const length = (RwSqe.nlb.get(view, base) + 1) * entry!.blockSize;
      if (length !== request.dataLength) return this.#fail(request, Status.NamespaceNotReady); // reformatted meanwhile
    }
    if (opcode === IoOpcode.Read) {
      const offset = RwSqe.slba.get(view, base) * entry!.blockSize;
      if (device.memory !== null) {
        const counters = this.#counters;
        counters[Counter.readCommands]!++;
        counters[Counter.readBytes]! += request.dataLength;
        request.replyFrom(device.memory, offset);
        request.complete(0);
        return;
      }
      const slab = request.replyBuffer();
      if (slab === null) return; // the queue runs the command again when there is memory
      const task = this.#task(request, entry!, IoOp.Read, offset, request.dataLength);
      task.memory = slab;
      task.memoryOffset = 0;
      this.#submit(task);
      return;
    }
    if (opcode === IoOpcode.Write) {
      if (device.memory === null) request.keepData(); // the device may need it for longer than this call
      const task = this.#task(
        request,
        entry!,
        IoOp.Write,
        RwSqe.slba.get(view, base) * entry!.blockSize,
        request.dataLength,
      );
      task.memory = request.dataMemory;
      task.memoryOffset = request.dataOffset;
      task.fua = RwSqe.fua.get(view, base) === 1;
      this.#submit(task);
      return;
    }
    if (opcode === IoOpcode.WriteZeroes) {
      const blocks = RwSqe.nlb.get(view, base) + 1;
      const offset = RwSqe.slba.get(view, base) * entry!.blockSize;
      const task = this.#task(request, entry!, IoOp.WriteZeroes, offset, blocks * entry!.blockSize);
      task.fua = RwSqe.fua.get(view, base) === 1;
      task.deallocate = RwSqe.deac.get(view, base) === 1;
      this.#submit(task);
      return;
    }
    this.#datasetManagement(request, entry!);
  }

  #submit(task: IoTask): void {
    if (task.entry!.device.submit(task)) this.stepDone(task);
  }

  /** An operation of a command has ended: the next one, or the completion. */
  stepDone(task: IoTask): void {
    const request = task.request!;
    for (;;) {
      if (task.result !== IoResult.Ok) {
        if (task.result === IoResult.MediaError) this.#counters[Counter.mediaErrors]!++;
        const status =
          task.result === IoResult.MediaError && task.op !== IoOp.Read
            ? Status.WriteFault
            : STATUS_OF_RESULT[task.result]!;
        task.request = null;
        return this.#fail(request, status);
      }
      if (!this.#nextStep(task, request)) break;
      // A command of several steps may outlive the namespace it began with.
      if (this.#table.find(task.entry!.nsid)?.device !== task.entry!.device) {
        task.request = null;
        return this.#fail(request, Status.NamespaceNotReady);
      }
      if (!task.entry!.device.submit(task)) return;
    }
    task.request = null;
    this.#count(task, request);
    request.complete(0);
  }

  // ---------------------------------------------------------------- checks

  #admit(request: Request): number {
    if (request.fabrics) return Status.CommandSequenceError | DNR;
    const view = request.sqeView;
    const base = request.sqeBase;
    const nsid = Sqe.nsid.get(view, base);
    switch (request.opcode) {
      case IoOpcode.Read:
      case IoOpcode.Write:
      case IoOpcode.WriteZeroes:
      case IoOpcode.DatasetManagement:
        break;
      case IoOpcode.Flush:
        if (nsid === BROADCAST_NSID) return 0;
        break;
      default:
        return Status.InvalidOpcode | DNR;
    }
    const entry = this.#table.find(nsid);
    const status = this.#check(entry, request);
    if (status !== 0) return status;
    if (request.opcode === IoOpcode.Read || request.opcode === IoOpcode.Write) {
      const length = (RwSqe.nlb.get(view, base) + 1) * entry!.blockSize;
      if (length > MAX_DATA_TRANSFER_BYTES) return Status.InvalidField | DNR;
      // A descriptor longer than the data is legal, one that is shorter cannot hold it (Base 2.1, 4.3.2).
      if (request.sglLength < length) return Status.DataSglLengthInvalid | DNR;
      request.dataLength = length;
    } else if (request.opcode === IoOpcode.DatasetManagement) {
      const length = (DsmSqe.nr.get(view, base) + 1) * DSM_RANGE_SIZE;
      if (request.sglLength < length) return Status.DataSglLengthInvalid | DNR;
      request.dataLength = length;
    }
    return 0;
  }

  #check(entry: NamespaceEntry | undefined, request: Request): number {
    if (entry === undefined) return Status.InvalidNamespaceOrFormat | DNR;
    if (entry.pathStatus !== 0) return entry.pathStatus;
    const opcode = request.opcode;
    if (opcode === IoOpcode.Flush) return 0;
    if (opcode !== IoOpcode.Read && entry.readOnly) return Status.NamespaceIsWriteProtected | DNR;
    if (opcode === IoOpcode.DatasetManagement) return 0;
    const slba = RwSqe.slba.get(request.sqeView, request.sqeBase);
    const blocks = RwSqe.nlb.get(request.sqeView, request.sqeBase) + 1;
    return slba + blocks > entry.blockCount ? Status.LbaOutOfRange | DNR : 0;
  }

  #fail(request: Request, status: number): void {
    this.#counters[Counter.errors]!++;
    request.complete(status);
  }

  #count(task: IoTask, request: Request): void {
    const counters = this.#counters;
    if (request.opcode === IoOpcode.Write) {
      counters[Counter.writeCommands]!++;
      counters[Counter.writtenBytes]! += task.length;
    } else if (request.opcode === IoOpcode.Read) {
      counters[Counter.readCommands]!++;
      counters[Counter.readBytes]! += task.length;
    } else counters[Counter.otherCommands]!++;
  }

  // ---------------------------------------------------------------- commands of several steps

  #flush(request: Request): void {
    const nsid = Sqe.nsid.get(request.sqeView, request.sqeBase);
    let entry: NamespaceEntry | undefined;
    let more: NamespaceEntry[] | null = null;
    if (nsid === BROADCAST_NSID) {
      more = [...this.#table.entries()].filter((candidate) => candidate.pathStatus === 0);
      entry = more.pop();
      if (entry === undefined) return request.complete(0);
    } else {
      entry = this.#table.find(nsid);
      const status = this.#check(entry, request);
      if (status !== 0) return this.#fail(request, status);
    }
    const task = this.#task(request, entry!, IoOp.Flush, 0, 0);
    task.flushes = more;
    this.#submit(task);
  }

  /** Ranges are checked before the first is deallocated: a bad list changes nothing. */
  #datasetManagement(request: Request, entry: NamespaceEntry): void {
    if (DsmSqe.ad.get(request.sqeView, request.sqeBase) === 0) {
      this.#counters[Counter.otherCommands]!++;
      return request.complete(0); // hints about access patterns: nothing to do
    }
    request.keepData();
    const ranges = request.dataLength / DSM_RANGE_SIZE;
    for (let i = 0; i < ranges; i++) {
      const at = request.dataOffset + i * DSM_RANGE_SIZE;
      const { view } = request.dataMemory;
      if (DsmRange.slba.get(view, at) + DsmRange.nlb.get(view, at) > entry.blockCount) {
        return this.#fail(request, Status.LbaOutOfRange | DNR);
      }
    }
    const task = this.#task(request, entry, IoOp.Deallocate, 0, 0);
    task.result = IoResult.Ok;
    task.step = 0;
    this.stepDone(task);
  }

  /** Prepares the next operation of the command; false when there is none. */
  #nextStep(task: IoTask, request: Request): boolean {
    if (task.op === IoOp.Flush) {
      const entry = task.flushes?.pop();
      if (entry === undefined) return false;
      task.entry = entry;
      return true;
    }
    if (task.op !== IoOp.Deallocate) return false;
    const ranges = request.dataLength / DSM_RANGE_SIZE;
    while (task.step < ranges) {
      const at = request.dataOffset + task.step++ * DSM_RANGE_SIZE;
      const view = request.dataMemory.view;
      const blocks = DsmRange.nlb.get(view, at);
      if (blocks === 0) continue;
      task.offset = DsmRange.slba.get(view, at) * task.entry!.blockSize;
      task.length = blocks * task.entry!.blockSize;
      return true;
    }
    return false;
  }

  #task(request: Request, entry: NamespaceEntry, op: IoOp, offset: number, length: number): IoTask {
    let task = this.#tasks[request.index];
    if (task === undefined) {
      task = new IoTask(this, request.dataMemory);
      this.#tasks[request.index] = task;
    }
    assert(task.request === null, 'request is under way');
    task.request = request;
    task.entry = entry;
    task.op = op;
    task.offset = offset;
    task.length = length;
    task.fua = false;
    task.deallocate = false;
    task.result = IoResult.Ok;
    task.flushes = null;
    return task;
  }
}
