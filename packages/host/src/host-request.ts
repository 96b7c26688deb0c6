import { Memory } from '@nvbraid/base';
import { SQE_SIZE, Sqe } from '@nvbraid/wire';
import type { HostQueue } from './host-queue.ts';

/** Which way the data of a command moves. */
export const Transfer = { None: 0, ToController: 1, FromController: 2 } as const;
export type Transfer = (typeof Transfer)[keyof typeof Transfer];

/** Where a request stands: with its owner, in a queue's ring, or on the wire. */
export const RequestState = { Idle: 0, Waiting: 1, Sent: 2 } as const;
export type RequestState = (typeof RequestState)[keyof typeof RequestState];

export const NO_MEMORY = Memory.alloc(0);

/**
 * One command as its submitter sees it. The submitter owns the object and lends it to a queue from `submit` until
 * `done`; it is meant to be used again and again, so that a command allocates nothing.
 */
export class HostRequest {
  /** The submission queue entry. The queue fills in cid, psdt and the SGL descriptor. */
  readonly sqe = Memory.alloc(SQE_SIZE);
  transfer: Transfer = Transfer.None;
  /** Data of the command: source or destination of `length` bytes. */
  memory: Memory = NO_MEMORY;
  offset = 0;
  length = 0;
  /** Success with less data than `length` is an error: for reads of blocks. */
  exact = false;
  /** The command may stay under way for as long as the controller likes: asynchronous event requests. */
  noTimeout = false;
  /**
   * Called exactly once per `submit`, with the object itself, when `status` and what follows is set. No byte of `memory`
   * is read or written from then on.
   */
  done: (request: HostRequest) => void = ignore;

  /** Status word without phase bit; 0 is success. Host path errors have their own values (sct 3h). */
  status = 0;
  dw0 = 0;
  dw1 = 0;
  /** Bytes that arrived, for `FromController`. */
  received = 0;
  /**
   * Ended by a path error although the controller may have it: it may be executed still, or may have been. Until the end
   * of the association is proven it must not be sent another way if executing it late would harm.
   */
  fateUnknown = false;

  /** The queue that has it, for `HostController.abort`; set by `submit`. */
  queue: HostQueue | null = null;
  /** For the queue only. */
  state: RequestState = RequestState.Idle;
  /** For the queue only: command identifier while on the wire. */
  cid = -1;

  /** Zeroes the SQE and forgets the data: for requests that are not always the same command. */
  reset(opcode: number, nsid = 0): this {
    this.sqe.bytes.fill(0);
    Sqe.opc.set(this.sqe.view, 0, opcode);
    Sqe.nsid.set(this.sqe.view, 0, nsid);
    return this.forget();
  }

  /** Forgets the data and what came with the last command: for whoever writes the whole SQE. */
  forget(): this {
    this.transfer = Transfer.None;
    this.memory = NO_MEMORY;
    this.offset = 0;
    this.length = 0;
    this.exact = false;
    this.noTimeout = false;
    return this;
  }

  /** Data for the controller. */
  sends(memory: Memory, offset: number, length: number): this {
    return this.#data(Transfer.ToController, memory, offset, length);
  }

  /** Room for data from the controller. */
  receives(memory: Memory, offset: number, length: number): this {
    return this.#data(Transfer.FromController, memory, offset, length);
  }

  #data(transfer: Transfer, memory: Memory, offset: number, length: number): this {
    this.transfer = length === 0 ? Transfer.None : transfer;
    this.memory = memory;
    this.offset = offset;
    this.length = length;
    return this;
  }
}

function ignore(): void {}
