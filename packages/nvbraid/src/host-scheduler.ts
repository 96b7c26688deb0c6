import { type Clock, NEVER, Ring } from '@nvbraid/base';
import { type QueuePair, TRANSMIT_BYTES } from '@nvbraid/target';
import { HostCounter } from './host-block.ts';
import type { HostShare } from './host-share.ts';
import { COMMAND_COST_BYTES, MAX_SLEEP_MS, SMALL_SEND_BYTES, TURN_BYTES } from './limits.ts';
import type { QueueDriver, Turns } from './queue-driver.ts';

/**
 * Shares one thread among the hosts that have queues in it. Time goes in turns: the readiness events of one batch. In
 * each turn a host may move `TURN_BYTES` times its weight, received and sent together, a command counting as some bytes; what
 * it moves beyond is a debt of its next turns (deficit round robin). A connection whose host has used up its turn is
 * neither read nor written until the others have been served. Everything is counted per batch of received bytes.
 *
 * A thread with one host has no turns. Rates and bounds on what is under way hold in any case: a connection whose host
 * is beyond them is not read.
 */
export class HostScheduler implements Turns {
  readonly #clock: Clock;
  readonly #nextTurn: ((delayMs: number) => void) | null;
  readonly #line = new Ring<HostShare>(8);
  readonly #sleeping = new Set<HostShare>();
  #turn = 1;
  #hosts = 0;
  #turnWanted = false;
  #wakeWanted = false;

  /**
   * @param nextTurn sees to it that `endTurn` is called after so many ms, 0 being soon; null where it is called after
   *   every batch anyway, and the thread waits no longer than `patienceMs` for one
   */
  constructor(clock: Clock, nextTurn: ((delayMs: number) => void) | null) {
    this.#clock = clock;
    this.#nextTurn = nextTurn;
  }

  /** @param metered false: an admin queue, which has its turns but is not counted and never held */
  add(driver: QueueDriver, share: HostShare, metered: boolean): void {
    share.refresh();
    if (share.queues++ === 0) this.#hosts++;
    driver.share = share;
    driver.metered = metered;
    driver.commandsSeen = (driver.core as QueuePair).commandsCompleted;
  }

  /** The driver's connection is gone. */
  remove(driver: QueueDriver): void {
    const { share } = driver;
    if (share === null) return;
    driver.share = null;
    share.stopped.delete(driver);
    share.commands -= driver.outstandingSeen;
    share.count();
    this.#release(share);
    if (--share.queues === 0) {
      this.#hosts--;
      this.#sleeping.delete(share);
    }
  }

  mayReceive(driver: QueueDriver): boolean {
    const { share } = driver;
    if (share === null) return true;
    if (driver.metered) {
      share.refresh();
      if (share.limited && !this.#hasTokens(share)) return this.#stop(share, driver, HostCounter.throttled);
      if (share.overLimit(driver.core as QueuePair)) return this.#stop(share, driver, HostCounter.held);
    }
    return this.#hosts < 2 || this.#credit(share) > 0;
  }

  sendBytes(driver: QueueDriver): number {
    const { share } = driver;
    if (share === null) return TRANSMIT_BYTES;
    // What the peer does not take at once is copied: a host that holds too much already gets little by little.
    const most = share.heldBytes > share.limitBytes ? SMALL_SEND_BYTES : TRANSMIT_BYTES;
    if (this.#hosts < 2) return most;
    const credit = this.#credit(share);
    return credit > 0 ? Math.min(credit, most) : 0;
  }

  later(driver: QueueDriver): void {
    const share = driver.share!;
    if (driver.waitsForTurn) return;
    driver.waitsForTurn = true;
    share.senders.push(driver);
    if (!share.inLine) {
      share.inLine = true;
      this.#line.push(share);
    }
    this.#wantTurn();
  }

  moved(driver: QueueDriver, received: number, sent: number): void {
    const { share } = driver;
    if (share === null) return;
    const queue = driver.core as QueuePair;
    const commands = queue.commandsCompleted - driver.commandsSeen;
    driver.commandsSeen = queue.commandsCompleted;
    if (driver.metered) {
      share.commands += queue.outstanding - driver.outstandingSeen;
      driver.outstandingSeen = queue.outstanding;
      const counters = share.counters;
      counters[HostCounter.commands]! += commands;
      counters[HostCounter.receivedBytes]! += received;
      counters[HostCounter.sentBytes]! += sent;
      share.count();
      if (share.limited) share.spend(commands, received + sent);
      if (share.stopped.size > 0) this.#release(share);
    }
    if (this.#hosts < 2) return;
    this.#credit(share);
    share.credit -= received + sent + commands * COMMAND_COST_BYTES;
    this.#wantTurn();
  }

  /** Longest time that the thread may wait now, in ms: 0 when somebody waits for a turn. */
  get patienceMs(): number {
    if (this.#line.length > 0) return 0;
    if (this.#sleeping.size === 0) return NEVER;
    let atMs = NEVER;
    for (const share of this.#sleeping) atMs = Math.min(atMs, share.wakeMs);
    return Math.max(0, Math.ceil(atMs - this.#clock.nowMs()));
  }

  /** The present turn is over: those who wait to send go on, host by host. */
  endTurn(): void {
    this.#turnWanted = false;
    this.#turn++;
    if (this.#sleeping.size > 0) this.#wake();
    for (let hosts = this.#line.length; hosts > 0; hosts--) {
      const share = this.#line.shift()!;
      share.inLine = false;
      for (let count = share.senders.length; count > 0 && this.#credit(share) > 0; count--) {
        const driver = share.senders.shift()!;
        driver.waitsForTurn = false;
        driver.flush();
      }
      if (share.senders.length > 0 && !share.inLine) {
        share.inLine = true;
        this.#line.push(share);
      }
    }
    if (this.#line.length > 0) this.#wantTurn();
    else if (this.#sleeping.size > 0) this.#wantWake();
  }

  /** A timer set by `nextTurn` for those that sleep has fired. */
  woken(): void {
    this.#wakeWanted = false;
    this.endTurn();
  }

  /** What is left to the host in this turn. */
  #credit(share: HostShare): number {
    const turns = this.#turn - share.turn;
    if (turns > 0) {
      const most = TURN_BYTES * share.weight;
      share.credit = Math.min(most, share.credit + turns * most);
      share.turn = this.#turn;
    }
    return share.credit;
  }

  #hasTokens(share: HostShare): boolean {
    const nowMs = this.#clock.nowMs();
    const waitMs = share.waitMs(nowMs);
    if (waitMs === 0) return true;
    share.wakeMs = nowMs + waitMs;
    this.#sleeping.add(share);
    this.#wantWake();
    return false;
  }

  #stop(share: HostShare, driver: QueueDriver, counter: number): false {
    if (share.stopped.has(driver)) return false;
    share.stopped.add(driver);
    share.counters[counter]!++;
    driver.hold();
    return false;
  }

  #wake(): void {
    const nowMs = this.#clock.nowMs();
    for (const share of this.#sleeping) {
      if (nowMs < share.wakeMs) continue;
      this.#sleeping.delete(share);
      this.#release(share);
    }
  }

  /** Reads the host's connections again, unless it waits for tokens: each asks anew when it has something. */
  #release(share: HostShare): void {
    if (share.stopped.size === 0 || this.#sleeping.has(share) || share.commands >= share.maxCommands) return;
    const drivers = [...share.stopped];
    share.stopped.clear();
    for (const driver of drivers) driver.unhold();
  }

  #wantTurn(): void {
    if (this.#turnWanted || this.#nextTurn === null) return;
    this.#turnWanted = true;
    this.#nextTurn(0);
  }

  #wantWake(): void {
    if (this.#wakeWanted || this.#nextTurn === null) return;
    this.#wakeWanted = true;
    this.#nextTurn(Math.max(1, Math.min(MAX_SLEEP_MS, this.patienceMs)));
  }
}
