import { type Memory, NvbraidError } from '@nvbraid/base';
import { isTransient, NO_MEMORY } from '@nvbraid/host';
import { DNR, Sqe, Status } from '@nvbraid/wire';
import { LatencyHistogram } from './host-latency.ts';
import { BLOCKS_MAX, POOLED_OPERATIONS } from './host-limits.ts';
import { IoCommand, type IoNamespace, Operation, type OperationEnded, type OperationKind } from './host-operation.ts';
import type { IoSink } from './io-sink.ts';
import { begunNowMs, endedNowMs } from './turn-clock.ts';

/** What a host controller has done since it was connected. */
export interface IoCounters {
  readCommands: number;
  writeCommands: number;
  otherCommands: number;
  readBytes: number;
  writtenBytes: number;
  /** Operations that ended with an error. */
  errors: number;
  /** Commands that were sent again. */
  retries: number;
}

/** Fills in the SQE of a command for `blocks` blocks from `slba` on. */
export type Prepare = (command: IoCommand, nsid: number, slba: number, blocks: number) => void;

/**
 * The I/O commands of one controller, or of a head: splits operations into commands, sends again what failed for a passing
 * reason, and settles the promises.
 */
export class HostIo {
  readonly counters: IoCounters = {
    readCommands: 0,
    writeCommands: 0,
    otherCommands: 0,
    readBytes: 0,
    writtenBytes: 0,
    errors: 0,
    retries: 0,
  };
  readonly latency = new LatencyHistogram();
  readonly maxRetries: number;
  readonly #sink: IoSink;
  readonly #operations: Operation[] = [];
  readonly #commands: IoCommand[] = [];
  #inFlight = 0;
  #closing: NvbraidError | null = null;
  #whenIdle: (() => void)[] = [];

  constructor(sink: IoSink, maxRetries: number) {
    this.#sink = sink;
    this.maxRetries = maxRetries;
  }

  /** Operations that have not been settled. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Takes nothing new; what is under way goes on. */
  close(error: NvbraidError): void {
    this.#closing = error;
  }

  /** Fulfilled when nothing is under way, or with false after `waitMs`. */
  idle(waitMs: number): Promise<boolean> {
    if (this.#inFlight === 0) return Promise.resolve(true);
    if (waitMs <= 0) return Promise.resolve(false);
    return new Promise((resolve) => {
      const settle = (idle: boolean): void => {
        clearTimeout(timer);
        this.#whenIdle = this.#whenIdle.filter((one) => one !== whenIdle);
        resolve(idle);
      };
      const whenIdle = (): void => settle(true);
      const timer = setTimeout(() => settle(false), waitMs);
      this.#whenIdle.push(whenIdle);
    });
  }

  /** Blocks that one command can move. */
  maxBlocks(blockSize: number): number {
    return Math.max(1, Math.min(BLOCKS_MAX, Math.floor(this.#sink.maxTransferBytes / blockSize)));
  }

  /** Moves data: as many commands as the controller's transfer limit makes of it. */
  transfer(
    kind: 'Read' | 'Write' | 'Compare',
    namespace: IoNamespace,
    blockSize: number,
    slba: number,
    memory: Memory,
    offset: number,
    length: number,
    prepare: Prepare,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const operation = this.#begin(kind, namespace, slba, length, signal);
    const promise = this.#promise(operation);
    this.#move(operation, blockSize, memory, offset, prepare);
    return this.#began(operation, promise);
  }

  /** As `transfer`, without a promise: `ended` is called once, perhaps before this returns. Nothing is allocated. */
  submit(
    kind: 'Read' | 'Write',
    namespace: IoNamespace,
    blockSize: number,
    slba: number,
    memory: Memory,
    offset: number,
    length: number,
    prepare: Prepare,
    ended: OperationEnded,
    context: unknown,
  ): void {
    const operation = this.#begin(kind, namespace, slba, length, undefined);
    operation.ended = ended;
    operation.context = context;
    this.#move(operation, blockSize, memory, offset, prepare);
    this.#oneLess(operation);
  }

  /** The commands of an operation that moves data. */
  #move(operation: Operation, blockSize: number, memory: Memory, offset: number, prepare: Prepare): void {
    const { kind, namespace, slba, bytes: length } = operation;
    const step = this.maxBlocks(blockSize) * blockSize;
    for (let done = 0; done < length && !operation.settled; done += step) {
      const bytes = Math.min(step, length - done);
      const command = this.#add(operation, slba + done / blockSize);
      prepare(command, namespace.nsid, command.slba, bytes / blockSize);
      if (kind === 'Read') command.receives(memory, offset + done, bytes);
      else command.sends(memory, offset + done, bytes);
      command.exact = true;
      this.#submit(command);
    }
  }

  /**
   * Commands for a range of blocks that move no data; a range of 0 blocks is one command.
   * @param most blocks of one command
   */
  range(
    kind: OperationKind,
    namespace: IoNamespace,
    slba: number,
    blocks: number,
    prepare: Prepare,
    signal: AbortSignal | undefined,
    most = BLOCKS_MAX,
  ): Promise<void> {
    const operation = this.#begin(kind, namespace, slba, 0, signal);
    const promise = this.#promise(operation);
    let done = 0;
    do {
      const count = Math.min(most, blocks - done);
      const command = this.#add(operation, slba < 0 ? -1 : slba + done);
      prepare(command, namespace.nsid, command.slba, count);
      this.#submit(command);
      done += count;
    } while (done < blocks && !operation.settled);
    return this.#began(operation, promise);
  }

  /** One command with a payload of its own. @param once it is not sent again, whatever becomes of it */
  command(
    kind: OperationKind,
    namespace: IoNamespace,
    memory: Memory,
    length: number,
    prepare: Prepare,
    signal: AbortSignal | undefined,
    once = false,
  ): Promise<void> {
    const operation = this.#begin(kind, namespace, -1, 0, signal);
    operation.once = once;
    return this.#single(operation, -1, (command) => {
      prepare(command, namespace.nsid, 0, 0);
      command.sends(memory, 0, length);
    });
  }

  /** One command that returns something else than blocks. */
  fetch(
    kind: OperationKind,
    namespace: IoNamespace,
    memory: Memory,
    length: number,
    prepare: Prepare,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    return this.#single(this.#begin(kind, namespace, -1, 0, signal), -1, (command) => {
      prepare(command, namespace.nsid, 0, 0);
      command.receives(memory, 0, length);
    });
  }

  /**
   * A fused Compare and Write: two commands, one behind the other on one queue. They are sent again together, and only
   * when the controller has said of both that they did not run: whether a pair has run that was lost with its connection
   * cannot be known, and a second one would meet the data of the first.
   */
  fused(
    namespace: IoNamespace,
    slba: number,
    expected: Memory,
    expectedOffset: number,
    memory: Memory,
    offset: number,
    length: number,
    prepare: readonly [Prepare, Prepare],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const operation = this.#begin('Compare and Write', namespace, slba, length, signal);
    const promise = this.#promise(operation);
    const first = this.#add(operation, slba);
    const second = this.#add(operation, slba);
    prepare[0](first, namespace.nsid, slba, 0);
    prepare[1](second, namespace.nsid, slba, 0);
    first.sends(expected, expectedOffset, length);
    second.sends(memory, offset, length);
    first.partner = second;
    second.partner = first;
    this.#submit(first);
    return this.#began(operation, promise);
  }

  /**
   * One command that is sent once: whether it has run that was lost with its connection cannot be known, and running it
   * again would be a second one.
   * @returns dwords 0 and 1 of its completion
   */
  async once(
    kind: OperationKind,
    namespace: IoNamespace,
    slba: number,
    bytes: number,
    prepare: (command: IoCommand) => void,
    signal: AbortSignal | undefined,
  ): Promise<{ dw0: number; dw1: number }> {
    const answer = { dw0: 0, dw1: 0 };
    const operation = this.#begin(kind, namespace, slba, bytes, signal);
    operation.answered = (dw0, dw1) => Object.assign(answer, { dw0, dw1 });
    operation.once = true;
    await this.#single(operation, slba, prepare);
    return answer;
  }

  /** `namespace.gone` has been set: its commands end now. */
  abandon(namespace: IoNamespace): void {
    this.#sink.abortAll((command) => command.operation?.namespace === namespace);
  }

  // ---------------------------------------------------------------- operations

  #begin(
    kind: OperationKind,
    namespace: IoNamespace,
    slba: number,
    bytes: number,
    signal: AbortSignal | undefined,
  ): Operation {
    const operation = this.#operations.pop() ?? new Operation();
    operation.kind = kind;
    operation.namespace = namespace;
    operation.slba = slba;
    operation.bytes = bytes;
    operation.startMs = begunNowMs();
    operation.settled = false;
    operation.status = 0;
    operation.once = false;
    operation.refused = this.#closing;
    operation.failedSlba = slba;
    // One more than there are commands until all have been submitted: none of them ends the operation early.
    operation.pending = 1;
    if (signal !== undefined) {
      operation.signal = signal;
      operation.onAbort = () => this.#abort(operation);
      signal.addEventListener('abort', operation.onAbort, { once: true });
    }
    this.#inFlight++;
    return operation;
  }

  #promise(operation: Operation): Promise<void> {
    return new Promise((resolve, reject) => {
      operation.resolve = resolve;
      operation.reject = reject;
    });
  }

  /** An operation of one command: not for reads and writes, for which nothing is allocated. */
  #single(operation: Operation, slba: number, prepare: (command: IoCommand) => void): Promise<void> {
    const promise = this.#promise(operation);
    const command = this.#add(operation, slba);
    prepare(command);
    this.#submit(command);
    return this.#began(operation, promise);
  }

  #began(operation: Operation, promise: Promise<void>): Promise<void> {
    this.#oneLess(operation);
    return promise;
  }

  #oneLess(operation: Operation): void {
    if (--operation.pending > 0) return;
    if (!operation.settled) this.#settle(operation);
    // Taken off one by one: to empty the array at once is a call into the engine.
    for (let command = operation.commands.pop(); command !== undefined; command = operation.commands.pop()) {
      command.operation = null;
      if (this.#commands.length < POOLED_OPERATIONS) this.#commands.push(command);
    }
    operation.release();
    if (this.#operations.length < POOLED_OPERATIONS) this.#operations.push(operation);
  }

  #settle(operation: Operation): void {
    operation.settled = true;
    if (--this.#inFlight === 0) for (const idle of this.#whenIdle) idle();
    const { resolve, reject, ended } = operation;
    if (operation.status === 0) this.#count(operation);
    else this.counters.errors++;
    if (ended !== null) ended(operation.context, operation.status);
    else if (operation.status === 0) resolve();
    else {
      // No path has taken it because there is none any more.
      if ((operation.status & 0x700) === 0x300) operation.refused ??= this.#closing;
      reject(operation.error(this.#sink.trouble));
    }
    if (operation.signal !== null) {
      operation.signal.removeEventListener('abort', operation.onAbort!);
      operation.signal = null;
      operation.onAbort = null;
    }
  }

  #count(operation: Operation): void {
    const { counters } = this;
    if (operation.kind === 'Read') counters.readBytes += operation.bytes;
    else if (operation.kind === 'Write' || operation.kind === 'Compare and Write' || operation.kind === 'Zone Append') {
      counters.writtenBytes += operation.bytes;
    }
    this.latency.record(Math.max(0, endedNowMs() - operation.startMs));
  }

  #abort(operation: Operation): void {
    if (operation.settled) return;
    operation.status = Status.CommandAbortedByHost;
    this.#settle(operation);
    // Each `done` may end the operation and empty the list: go through a copy.
    for (const command of operation.commands.slice()) {
      if (command.operation === operation) this.#sink.abort(command);
    }
  }

  // ---------------------------------------------------------------- commands

  #add(operation: Operation, slba: number): IoCommand {
    let command = this.#commands.pop();
    if (command === undefined) {
      command = new IoCommand();
      this.#sink.adopt(command, this.#done);
    }
    command.operation = operation;
    command.slba = slba;
    command.retries = 0;
    command.partner = null;
    command.answered = false;
    operation.commands.push(command);
    operation.pending++;
    return command;
  }

  #submit(command: IoCommand): void {
    const { kind, namespace, refused } = command.operation!;
    if (refused !== null) return this.#endedAll(command, Status.HostPathingError | DNR);
    if (namespace.gone !== null) return this.#endedAll(command, Status.InvalidNamespaceOrFormat | DNR);
    if (kind === 'Read') this.counters.readCommands++;
    else if (kind === 'Write') this.counters.writeCommands++;
    else this.counters.otherCommands++;
    const { partner } = command;
    if (partner === null) this.#sink.submit(command);
    else if (!this.#sink.submitFused(command, partner)) this.#endedAll(command, Status.InvalidQueueSize | DNR);
  }

  readonly #done = (command: IoCommand): void => {
    const { status } = command;
    if (command.partner !== null) return this.#halfDone(command, command.partner);
    if (status !== 0 && this.#mayRetry(command)) {
      command.retries++;
      this.counters.retries++;
      this.#submit(command);
      return;
    }
    this.#ended(command, status);
  };

  /** Half of a fused operation has ended. */
  #halfDone(command: IoCommand, partner: IoCommand): void {
    command.answered = true;
    if (!partner.answered) return;
    const [first, second] = Sqe.fuse.get(command.sqe.view, 0) === 1 ? [command, partner] : [partner, command];
    // The half that failed by itself says why.
    const cause = (first.status & 0x7ff) === Status.FailedFusedCommand ? second : first;
    const answer = cause.status & 0x7ff;
    const lost = answer === Status.HostPathingError || answer === Status.CommandAbortedByHost;
    if (cause.status !== 0 && !lost && this.#mayRetry(cause)) {
      first.retries++;
      second.retries++;
      first.answered = false;
      second.answered = false;
      this.counters.retries++;
      this.#submit(first);
      return;
    }
    const other = cause === first ? second : first;
    this.#ended(cause, cause.status);
    this.#ended(other, other.status);
  }

  #mayRetry(command: IoCommand): boolean {
    const { status } = command;
    if (command.operation!.settled || command.operation!.once || command.retries >= this.maxRetries) return false;
    return (status & DNR) === 0 && isTransient(status) && this.#sink.retries;
  }

  /** A command ends that no queue has, and with it the other half of a fused operation. */
  #endedAll(command: IoCommand, status: number): void {
    const { partner } = command;
    this.#ended(command, status);
    if (partner !== null) this.#ended(partner, status);
  }

  #ended(command: IoCommand, status: number): void {
    const operation = command.operation!;
    if (status !== 0 && operation.status === 0) {
      operation.status = status;
      operation.failedSlba = command.slba;
    }
    if (status === 0) operation.answered?.(command.dw0, command.dw1);
    command.memory = NO_MEMORY;
    command.queue = null;
    command.partner = null;
    this.#oneLess(operation);
  }
}

/** @throws NvbraidError EINVAL unless it is a whole number in range */
export function checkBlock(what: string, value: number, most = Number.MAX_SAFE_INTEGER): void {
  if (!Number.isInteger(value) || value < 0 || value > most) {
    throw new NvbraidError('EINVAL', `${what} is not a whole number from 0 to ${most}: ${value}`);
  }
}
