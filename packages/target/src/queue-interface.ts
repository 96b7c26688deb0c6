import { assert, type SlabPool } from '@nvbraid/base';
import { IN_CAPSULE_BYTES, MAX_DATA_TRANSFER_BYTES, MAX_H2C_DATA_BYTES, MAX_PDA } from './queue-limits.ts';
import type { QueuePair } from './queue-pair.ts';

/** What a queue needs from the thread it lives in. */
export interface QueueEnvironment {
  readonly pool: SlabPool;
  /** Something is ready to be sent that no `receive` has caused: call `transmit` soon. */
  wantTransmit(queue: QueuePair): void;
  /** Commands wait for payload memory: call `retryStarved` when slabs have been given back. */
  starved(queue: QueuePair): void;
  /** No command of a queue that is gone is under way any more: devices have finished with all of them. */
  idle?(queue: QueuePair): void;
}

export interface QueueOptions {
  maxH2CDataBytes?: number;
  /** Bytes asked for by one R2T at most; default: everything a command needs at once. */
  r2tBytes?: number;
  /** Data alignment wanted from the host: dwords minus one (CPDA). */
  cpda?: number;
  /** In-capsule data that an I/O queue takes, in bytes; an admin queue always takes 8 KiB. */
  inCapsuleBytes?: number;
  /** Data of one command at most: what MDTS tells. */
  maxDataBytes?: number;
  allowHdgst?: boolean;
  allowDdgst?: boolean;
}

/** The options with what holds where nothing is said. */
export function queueOptions(options: QueueOptions): Required<QueueOptions> {
  const all = {
    maxH2CDataBytes: options.maxH2CDataBytes ?? MAX_H2C_DATA_BYTES,
    r2tBytes: options.r2tBytes ?? MAX_DATA_TRANSFER_BYTES,
    cpda: options.cpda ?? 0,
    inCapsuleBytes: options.inCapsuleBytes ?? IN_CAPSULE_BYTES,
    maxDataBytes: options.maxDataBytes ?? MAX_DATA_TRANSFER_BYTES,
    allowHdgst: options.allowHdgst ?? true,
    allowDdgst: options.allowDdgst ?? true,
  };
  assert(all.cpda >= 0 && all.cpda <= MAX_PDA, 'cpda is 0 … 31');
  assert(all.maxH2CDataBytes >= 4096 && all.r2tBytes >= 4096, 'queue options');
  return all;
}

/** A queue between threads: what the next owner must know. Plain data. */
export interface QueueHandoff {
  readonly qid: number;
  readonly sqSize: number;
  readonly sqFlowControl: boolean;
  readonly sqhd: number;
  readonly hdgst: boolean;
  readonly ddgst: boolean;
  readonly hpda: number;
  readonly maxR2t: number;
  readonly maxH2CDataBytes: number;
  readonly r2tBytes: number;
  readonly inCapsuleBytes: number;
  readonly maxDataBytes: number;
}

/**
 * ic: waits for ICReq; open: takes capsules; draining: takes none, but answers those that it has; closing: sends what is
 * left, then closes; closed: gone.
 */
export type QueueState = 'ic' | 'open' | 'draining' | 'closing' | 'closed';
