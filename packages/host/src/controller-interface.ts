import type { Clock, NvbraidError } from '@nvbraid/base';
import type { AnaLog } from '@nvbraid/wire';
import type { AsyncEvent } from './async-events.ts';
import type { HostControllerState } from './controller-states.ts';
import type { HostQueue } from './host-queue.ts';

export interface HostControllerOptions {
  readonly nqn: string;
  readonly hostnqn: string;
  /** UUID. */
  readonly hostid: string;
  /** I/O queues asked for; 0 for controllers that are only administered. */
  readonly nrIoQueues: number;
  /** Entries of an I/O submission queue; the controller may have a lower limit. */
  readonly queueSize: number;
  /** Keep Alive Timeout; 0 turns it off. */
  readonly keepAliveMs: number;
  readonly hdrDigest: boolean;
  readonly dataDigest: boolean;
  readonly disableSqflow: boolean;
  readonly ioTimeoutMs: number;
  readonly adminTimeoutMs: number;
  /** Wait between attempts to connect again; the first one is made at once. */
  readonly reconnectDelayMs: number;
  /** How long to try to connect again; 0: not at all. */
  readonly ctrlLossTmoMs: number;
  /** How long commands may wait for a lost controller to come back; absent: as long as it is tried. */
  readonly fastIoFailTmoMs?: number;
  /** Further I/O queues, for commands that write; those of `nrIoQueues` are for reads then. Default 0. */
  readonly nrWriteQueues?: number;
  readonly maxR2t?: number;
  readonly hpda?: number;
}

/** What a controller needs from the world. */
export interface HostPlatform {
  readonly clock: Clock;
  /**
   * Makes a connection for the queue, then calls `queue.start()`; or `queue.closed(error)` when there is none. Not before
   * the connections of queues that are `closing` are gone: what they still have to say must not arrive later.
   */
  connect(queue: HostQueue): void;
  /** The queue has something to transmit, or it is over and its connection is to be ended: see `HostQueue.mustReset`. */
  wantTransmit(queue: HostQueue): void;
}

/** What a controller tells. */
export interface HostControllerEvents {
  /** @param error why it left `live` or gave up */
  stateChanged(state: HostControllerState, error: NvbraidError | null): void;
  /** `namespaces` is up to date; `changed` came, went or have another shape. The first time before the controller is live. */
  namespacesScanned(changed: readonly number[]): void;
  /** The ANA log page has been read: while connecting, and after every event that tells of a change. */
  anaRead(log: AnaLog): void;
  asyncEvent(event: AsyncEvent): void;
  /** What the controller says of itself is known: an error keeps the host from using it, for good. */
  identified?(): NvbraidError | null;
  /** `failfastExpired` has become true: nothing should wait for this controller any more. */
  failfast?(): void;
  /** What an operator should know, as one sentence. */
  log?(message: string): void;
}
