import { assert } from '@nvbraid/base';
import { IoResult } from '../block-device.ts';
import { LOCK_SLEEPS, LOCK_SPINS } from '../limits.ts';
import { isActive, isOpened, ZoneCondition, type ZoneEventName, zoneAfter } from './zone-states.ts';

/** How a device is cut into zones, and what may be in use at a time. In blocks. */
export interface ZoneGeometry {
  /** Blocks from the start of one zone to that of the next: a power of two. */
  readonly zoneBlocks: number;
  /** Blocks of a zone that can be written. */
  readonly zoneCapacity: number;
  readonly zoneCount: number;
  /** Zones that may be open, and that may be active (open or closed), at a time; 0 = no limit. */
  readonly maxOpen: number;
  readonly maxActive: number;
}

/** What a report says of a zone. */
export interface ZoneInfo {
  condition: ZoneCondition;
  /** Blocks that have been written, from the start of the zone on. */
  written: number;
}

/** Words before those of the zones. */
const Head = { Lock: 0, Opened: 1, Active: 2, Hand: 3, Threads: 4, Words: 16 } as const;
/** Words of a zone. */
const Word = {
  /** 1 while somebody writes to the zone or resets it. */
  Busy: 0,
  Condition: 1,
  /** Blocks written: the write pointer, counted from the start of the zone. */
  Written: 2,
  /** Of these, how many are on stable storage. */
  Stable: 3,
  /** Raised with every reset: tells what was written before from what was written after it. */
  Epoch: 4,
  /** 1 while a record of the zone is being written. */
  Recording: 5,
  /** Threads that have operations in line for the zone. */
  Wanted: 6,
  /** The thread that had the zone last. */
  Last: 7,
  Words: 8,
} as const;

/**
 * The zones of a device, in memory that all threads share. Owns states, write pointers and resources; knows nothing of
 * data and files.
 *
 * Two kinds of locks. A zone is taken (`tryTake` … `give`) by who writes to it or resets it, for as long as that takes:
 * so writes to a zone happen one after the other, each at the write pointer, and the write pointer moves only when the
 * blocks are written. States and resources change under one lock of the table, which is held for nanoseconds.
 */
export class ZoneTable {
  readonly geometry: ZoneGeometry;
  readonly #words: Int32Array;
  /** Which thread this is: never 0. */
  readonly #thread: number;

  /** @param memory made by `ZoneTable.memory`, the same one in all threads */
  constructor(geometry: ZoneGeometry, memory: SharedArrayBuffer) {
    this.geometry = geometry;
    this.#words = new Int32Array(memory);
    this.#thread = Atomics.add(this.#words, Head.Threads, 1) + 1;
  }

  /** Zeroes: every zone is empty. */
  static memory(geometry: ZoneGeometry): SharedArrayBuffer {
    return new SharedArrayBuffer((Head.Words + geometry.zoneCount * Word.Words) * 4);
  }

  // ---------------------------------------------------------------- looking

  condition(zone: number): ZoneCondition {
    return this.#load(zone, Word.Condition) as ZoneCondition;
  }

  written(zone: number): number {
    return this.#load(zone, Word.Written);
  }

  stable(zone: number): number {
    return this.#load(zone, Word.Stable);
  }

  epoch(zone: number): number {
    return this.#load(zone, Word.Epoch);
  }

  get openedCount(): number {
    return Atomics.load(this.#words, Head.Opened);
  }

  get activeCount(): number {
    return Atomics.load(this.#words, Head.Active);
  }

  /** State and write pointer of a zone at one moment. */
  look(zone: number, info: ZoneInfo): void {
    this.#lock();
    info.condition = this.condition(zone);
    info.written = this.written(zone);
    this.#unlock();
  }

  // ---------------------------------------------------------------- writing

  /**
   * Takes a zone for a write or a reset; false while somebody else has it, or when it is another thread's turn.
   * @param wants whether this thread has said that it wants the zone
   * @param impatient takes the zone also when another thread, which should be next, does not come
   */
  tryTake(zone: number, wants = false, impatient = false): boolean {
    const words = this.#words;
    if (!impatient && this.#load(zone, Word.Last) === this.#thread) {
      // Whoever gives a zone back is always there first: without this, the others would get it never.
      if (this.#load(zone, Word.Wanted) > (wants ? 1 : 0)) return false;
    }
    if (Atomics.compareExchange(words, this.#at(zone, Word.Busy), 0, 1) !== 0) return false;
    Atomics.store(words, this.#at(zone, Word.Last), this.#thread);
    return true;
  }

  /** This thread has operations in line for the zone, or none any more. */
  want(zone: number, wants: boolean): void {
    Atomics.add(this.#words, this.#at(zone, Word.Wanted), wants ? 1 : -1);
  }

  give(zone: number): void {
    Atomics.store(this.#words, this.#at(zone, Word.Busy), 0);
  }

  /**
   * Whether `blocks` blocks may be written to a zone that has been taken; opens it. Written are those from the write
   * pointer on.
   * @param at where the caller wants to write, in blocks from the start of the zone; -1: wherever the write pointer is
   */
  beginWrite(zone: number, at: number, blocks: number): IoResult {
    const condition = this.condition(zone);
    if (condition >= ZoneCondition.Full) return refusal(condition);
    const written = this.written(zone);
    if (at >= 0 && at !== written) return IoResult.ZoneInvalidWrite;
    if (written + blocks > this.geometry.zoneCapacity) return IoResult.ZoneBoundary;
    if (isOpened(condition) === 1) return IoResult.Ok;
    return this.change(zone, 'write');
  }

  /** The blocks have been written: the write pointer moves, and a zone that has no more room is full. */
  endWrite(zone: number, blocks: number): void {
    const written = this.written(zone) + blocks;
    if (written < this.geometry.zoneCapacity) {
      Atomics.store(this.#words, this.#at(zone, Word.Written), written);
      return;
    }
    this.#lock();
    Atomics.store(this.#words, this.#at(zone, Word.Written), written);
    const condition = this.condition(zone);
    const next = zoneAfter(condition, 'fill');
    // The device may have failed the zone meanwhile.
    if (next !== -1) this.#move(zone, condition, next);
    this.#unlock();
  }

  // ---------------------------------------------------------------- changing states

  /** Makes an event happen to a zone, if its state and the resources allow it. */
  change(zone: number, event: ZoneEventName): IoResult {
    this.#lock();
    const result = this.#change(zone, event);
    this.#unlock();
    return result;
  }

  /**
   * Makes an event happen to every zone whose state is listed, to all of them or to none.
   * @param changed called for each that was changed, after the lock has been given back
   */
  changeAll(event: ZoneEventName, from: readonly ZoneCondition[], changed: (zone: number) => void): IoResult {
    const zones: number[] = [];
    this.#lock();
    for (let zone = 0; zone < this.geometry.zoneCount; zone++) {
      if (from.includes(this.condition(zone))) zones.push(zone);
    }
    const room = event === 'open' ? this.#roomFor(zones.length) : IoResult.Ok;
    if (room === IoResult.Ok) {
      for (const zone of zones) {
        const result = this.#change(zone, event);
        assert(result === IoResult.Ok, 'room for all zones');
      }
    }
    this.#unlock();
    if (room === IoResult.Ok) zones.forEach(changed);
    return room;
  }

  /** Empties a zone that has been taken. */
  reset(zone: number): IoResult {
    this.#lock();
    const result = this.#change(zone, 'reset');
    if (result === IoResult.Ok) {
      Atomics.store(this.#words, this.#at(zone, Word.Written), 0);
      Atomics.store(this.#words, this.#at(zone, Word.Stable), 0);
      Atomics.add(this.#words, this.#at(zone, Word.Epoch), 1);
    }
    this.#unlock();
    return result;
  }

  /** The first `written` blocks of the zone, as they were in that epoch, are on stable storage. */
  stabilized(zone: number, written: number, epoch: number): void {
    this.#lock();
    if (this.epoch(zone) === epoch && this.stable(zone) < written) {
      Atomics.store(this.#words, this.#at(zone, Word.Stable), written);
    }
    this.#unlock();
  }

  /** Puts a zone into the state that was kept of it. Before any thread uses the table. */
  restore(zone: number, condition: ZoneCondition, written: number, stable: number): void {
    Atomics.store(this.#words, this.#at(zone, Word.Written), written);
    Atomics.store(this.#words, this.#at(zone, Word.Stable), stable);
    this.#move(zone, this.condition(zone), condition);
  }

  #change(zone: number, event: ZoneEventName): IoResult {
    const condition = this.condition(zone);
    const next = zoneAfter(condition, event);
    if (next === -1) return event === 'write' ? refusal(condition) : IoResult.InvalidZoneTransition;
    if (next === condition) return IoResult.Ok;
    const { maxActive, maxOpen } = this.geometry;
    if (isActive(next) > isActive(condition) && maxActive > 0 && this.activeCount >= maxActive) {
      return IoResult.TooManyActiveZones;
    }
    if (isOpened(next) > isOpened(condition) && maxOpen > 0 && this.openedCount >= maxOpen && !this.#makeRoom(zone)) {
      // Where both limits are the same, the active zones are what there are too many of (ZNS 1.2, 2.1.1.4.1).
      return maxOpen === maxActive ? IoResult.TooManyActiveZones : IoResult.TooManyOpenZones;
    }
    this.#move(zone, condition, next);
    return IoResult.Ok;
  }

  /** Whether `count` closed zones can be opened, if need be in place of implicitly opened ones. */
  #roomFor(count: number): IoResult {
    const { maxOpen, maxActive } = this.geometry;
    if (maxOpen === 0) return IoResult.Ok;
    let explicit = 0;
    for (let zone = 0; zone < this.geometry.zoneCount; zone++) {
      if (this.condition(zone) === ZoneCondition.ExplicitlyOpened) explicit++;
    }
    if (explicit + count <= maxOpen) return IoResult.Ok;
    return maxOpen === maxActive ? IoResult.TooManyActiveZones : IoResult.TooManyOpenZones;
  }

  /** Closes an implicitly opened zone, preferably one that nobody writes to. They are looked at in turn. */
  #makeRoom(except: number): boolean {
    const { zoneCount } = this.geometry;
    let busy = -1;
    const hand = Atomics.load(this.#words, Head.Hand);
    for (let n = 0; n < zoneCount; n++) {
      const zone = (hand + n) % zoneCount;
      if (zone === except || this.condition(zone) !== ZoneCondition.ImplicitlyOpened) continue;
      if (this.#load(zone, Word.Busy) !== 0) {
        if (busy < 0) busy = zone;
        continue;
      }
      this.#closeForRoom(zone);
      return true;
    }
    if (busy < 0) return false;
    this.#closeForRoom(busy);
    return true;
  }

  #closeForRoom(zone: number): void {
    Atomics.store(this.#words, Head.Hand, (zone + 1) % this.geometry.zoneCount);
    const next = zoneAfter(ZoneCondition.ImplicitlyOpened, 'make-room');
    assert(next !== -1, 'an implicitly opened zone can be closed');
    this.#move(zone, ZoneCondition.ImplicitlyOpened, next);
  }

  #move(zone: number, from: ZoneCondition, to: ZoneCondition): void {
    Atomics.store(this.#words, this.#at(zone, Word.Condition), to);
    Atomics.add(this.#words, Head.Opened, isOpened(to) - isOpened(from));
    Atomics.add(this.#words, Head.Active, isActive(to) - isActive(from));
  }

  // ---------------------------------------------------------------- locks

  /** Takes the right to write the record of a zone: records of one zone are written one after the other. */
  beginRecord(zone: number): void {
    this.#acquire(this.#at(zone, Word.Recording));
  }

  endRecord(zone: number): void {
    this.#release(this.#at(zone, Word.Recording));
  }

  #lock(): void {
    this.#acquire(Head.Lock);
  }

  #unlock(): void {
    this.#release(Head.Lock);
  }

  /** Nobody waits for anything while he holds such a lock, so it comes back as soon as its holder runs. */
  #acquire(at: number): void {
    const words = this.#words;
    for (let n = 0; n < LOCK_SPINS; n++) if (Atomics.compareExchange(words, at, 0, 1) === 0) return;
    for (let n = 0; n < LOCK_SLEEPS; n++) {
      Atomics.wait(words, at, 1, 1);
      if (Atomics.compareExchange(words, at, 0, 1) === 0) return;
    }
    assert(false, 'a thread died with the lock of the zones in its hands');
  }

  #release(at: number): void {
    Atomics.store(this.#words, at, 0);
  }

  #at(zone: number, word: number): number {
    return Head.Words + zone * Word.Words + word;
  }

  #load(zone: number, word: number): number {
    return Atomics.load(this.#words, this.#at(zone, word));
  }
}

/** Why a zone in this state takes no blocks. */
function refusal(condition: ZoneCondition): IoResult {
  if (condition === ZoneCondition.Offline) return IoResult.ZoneOffline;
  return condition === ZoneCondition.ReadOnly ? IoResult.ZoneReadOnly : IoResult.ZoneFull;
}
