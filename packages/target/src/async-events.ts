import {
  AsyncEventBit,
  AsyncEventIoCommand,
  AsyncEventNotice,
  AsyncEventType,
  asyncEventDw0,
  DNR,
  Lid,
  SmartWarning,
  Status,
} from '@nvbraid/wire';
import { MAX_ASYNC_EVENT_REQUESTS } from './limits.ts';
import type { Request } from './request.ts';

/** Something that a host can be told by completing an Asynchronous Event Request. */
export interface AsyncEvent {
  /** Bit of the Asynchronous Event Configuration feature that lets it out; 0 when none is needed. */
  readonly enable: number;
  /** Log page that tells more; reading it without RAE lets the event out again. */
  readonly lid: number;
  readonly dw0: number;
  readonly dw1?: number;
}

function notice(enable: number, info: number, lid: number): AsyncEvent {
  return { enable, lid, dw0: asyncEventDw0(AsyncEventType.Notice, info, lid) };
}

/** dw0 is 040002h for a changed namespace, 0C0302h for an ANA change, 70F002h for a discovery log change. */
export const EVENTS = {
  namespaceAttribute: notice(
    AsyncEventBit.NamespaceAttribute,
    AsyncEventNotice.NamespaceAttributeChanged,
    Lid.ChangedNamespaceList,
  ),
  anaChange: notice(AsyncEventBit.AnaChange, AsyncEventNotice.AnaChange, Lid.Ana),
  discoveryChange: notice(AsyncEventBit.DiscoveryLog, AsyncEventNotice.DiscoveryLogPageChange, Lid.Discovery),
  lbaStatus: notice(AsyncEventBit.LbaStatus, AsyncEventNotice.LbaStatusInformationAlert, Lid.LbaStatus),
  crossControllerReset: notice(
    AsyncEventBit.CrossControllerReset,
    AsyncEventNotice.CrossControllerResetCompleted,
    Lid.CrossControllerReset,
  ),
  /** Kept out by the Reservation Notification Mask feature, before it comes here. */
  reservation: {
    enable: 0,
    lid: Lid.Reservation,
    dw0: asyncEventDw0(AsyncEventType.IoCommand, AsyncEventIoCommand.ReservationLogPageAvailable, Lid.Reservation),
  },
  temperature: {
    enable: SmartWarning.Temperature,
    lid: Lid.Smart,
    dw0: asyncEventDw0(AsyncEventType.SmartHealth, 1, Lid.Smart),
  },
} as const satisfies Record<string, AsyncEvent>;

/**
 * Events and Asynchronous Event Requests of one controller (Base 2.1, 5.1.2). An event that was let out is masked until
 * its log page is read, so at most one of each kind waits, however often things change.
 */
export class AsyncEvents {
  /** The Asynchronous Event Configuration feature, as an unsigned number. */
  configuration = 0;
  readonly #parked: Request[] = [];
  readonly #pending: AsyncEvent[] = [];
  readonly #masked = new Set<AsyncEvent>();

  /** Asynchronous Event Requests under way. */
  get outstanding(): number {
    return this.#parked.length;
  }

  /** Events that wait for a request. */
  get pending(): number {
    return this.#pending.length;
  }

  /** Takes an Asynchronous Event Request. A status other than 0: it was not taken. */
  request(request: Request): number {
    if (this.#parked.length >= MAX_ASYNC_EVENT_REQUESTS) return Status.AsyncEventRequestLimitExceeded | DNR;
    const event = this.#pending.shift();
    if (event === undefined) this.#parked.push(request);
    else request.complete(0, event.dw0, event.dw1);
    return 0;
  }

  raise(event: AsyncEvent): void {
    if (event.enable !== 0 && (this.configuration & event.enable) === 0) return;
    if (this.#masked.has(event)) return;
    this.#masked.add(event);
    const request = this.#parked.shift();
    if (request === undefined) this.#pending.push(event);
    else request.complete(0, event.dw0, event.dw1);
  }

  /** The log page was read without RAE: the host knows all that events about it could tell. */
  clear(lid: number): void {
    for (const event of this.#masked) if (event.lid === lid) this.forget(event);
  }

  /** The host knows all that this event could tell. */
  forget(event: AsyncEvent): void {
    this.#masked.delete(event);
    const waiting = this.#pending.indexOf(event);
    if (waiting >= 0) this.#pending.splice(waiting, 1);
  }

  /** Ends the request with this command identifier; false when it is none. */
  abort(cid: number): boolean {
    const i = this.#parked.findIndex((request) => request.cid === cid);
    if (i < 0) return false;
    this.#parked.splice(i, 1)[0]!.complete(Status.AbortRequested);
    return true;
  }

  /** Controller reset: requests end, events and configuration are forgotten. */
  reset(): void {
    this.configuration = 0;
    this.#pending.length = 0;
    this.#masked.clear();
    for (const request of this.#parked.splice(0)) request.complete(Status.SqDeletionAbort);
  }

  /** The admin queue is gone, and its requests with it. */
  drop(): void {
    this.configuration = 0;
    this.#parked.length = 0;
    this.#pending.length = 0;
  }
}
