import { Memory, NvbraidError } from '@nvbraid/base';
import { type BlockDevice, IoOp, IoResult } from '../block-device.ts';
import { type IoArguments, ioResultName, runIo } from '../io.ts';
import { COMMIT_STEP_BYTES, LOCK_SLEEPS } from '../limits.ts';
import { systemTimers } from '../timers.ts';
import { openUpper, type PreparedCow } from './cow.ts';
import { Gate, lockMap, OverlayMap, OverlayWord, writeMap } from './overlay-map.ts';
import { SharedSettings } from './shared-settings.ts';
import type { OpenDevice } from './tunable.ts';

/*
 * What the main thread does with an overlay while threads use it: ranges are taken out of use for as long as it takes.
 */

/** Overlays that a commit or a discard is working on. */
const busy = new WeakSet<SharedArrayBuffer>();

async function exclusively<T>(
  prepared: PreparedCow,
  open: OpenDevice,
  work: (overlay: Overlay) => Promise<T>,
): Promise<T> {
  if (busy.has(prepared.shared)) {
    throw new NvbraidError('EBUSY', `filter ${prepared.name}: a commit or discard is under way`);
  }
  busy.add(prepared.shared);
  const overlay = new Overlay(prepared, open);
  try {
    return await work(overlay);
  } finally {
    overlay.open();
    await overlay.close();
    busy.delete(prepared.shared);
  }
}

/** Writes what was changed to the device below and empties the overlay. A crash in between leaves both usable. */
export function commitOverlay(prepared: PreparedCow, open: OpenDevice): Promise<void> {
  return exclusively(prepared, open, async (overlay) => {
    if (prepared.lower.readOnly) {
      throw new NvbraidError(
        'EACCES',
        `filter ${prepared.name}: the device below is read-only, nothing can be committed`,
      );
    }
    const { blockSize, blockCount } = prepared;
    const stepBlocks = COMMIT_STEP_BYTES / blockSize;
    for (let step = 0; step * stepBlocks < blockCount; step++) {
      const first = step * stepBlocks;
      const count = Math.min(stepBlocks, blockCount - first);
      if (overlay.map.run(first, count) === -count) continue;
      await overlay.shut(step + 1);
      await overlay.copyDown(first, count);
      await overlay.forget(first, count);
      overlay.open();
    }
  });
}

/** Forgets what was changed. */
export function discardOverlay(prepared: PreparedCow, open: OpenDevice): Promise<void> {
  return exclusively(prepared, open, async (overlay) => {
    await overlay.shut(Gate.All);
    await overlay.forget(0, prepared.blockCount);
  });
}

class Overlay {
  readonly map: OverlayMap;
  readonly #prepared: PreparedCow;
  readonly #words: Int32Array;
  readonly #upper: BlockDevice;
  readonly #lower: BlockDevice;

  constructor(prepared: PreparedCow, open: OpenDevice) {
    this.#prepared = prepared;
    this.#words = SharedSettings.counters(prepared.shared);
    this.map = new OverlayMap(prepared.area, prepared.blockCount);
    // With locks, as every other thread: this one comes on top of them.
    this.#upper = openUpper(prepared.upper, { threads: 2 });
    this.#lower = open(prepared.lower, { threads: 2 });
  }

  async close(): Promise<void> {
    await this.#upper.close();
    await this.#lower.close();
  }

  open(): void {
    Atomics.store(this.#words, OverlayWord.Gate, Gate.Open);
  }

  /** Closes the gate and waits until all who came before it are out. */
  async shut(gate: number): Promise<void> {
    const words = this.#words;
    Atomics.store(words, OverlayWord.Gate, gate);
    const old = Atomics.add(words, OverlayWord.Epoch, 1) & 1;
    await this.#until(() => Atomics.load(words, OverlayWord.Inside + old) === 0, 'operations under way do not end');
  }

  async #until(is: () => boolean, otherwise: string): Promise<void> {
    for (let n = 0; !is(); n++) {
      if (n > LOCK_SLEEPS) throw new NvbraidError('ETIMEDOUT', `filter ${this.#prepared.name}: ${otherwise}`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  async copyDown(first: number, count: number): Promise<void> {
    const { blockSize } = this.#prepared;
    const memory = Memory.alloc(count * blockSize);
    for (let at = 0; at < count; ) {
      const run = this.map.run(first + at, count - at);
      const blocks = Math.abs(run);
      if (run > 0) {
        const range = {
          offset: (first + at) * blockSize,
          length: blocks * blockSize,
          memory,
          memoryOffset: at * blockSize,
        };
        await this.#run(this.#upper, IoOp.Read, range, 'reading the overlay');
        await this.#run(this.#lower, IoOp.Write, range, 'writing the device below');
      }
      at += blocks;
    }
    await this.#run(this.#lower, IoOp.Flush, {}, 'flushing the device below');
  }

  /** The map first, also on stable storage: a block that the map still names must not be gone. */
  async forget(first: number, count: number): Promise<void> {
    const { blockSize, mapFd } = this.#prepared;
    this.map.remove(first, count);
    if (mapFd >= 0) await this.#writeMap(mapFd);
    const range = { offset: first * blockSize, length: count * blockSize };
    await this.#run(this.#upper, IoOp.Deallocate, range, 'giving back the overlay');
  }

  async #writeMap(mapFd: number): Promise<void> {
    const words = this.#words;
    await this.#until(() => lockMap(words, systemTimers.nowMs()), 'somebody else does not end to write its map');
    try {
      // Other pages may name blocks that are not stable yet.
      const pages = this.map.take();
      await this.#run(this.#upper, IoOp.Flush, {}, 'flushing the overlay');
      const error = await new Promise<Error | null>((resolve) => writeMap(mapFd, pages, resolve));
      if (error === null) return;
      this.map.put(pages.keys());
      Atomics.store(words, OverlayWord.Failed, 1);
      throw new NvbraidError('EIO', `filter ${this.#prepared.name}: cannot write its map: ${error.message}`, {
        cause: error,
      });
    } finally {
      Atomics.store(words, OverlayWord.MapLock, 0);
    }
  }

  async #run(device: BlockDevice, op: IoOp, range: IoArguments, what: string): Promise<void> {
    const result = await runIo(device, op, range);
    if (result === IoResult.Ok) return;
    throw new NvbraidError('EIO', `filter ${this.#prepared.name}: ${what} failed: ${ioResultName(result)}`);
  }
}
