import type { SlabPool } from '@nvbraid/base';
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
  allowHdgst?: boolean;
  allowDdgst?: boolean;
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
}

/** ic: waits for ICReq; open: takes capsules; closing: sends what is left, then closes; closed: gone. */
export type QueueState = 'ic' | 'open' | 'closing' | 'closed';
