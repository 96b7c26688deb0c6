import type { NvbraidError } from '@nvbraid/base';
import type { HostQueue } from './host-queue.ts';
import type { HostRequest } from './host-request.ts';

export interface HostQueueOptions {
  /** 0 is the admin queue. */
  readonly qid: number;
  /** Entries of the submission queue; one less can be outstanding. */
  readonly queueSize: number;
  readonly hdrDigest?: boolean;
  readonly dataDigest?: boolean;
  /** R2Ts of one command that the controller may have outstanding, 1 … `R2T_MAX`. */
  readonly maxR2t?: number;
  /** Alignment of payload wanted from the controller: dwords minus one. */
  readonly hpda?: number;
  /** Data that fits into an I/O command's capsule: (IOCCSZ * 16) - 64. Without effect on admin and fabrics commands. */
  readonly inCapsuleBytes?: number;
  /** A command that takes longer is told to the owner. */
  readonly timeoutMs: number;
}

/** Who a queue belongs to. */
export interface HostQueueOwner {
  /** The handshake is done: commands may be submitted. */
  queueReady(queue: HostQueue): void;
  /**
   * The connection is of no use any more; told once, unless `close` was called, and before the commands under way end
   * with a path error. The queue may still have a TermReq to transmit.
   */
  queueFailed(queue: HostQueue, error: NvbraidError): void;
  /** A command has been under way for `timeoutMs`, `times` times in a row. Null when it was aborted by its submitter. */
  commandTimedOut(queue: HostQueue, cid: number, request: HostRequest | null, times: number): void;
  /** There is something to transmit that no `receive` has caused; or the queue is closing or closed. */
  wantTransmit(queue: HostQueue): void;
}
