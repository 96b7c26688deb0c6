import { EventEmitter } from 'node:events';
import { Memory, NvbraidError } from '@nvbraid/base';
import { type NamespaceInfo, NvmeError } from '@nvbraid/host';
import {
  COPY_RANGE_SIZE,
  CopyRange,
  CopySqe,
  DNR,
  DSM_RANGE_SIZE,
  DSM_RANGES_MAX,
  DsmRange,
  DsmSqe,
  emitRwSqe,
  type IdentifyNamespace,
  IoOpcode,
  type NamespaceIds,
  type ReservationStatus,
  RwSqe,
  Status,
} from '@nvbraid/wire';
import { type BlockRange, copyCommands } from './copy-commands.ts';
import { checkBlock, type HostIo } from './host-io.ts';
import { memoryOf } from './host-memory.ts';
import type { IoCommand, IoNamespace, OperationEnded, OperationKind } from './host-operation.ts';
import {
  HostReservations,
  type ResvAcquire,
  type ResvRegister,
  type ResvRelease,
  type ResvReport,
} from './host-reservations.ts';

export interface IoOptions {
  /** Ends the call at once; the controller is asked to abort what it has of it. */
  readonly signal?: AbortSignal;
}

export interface WriteOptions extends IoOptions {
  /** Force unit access: the data is on stable storage when the promise is fulfilled. */
  readonly fua?: boolean;
}

export interface WriteZeroesOptions extends WriteOptions {
  /** The controller may give the space back. */
  readonly deallocate?: boolean;
}

/** Attributes of Dataset Management; all but `deallocate` are hints. */
export interface DatasetAttributes {
  readonly deallocate?: boolean;
  /** The ranges will be written, or read, as a whole. */
  readonly write?: boolean;
  readonly read?: boolean;
}

export interface HostNamespaceEventMap {
  /** Size, write protection or another property is another one now. */
  changed: [];
  gone: [error: NvbraidError];
  /** Of heads: a path has come, gone, or stands differently. */
  'path-state': [path: string, state: string];
  'ana-change': [path: string, before: string, after: string];
  /** A command goes by another path because of what happened on this one; `status` as in `NvmeError`. */
  failover: [path: string, status: number];
}

/**
 * A namespace of a host controller. The methods throw nothing: their promises are rejected with `NvmeError` when the
 * controller answers with an error status, with `NvbraidError` otherwise. Calls under way together are not ordered.
 */
export class HostNamespace extends EventEmitter<HostNamespaceEventMap> implements IoNamespace {
  readonly #io: HostIo;
  readonly #reservations: HostReservations;
  #info: NamespaceInfo;
  #gone: NvbraidError | null = null;

  constructor(io: HostIo, info: NamespaceInfo) {
    super();
    this.#io = io;
    this.#reservations = new HostReservations(io, this);
    this.#info = info;
  }

  /** What the controller said of it last. */
  get info(): NamespaceInfo {
    return this.#info;
  }

  get nsid(): number {
    return this.#info.nsid;
  }

  /** Bytes of a logical block. */
  get blockSize(): number {
    return this.#info.blockSize;
  }

  get blockCount(): number {
    return this.#info.blockCount;
  }

  /** Bytes. */
  get size(): number {
    return this.#info.blockCount * this.#info.blockSize;
  }

  get readOnly(): boolean {
    return this.#info.readOnly;
  }

  get identify(): IdentifyNamespace {
    return this.#info.identify;
  }

  /** UUID, NGUID, EUI64, as far as the namespace has them. */
  get descriptors(): NamespaceIds {
    return this.#info.descriptors;
  }

  /**
   * Why this object is of no use any more: its namespace was removed, or another one has taken its nsid. All calls, also
   * those under way, are rejected with ENOENT; the controller may have a new object for the nsid.
   */
  get gone(): NvbraidError | null {
    return this.#gone;
  }

  /** Called by the controller when the namespace has another shape. */
  update(info: NamespaceInfo): void {
    this.#info = info;
    process.nextTick(() => this.emit('changed'));
  }

  /** Called by the controller when its namespace is there no more. */
  abandon(error: NvbraidError): void {
    this.#gone = error;
    this.#io.abandon(this);
    process.nextTick(() => this.emit('gone', error));
  }

  /** Fills `buffer`, whose length is a multiple of `blockSize`, with the blocks from `slba` on. */
  read(slba: number, buffer: Uint8Array, options?: IoOptions): Promise<void> {
    return this.#transfer('Read', prepareRead, slba, buffer, options?.signal);
  }

  /** Writes `buffer`, whose length is a multiple of `blockSize`, from block `slba` on. */
  write(slba: number, buffer: Uint8Array, options?: WriteOptions): Promise<void> {
    return this.#transfer('Write', options?.fua ? prepareWriteFua : prepareWrite, slba, buffer, options?.signal);
  }

  /**
   * As `read`, into a part of memory that stays where it is, and without a promise: nothing is allocated.
   * @param ended called once, perhaps before this returns
   */
  submitRead(
    slba: number,
    memory: Memory,
    offset: number,
    length: number,
    ended: OperationEnded,
    context: unknown,
  ): void {
    this.#submit('Read', prepareRead, slba, memory, offset, length, ended, context);
  }

  /** As `write`, from a part of memory that stays as it is until `ended` is called; else as `submitRead`. */
  submitWrite(
    slba: number,
    memory: Memory,
    offset: number,
    length: number,
    fua: boolean,
    ended: OperationEnded,
    context: unknown,
  ): void {
    this.#submit('Write', fua ? prepareWriteFua : prepareWrite, slba, memory, offset, length, ended, context);
  }

  #submit(
    kind: 'Read' | 'Write',
    prepare: typeof prepareRead,
    slba: number,
    memory: Memory,
    offset: number,
    length: number,
    ended: OperationEnded,
    context: unknown,
  ): void {
    const { blockSize } = this.#info;
    if (this.#wrong(slba, length / blockSize, undefined) !== null) ended(context, Status.InternalError | DNR);
    else this.#io.submit(kind, this, blockSize, slba, memory, offset, length, prepare, ended, context);
  }

  /** What has been written before is on stable storage when the promise is fulfilled. */
  flush(options: IoOptions = {}): Promise<void> {
    const { signal } = options;
    const wrong = this.#wrong(0, 0, signal);
    if (wrong !== null) return Promise.reject(wrong);
    return this.#io.range('Flush', this, -1, 0, prepareFlush, signal);
  }

  /**
   * Whether the blocks from `slba` on hold what `buffer` does; its length is a multiple of `blockSize`. What is longer than
   * one command moves is compared piece by piece, and not at one moment.
   */
  compare(slba: number, buffer: Uint8Array, options?: IoOptions): Promise<boolean> {
    return unlessDifferent(this.#transfer('Compare', prepareCompare, slba, buffer, options?.signal));
  }

  /**
   * Writes `buffer` from block `slba` on if the blocks hold what `expected` does, as one step towards every other command:
   * a fused Compare and Write. False when they hold something else, and nothing was written. How many blocks it may be says
   * ACWU of Identify Controller: with nvbraid, one. Rejected with a path error when the connection was lost meanwhile: it
   * may have been written or not.
   */
  compareAndWrite(
    slba: number,
    expected: Uint8Array,
    buffer: Uint8Array,
    options: WriteOptions = {},
  ): Promise<boolean> {
    const { signal, fua = false } = options;
    const blocks = buffer.byteLength / this.#info.blockSize;
    const wrong = this.#wrong(slba, blocks, signal) ?? this.#notOnePair(expected, buffer);
    if (wrong !== null) return Promise.reject(wrong);
    const first = (command: IoCommand, nsid: number): void => {
      prepareRange(command, IoOpcode.Compare, nsid, slba, blocks, false);
      RwSqe.fuse.set(command.sqe.view, 0, 1);
    };
    const second = (command: IoCommand, nsid: number): void => {
      prepareRange(command, IoOpcode.Write, nsid, slba, blocks, fua);
      RwSqe.fuse.set(command.sqe.view, 0, 2);
    };
    try {
      const [compare, write] = [memoryOf(expected), memoryOf(buffer)];
      const { byteOffset, byteLength } = buffer;
      const pair = [first, second] as const;
      return unlessDifferent(
        this.#io.fused(this, slba, compare, expected.byteOffset, write, byteOffset, byteLength, pair, signal),
      );
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #notOnePair(expected: Uint8Array, buffer: Uint8Array): NvbraidError | null {
    const most = this.#io.maxBlocks(this.#info.blockSize) * this.#info.blockSize;
    if (expected.byteLength === buffer.byteLength && buffer.byteLength > 0 && buffer.byteLength <= most) return null;
    return new NvbraidError(
      'EINVAL',
      `compare and write takes two buffers of the same length, from one block to ${most} bytes, not of ` +
        `${expected.byteLength} and ${buffer.byteLength} bytes`,
    );
  }

  /** Has the controller read blocks and check them, without moving them. */
  verify(slba: number, blocks: number, options: IoOptions = {}): Promise<void> {
    return this.#inCommands('Verify', IoOpcode.Verify, slba, blocks, options.signal);
  }

  /** Marks blocks, so that they cannot be read until they are written. */
  writeUncorrectable(slba: number, blocks: number, options: IoOptions = {}): Promise<void> {
    return this.#inCommands('Write Uncorrectable', IoOpcode.WriteUncorrectable, slba, blocks, options.signal);
  }

  /** Commands that move no data, of as many blocks as others move: size limits are not below that. */
  #inCommands(
    kind: OperationKind,
    opcode: number,
    slba: number,
    blocks: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const wrong = this.#wrong(slba, blocks, signal);
    if (wrong !== null) return Promise.reject(wrong);
    if (blocks === 0) return Promise.resolve();
    const prepare = (command: IoCommand, nsid: number, first: number, count: number): void =>
      prepareRange(command, opcode, nsid, first, count, false);
    return this.#io.range(kind, this, slba, blocks, prepare, signal, this.#io.maxBlocks(this.#info.blockSize));
  }

  /**
   * Has the controller copy ranges, one after the other, to the blocks from `sdlba` on, which none of them may overlap. As
   * many commands as the limits of the namespace (MSRC, MSSRL, MCL) make of it.
   */
  copy(ranges: readonly BlockRange[], sdlba: number, options: WriteOptions = {}): Promise<void> {
    const { signal, fua = false } = options;
    for (const { slba, blocks } of ranges) {
      const wrong = this.#wrong(slba, blocks, signal);
      if (wrong !== null) return Promise.reject(wrong);
    }
    const wrong = this.#wrong(sdlba, 0, signal) ?? this.#notCopied(ranges, sdlba);
    if (wrong !== null) return Promise.reject(wrong);
    const commands = copyCommands(ranges, sdlba, this.#info.identify).map(({ ranges, sdlba }) => {
      const memory = Memory.alloc(ranges.length * COPY_RANGE_SIZE);
      ranges.forEach(({ slba, blocks }, i) => {
        CopyRange.emit(memory.view, i * COPY_RANGE_SIZE, { slba, nlb: blocks - 1 });
      });
      const prepare = (command: IoCommand, nsid: number): void => {
        command.reset(IoOpcode.Copy, nsid);
        CopySqe.sdlba.set(command.sqe.view, 0, sdlba);
        CopySqe.nr.set(command.sqe.view, 0, ranges.length - 1);
        CopySqe.fua.set(command.sqe.view, 0, fua ? 1 : 0);
      };
      return this.#io.command('Copy', this, memory, memory.length, prepare, signal);
    });
    return Promise.all(commands).then(() => {});
  }

  #notCopied(ranges: readonly BlockRange[], sdlba: number): NvbraidError | null {
    const { mssrl, mcl } = this.#info.identify;
    if (mssrl === 0 || mcl === 0) {
      return new NvbraidError('ENOTSUP', `the controller of namespace ${this.nsid} does not copy blocks`);
    }
    const end = sdlba + ranges.reduce((sum, { blocks }) => sum + blocks, 0);
    const overlapping = ranges.find(({ slba, blocks }) => slba < end && sdlba < slba + blocks && blocks > 0);
    if (overlapping === undefined) return null;
    const { slba, blocks } = overlapping;
    return new NvbraidError(
      'EINVAL',
      `blocks ${slba} to ${slba + blocks - 1} cannot be copied to ${sdlba} to ${end - 1}, which they overlap`,
    );
  }

  /** Makes blocks read as zeroes. */
  writeZeroes(slba: number, blocks: number, options: WriteZeroesOptions = {}): Promise<void> {
    const { signal, fua = false, deallocate = false } = options;
    const wrong = this.#wrong(slba, blocks, signal);
    if (wrong !== null) return Promise.reject(wrong);
    if (blocks === 0) return Promise.resolve();
    const prepare = (command: IoCommand, nsid: number, first: number, count: number): void => {
      prepareRange(command, IoOpcode.WriteZeroes, nsid, first, count, fua);
      RwSqe.deac.set(command.sqe.view, 0, deallocate ? 1 : 0);
    };
    return this.#io.range('Write Zeroes', this, slba, blocks, prepare, signal);
  }

  /** Gives blocks back: a hint, after which they read as they were or as the controller says in DLFEAT. */
  deallocate(slba: number, blocks: number, options?: IoOptions): Promise<void>;
  deallocate(ranges: readonly BlockRange[], options?: IoOptions): Promise<void>;
  deallocate(first: number | readonly BlockRange[], second?: number | IoOptions, third?: IoOptions): Promise<void> {
    const given = typeof first === 'number' ? [{ slba: first, blocks: second as number }] : first;
    const options = typeof first === 'number' ? third : (second as IoOptions | undefined);
    return this.datasetManagement(given, { deallocate: true }, options);
  }

  /** Tells what will become of blocks; with `deallocate`, gives them back. */
  datasetManagement(given: readonly BlockRange[], attributes: DatasetAttributes, options?: IoOptions): Promise<void> {
    const ranges: BlockRange[] = [];
    for (const { slba, blocks } of given) {
      const wrong = this.#wrong(slba, blocks, options?.signal);
      if (wrong !== null) return Promise.reject(wrong);
      // The length of a range has 32 bits.
      for (let at = 0; at < blocks; at += 0xffffffff) {
        ranges.push({ slba: slba + at, blocks: Math.min(0xffffffff, blocks - at) });
      }
    }
    const commands: Promise<void>[] = [];
    for (let at = 0; at < ranges.length; at += DSM_RANGES_MAX) {
      commands.push(this.#datasetManagement(ranges.slice(at, at + DSM_RANGES_MAX), attributes, options?.signal));
    }
    return Promise.all(commands).then(() => {});
  }

  #datasetManagement(
    ranges: readonly BlockRange[],
    attributes: DatasetAttributes,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const memory = Memory.alloc(ranges.length * DSM_RANGE_SIZE);
    ranges.forEach(({ slba, blocks }, i) => {
      DsmRange.emit(memory.view, i * DSM_RANGE_SIZE, { slba, nlb: blocks });
    });
    const prepare = (command: IoCommand, nsid: number): void => {
      command.reset(IoOpcode.DatasetManagement, nsid);
      DsmSqe.nr.set(command.sqe.view, 0, ranges.length - 1);
      DsmSqe.ad.set(command.sqe.view, 0, attributes.deallocate ? 1 : 0);
      DsmSqe.idw.set(command.sqe.view, 0, attributes.write ? 1 : 0);
      DsmSqe.idr.set(command.sqe.view, 0, attributes.read ? 1 : 0);
    };
    return this.#io.command('Dataset Management', this, memory, memory.length, prepare, signal);
  }

  /** Registers this host with the namespace, changes its key, or ends its registration. */
  resvRegister(command: ResvRegister, options: IoOptions = {}): Promise<void> {
    return this.#reservations.register(command, options.signal);
  }

  /** Reserves the namespace, or takes reservation and registrations from other hosts. */
  resvAcquire(command: ResvAcquire, options: IoOptions = {}): Promise<void> {
    return this.#reservations.acquire(command, options.signal);
  }

  /** Gives up the reservation, or clears it together with all registrations. */
  resvRelease(command: ResvRelease = {}, options: IoOptions = {}): Promise<void> {
    return this.#reservations.release(command, options.signal);
  }

  /** Who has registered, and what is held. */
  resvReport(options: ResvReport & IoOptions = {}): Promise<ReservationStatus> {
    return this.#reservations.report(options, options.signal);
  }

  #transfer(
    kind: 'Read' | 'Write' | 'Compare',
    prepare: typeof prepareRead,
    slba: number,
    buffer: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { blockSize } = this.#info;
    const blocks = buffer.byteLength / blockSize;
    let memory: Memory;
    try {
      const wrong = this.#wrong(slba, blocks, signal);
      if (wrong !== null) return Promise.reject(wrong);
      memory = memoryOf(buffer);
      if (blocks === 0) return Promise.resolve();
    } catch (error) {
      return Promise.reject(error);
    }
    const { byteOffset, byteLength } = buffer;
    return this.#io.transfer(kind, this, blockSize, slba, memory, byteOffset, byteLength, prepare, signal);
  }

  /** What keeps a command from being sent at all; whether the blocks exist is for the controller to say. */
  #wrong(slba: number, blocks: number, signal: AbortSignal | undefined): NvbraidError | null {
    if (this.#gone !== null) return this.#gone;
    if (signal?.aborted) return aborted(signal);
    try {
      checkBlock('the first block', slba);
      checkBlock('the number of blocks', blocks);
    } catch (error) {
      return error as NvbraidError;
    }
    if (this.#info.metadataSize > 0) {
      return new NvbraidError('ENOTSUP', `namespace ${this.nsid} has metadata, which is not supported`);
    }
    return null;
  }
}

function prepareRange(
  command: IoCommand,
  opcode: number,
  nsid: number,
  slba: number,
  blocks: number,
  fua: boolean,
): void {
  command.forget();
  emitRwSqe(command.sqe.view, opcode, nsid, slba, blocks - 1, fua ? 1 : 0);
}

function prepareRead(command: IoCommand, nsid: number, slba: number, blocks: number): void {
  prepareRange(command, IoOpcode.Read, nsid, slba, blocks, false);
}

function prepareWrite(command: IoCommand, nsid: number, slba: number, blocks: number): void {
  prepareRange(command, IoOpcode.Write, nsid, slba, blocks, false);
}

function prepareCompare(command: IoCommand, nsid: number, slba: number, blocks: number): void {
  prepareRange(command, IoOpcode.Compare, nsid, slba, blocks, false);
}

/** False instead of an error that says that blocks hold something else. */
function unlessDifferent(promise: Promise<void>): Promise<boolean> {
  return promise.then(
    () => true,
    (error: unknown) => {
      if (error instanceof NvmeError && (error.status & 0x7ff) === Status.CompareFailure) return false;
      throw error;
    },
  );
}

function prepareWriteFua(command: IoCommand, nsid: number, slba: number, blocks: number): void {
  prepareRange(command, IoOpcode.Write, nsid, slba, blocks, true);
}

function prepareFlush(command: IoCommand, nsid: number): void {
  command.reset(IoOpcode.Flush, nsid);
}

function aborted(signal: AbortSignal): NvbraidError {
  return new NvbraidError('EABORTED', 'aborted before it was sent', { cause: signal.reason });
}
