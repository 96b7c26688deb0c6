import { AssertionError } from '@nvbraid/base';
import type { Path } from './path.ts';

/** How a request ended, in the words of the block layer. */
export const BioStatus = {
  Ok: 0,
  /** Anything else; also what the library answers when no path is left. */
  IoError: 1,
  NotSupported: 2,
  Timeout: 3,
  NoSpace: 4,
  /** The way to the device failed, not the device. */
  Transport: 5,
  Target: 6,
  ReservationConflict: 7,
  Medium: 8,
  Protection: 9,
  /** Memory or another resource of this machine ran out. */
  Resource: 10,
} as const;
export type BioStatus = (typeof BioStatus)[keyof typeof BioStatus];

/** Bits of `Bio.flags`. The first four are the submitter's, the others the library's. */
export const BioFlag = {
  /** Do not wait for resources. Cleared by a failover: the second way may wait. */
  NoWait: 1,
  /** The submitter polls for the completion. Cleared by a failover: it polls the wrong queue afterwards. */
  Polled: 2,
  /** Errors are final: neither tried again nor failed over. */
  NoRetry: 4,
  /** A command of the device's own language: neither tried again nor failed over nor queued. */
  Passthrough: 8,
  /** Between `submitBio` and `end`. */
  Active: 16,
  /** Sent down a path by the library: errors of the path may be failed over. */
  Mpath: 32,
  /** The end of the device was checked on the head; the path need not do it again. */
  Remapped: 64,
  /** Counted in the path's `nrActive`. */
  Counted: 128,
  /** Its bytes are in the path's `inflightBytes` and its start was noted. */
  Timed: 256,
} as const;

/** The bits that a submitter sets. */
export const SUBMITTER_FLAGS = BioFlag.NoWait | BioFlag.Polled | BioFlag.NoRetry | BioFlag.Passthrough;

/** What the driver says about a completion. */
export const Outcome = {
  Ok: 0,
  /** The path failed or may not be used now; another one can do it. */
  PathError: 1,
  /** The same may succeed when tried again. */
  Retryable: 2,
  /** The device's last word (do not retry), whatever its kind. */
  Final: 3,
} as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

/** What happens to a completed request. */
export const Disposition = {
  /** `end` was called: the driver must not touch the bio again. */
  Complete: 0,
  /** The library took the bio back and sends it down another path. */
  Failover: 1,
  /** The driver sends the same bio down the same path again, at once or after a delay of its choice. */
  Retry: 2,
} as const;
export type Disposition = (typeof Disposition)[keyof typeof Disposition];

/** A function field that a subclass may narrow to its own kind, as methods may. */
type EndBio<B> = { end(bio: B): void }['end'];

function endMissing(): never {
  throw new AssertionError('bio without an end');
}

/**
 * One block request. The submitter owns it and lends it to the head from `submitBio` until `end`; it is made once and
 * used again and again. Drivers extend it by what their commands need.
 */
export class Bio {
  flags = 0;
  /** First byte and number of bytes on the head disk. */
  offset = 0;
  bytes = 0;
  status: BioStatus = BioStatus.Ok;
  /** The device's own status, untouched by the library. */
  driverStatus = 0;
  /** Called once, when the request is over; `status` says how. It may submit the bio again. */
  end: EndBio<this> = endMissing;

  /** The submitter's NUMA node, kept for the next selection. */
  node = 0;
  /** The path that has it now. */
  path: Path | null = null;
  /** Tries on the present path beyond the first. */
  retries = 0;
  startedMs = 0;
  /** In a clone: the request that it stands for. */
  original: this | null = null;
  /** In a part of a request that was too long for the head: the whole. */
  whole: this | null = null;
  /** In the whole: parts that are not over, and the loop that makes them. */
  parts = 0;
  /** The next one in the requeue list. */
  next: this | null = null;
}

/**
 * What becomes of a completion. A request that succeeded, that is not to be tried again or that was tried too often is
 * over. Otherwise errors of the path lead to another path, as does every error on a path that was deleted meanwhile;
 * other errors are tried again where they happened.
 */
export function decideDisposition(bio: Bio, outcome: Outcome, maxRetries: number, pathGone: boolean): Disposition {
  if (outcome === Outcome.Ok || outcome === Outcome.Final) return Disposition.Complete;
  if ((bio.flags & (BioFlag.NoRetry | BioFlag.Passthrough)) !== 0) return Disposition.Complete;
  if (bio.retries >= maxRetries) return Disposition.Complete;
  if (outcome === Outcome.PathError || pathGone) return Disposition.Failover;
  return Disposition.Retry;
}
