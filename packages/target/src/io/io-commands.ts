import { assert, type Slab } from '@nvbraid/base';
import { IoOp, type IoOwner, IoResult } from '@nvbraid/blockdev';
import { Csi, DNR, IoOpcode, RwSqe, Sqe, Status } from '@nvbraid/wire';
import type { CommandError } from '../error-log.ts';
import { type NamespaceEntry, type NamespaceTable, NamespaceView } from '../namespace-table.ts';
import type { CommandSet, Request } from '../request.ts';
import type { ForwardedCommand, ForwardedDone } from '../reservations/forwarded-command.ts';
import { ANY_ROWS } from './command-sets.ts';
import { admitCompareAndWrite, compareAndWrite } from './compare-and-write.ts';
import { Access, type IoCommand, SUBMIT, WAIT } from './io-command.ts';
import { Counter, type IoCounters } from './io-counters.ts';
import { IoTask } from './io-task.ts';
import { Pieces } from './pieces.ts';
import { admitTransfer, admitWrite, checkRange, READ, read, WRITE, write } from './read-write.ts';

/** Commands with an slba: what an entry of the error log names. */
const NAMES_A_RANGE: ReadonlySet<number> = new Set([
  IoOpcode.Read,
  IoOpcode.Write,
  IoOpcode.Compare,
  IoOpcode.WriteUncorrectable,
  IoOpcode.WriteZeroes,
  IoOpcode.Verify,
  IoOpcode.Copy,
]);
/** Path related statuses. */
const SCT_MASK = 0x700;
const SCT_PATH = 0x300;
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
  Status.CompareFailure | DNR,
  Status.UnrecoveredReadError | DNR, // until the blocks are written
  Status.ZonedBoundaryError | DNR,
  Status.ZoneIsFull | DNR,
  Status.ZoneIsReadOnly | DNR,
  Status.ZoneIsOffline | DNR,
  Status.ZoneInvalidWrite | DNR,
  Status.TooManyActiveZones | DNR,
  Status.TooManyOpenZones | DNR,
  Status.InvalidZoneStateTransition | DNR,
];

/** Whose commands a queue brings. Plain data. */
export interface IoHost {
  readonly hostnqn: string;
  /** UUID text; empty when it is nil. */
  readonly hostid: string;
  readonly cntlid: number;
  /** The controller was enabled for the NVM command set alone: other namespaces are not there. Default false. */
  readonly nvmOnly?: boolean;
}

export interface IoCommandsOptions {
  /** Absent where nobody needs to know: rows that do refuse to run, and namespaces shown to some hosts are not there. */
  readonly host?: IoHost;
  /** Those of the thread. */
  readonly pieces?: Pieces;
  /** Whether the host's time is over although nobody has closed the queue yet; asked before each step. */
  readonly hostIsGone?: () => boolean;
  /** A command has failed by itself: for the error log of the controller. */
  readonly failed?: (error: CommandError) => void;
  /** Has the control plane run a command that needs what only it knows; calls `done` once, now or later. */
  readonly forward?: (entry: NamespaceEntry, command: ForwardedCommand, done: ForwardedDone) => void;
}

/**
 * The I/O commands of one queue: checks, then the row of the command hands operations to the namespace's block device.
 * Which rows there are depends on the namespace's command set. Runs in whichever thread owns the queue.
 */
export class IoCommands implements CommandSet {
  readonly table: NamespaceView;
  readonly counters: Float64Array;
  readonly options: IoCommandsOptions;
  readonly pieces: Pieces;
  /** For reservations; empty where nobody needs to know. */
  readonly #hostid: string;
  readonly #nvmOnly: boolean;
  /** The queue is gone: what its commands would still do might come after the host has done it by another way. */
  fenced = false;
  /** Whose operations they are, for devices that share out what a thread has little of; set once, when it is known. */
  owner: IoOwner | undefined = undefined;
  readonly #tasks: IoTask[] = [];

  constructor(table: NamespaceTable, counters: IoCounters, options: IoCommandsOptions = {}) {
    this.table = new NamespaceView(table, options.host?.hostnqn ?? '');
    this.counters = counters.words;
    this.options = options;
    this.pieces = options.pieces ?? new Pieces();
    this.#hostid = options.host?.hostid ?? '';
    this.#nvmOnly = options.host?.nvmOnly ?? false;
  }

  /** What has not been given to a device by now must not be. */
  get over(): boolean {
    return this.fenced || this.options.hostIsGone?.() === true;
  }

  /** Nothing is given to a device any more: what is under way ends before its next step. */
  closed(): void {
    this.fenced = true;
  }

  admit(request: Request): number {
    const status = this.#admit(request);
    if (status !== 0) this.#failed(request, status);
    return status;
  }

  execute(request: Request): void {
    const nsid = Sqe.nsid.get(request.sqeView, request.sqeBase);
    // The table may have changed since `admit`, while the data of a write was on its way.
    const entry = this.table.find(nsid);
    if (entry === undefined) {
      if (nsid === BROADCAST_NSID) return ANY_ROWS[request.opcode]!.executeAll!(this, request);
      return this.fail(request, Status.InvalidNamespaceOrFormat | DNR);
    }
    const row = entry.commands[request.opcode];
    const status = this.#check(row, entry, request);
    if (status !== 0) return this.fail(request, status);
    if (row === READ) return read(this, entry, request);
    if (row === WRITE) return write(this, entry, request);
    row!.execute(this, entry, request);
  }

  admitFused(request: Request, fuse: number): number {
    return admitCompareAndWrite(this, request, fuse);
  }

  executeFused(first: Request, second: Request): void {
    compareAndWrite(this, first, second);
  }

  // ---------------------------------------------------------------- checks

  /** All that is checked before a command runs: 0, or the status that it ends with. */
  check(request: Request): number {
    const entry = this.table.find(Sqe.nsid.get(request.sqeView, request.sqeBase));
    if (entry === undefined) return Status.InvalidNamespaceOrFormat | DNR;
    return this.#check(entry.commands[request.opcode], entry, request);
  }

  #admit(request: Request): number {
    if (request.fabrics) return Status.CommandSequenceError | DNR;
    const nsid = Sqe.nsid.get(request.sqeView, request.sqeBase);
    const entry = this.table.find(nsid);
    if (entry === undefined) return this.#admitWithout(nsid, request);
    const row = entry.commands[request.opcode];
    const status = this.#check(row, entry, request);
    if (status !== 0) return status;
    if (row === READ) return admitTransfer(this, entry, request);
    if (row === WRITE) return admitWrite(this, entry, request);
    if (row!.admit !== undefined) return row!.admit(this, entry, request);
    request.dataLength = 0;
    return 0;
  }

  /** A command whose nsid names no namespace that is here. */
  #admitWithout(nsid: number, request: Request): number {
    const row = ANY_ROWS[request.opcode];
    if (row === undefined) return Status.InvalidOpcode | DNR;
    if (nsid !== BROADCAST_NSID || row.executeAll === undefined) return Status.InvalidNamespaceOrFormat | DNR;
    request.dataLength = 0;
    return 0;
  }

  #check(row: IoCommand | undefined, entry: NamespaceEntry, request: Request): number {
    if (row === undefined) return Status.InvalidOpcode | DNR;
    if (this.#nvmOnly && entry.csi !== Csi.Nvm) return Status.InvalidNamespaceOrFormat | DNR;
    if (entry.pathStatus !== 0) return entry.pathStatus;
    if (this.conflicts(entry, row.access)) return Status.ReservationConflict | DNR;
    if (entry.readOnly && row.access === Access.Write) return Status.NamespaceIsWriteProtected | DNR;
    if (row === READ || row === WRITE) return checkRange(this, entry, request);
    return row.check === undefined ? 0 : row.check(this, entry, request);
  }

  // ---------------------------------------------------------------- for the rows

  /** The task of a request, ready for its first operation. */
  task(request: Request, entry: NamespaceEntry, op: IoOp, offset: number, length: number): IoTask {
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
    task.steps = null;
    task.step = 0;
    task.at = 0;
    task.total = 0;
    task.dw0 = 0;
    task.dw1 = 0;
    return task;
  }

  /** True when a reservation of another host keeps this one from such a command. */
  conflicts(entry: NamespaceEntry, access: Access): boolean {
    return entry.reservation !== null && !entry.reservation.allows(this.#hostid, access);
  }

  /**
   * Has the control plane run a command.
   * @param reply where the data goes that it returns, or null
   */
  forward(entry: NamespaceEntry, request: Request, command: ForwardedCommand, reply: Slab | null): void {
    const { forward } = this.options;
    if (forward === undefined) return this.fail(request, Status.InvalidOpcode | DNR);
    forward(entry, command, (status, data) => {
      if (status !== 0) return this.fail(request, status);
      if (reply !== null) {
        reply.bytes.fill(0, 0, request.dataLength);
        if (data !== null) reply.bytes.set(data);
      }
      this.complete(request, 0);
    });
  }

  /**
   * Calls `ended` when a command has ended that works on the namespace now.
   * @returns how many there are
   */
  whenEnded(instance: number, ended: () => void): number {
    let count = 0;
    for (const task of this.#tasks) {
      if (task?.request == null || task.entry!.snapshot.instance !== instance) continue;
      (task.ended ??= []).push(ended);
      count++;
    }
    return count;
  }

  /** Starts the operation that the task describes. */
  submit(task: IoTask): void {
    if (this.fenced) return this.#end(task, Status.SqDeletionAbort);
    if (this.#start(task)) this.operationDone(task);
  }

  /** Starts an operation; true when it is done. */
  #start(task: IoTask): boolean {
    const { device, marks } = task.entry!;
    if (marks?.any && marks.overlaps(task.offset, task.length)) {
      if (task.op === IoOp.Read || task.op === IoOp.CompareAndWrite) {
        task.result = IoResult.Unreadable;
        return true;
      }
      task.fua = true; // on stable storage before the marks go: see UncorrectableMarks
      task.clears = true;
    }
    return device.submit(task);
  }

  /** Takes the marks from blocks that have been written; false when that goes on. */
  #cleared(task: IoTask): boolean {
    task.clears = false;
    if (task.result !== IoResult.Ok || this.fenced) return true;
    task.entry!.marks!.clear(task.offset, task.length, (result) => {
      task.result = result;
      this.operationDone(task);
    });
    return false;
  }

  /** Goes on with a command of several operations: with the first, or after WAIT. */
  proceed(task: IoTask): void {
    task.result = IoResult.Ok;
    this.operationDone(task);
  }

  /** An operation has ended: the next one of the command, or its completion. */
  operationDone(task: IoTask): void {
    const { steps } = task;
    for (;;) {
      if (task.clears && !this.#cleared(task)) return;
      if (task.result !== IoResult.Ok) return this.#operationFailed(task);
      if (steps === null) break;
      if (this.over) return this.#end(task, Status.SqDeletionAbort);
      const next = steps.next!(this, task, task.request!);
      if (next === WAIT) return;
      if (next !== SUBMIT) {
        if (next === 0) break;
        return this.#end(task, next);
      }
      // A command of several operations may outlive the namespace it began with.
      if (this.table.find(task.entry!.nsid)?.device !== task.entry!.device) {
        return this.#end(task, Status.NamespaceNotReady);
      }
      if (!this.#start(task)) return;
    }
    this.#end(task, 0);
  }

  /** Ends a command that has no task. */
  complete(request: Request, dw0: number): void {
    this.counters[Counter.otherCommands]!++;
    request.complete(0, dw0);
  }

  /** Counts a command that `admit` refuses, and answers its status. */
  refuse(request: Request, status: number): number {
    this.#failed(request, status);
    return status;
  }

  /** Ends a command that has no task with a status other than 0. */
  fail(request: Request, status: number): void {
    this.#failed(request, status);
    request.complete(status);
  }

  /** Counts a command that fails, and tells the error log unless it is no error: a wrong path, or a comparison. */
  #failed(request: Request, status: number): void {
    this.counters[Counter.errors]!++;
    const { failed } = this.options;
    if (failed === undefined || SCT_PATH === (status & SCT_MASK) || (status & ~DNR) === Status.CompareFailure) return;
    const { sqeView, sqeBase, opcode } = request;
    failed({
      qid: request.queue.qid,
      cid: request.cid,
      status,
      opcode: request.fabrics ? IoOpcode.Fabrics : opcode,
      nsid: request.fabrics ? 0 : Sqe.nsid.get(sqeView, sqeBase),
      lba: NAMES_A_RANGE.has(opcode) ? RwSqe.slba.get(sqeView, sqeBase) : 0,
    });
  }

  #operationFailed(task: IoTask): void {
    const { result } = task;
    let status = STATUS_OF_RESULT[result]!;
    if (result === IoResult.MediaError || result === IoResult.Unreadable) {
      this.counters[Counter.mediaErrors]!++;
      if (task.op !== IoOp.Read && result !== IoResult.Unreadable) status = Status.WriteFault;
    }
    this.#end(task, status);
  }

  #end(task: IoTask, status: number): void {
    const request = task.request!;
    task.request = null;
    if (status !== 0) {
      this.#failed(request, status);
      if (task.steps?.failed !== undefined) status = task.steps.failed(this, task, status);
    } else this.#count(task);
    if (task.steps !== null) this.#clean(task);
    request.complete(status, task.dw0, task.dw1);
    if (task.ended !== null) this.#tellEnded(task);
  }

  #tellEnded(task: IoTask): void {
    const ended = task.ended!;
    task.ended = null;
    for (const tell of ended) tell();
  }

  /** Gives back what a command of several operations has needed. */
  #clean(task: IoTask): void {
    task.flushes = null;
    task.first = null;
    const { piece } = task;
    task.piece = null;
    if (piece !== null) this.pieces.give(piece);
  }

  #count(task: IoTask): void {
    const { counters } = this;
    if (task.op === IoOp.ZoneAppend || (task.steps === null && task.op === IoOp.Write)) {
      counters[Counter.writeCommands]!++;
      counters[Counter.writtenBytes]! += task.length;
    } else if (task.steps === null && task.op === IoOp.Read) {
      counters[Counter.readCommands]!++;
      counters[Counter.readBytes]! += task.length;
    } else counters[Counter.otherCommands]!++;
  }
}
