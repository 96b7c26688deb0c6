import type { ErrorCode } from '@nvbraid/base';
import type { ConnectOptions } from './connect.ts';
import type { HeadStatus, HostSubsystem, StallBound } from './host-subsystem.ts';
import type { LocalTarget } from './local-target.ts';
import type { NbdPlace } from './nbd-server.ts';

/** What a head thread is started with. */
export interface HeadWorkerData {
  readonly options: Omit<ConnectOptions, 'signal'>;
  readonly place: NbdPlace;
  /** Which of how many threads it is: it serves every namespace with nsid - 1 = thread, modulo threads. */
  readonly thread: number;
  readonly threads: number;
  readonly poolBytes: number;
  /** What it serves itself, and connects to; null: it connects by the options. */
  readonly local: LocalTarget | null;
  /** URL of a module whose `headMethods` answers calls, besides our own. */
  readonly methods: string | null;
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
  readonly context: Readonly<Record<string, string | number | boolean>>;
}

/** Answers a call. What it throws is thrown to the caller. */
export type HeadMethod = (params: Readonly<Record<string, unknown>>) => unknown;
export type HeadMethods = Readonly<Record<string, HeadMethod>>;

/** What a module of methods exports as `headMethods`; run in every head thread. */
export type MakeHeadMethods = (subsystem: HostSubsystem, options: Omit<ConnectOptions, 'signal'>) => HeadMethods;

/** The method that every thread has. */
export const THREAD_STATUS = 'head-thread-status';

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

export type ToHeadWorker =
  | {
      readonly kind: 'call';
      readonly id: number;
      readonly method: string;
      readonly params: Readonly<Record<string, unknown>>;
    }
  | { readonly kind: 'stop' };

export type FromHeadWorker =
  | {
      readonly kind: 'ready';
      readonly uri: string;
      readonly heads: readonly OfferedHead[];
      /** How long a write may wait for a lost path, and how that is made up. */
      readonly stallBound: StallBound;
      /** Names of what can be called. */
      readonly methods: readonly string[];
    }
  | { readonly kind: 'failed'; readonly error: PostedError }
  | { readonly kind: 'heads'; readonly heads: readonly OfferedHead[] }
  | { readonly kind: 'path'; readonly path: string; readonly state: string }
  | { readonly kind: 'log'; readonly message: string }
  | { readonly kind: 'answer'; readonly id: number; readonly result: unknown }
  | { readonly kind: 'refusal'; readonly id: number; readonly error: PostedError }
  /** All controllers are given up. */
  | { readonly kind: 'closed'; readonly error: PostedError }
  /** After `stop`. @param stable all that clients have written is */
  | { readonly kind: 'stopped'; readonly stable: boolean };
