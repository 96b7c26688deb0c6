import { closeSync } from 'node:fs';
import { fields, NvbraidError, settingTable } from '@nvbraid/base';
import {
  type BlockDevice,
  type DeviceSpec,
  type Io,
  IoOp,
  IoResult,
  type OpenOptions,
  type PreparedDevice,
} from '../block-device.ts';
import type { PreparedFileDevice } from '../file/file-spec.ts';
import { fileDevice } from '../file/file-spec.ts';
import { openFileDevice, prepareFile, releaseFile } from '../file/prepare-file.ts';
import { COMMIT_STEP_BYTES, MAX_OVERLAY_BLOCKS } from '../limits.ts';
import { MemoryDevice, memoryDevice, type PreparedMemoryDevice, prepareMemory } from '../memory-device.ts';
import { LowerIo } from './filter.ts';
import { HoldLine } from './hold-line.ts';
import { commitOverlay, discardOverlay } from './overlay-actions.ts';
import { Gate, lockMap, mapBytes, OverlayMap, OverlayWord, openMapFile, writeMap } from './overlay-map.ts';
import { SharedSettings } from './shared-settings.ts';
import {
  answer,
  type PreparedTunable,
  TunableFilter,
  type TunableKind,
  type TunableSpec,
  tunableSpec,
} from './tunable.ts';

const TABLE = settingTable({
  path: fields.orNone(
    fields.text(1024, 'File for what is changed, with its map beside it; without it, memory', 'PATH'),
  ),
});

export type CowOptions = Partial<{ -readonly [K in keyof typeof TABLE]: unknown }>;

/**
 * Copy on write: changes go into memory or a file, and the device below stays as it is until they are committed or
 * discarded. @throws NvbraidError EINVAL
 */
export function cowFilter(lower: DeviceSpec, options: CowOptions = {}): TunableSpec {
  return tunableSpec(COW, lower, options);
}

export interface PreparedCow extends PreparedTunable {
  readonly upper: PreparedMemoryDevice | PreparedFileDevice;
  /** Descriptor of the map's file; -1 for an overlay in memory. */
  readonly mapFd: number;
}

export const COW: TunableKind = {
  kind: 'cow',
  summary: 'Keeps changes in memory or a file and leaves the device below as it is',
  table: TABLE,
  fixedSize: true,
  areaBytes: (_spec, { blockCount }) => {
    if (blockCount <= MAX_OVERLAY_BLOCKS) return mapBytes(blockCount);
    throw new NvbraidError(
      'EINVAL',
      `filter cow: ${blockCount} blocks are more than ${MAX_OVERLAY_BLOCKS}; use larger blocks`,
    );
  },
  // Marks of uncorrectable blocks belong to the device below, which stays as it is.
  changes: ({ path }) => ({
    readOnly: false,
    compareAndWrite: false,
    uncorrectable: false,
    volatileWriteCache: path !== null,
  }),
  beforeChange(prepared, settings) {
    if (settings.path === prepared.settings.path) return;
    throw new NvbraidError('EINVAL', 'filter cow: path cannot be changed while the overlay is in use', {
      context: { key: 'path' },
    });
  },
  async prepare(prepared) {
    const { blockSize, blockCount } = prepared;
    const path = prepared.settings.path as string | null;
    const size = blockSize * blockCount;
    if (path === null) return { upper: prepareMemory(memoryDevice({ size, blockSize })), mapFd: -1 };
    const mapFd = await openMapFile(`${path}.map`, path, { blockSize, blockCount });
    try {
      new OverlayMap(prepared.area, blockCount).load(mapFd);
      const upper = await prepareFile(fileDevice({ path, size, blockSize, create: true }));
      return { upper, mapFd, thin: upper.thin };
    } catch (error) {
      closeSync(mapFd);
      throw error;
    }
  },
  async release(prepared) {
    const { upper, mapFd } = prepared as PreparedCow;
    if (upper.kind === 'file') await releaseFile(upper);
    if (mapFd >= 0) closeSync(mapFd);
  },
  actions: {
    commit: (prepared, open) => commitOverlay(prepared as PreparedCow, open),
    discard: (prepared, open) => discardOverlay(prepared as PreparedCow, open),
  },
  report: (prepared) => ({ changedBlocks: new OverlayMap(prepared.area, prepared.blockCount).count() }),
  open: (prepared, lower, options) => new CowFilter(prepared as PreparedCow, lower, options),
};

export function openUpper(upper: PreparedDevice, options: OpenOptions): BlockDevice {
  return upper.kind === 'file'
    ? openFileDevice(upper as PreparedFileDevice, options)
    : new MemoryDevice(upper as PreparedMemoryDevice, options);
}

/** An operation under way: parts of a read one after the other, or a change and what makes it stable. */
class CowTask extends LowerIo {
  upper: Io | null = null;
  submitting = false;
  epoch = 0;
  /** Bytes of a read that are done. */
  at = 0;
}

/**
 * Every operation is counted in one of two counters while it is under way. Who wants a range for itself (a commit, a
 * discard) closes the gate for it, changes the counter, and waits until the old one is zero: all later ones see the gate.
 *
 * A block is read from where its bit says. The bit is set when the overlay has the block, and reaches the file only in a
 * Flush, after the data: a crash leaves the old block or the new one.
 */
class CowFilter extends TunableFilter<typeof TABLE> {
  readonly #prepared: PreparedCow;
  readonly #upper: BlockDevice;
  readonly #map: OverlayMap;
  readonly #words: Int32Array;
  readonly #gated: HoldLine<Io>;
  /** Those that wait to write the map. */
  readonly #flushing: HoldLine<CowTask>;
  readonly #free: CowTask[] = [];
  #closed = false;

  constructor(prepared: PreparedCow, lower: BlockDevice, options: OpenOptions) {
    super(prepared, lower, options);
    this.#prepared = prepared;
    this.#upper = openUpper(prepared.upper, options);
    this.#map = new OverlayMap(prepared.area, prepared.blockCount);
    this.#words = SharedSettings.counters(prepared.shared);
    this.#gated = new HoldLine(
      options,
      (io) => this.#again(io),
      () => this.#gated.release(() => true),
    );
    this.#flushing = new HoldLine(
      options,
      (task) => this.#flush(task),
      () => this.#flushing.release(() => true),
    );
  }

  submit(io: Io): boolean {
    if (this.#closed) return answer(io, IoResult.Failed);
    // What is not known to be a read or a whole change of blocks cannot be done on two devices.
    if (io.op >= IoOp.CompareAndWrite) return answer(io, IoResult.NotSupported);
    const epoch = this.#enter(io);
    if (epoch < 0) {
      this.#gated.add(io, Number.POSITIVE_INFINITY);
      return false;
    }
    const task = this.#task();
    task.upper = io;
    task.epoch = epoch;
    task.at = 0;
    task.submitting = true;
    task.copy(io);
    if (io.op === IoOp.Read) this.#readOn(task);
    else if (io.op === IoOp.Flush) this.#flush(task);
    else task.sendTo(this.#upper);
    task.submitting = false;
    return task.upper === null;
  }

  override async close(): Promise<void> {
    this.#closed = true;
    this.#gated.release(() => true);
    if (this.#prepared.mapFd >= 0) await this.#lastFlush();
    await this.#upper.close();
    await super.close();
  }

  /** An orderly end: everything is in the file. */
  #lastFlush(): Promise<void> {
    return new Promise((resolve) => {
      const task = this.#task();
      const io = new LowerIo(() => resolve()).flush();
      task.upper = io;
      task.epoch = this.#count();
      this.#flush(task);
    });
  }

  #task(): CowTask {
    return this.#free.pop() ?? new CowTask((done) => this.#partDone(done as CowTask));
  }

  // ---- who may go in ----

  #count(): number {
    const words = this.#words;
    for (;;) {
      const epoch = Atomics.load(words, OverlayWord.Epoch) & 1;
      Atomics.add(words, OverlayWord.Inside + epoch, 1);
      if ((Atomics.load(words, OverlayWord.Epoch) & 1) === epoch) return epoch;
      Atomics.sub(words, OverlayWord.Inside + epoch, 1);
    }
  }

  /** @returns the counter, or -1 when the gate is closed for this operation */
  #enter(io: Io): number {
    const epoch = this.#count();
    const gate = Atomics.load(this.#words, OverlayWord.Gate);
    if (gate === Gate.Open) return epoch;
    if (gate !== Gate.All) {
      const from = (gate - 1) * COMMIT_STEP_BYTES;
      if (io.op === IoOp.Flush || io.offset >= from + COMMIT_STEP_BYTES || io.offset + io.length <= from) return epoch;
    }
    Atomics.sub(this.#words, OverlayWord.Inside + epoch, 1);
    return -1;
  }

  #again(io: Io): void {
    if (io.revoked === true) io.result = IoResult.Failed;
    else if (!this.submit(io)) return;
    io.done(io);
  }

  #end(task: CowTask, result: IoResult): void {
    const io = task.upper!;
    Atomics.sub(this.#words, OverlayWord.Inside + task.epoch, 1);
    io.result = result;
    task.upper = null;
    const later = !task.submitting;
    this.#free.push(task);
    if (later) io.done(io);
  }

  // ---- operations ----

  #partDone(task: CowTask): void {
    const io = task.upper!;
    if (task.result !== IoResult.Ok) return this.#end(task, task.result);
    if (io.op === IoOp.Read) {
      task.at += task.length;
      if (task.at === io.length) this.#end(task, IoResult.Ok);
      else this.#readOn(task);
    } else if (io.op === IoOp.Flush) {
      this.#end(task, IoResult.Ok); // without a file, the overlay's own flush is all
    } else {
      this.#map.add(io.offset / this.blockSize, io.length / this.blockSize);
      if (io.fua && this.#prepared.mapFd >= 0) this.#flush(task);
      else this.#end(task, IoResult.Ok);
    }
  }

  /** The next part of a read that comes from one place. */
  #readOn(task: CowTask): void {
    const io = task.upper!;
    const first = (io.offset + task.at) / this.blockSize;
    const run = this.#map.run(first, (io.length - task.at) / this.blockSize);
    task.offset = io.offset + task.at;
    task.length = Math.abs(run) * this.blockSize;
    task.memoryOffset = io.memoryOffset + task.at;
    // A bit may be set by now: then the block is as it was before a write that is under way, which is as good.
    task.sendTo(run > 0 ? this.#upper : this.lower);
  }

  /**
   * Makes what the overlay has stable, and then the map: pages as they were before, so that no bit is stable before its
   * block is. One thread at a time, else an older page could follow a newer one.
   */
  #flush(task: CowTask): void {
    const { mapFd } = this.#prepared;
    if (mapFd < 0) {
      task.flush().sendTo(this.#upper);
      return;
    }
    const words = this.#words;
    if (Atomics.load(words, OverlayWord.Failed) !== 0) return this.#end(task, IoResult.MediaError);
    if (!lockMap(words, this.timers.nowMs())) {
      this.#flushing.add(task, 1);
      return;
    }
    const pages = this.#map.take();
    const over = (result: IoResult): void => {
      if (result !== IoResult.Ok) this.#map.put(pages.keys());
      Atomics.store(words, OverlayWord.MapLock, 0);
      this.#end(task, result);
    };
    const flushed = new LowerIo((io) => {
      if (io.result !== IoResult.Ok || pages.size === 0) return over(io.result);
      this.options.background?.started();
      writeMap(mapFd, pages, (error) => {
        this.options.background?.finished();
        if (error !== null) {
          // The kernel tells of a failed write-back once, and then says that all is well.
          Atomics.store(words, OverlayWord.Failed, 1);
          this.options.log?.(`filter cow: cannot write the map of ${this.settings.path}: ${error.message}`);
        }
        over(error === null ? IoResult.Ok : IoResult.MediaError);
      });
    });
    flushed.flush().sendTo(this.#upper);
  }
}
