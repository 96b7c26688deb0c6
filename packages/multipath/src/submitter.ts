import { assert } from '@nvbraid/base';
import { type Bio, BioFlag, BioStatus, Disposition, decideDisposition, Outcome, SUBMITTER_FLAGS } from './bio.ts';
import type { Head } from './head.ts';
import { sampleLatency } from './latency.ts';
import type { Path } from './path.ts';
import { RateLimit } from './rate-limit.ts';
import { RequeueList } from './requeue-list.ts';

/** The way of requests through a head: select, send, and at the end complete, fail over or queue. Allocates nothing. */
export class Submitter<P extends Path, B extends Bio> {
  readonly #head: Head<P, B>;
  /** What waits for a path. It moves only when it is kicked. */
  readonly queued = new RequeueList<B>();
  /** What the present run of the requeue work has taken and not sent yet. */
  readonly #moving = new RequeueList<B>();
  readonly #noUsablePath = new RateLimit();
  readonly #noAvailablePath = new RateLimit();

  constructor(head: Head<P, B>) {
    this.#head = head;
  }

  submit(bio: B, node: number): void {
    assert((bio.flags & BioFlag.Active) === 0, 'a bio was submitted before its end');
    assert(node >= 0 && node < this.#head.nodeCount, 'a bio comes from a node that the head does not have');
    bio.flags = (bio.flags & SUBMITTER_FLAGS) | BioFlag.Active;
    bio.node = node;
    bio.status = BioStatus.Ok;
    bio.driverStatus = 0;
    this.#enter(bio);
  }

  /** The driver's report of a completion. */
  endBio(bio: B, outcome: Outcome, status: BioStatus): Disposition {
    const head = this.#head;
    const path = bio.path as P | null;
    assert(path !== null && (bio.flags & BioFlag.Remapped) !== 0, 'a bio ended that is not under way');
    // By far the most: it went well, nobody counts or measures, and it is no clone.
    if (outcome === Outcome.Ok && (bio.flags & (BioFlag.Counted | BioFlag.Timed)) === 0 && bio.original === null) {
      path.ioCount++;
      path.put();
      this.#finish(bio, BioStatus.Ok);
      return Disposition.Complete;
    }
    const disposition = decideDisposition(bio, outcome, head.maxRetries, path.head !== head);
    this.#account(path, bio, outcome, disposition);
    if (disposition === Disposition.Retry) {
      bio.retries++;
      path.retryCount++;
      return disposition;
    }
    path.put();
    if (disposition === Disposition.Failover) this.#failover(path, bio, outcome);
    else this.#complete(bio, outcome === Outcome.Ok ? BioStatus.Ok : status);
    return disposition;
  }

  /** The requeue work: sends all that is queued once more, oldest first. */
  runRequeue(): void {
    this.#moving.takeAll(this.queued);
    for (let bio = this.#moving.shift(); bio !== null; bio = this.#moving.shift()) this.#enter(bio);
  }

  /** Bios that wait, those of a run under way included. */
  get waiting(): number {
    return this.queued.length + this.#moving.length;
  }

  /** Ends a bio that waits for a path; false when it does not. */
  cancel(bio: B): boolean {
    if (!this.queued.remove(bio) && !this.#moving.remove(bio)) return false;
    this.#finish(bio, BioStatus.IoError);
    return true;
  }

  /** Entrance of the head disk, for new bios and for those that come back. */
  #enter(bio: B): void {
    const disk = this.#head.disk;
    if (disk === null || disk.removed) {
      this.#finish(bio, BioStatus.IoError);
    } else if (bio.offset + bio.bytes > disk.capacityBytes) {
      this.#finish(bio, BioStatus.IoError);
    } else if (bio.bytes > disk.maxBytes) {
      this.#split(bio, disk.maxBytes);
    } else {
      this.#dispatch(bio);
    }
  }

  #dispatch(bio: B): void {
    const head = this.#head;
    const path = head.findPath(bio.node, bio.bytes);
    if (path !== null) {
      this.#send(path, bio);
    } else if ((bio.flags & BioFlag.Passthrough) === 0 && head.available()) {
      head.requeueNoUsablePathCount++;
      if (this.#noUsablePath.allow(head.clock.nowMs()))
        this.#warn('no usable path - requeuing I/O', this.#noUsablePath);
      this.queued.push(bio);
    } else {
      head.failNoAvailablePathCount++;
      if (this.#noAvailablePath.allow(head.clock.nowMs())) {
        this.#warn('no available path - failing I/O', this.#noAvailablePath);
      }
      this.#finish(bio, BioStatus.IoError);
    }
  }

  #send(path: P, bio: B): void {
    const head = this.#head;
    const { template } = head;
    let down = bio;
    if (template.cloneBio !== undefined) {
      const clone = template.cloneBio(bio);
      if (clone === null) {
        this.#finish(bio, BioStatus.IoError);
        return;
      }
      clone.original = bio;
      clone.offset = bio.offset;
      clone.bytes = bio.bytes;
      clone.node = bio.node;
      clone.flags = bio.flags & (SUBMITTER_FLAGS | BioFlag.Active);
      clone.status = BioStatus.Ok;
      clone.driverStatus = 0;
      bio.path = path;
      down = clone;
    }
    down.path = path;
    down.retries = 0;
    down.flags |= (down.flags & BioFlag.Passthrough) === 0 ? BioFlag.Mpath | BioFlag.Remapped : BioFlag.Remapped;
    const { selector } = head.iopolicy;
    if (selector.countsActive) {
      path.nrActive.value++;
      down.flags |= BioFlag.Counted;
    }
    if (selector.measures || head.quarantine !== null) {
      down.startedMs = head.clock.nowMs();
      head.measuredMs = down.startedMs;
      path.inflightBytes += down.bytes;
      down.flags |= BioFlag.Timed;
    }
    path.refs++;
    if (head.traceRemap !== null) head.traceRemap(path, down);
    template.submitBio(path, down);
  }

  /** What a completion says about its path. */
  #account(path: P, bio: B, outcome: Outcome, disposition: Disposition): void {
    const head = this.#head;
    path.ioCount++;
    if (outcome !== Outcome.Ok) path.errorCount++;
    if ((bio.flags & BioFlag.Timed) !== 0) {
      head.measuredMs = head.clock.nowMs();
      // An error that comes at once must not make its path look fast.
      if (outcome === Outcome.Ok) sampleLatency(head, path, bio);
      if (head.quarantine !== null) head.quarantine.observe(path, bio, outcome);
      if (disposition === Disposition.Retry) bio.startedMs = head.measuredMs;
      // A driver may have advanced its clone; the original is as it was.
      else path.inflightBytes -= (bio.original ?? bio).bytes;
    }
    if (disposition !== Disposition.Retry && (bio.flags & BioFlag.Counted) !== 0 && path.nrActive.value > 0) {
      path.nrActive.value--;
    }
  }

  #failover(path: P, bio: B, outcome: Outcome): void {
    const head = this.#head;
    const { template } = head;
    path.failoverCount++;
    head.clearCurrentPath(path);
    if (template.failover !== undefined) template.failover(path, bio, outcome);
    // A clone may have been sent in part: its original goes again as a whole.
    const again = bio.original ?? bio;
    if (bio.original !== null) this.#freeClone(bio);
    again.path = null;
    again.flags = (again.flags & SUBMITTER_FLAGS & ~(BioFlag.NoWait | BioFlag.Polled)) | BioFlag.Active;
    this.queued.push(again);
    head.kickRequeue();
  }

  #complete(bio: B, status: BioStatus): void {
    const { original } = bio;
    if (original === null) {
      this.#finish(bio, status);
    } else {
      original.driverStatus = bio.driverStatus;
      this.#freeClone(bio);
      this.#finish(original, status);
    }
  }

  #freeClone(clone: B): void {
    clone.original = null;
    clone.path = null;
    clone.flags = 0;
    this.#head.template.freeClone!(clone);
  }

  /** The one place where a bio goes back to its owner. */
  #finish(bio: B, status: BioStatus): void {
    bio.status = status;
    bio.path = null;
    bio.flags &= SUBMITTER_FLAGS;
    const { whole } = bio;
    if (whole === null) {
      bio.end(bio);
      return;
    }
    if (status !== BioStatus.Ok && whole.status === BioStatus.Ok) {
      whole.status = status;
      whole.driverStatus = bio.driverStatus;
    }
    bio.whole = null;
    this.#head.template.freeSplit!(bio);
    this.#partOver(whole);
  }

  /** Sends a request that is longer than the head allows in parts. */
  #split(bio: B, maxBytes: number): void {
    const { template } = this.#head;
    bio.parts = 1;
    for (let at = 0; at < bio.bytes; at += maxBytes) {
      const bytes = Math.min(maxBytes, bio.bytes - at);
      const part = template.splitBio!(bio, at, bytes);
      if (part === null) {
        if (bio.status === BioStatus.Ok) bio.status = BioStatus.Resource;
        break;
      }
      part.whole = bio;
      part.offset = bio.offset + at;
      part.bytes = bytes;
      part.node = bio.node;
      part.flags = bio.flags & (SUBMITTER_FLAGS | BioFlag.Active);
      part.status = BioStatus.Ok;
      part.driverStatus = 0;
      bio.parts++;
      this.#dispatch(part);
    }
    this.#partOver(bio);
  }

  #partOver(whole: B): void {
    if (--whole.parts === 0) this.#finish(whole, whole.status);
  }

  #warn(what: string, limit: RateLimit): void {
    const missed = limit.takeMissed();
    this.#head.log(missed === 0 ? what : `${what} (and ${missed} more not logged)`);
  }
}
