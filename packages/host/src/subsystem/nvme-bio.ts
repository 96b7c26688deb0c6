import { Bio, BioStatus, Disposition, Outcome } from '@nvbraid/multipath';
import { DNR, Status } from '@nvbraid/wire';
import type { HostRequest } from '../host-request.ts';
import { isTransient } from '../nvme-error.ts';
import type { NamespaceHead } from './namespace-head.ts';
import type { NvmePath } from './nvme-path.ts';

/**
 * One command for a head. The request's SQE names the namespace, whose number is the same on every path, so that the very
 * same command goes down whichever path. The submitter owns the object and uses it again.
 */
export class NvmeBio extends Bio {
  readonly request: HostRequest;
  /** Running it late, when later commands have been completed, would harm: everything but reads. */
  changes = false;
  /** It may run once only: it is not sent again when nobody knows whether it has run. */
  once = false;
  /** When a path failed it first, for how long a failover took; negative while none has. */
  failedMs = -1;

  constructor(request: HostRequest) {
    super();
    this.request = request;
    request.done = this.requestDone;
  }

  /** What the request's `done` is while a path has it. */
  readonly requestDone = (): void => {
    const path = this.path as NvmePath;
    const { status } = this.request;
    this.driverStatus = status;
    if (status === Status.Success) path.namespaceHead.endBio(this, Outcome.Ok, BioStatus.Ok);
    else path.namespaceHead.commandFailed(path, this);
  };

  /** Ends it on the path that it was sent to. */
  endOn(head: NamespaceHead, path: NvmePath, status: number): void {
    // Nobody looks after a head that is gone: what ends on it has ended.
    const outcome = head.gone && status !== Status.Success ? Outcome.Final : outcomeOf(status);
    if (head.endBio(this, outcome, bioStatusOf(status)) === Disposition.Retry) path.controller.submitIo(this.request);
  }
}

/** What a status says about where to try again (Base 2.1, 4.2.3). */
export function outcomeOf(status: number): Outcome {
  if (status === Status.Success) return Outcome.Ok;
  if ((status & DNR) !== 0) return Outcome.Final;
  if (isPathError(status)) return Outcome.PathError;
  // What is certain to end the same way is not tried again, whether the controller says so (DNR) or not.
  return isTransient(status) ? Outcome.Retryable : Outcome.Final;
}

/**
 * Lost with its connection, while the controller may have it. Not so what its submitter has given up: that ends at once,
 * and it is known that it may run.
 */
export function mayStillRun({ status, fateUnknown }: HostRequest): boolean {
  return fateUnknown && isPathError(status) && (status & 0x7ff) !== Status.CommandAbortedByHost;
}

/** Path related status (sct 3h). */
export function isPathError(status: number): boolean {
  return (status & 0x700) === 0x300;
}

/** The status in the words of the block layer. */
export function bioStatusOf(status: number): BioStatus {
  if (isPathError(status)) return BioStatus.Transport;
  switch (status & 0x7ff) {
    case Status.Success:
      return BioStatus.Ok;
    case Status.CapacityExceeded:
      return BioStatus.NoSpace;
    case Status.LbaOutOfRange:
    case Status.CommandAbortedPreempt:
    case Status.NamespaceNotReady:
      return BioStatus.Target;
    case Status.InvalidOpcode:
    case Status.InvalidField:
    case Status.InvalidNamespaceOrFormat:
      return BioStatus.NotSupported;
    case Status.WriteFault:
    case Status.UnrecoveredReadError:
    case Status.CompareFailure:
    case Status.AccessDenied:
    case Status.NamespaceIsWriteProtected:
      return BioStatus.Medium;
    case Status.GuardCheckError:
    case Status.ApplicationTagCheckError:
    case Status.ReferenceTagCheckError:
      return BioStatus.Protection;
    case Status.ReservationConflict:
      return BioStatus.ReservationConflict;
    default:
      return BioStatus.IoError;
  }
}
