import { Ring } from '@nvbraid/base';
import { abortRequest } from './admin-commands.ts';
import type { HostQueue } from './host-queue.ts';
import { PENDING_ABORTS_MAX } from './limits.ts';

interface PendingAbort {
  readonly queue: HostQueue;
  readonly cid: number;
}

/** Sends Abort commands, never more at a time than the controller allows (ACL; Base 2.1, 5.1.1). */
export class Aborts {
  readonly #admin: HostQueue;
  readonly #limit: number;
  readonly #pending = new Ring<PendingAbort>(4);
  #outstanding = 0;

  constructor(admin: HostQueue, limit: number) {
    this.#admin = admin;
    this.#limit = limit;
  }

  /** Asks the controller to abort a command. What becomes of it is told by the command's own completion. */
  abort(queue: HostQueue, cid: number): void {
    if (this.#outstanding < this.#limit) this.#send(queue, cid);
    else if (this.#pending.length < PENDING_ABORTS_MAX) this.#pending.push({ queue, cid });
  }

  #send(queue: HostQueue, cid: number): void {
    const request = abortRequest(queue.qid, cid);
    request.done = () => this.#done();
    this.#outstanding++;
    this.#admin.submit(request);
  }

  #done(): void {
    this.#outstanding--;
    for (let next = this.#pending.shift(); next !== undefined; next = this.#pending.shift()) {
      if (!next.queue.isUnderWay(next.cid)) continue;
      this.#send(next.queue, next.cid);
      return;
    }
  }
}
