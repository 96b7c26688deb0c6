import type { IoOwner } from '../block-device.ts';
import { POOL_CALL_BYTES, TOGETHER_CALLS } from '../limits.ts';

/** What wants a place on the thread pool; lent to the line from `add` until its turn. */
export interface PoolCall {
  /** Absent: that of all who say nothing. */
  readonly owner: IoOwner | undefined;
  /** What it moves. */
  readonly bytes: number;
  /** True when it will give its place back at once: it costs its owner nothing. */
  readonly revoked: boolean;
  /** The one behind it; the line's own. */
  next: PoolCall | null;
  /** It has a place, until `leave` is called. */
  turn(): void;
}

/**
 * Who may use the thread pool. Its own line is one for all, in which whoever has asked for the most is served the most.
 * So only as many calls are on the pool at a time as keep it busy; the others wait here in a line for each owner, and
 * owners take turns: in each, one may use POOL_CALL_BYTES times its weight, a call counting as so many bytes beside what
 * it moves, and what it uses beyond is a debt of its next turns (deficit round robin).
 *
 * An owner that is alone may have more places: what is on the pool cannot be passed, but there is nobody to pass it.
 *
 * Nothing is allocated per call. There is never a free place while somebody waits, but inside `leave`.
 */
export class PoolLine {
  readonly places: number;
  readonly #sharedPlaces: number;
  #lastOwner: IoOwner | null = null;
  /** Calls until its owner counts as alone. */
  #together = 0;
  #taken = 0;
  /** Those that have had their turn and could not use it then: before all others, in the order they came. */
  readonly #again = new Waiters();
  /** The one at the head has its turn. */
  #head: Waiters | null = null;
  #tail: Waiters | null = null;
  readonly #byOwner = new Map<IoOwner, Waiters>();
  #free: Waiters | null = null;
  #serving = false;

  /** @param sharedPlaces while calls of several owners come */
  constructor(places: number, sharedPlaces = places) {
    this.places = places;
    this.#sharedPlaces = sharedPlaces;
  }

  /** Calls that have a place. */
  get taken(): number {
    return this.#taken;
  }

  get #waited(): boolean {
    return this.#head !== null || this.#again.first !== null;
  }

  get #full(): boolean {
    return this.#taken >= (this.#together > 0 ? this.#sharedPlaces : this.places);
  }

  /** Takes a place for a call if one is free, which means that nobody waits. */
  take(owner: IoOwner = NOBODY): boolean {
    if (owner === this.#lastOwner) {
      if (this.#together > 0) this.#together--;
    } else {
      if (this.#lastOwner !== null) this.#together = TOGETHER_CALLS;
      this.#lastOwner = owner;
    }
    return this.#takeFree();
  }

  #takeFree(): boolean {
    if (this.#full || this.#waited) return false;
    this.#taken++;
    return true;
  }

  /** Gets in line behind its owner's others; `take` must have answered false. */
  add(call: PoolCall): void {
    const owner = call.owner ?? NOBODY;
    let waiters = this.#byOwner.get(owner);
    if (waiters === undefined) {
      waiters = this.#free ?? new Waiters();
      this.#free = waiters.next;
      waiters.next = null;
      waiters.owner = owner;
      waiters.credit = POOL_CALL_BYTES * owner.weight;
      this.#byOwner.set(owner, waiters);
      this.#append(waiters);
    }
    waiters.push(call);
  }

  /** As `take`, for one that has had its turn: it has paid for its place, and does not wait behind those who have not. */
  takeAgain(): boolean {
    if (this.#full || this.#again.first !== null) return false;
    this.#taken++;
    return true;
  }

  /** As `add`, for the same. */
  addAgain(call: PoolCall): void {
    this.#again.push(call);
  }

  /** The call has its turn, now or later. Its owner does not count as one that others share with. */
  enter(call: PoolCall): void {
    if (this.#takeFree()) call.turn();
    else this.add(call);
  }

  /** Gives a place back; who waits for it has his turn. */
  leave(): void {
    this.#taken--;
    // A loop, since a turn may be over at once.
    if (this.#serving) return;
    this.#serving = true;
    while (!this.#full) {
      const call = this.#again.shift() ?? this.#next();
      if (call === null) break;
      this.#taken++;
      call.turn();
    }
    this.#serving = false;
  }

  #next(): PoolCall | null {
    let waiters = this.#head;
    while (waiters !== null && waiters.credit <= 0) {
      this.#head = waiters.next;
      waiters.next = null;
      waiters.credit += POOL_CALL_BYTES * waiters.owner.weight;
      this.#append(waiters);
      waiters = this.#head;
    }
    if (waiters === null) return null;
    const call = waiters.shift()!;
    if (!call.revoked) waiters.credit -= POOL_CALL_BYTES + call.bytes;
    if (waiters.first === null) this.#remove(waiters);
    return call;
  }

  #append(waiters: Waiters): void {
    if (this.#head === null) this.#head = waiters;
    else this.#tail!.next = waiters;
    this.#tail = waiters;
  }

  /** The one at the head has nothing left. */
  #remove(waiters: Waiters): void {
    this.#head = waiters.next;
    this.#byOwner.delete(waiters.owner);
    waiters.owner = NOBODY;
    waiters.next = this.#free;
    this.#free = waiters;
  }
}

const NOBODY: IoOwner = { weight: 1 };

/** The calls of one owner that wait; used again and again. */
class Waiters {
  owner: IoOwner = NOBODY;
  /** What is left of its turn, in bytes. */
  credit = 0;
  next: Waiters | null = null;
  first: PoolCall | null = null;
  #last: PoolCall | null = null;

  push(call: PoolCall): void {
    if (this.first === null) this.first = call;
    else this.#last!.next = call;
    this.#last = call;
  }

  shift(): PoolCall | null {
    const call = this.first;
    if (call === null) return null;
    this.first = call.next;
    call.next = null;
    if (this.first === null) this.#last = null;
    return call;
  }
}
