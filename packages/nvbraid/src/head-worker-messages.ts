import type { ErrorCode } from '@nvbraid/base';
import type { ConnectOptions } from './connect.ts';
import type { HeadStatus } from './host-subsystem.ts';
import type { NbdPlace } from './nbd-server.ts';

/** What a head thread is started with. */
export interface HeadWorkerData {
  readonly options: Omit<ConnectOptions, 'signal'>;
  readonly place: NbdPlace;
  /** Which of how many threads it is: it serves every namespace with nsid - 1 = thread, modulo threads. */
  readonly thread: number;
  readonly threads: number;
  readonly poolBytes: number;
  /** Of a DescriptorLedger. */
  readonly ledger: SharedArrayBuffer;
}

/** A namespace that is offered. */
export interface OfferedHead {
  /** As in /dev; also the name of the export. */
  readonly name: string;
  readonly nsid: number;
  readonly blockSize: number;
  readonly blockCount: number;
  readonly readOnly: boolean;
}

/** An error as it can be posted. */
export interface PostedError {
  readonly code: ErrorCode;
  readonly message: string;
  /** NVMe status of an NvmeError. */
  readonly status: number | null;
}

/** How a thread stands. */
export interface HeadThreadStatus {
  readonly thread: number;
  /** Where it listens. */
  readonly uri: string;
  /** NBD connections. */
  readonly connections: number;
  /** Connections that have chosen an export, by its name. */
  readonly clients: Readonly<Record<string, number>>;
  readonly heads: readonly HeadStatus[];
}

export type ToHeadWorker = { readonly kind: 'status'; readonly id: number } | { readonly kind: 'stop' };

export type FromHeadWorker =
  | {
      readonly kind: 'ready';
      readonly uri: string;
      readonly heads: readonly OfferedHead[];
      /** How long a write may wait for a lost path, and how that is made up. */
      readonly stallBound: { readonly ms: number; readonly formula: string };
    }
  | { readonly kind: 'failed'; readonly error: PostedError }
  | { readonly kind: 'heads'; readonly heads: readonly OfferedHead[] }
  | { readonly kind: 'path'; readonly path: string; readonly state: string }
  | { readonly kind: 'log'; readonly message: string }
  | { readonly kind: 'status'; readonly id: number; readonly status: HeadThreadStatus }
  /** All controllers are given up; null after `stop`. */
  | { readonly kind: 'closed'; readonly error: PostedError | null };
