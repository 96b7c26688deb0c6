import type { NvbraidError } from '@nvbraid/base';
import { type HostController, NO_MEMORY, RequestState } from '@nvbraid/host';
import { Status } from '@nvbraid/wire';
import type { IoCommand } from './host-operation.ts';

/** Where the commands of namespace methods go: to one controller, or to a head with several paths. */
export interface IoSink {
  /** Bytes that one command can move. */
  readonly maxTransferBytes: number;
  /** Why commands fail now; null when there is no other reason than their status. */
  readonly trouble: NvbraidError | null;
  /** Whether a command that failed for a passing reason is worth another try by the caller. */
  readonly retries: boolean;
  /** Called once for each command object: `ended` is to be called whenever it comes back. */
  adopt(command: IoCommand, ended: (command: IoCommand) => void): void;
  submit(command: IoCommand): void;
  /** Both halves of a fused operation; false when the queues are too short to hold them. */
  submitFused(first: IoCommand, second: IoCommand): boolean;
  /** Ends a command that has been submitted. */
  abort(command: IoCommand): void;
  /** As `abort`, for all that have been submitted and fit. */
  abortAll(which: (command: IoCommand) => boolean): void;
}

/** One controller. Commands wait while it is being connected again. */
export class ControllerSink implements IoSink {
  readonly #core: HostController;
  /** Commands that wait for the controller to be live again, in their order; of fused pairs the first halves. */
  readonly #parked = new Set<IoCommand>();

  constructor(core: HostController) {
    this.#core = core;
  }

  get maxTransferBytes(): number {
    return this.#core.maxTransferBytes;
  }

  get trouble(): NvbraidError | null {
    return this.#core.state === 'live' ? null : this.#core.error;
  }

  get retries(): boolean {
    const { state } = this.#core;
    return state === 'live' || this.#waits;
  }

  get #waits(): boolean {
    const { state } = this.#core;
    return state === 'connecting' || state === 'resetting';
  }

  adopt(command: IoCommand, ended: (command: IoCommand) => void): void {
    command.done = ended as (request: unknown) => void;
  }

  submit(command: IoCommand): void {
    if (this.#waits) this.#parked.add(command);
    else this.#core.submitIo(command);
  }

  submitFused(first: IoCommand, second: IoCommand): boolean {
    if (!this.#waits) return this.#core.submitFused(first, second);
    this.#parked.add(first);
    return true;
  }

  abort(command: IoCommand): void {
    if (this.#parked.has(command)) this.#unpark(command, Status.CommandAbortedByHost);
    else if (command.state !== RequestState.Idle) this.#core.abort(command);
  }

  abortAll(which: (command: IoCommand) => boolean): void {
    for (const command of [...this.#parked]) if (which(command)) this.#unpark(command, Status.CommandAbortedByHost);
    this.#core.abortIo((request) => which(request as IoCommand));
  }

  /** The controller is live: what was held back goes out. */
  resume(): void {
    const commands = [...this.#parked];
    this.#parked.clear();
    for (const command of commands) {
      const { partner } = command;
      if (partner === null) this.submit(command);
      else if (!this.submitFused(command, partner)) end(command, Status.InvalidQueueSize);
    }
  }

  /** The controller will not come back: what was held back ends. */
  stop(): void {
    for (const command of [...this.#parked]) this.#unpark(command, Status.HostPathingError);
  }

  #unpark(command: IoCommand, status: number): void {
    if (this.#parked.delete(command)) end(command, status);
  }
}

/** A command ends that no queue has, and with it the other half of a fused operation. */
export function end(command: IoCommand, status: number): void {
  const { partner } = command;
  for (const one of partner === null ? [command] : [command, partner]) {
    one.status = status;
    one.memory = NO_MEMORY;
    one.done(one);
  }
}
