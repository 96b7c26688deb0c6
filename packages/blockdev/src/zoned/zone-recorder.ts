import { type BlockDevice, IoResult } from '../block-device.ts';
import { LowerIo } from '../filters/filter.ts';
import { ZoneCondition } from './zone-states.ts';
import { ZoneKept, type ZoneRecord, type ZoneStore } from './zone-store.ts';
import type { ZoneTable } from './zone-table.ts';

/**
 * Keeps what must be known of zones after a restart. After one failure nothing is kept any more, and nothing may be
 * written: what a host was told would not come back.
 */
export class ZoneRecorder {
  readonly #zones: ZoneTable;
  readonly #store: ZoneStore | null;
  /** One word, shared by all threads. */
  readonly #failed: Int32Array;
  readonly #sayFailed: () => void;
  readonly #record: ZoneRecord = { kept: ZoneKept.Sequential, written: 0, stable: 0, epoch: 0 };

  /** @param sayFailed called once, in the thread that fails first */
  constructor(zones: ZoneTable, store: ZoneStore | null, failed: Int32Array, sayFailed: () => void) {
    this.#zones = zones;
    this.#store = store;
    this.#failed = failed;
    this.#sayFailed = sayFailed;
  }

  /** True when zones end with the process. */
  get absent(): boolean {
    return this.#store === null;
  }

  get failed(): boolean {
    return Atomics.load(this.#failed, 0) !== 0;
  }

  close(): void {
    this.#store?.close();
  }

  /** Keeps a zone as it is now. False when that failed. */
  record(zone: number): boolean {
    const store = this.#store;
    if (store === null) return true;
    const zones = this.#zones;
    const record = this.#record;
    zones.beginRecord(zone);
    record.kept = keptOf(zones.condition(zone));
    // A zone that is full because it was written full is kept by its write pointer.
    record.written = zones.written(zone);
    if (record.kept === ZoneKept.Finished && record.written === zones.geometry.zoneCapacity) {
      record.kept = ZoneKept.Sequential;
    }
    record.stable = zones.stable(zone);
    record.epoch = zones.epoch(zone);
    const written = store.write(zone, record);
    zones.endRecord(zone);
    if (!written) this.#fail();
    return written;
  }

  /** Makes stable what has been recorded before this call. */
  sync(done: (failed: boolean) => void): void {
    this.#store!.sync((failed) => {
      if (failed) this.#fail();
      done(this.failed);
    });
  }

  /** Makes stable what has been written before this call: the data, then the records that tell how far it goes. */
  flush(lower: BlockDevice, done: (failed: boolean) => void): void {
    const dirty = this.#dirty();
    const io = new LowerIo(({ result }) => {
      if (result !== IoResult.Ok) return done(true);
      let kept = true;
      for (let i = 0; i < dirty.length; i += 3) {
        this.#zones.stabilized(dirty[i]!, dirty[i + 1]!, dirty[i + 2]!);
        kept = this.record(dirty[i]!) && kept;
      }
      // Also when no zone was dirty: another thread may have made the records, and be waiting for them to be stable.
      if (kept && !this.failed) this.sync(done);
      else done(true);
    });
    // Whoever asked must not be called back before this returns.
    if (lower.submit(io.flush())) queueMicrotask(() => io.done());
  }

  /** Triples: a zone with blocks that are not stable, how many are written, and in which epoch. */
  #dirty(): number[] {
    const zones = this.#zones;
    const dirty: number[] = [];
    for (let zone = 0; zone < zones.geometry.zoneCount; zone++) {
      // In this order: a reset in between makes the epoch too old, and the blocks are not taken for stable.
      const epoch = zones.epoch(zone);
      const written = zones.written(zone);
      if (written !== zones.stable(zone)) dirty.push(zone, written, epoch);
    }
    return dirty;
  }

  #fail(): void {
    if (Atomics.exchange(this.#failed, 0, 1) === 0) this.#sayFailed();
  }
}

function keptOf(condition: ZoneCondition): ZoneKept {
  switch (condition) {
    case ZoneCondition.Full:
      return ZoneKept.Finished;
    case ZoneCondition.ReadOnly:
      return ZoneKept.ReadOnly;
    case ZoneCondition.Offline:
      return ZoneKept.Offline;
    default:
      return ZoneKept.Sequential;
  }
}
