import { type Clock, NvbraidError } from '@nvbraid/base';
import { Sqe } from '@nvbraid/wire';
import type { HostQueue } from './host-queue.ts';
import type { HostRequest } from './host-request.ts';
import { NvmeError } from './nvme-error.ts';
import type { Steps } from './task.ts';
import type { Timers } from './timers.ts';

/** What the sequences of a controller are made of: waiting for time, for commands and for queues. */
export class AdminChannel {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly queue: HostQueue;

  constructor(queue: HostQueue, clock: Clock, timers: Timers) {
    this.queue = queue;
    this.clock = clock;
    this.timers = timers;
  }

  *sleep(ms: number): Steps {
    yield (resume) => this.timers.set(this.clock.nowMs() + ms, resume);
  }

  /** Runs a command; answers its request whatever its status is, except for path errors. */
  *run(request: HostRequest, what: string, queue: HostQueue = this.queue): Steps<HostRequest> {
    yield (resume) => {
      request.done = resume;
      queue.submit(request);
    };
    if ((request.status & 0x700) === 0x300) {
      throw queue.error ?? new NvmeError(what, request.status);
    }
    return request;
  }

  /** As `run`, but a status other than success ends the sequence. */
  *mustRun(request: HostRequest, what: string, queue: HostQueue = this.queue): Steps<HostRequest> {
    yield* this.run(request, what, queue);
    if (request.status !== 0) {
      throw new NvmeError(what, request.status, Sqe.opc.get(request.sqe.view, 0) === 0x7f);
    }
    return request;
  }

  /** A sequence's own failure. */
  fail(message: string): never {
    throw new NvbraidError('EPROTO', message);
  }
}
