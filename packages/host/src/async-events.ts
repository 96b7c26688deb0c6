import { AsyncEventResult } from '@nvbraid/wire';
import { asyncEventRequest } from './admin-commands.ts';
import type { HostQueue } from './host-queue.ts';
import type { HostRequest } from './host-request.ts';

export interface AsyncEvent {
  /** See wire's `AsyncEventType`. */
  readonly type: number;
  readonly info: number;
  /** Log page that tells more. */
  readonly lid: number;
  /** Dword 0 of the completion, e.g. for `asyncEventName`. */
  readonly dw0: number;
}

/** Keeps asynchronous event requests outstanding (Base 2.1, 5.1.2). */
export class AsyncEvents {
  readonly #queue: HostQueue;
  readonly #happened: (event: AsyncEvent) => void;

  /** @param count requests to keep outstanding; at most AERL + 1 */
  constructor(queue: HostQueue, count: number, happened: (event: AsyncEvent) => void) {
    this.#queue = queue;
    this.#happened = happened;
    for (let i = 0; i < count; i++) {
      const request = asyncEventRequest();
      request.done = this.#done;
      queue.submit(request);
    }
  }

  readonly #done = (request: HostRequest): void => {
    // Refused or aborted requests are not sent again, and a queue that is gone takes none.
    if (request.status !== 0) return;
    const { dw0 } = request;
    const view = new DataView(new ArrayBuffer(4));
    view.setUint32(0, dw0, true);
    this.#queue.submit(request);
    this.#happened({ ...AsyncEventResult.parse(view, 0), dw0 });
  };
}
