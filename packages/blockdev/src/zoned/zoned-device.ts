import type { Memory } from '@nvbraid/base';
import { type BackgroundWork, type BlockDevice, type Io, IoOp, IoResult, type OpenOptions } from '../block-device.ts';
import { FlushGate } from '../file/flush-gate.ts';
import { LowerIo } from '../filters/filter.ts';
import { ZONE_SPINS } from '../limits.ts';
import { ZoneLine } from './zone-line.ts';
import { ZoneOperation } from './zone-operation.ts';
import { ZoneRead } from './zone-read.ts';
import { ZoneRecorder } from './zone-recorder.ts';
import { ZoneCondition } from './zone-states.ts';
import type { ZoneStore } from './zone-store.ts';
import { ZoneTable } from './zone-table.ts';
import type { PreparedZoned } from './zoned-spec.ts';

/** Events of the operations that change states, and for those on all zones the states that they are made for. */
const OPENED = [ZoneCondition.ImplicitlyOpened, ZoneCondition.ExplicitlyOpened] as const;
const ACTIVE = [...OPENED, ZoneCondition.Closed] as const;
const CHANGES = new Map<IoOp, { event: 'open' | 'close' | 'finish' | 'offline'; from?: readonly ZoneCondition[] }>([
  [IoOp.ZoneOpen, { event: 'open' }],
  [IoOp.ZoneClose, { event: 'close' }],
  [IoOp.ZoneFinish, { event: 'finish' }],
  [IoOp.ZoneOffline, { event: 'offline' }],
  [IoOp.ZoneOpenAll, { event: 'open', from: [ZoneCondition.Closed] }],
  [IoOp.ZoneCloseAll, { event: 'close', from: OPENED }],
  [IoOp.ZoneFinishAll, { event: 'finish', from: ACTIVE }],
  [IoOp.ZoneOfflineAll, { event: 'offline', from: [ZoneCondition.ReadOnly] }],
]);

/**
 * One thread's view of a device with zones.
 *
 * A write takes its zone, asks the table where it goes, writes to the device below, and moves the write pointer when the
 * blocks are there. So blocks below the write pointer have been written, one write to a zone is under way at a time over
 * all threads, and a write that the device fails leaves the write pointer where it was: what it left behind cannot be
 * read, and the next write goes to the same place. Blocks from the write pointer on read as zeroes, whatever the device
 * below has there.
 *
 * What survives what: a write has its record (`ZoneRecorder`) in the page cache before it is done, which the end of the
 * process does not touch. A flush makes data stable first, then the records that say so. After a loss of power a zone
 * ends with its stable blocks. Reset, finish and offline are stable when they are done.
 */
export class ZonedDevice implements BlockDevice {
  readonly blockSize: number;
  readonly blockCount: number;
  readonly readOnly: boolean;
  readonly volatileWriteCache: boolean;
  readonly thin: boolean;
  readonly memory: Memory | null = null;
  readonly zones: ZoneTable;
  readonly #lower: BlockDevice;
  readonly #zoneBytes: number;
  readonly #recorder: ZoneRecorder;
  readonly #background: BackgroundWork | null;
  readonly #line: ZoneLine;
  readonly #operations: ZoneOperation[] = [];
  readonly #reads: ZoneRead[] = [];
  /** Flushes and writes with FUA: data, then records, then done. */
  readonly #flushes: FlushGate;
  /** Changes that need only their records stable. */
  readonly #syncs: FlushGate;
  /** Operations that have not called `done` yet. */
  #pending = 0;
  #closing: Promise<void> | null = null;
  #idle: (() => void) | null = null;

  /** @param store null when zones end with the process */
  constructor(prepared: PreparedZoned, lower: BlockDevice, store: ZoneStore | null, options: OpenOptions) {
    this.blockSize = prepared.blockSize;
    this.blockCount = prepared.blockCount;
    this.readOnly = prepared.readOnly;
    this.volatileWriteCache = prepared.volatileWriteCache;
    this.thin = prepared.thin;
    this.#lower = lower;
    this.zones = new ZoneTable(prepared.zoneGeometry, prepared.table);
    this.#zoneBytes = prepared.zoneGeometry.zoneBlocks * prepared.blockSize;
    this.#background = options.background ?? null;
    const log = options.log ?? (() => {});
    this.#recorder = new ZoneRecorder(this.zones, store, new Int32Array(prepared.failed), () =>
      log(
        `${prepared.zonesPath}: the zones could not be kept; nothing more is written until the device is opened anew`,
      ),
    );
    this.#line = new ZoneLine(
      this.zones,
      options.threads > 1,
      (io, impatient) => this.#enter(io, impatient),
      (io) => {
        log('a thread died while it wrote to a zone; that zone cannot be written until the device is opened anew');
        this.#finish(io, IoResult.Failed);
      },
    );
    this.#flushes = new FlushGate(
      (done) => this.#recorder.flush(this.#lower, done),
      (io, failed) => this.#finish(io, failed ? IoResult.MediaError : IoResult.Ok),
    );
    this.#syncs = new FlushGate(
      (done) => this.#recorder.sync(done),
      (io, failed) => this.#synced(io, failed),
    );
  }

  submit(io: Io): boolean {
    if (this.#closing !== null) return answer(io, IoResult.Failed);
    switch (io.op) {
      case IoOp.Read:
        return this.#read(io);
      case IoOp.Flush:
        if (this.readOnly || this.#recorder.absent) return this.#lower.submit(io);
        return this.#later(io, this.#flushes);
      case IoOp.Deallocate:
        return this.#deallocate(io);
      case IoOp.Write:
      case IoOp.WriteZeroes:
      case IoOp.ZoneAppend:
      case IoOp.ZoneReset:
        if (this.readOnly) return answer(io, IoResult.ReadOnly);
        if (this.#recorder.failed) return answer(io, IoResult.MediaError);
        if (this.#line.blocks(this.#zoneOf(io)) || !this.#spin(this.#zoneOf(io))) {
          this.#started();
          this.#line.add(this.#zoneOf(io), io);
          return false;
        }
        if (this.#taken(io)) return true;
        this.#started();
        return false;
      case IoOp.ZoneResetAll:
        if (this.readOnly) return answer(io, IoResult.ReadOnly);
        if (this.#recorder.failed) return answer(io, IoResult.MediaError);
        this.#started();
        void this.#resetAll(io);
        return false;
      default:
        return this.#change(io);
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#pending > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    if (!this.readOnly && !this.#recorder.absent) {
      // A start after an orderly end finds every block that was written, even on a machine that was off meanwhile.
      await new Promise<void>((resolve) => this.#recorder.flush(this.#lower, () => resolve()));
    }
    this.#recorder.close();
    await this.#lower.close();
  }

  // ---------------------------------------------------------------- reads

  #read(io: Io): boolean {
    const { zones } = this;
    const zone = this.#zoneOf(io);
    const end = (io.offset + io.length - zone * this.#zoneBytes) / this.blockSize;
    if (end <= zones.written(zone) && zones.condition(zone) !== ZoneCondition.Offline) return this.#lower.submit(io);
    const read = this.#reads.pop() ?? new ZoneRead((ended) => this.#reads.push(ended));
    return read.start(io, this.#lower, zones, this.blockSize);
  }

  /** A hint: taken where blocks of one zone are given back that nobody can be writing. */
  #deallocate(io: Io): boolean {
    if (this.readOnly) return answer(io, IoResult.ReadOnly);
    const zone = this.#zoneOf(io);
    const end = (io.offset + io.length - zone * this.#zoneBytes) / this.blockSize;
    if (end > this.zones.written(zone) || this.zones.condition(zone) >= ZoneCondition.ReadOnly) {
      return answer(io, IoResult.Ok);
    }
    return this.#lower.submit(io);
  }

  // ---------------------------------------------------------------- writes and resets: the zone is taken

  #zoneOf(io: Io): number {
    return Math.floor(io.offset / this.#zoneBytes);
  }

  /** Another thread that writes a few blocks is done in microseconds. */
  #spin(zone: number): boolean {
    const { zones } = this;
    if (zones.tryTake(zone)) return true;
    if (!this.#line.shared) return false;
    for (let n = 0; n < ZONE_SPINS; n++) if (zones.tryTake(zone)) return true;
    return false;
  }

  /** Called by the line: false when the zone is still taken. */
  #enter(io: Io, impatient: boolean): boolean {
    if (io.revoked === true) {
      this.#finish(io, IoResult.Failed);
      return true;
    }
    if (!this.zones.tryTake(this.#zoneOf(io), true, impatient)) return false;
    if (this.#taken(io)) this.#finish(io, io.result);
    return true;
  }

  /** The zone belongs to this operation now. True when it is done; false when `#finish` will be called. */
  #taken(io: Io): boolean {
    if (io.op === IoOp.ZoneReset) return this.#reset(io);
    const zone = this.#zoneOf(io);
    const zoneStart = zone * this.#zoneBytes;
    const blocks = io.length / this.blockSize;
    const at = io.op === IoOp.ZoneAppend ? -1 : (io.offset - zoneStart) / this.blockSize;
    const result = this.zones.beginWrite(zone, at, blocks);
    if (result !== IoResult.Ok) {
      this.#give(zone);
      return answer(io, result);
    }
    const operation = this.#operations.pop() ?? new ZoneOperation((ended) => this.#writtenLater(ended));
    const lower = operation.begin(io, zone);
    lower.offset = zoneStart + this.zones.written(zone) * this.blockSize;
    if (io.op === IoOp.ZoneAppend) lower.op = IoOp.Write;
    lower.fua = io.fua && this.#recorder.absent;
    if (!this.#lower.submit(lower)) return false;
    return this.#written(operation);
  }

  #writtenLater(operation: ZoneOperation): void {
    const io = operation.upper!;
    if (this.#written(operation)) this.#finish(io, io.result);
  }

  #written(operation: ZoneOperation): boolean {
    const io = operation.upper!;
    const { zone } = operation;
    const { result, offset } = operation.io;
    operation.end();
    this.#operations.push(operation);
    if (result !== IoResult.Ok) {
      this.#give(zone);
      return answer(io, result);
    }
    if (io.op === IoOp.ZoneAppend) io.offset = offset;
    this.zones.endWrite(zone, io.length / this.blockSize);
    const kept = this.#recorder.record(zone);
    this.#give(zone);
    if (!kept) return answer(io, IoResult.MediaError);
    if (!io.fua || this.#recorder.absent) return answer(io, IoResult.Ok);
    this.#flushes.add(io);
    return false;
  }

  #give(zone: number): void {
    this.zones.give(zone);
    this.#line.given(zone);
  }

  /**
   * Empties a zone: first its record, made stable, then the space. So there is no moment at which a crash could leave a
   * write pointer behind blocks that are gone.
   */
  #reset(io: Io): boolean {
    const zone = this.#zoneOf(io);
    const before = this.zones.condition(zone);
    const result = this.zones.reset(zone);
    if (result !== IoResult.Ok || before === ZoneCondition.Empty) {
      this.#give(zone);
      return answer(io, result);
    }
    const operation = new ZoneReset(io, zone, (reset) => this.#emptied(reset));
    if (!this.#recorder.record(zone)) {
      this.#give(zone);
      return answer(io, IoResult.MediaError);
    }
    if (this.#recorder.absent) return this.#discard(operation);
    this.#syncs.add(operation);
    return false;
  }

  /** The record of a reset, or of a change of state, is stable. */
  #synced(io: Io, failed: boolean): void {
    if (!(io instanceof ZoneReset)) return this.#finish(io, failed ? IoResult.MediaError : IoResult.Ok);
    if (!failed) {
      if (this.#discard(io)) this.#finish(io.upper, io.upper.result);
      return;
    }
    this.#give(io.zone);
    this.#finish(io.upper, IoResult.MediaError);
  }

  /** Gives the space of an empty zone back, where that is possible: its blocks cannot be read any more either way. */
  #discard(reset: ZoneReset): boolean {
    if (!this.thin) return this.#emptiedNow(reset);
    reset.discard(reset.zone * this.#zoneBytes, this.zones.geometry.zoneCapacity * this.blockSize);
    return this.#lower.submit(reset) ? this.#emptiedNow(reset) : false;
  }

  #emptiedNow(reset: ZoneReset): boolean {
    this.#give(reset.zone);
    return answer(reset.upper, IoResult.Ok);
  }

  #emptied(reset: ZoneReset): void {
    this.#emptiedNow(reset);
    this.#finish(reset.upper, IoResult.Ok);
  }

  /** Zone by zone; each is empty or as it was, whenever it ends. */
  async #resetAll(io: Io): Promise<void> {
    const { zones } = this;
    let result: IoResult = IoResult.Ok;
    const resets: Promise<IoResult>[] = [];
    for (let zone = 0; zone < zones.geometry.zoneCount; zone++) {
      const condition = zones.condition(zone);
      if (condition === ZoneCondition.Empty || condition >= ZoneCondition.ReadOnly) continue;
      resets.push(this.#resetOne(zone));
      // All that were started in one turn share one fdatasync.
      if (resets.length === RESETS_AT_ONCE) result ||= worst(await Promise.all(resets.splice(0)));
    }
    result ||= worst(await Promise.all(resets));
    this.#finish(io, result);
  }

  #resetOne(zone: number): Promise<IoResult> {
    return new Promise((resolve) => {
      const io = new LowerIo((ended) => resolve(ended.result));
      io.op = IoOp.ZoneReset;
      io.offset = zone * this.#zoneBytes;
      this.#started();
      if (this.#line.blocks(zone) || !this.zones.tryTake(zone)) this.#line.add(zone, io);
      else if (this.#taken(io)) this.#finish(io, io.result);
    });
  }

  // ---------------------------------------------------------------- changes of state

  #change(io: Io): boolean {
    const change = CHANGES.get(io.op);
    if (change === undefined) return answer(io, IoResult.NotSupported);
    if (this.readOnly) return answer(io, IoResult.ReadOnly);
    if (this.#recorder.failed) return answer(io, IoResult.MediaError);
    const { event, from } = change;
    let kept = true;
    let changed = false;
    const record = (zone: number): void => {
      changed = true;
      if (event === 'finish' || event === 'offline') kept = this.#recorder.record(zone) && kept;
    };
    let result: IoResult;
    if (from !== undefined) result = this.zones.changeAll(event, from, record);
    else {
      const zone = this.#zoneOf(io);
      const before = this.zones.condition(zone);
      result = this.zones.change(zone, event);
      if (result === IoResult.Ok && this.zones.condition(zone) !== before) record(zone);
    }
    if (result !== IoResult.Ok) return answer(io, result);
    if (!kept) return answer(io, IoResult.MediaError);
    if (!changed || this.#recorder.absent || event === 'open' || event === 'close') return answer(io, IoResult.Ok);
    return this.#later(io, this.#syncs);
  }

  // ---------------------------------------------------------------- ending

  #later(io: Io, gate: FlushGate): boolean {
    if (this.#recorder.failed) return answer(io, IoResult.MediaError);
    this.#started();
    gate.add(io);
    return false;
  }

  #started(): void {
    this.#pending++;
    this.#background?.started();
  }

  #finish(io: Io, result: IoResult): void {
    this.#pending--;
    this.#background?.finished();
    io.result = result;
    io.done(io);
    if (this.#pending === 0 && this.#idle !== null) this.#idle();
  }
}

/** Resets of a Reset All that are under way together. */
const RESETS_AT_ONCE = 256;

/** A reset under way: the operation that is lent to the gate and to the device below, for the caller's. */
class ZoneReset extends LowerIo {
  readonly upper: Io;
  readonly zone: number;

  constructor(upper: Io, zone: number, ended: (reset: ZoneReset) => void) {
    super(() => ended(this));
    this.upper = upper;
    this.zone = zone;
  }

  discard(offset: number, length: number): void {
    this.flush();
    this.op = IoOp.Deallocate;
    this.offset = offset;
    this.length = length;
  }
}

function answer(io: Io, result: IoResult): true {
  io.result = result;
  return true;
}

function worst(results: readonly IoResult[]): IoResult {
  return results.find((result) => result !== IoResult.Ok) ?? IoResult.Ok;
}
