import { Ring, TokenBucket } from '@nvbraid/base';
import type { PayloadShare, QueuePair } from '@nvbraid/target';
import { type HostBlock, HostCounter } from './host-block.ts';
import type { QueueDriver } from './queue-driver.ts';

/** Tokens of one command in the bucket of commands: rates below one per millisecond stay exact. */
const COMMAND_TOKENS = 1000;

/** One host in one thread: what it has used of this turn, what it holds, and which of its connections wait. */
export class HostShare implements PayloadShare {
  readonly hostId: number;
  readonly block: HostBlock;
  readonly counters: Float64Array;
  /** Work that is left to it in the turn `turn`, in bytes; negative after a large piece. */
  credit = 0;
  turn = 0;
  weight = 1;
  /** Its queues in this thread. */
  queues = 0;
  commands = 0;
  heldBytes = 0;
  limitBytes = 0;
  maxCommands = 0;
  /** Connections that have something to send and wait for their host's next turn. */
  readonly senders = new Ring<QueueDriver>(4);
  /** In the line of hosts with such connections. */
  inLine = false;
  /** Connections that are not read until the host has less under way, or tokens again. */
  readonly stopped = new Set<QueueDriver>();
  /** When there are tokens again; 0 when that is not why they are stopped. */
  wakeMs = 0;
  limited = false;
  readonly #iops: TokenBucket;
  readonly #bytes: TokenBucket;
  #version = -1;

  constructor(hostId: number, block: HostBlock, thread: number) {
    this.hostId = hostId;
    this.block = block;
    this.counters = block.counters(thread);
    this.#iops = new TokenBucket(block.iopsWords);
    this.#bytes = new TokenBucket(block.bytesWords);
  }

  /** One load when nothing has changed. */
  refresh(): void {
    const version = this.block.version;
    if (version === this.#version) return;
    this.#version = version;
    const { block } = this;
    this.weight = block.parameter('weight');
    this.limitBytes = block.parameter('payloadBytes');
    this.maxCommands = block.parameter('commands');
    this.#iops.limit(block.parameter('iops'), block.parameter('iopsBurst') * COMMAND_TOKENS);
    this.#bytes.limit(block.parameter('bytesPerSecond') / 1000, block.parameter('bytesBurst'));
    this.limited = this.#iops.limited || this.#bytes.limited;
  }

  spend(commands: number, bytes: number): void {
    this.#iops.spend(commands * COMMAND_TOKENS);
    this.#bytes.spend(bytes);
  }

  /** Milliseconds until there are tokens for one command more. */
  waitMs(nowMs: number): number {
    return Math.max(this.#iops.waitMs(COMMAND_TOKENS, nowMs), this.#bytes.waitMs(1, nowMs));
  }

  /** The payload that it holds has changed. */
  count(): void {
    this.counters[HostCounter.commandsUnderWay] = this.commands;
    this.counters[HostCounter.payloadBytes] = this.heldBytes;
  }

  /** More under way than it may have, and no data on its way that would end some of it. */
  overLimit(queue: QueuePair): boolean {
    return this.commands >= this.maxCommands && !queue.awaitsData;
  }
}
