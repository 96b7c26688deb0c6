import { NvbraidError } from '@nvbraid/base';
import { HostRequest, type NvmeBio, NvmeError } from '@nvbraid/host';
import { Status } from '@nvbraid/wire';

/** The namespace that commands are for. */
export interface IoNamespace {
  readonly nsid: number;
  /** Why no command for it may go out any more; null while it is what it was. */
  readonly gone: NvbraidError | null;
}

const NOWHERE: IoNamespace = { nsid: 0, gone: null };

/** What the caller asked for, for messages and counters. */
export type OperationKind =
  | 'Read'
  | 'Write'
  | 'Flush'
  | 'Compare'
  | 'Compare and Write'
  | 'Write Zeroes'
  | 'Write Uncorrectable'
  | 'Dataset Management'
  | 'Verify'
  | 'Copy'
  | 'Reservation Register'
  | 'Reservation Acquire'
  | 'Reservation Release'
  | 'Reservation Report'
  | ZoneOperationKind;

export type ZoneOperationKind =
  | 'Zone Append'
  | 'Zone Report'
  | 'Zone Open'
  | 'Zone Close'
  | 'Zone Finish'
  | 'Zone Reset'
  | 'Zone Offline';

/** @param status NVMe status, 0 for success @param context what the caller gave */
export type OperationEnded = (context: unknown, status: number) => void;

/**
 * One call of a namespace method: the commands that serve it, and who waits for them. The objects are used again; only
 * the promise is new every time, where there is one.
 */
export class Operation {
  kind: OperationKind = 'Read';
  namespace: IoNamespace = NOWHERE;
  /** First block, or -1. */
  slba = 0;
  bytes = 0;
  startMs = 0;
  /** Commands that have not ended. */
  pending = 0;
  settled = true;
  /** Its commands are not sent again: they would mean something else the second time. */
  once = false;
  /** Why it was not begun: whoever sends its commands is closing. */
  refused: NvbraidError | null = null;
  /** The first status other than success, and the block it was about. */
  status = 0;
  failedSlba = 0;
  readonly commands: IoCommand[] = [];
  signal: AbortSignal | null = null;
  onAbort: (() => void) | null = null;
  /** Called with dwords 0 and 1 when a command has succeeded, for those that answer something there. */
  answered: ((dw0: number, dw1: number) => void) | null = null;
  resolve: () => void = nothing;
  reject: (error: Error) => void = nothing;
  /** Called in their place, where no promise was made. */
  ended: OperationEnded | null = null;
  context: unknown = null;

  /** The error that the caller sees. */
  error(cause: NvbraidError | null): NvbraidError {
    const where = this.failedSlba < 0 ? '' : ` at LBA ${this.failedSlba}`;
    const what = `${this.kind}${where} (nsid ${this.namespace.nsid})`;
    if ((this.status & 0x7ff) === Status.CommandAbortedByHost && this.signal?.aborted) {
      return new NvbraidError('EABORTED', `${what}: aborted`, { cause: this.signal.reason });
    }
    const gone = this.refused ?? this.namespace.gone;
    if (gone !== null) return new NvbraidError(gone.code, `${what}: ${gone.message}`, { context: gone.context });
    return new NvmeError(what, this.status, false, cause ?? undefined);
  }

  /** Refers to nothing any more, until it is used again. */
  release(): void {
    this.namespace = NOWHERE;
    this.answered = null;
    this.resolve = nothing;
    this.reject = nothing;
    this.ended = null;
    this.context = null;
  }
}

/** One command of an operation. */
export class IoCommand extends HostRequest {
  operation: Operation | null = null;
  slba = 0;
  retries = 0;
  /** The other half of a fused operation, and whether this one has been answered. */
  partner: IoCommand | null = null;
  answered = false;
  /** What a head knows of it; made with the command. */
  bio: NvmeBio | null = null;
}

function nothing(): void {}
