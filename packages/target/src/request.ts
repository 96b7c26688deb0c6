import type { Memory, Slab } from '@nvbraid/base';

/**
 * One command under way on a queue. The queue owns the objects, one per entry of the submission queue, and uses each
 * again as soon as its completion is on the wire.
 */
export interface Request {
  readonly queue: CommandQueue;
  /** 0 … sqSize-1: which of the queue's request objects this is. */
  readonly index: number;
  /** The 64-byte SQE lies at `sqeBase` of `sqeView`, from `admit` until the command is completed. */
  readonly sqeView: DataView;
  readonly sqeBase: number;
  readonly cid: number;
  /** Opcode, or the fabrics command type where `fabrics` is true. */
  readonly opcode: number;
  readonly fabrics: boolean;
  /** Bytes that the SGL descriptor of the command names. */
  readonly sglLength: number;
  /**
   * Bytes that move: `admit` may lower it for commands that return less than the host has room for, and must bound it.
   * Set to `sglLength` before `admit`.
   */
  dataLength: number;
  /**
   * Host to controller: where the data lies in `execute`. It stays there only until `execute` returns unless
   * `keepData` was called.
   */
  dataMemory: Memory;
  dataOffset: number;
  /** Makes sure that the data stays where `dataMemory` and `dataOffset` then say until the command is completed. */
  keepData(): void;
  /**
   * Controller to host: a buffer for `dataLength` bytes of reply, zeroed or not, that is sent by `complete` with
   * status 0. Null when the payload limit of the thread is reached: the queue then calls `execute` again later.
   */
  replyBuffer(): Slab | null;
  /** Controller to host: sends `dataLength` bytes from memory that does not change while the command is under way. */
  replyFrom(memory: Memory, offset: number): void;
  /** Copies `bytes` from `offset` on into a reply of at most `dataLength` bytes; what is beyond reads as zero. */
  replyBytes(bytes: Uint8Array, offset?: number): void;
  /** Ends the command. `status`: see wire's `Status`, with `DNR` or-ed in where a retry is useless. */
  complete(status: number, dw0?: number, dw1?: number): void;
}

/** What a queue can do, admin or I/O: the set of commands that it hands its requests to. */
export interface CommandSet {
  /**
   * Looks at a command before any data is fetched for it. A status other than 0 ends the command.
   * Must refuse data lengths that the command cannot have.
   */
  admit(request: Request): number;
  /**
   * As `admit`, for half of a fused operation. Absent, with `executeFused`: there are none, and FUSE is refused.
   * @param fuse 1 for the first command, 2 for the second
   */
  admitFused?(request: Request, fuse: number): number;
  /** Runs the two commands of a fused operation, and completes the first one first. */
  executeFused?(first: Request, second: Request): void;
  /** Runs a command whose data is there. Must lead to exactly one `request.complete`, now or later. */
  execute(request: Request): void;
  /** The queue is gone: no `complete` has any effect any more. */
  closed(): void;
}

/** What command sets see of a queue. */
export interface CommandQueue {
  /** 0 for the admin queue; -1 until Connect. */
  readonly qid: number;
  /**
   * Binds the queue to a controller after a successful Connect. From the next command on `commands` runs them.
   * @param sqSize entries of the submission queue (not 0's based)
   */
  bind(qid: number, sqSize: number, sqFlowControl: boolean, commands: CommandSet): void;
  /** Closes the connection: with a C2HTermReq when `fes` is given, else in order, after what is queued has been sent. */
  close(fes?: number): void;
}
