import type { NvbraidError } from '@nvbraid/base';
import { mayStillRun, type NamespaceHead, NvmeBio, type NvmePath, RequestState } from '@nvbraid/host';
import { BioFlag, BioStatus } from '@nvbraid/multipath';
import { DNR, IoOpcode, Status } from '@nvbraid/wire';
import { LatencyHistogram } from './host-latency.ts';
import type { IoCommand } from './host-operation.ts';
import { end, type IoSink } from './io-sink.ts';

/** The bio of a command; made with it. */
class CommandBio extends NvmeBio {
  readonly command: IoCommand;
  readonly ended: (command: IoCommand) => void;
  /** Place among those that `submitBio` has; -1 for others. */
  index = -1;

  constructor(command: IoCommand, ended: (command: IoCommand) => void) {
    super(command);
    this.command = command;
    this.ended = ended;
  }
}

/** Half of a fused operation keeps its path by hand: the pair must not be torn apart. */
interface FusedPair {
  readonly first: IoCommand;
  readonly second: IoCommand;
}

/**
 * A head of several paths. Commands fail over by themselves; a fused pair goes down one path, and what becomes of it when
 * that path is lost cannot be known.
 */
export class HeadSink implements IoSink {
  readonly retries = false;
  readonly #head: NamespaceHead;
  /** What `submitBio` has, in no order. */
  readonly #active: CommandBio[] = [];
  /** Fused pairs that wait for a path. */
  readonly #waiting: FusedPair[] = [];
  /** How long commands took that met a failure, from the first one to their end. */
  readonly histogram = new LatencyHistogram();

  constructor(head: NamespaceHead) {
    this.#head = head;
  }

  get maxTransferBytes(): number {
    return this.#head.maxTransferBytes;
  }

  get trouble(): NvbraidError | null {
    for (const controller of this.#head.subsystem.controllers) {
      if (controller.state === 'live') return null;
    }
    return this.#head.subsystem.lastError;
  }

  adopt(command: IoCommand, ended: (command: IoCommand) => void): void {
    const bio = new CommandBio(command, ended);
    bio.end = this.#bioEnded;
    command.bio = bio;
  }

  submit(command: IoCommand): void {
    const bio = command.bio as CommandBio;
    const opcode = command.sqe.bytes[0]!;
    command.done = bio.requestDone;
    bio.changes =
      opcode !== IoOpcode.Read &&
      opcode !== IoOpcode.Compare &&
      opcode !== IoOpcode.Flush &&
      opcode !== IoOpcode.Verify;
    bio.offset = command.slba < 0 ? 0 : command.slba * this.#head.blockSize;
    bio.bytes = command.slba < 0 ? 0 : command.length;
    bio.once = command.operation!.once;
    bio.flags = 0;
    bio.failedMs = -1;
    bio.index = this.#active.length;
    this.#active.push(bio);
    this.#head.submitBio(bio);
  }

  readonly #bioEnded = (bio: CommandBio): void => {
    const last = this.#active.pop()!;
    if (last !== bio) {
      this.#active[bio.index] = last;
      last.index = bio.index;
    }
    bio.index = -1;
    const { command } = bio;
    command.status = bio.status === BioStatus.Ok ? 0 : bio.driverStatus || this.#ownStatus(bio);
    if (bio.failedMs >= 0) this.histogram.record(this.#head.clock.nowMs() - bio.failedMs);
    bio.ended(command);
  };

  /** Of a command that the head itself failed: it is beyond the end, or no path had it. */
  #ownStatus(bio: CommandBio): number {
    const disk = this.#head.disk;
    const beyond = disk !== null && bio.offset + bio.bytes > disk.capacityBytes;
    return beyond ? Status.LbaOutOfRange | DNR : Status.HostPathingError;
  }

  submitFused(first: IoCommand, second: IoCommand): boolean {
    const head = this.#head;
    const path = head.findPath();
    first.done = () => this.#fusedEnded(path, first);
    second.done = () => this.#fusedEnded(path, second);
    if (path !== null) return this.#sendFused(path, first, second);
    if (head.available()) this.#waiting.push({ first, second });
    else end(first, Status.HostPathingError);
    return true;
  }

  /** Nobody may be told that a pair has failed that may still be executed: something newer would be written. */
  #fusedEnded(path: NvmePath | null, command: IoCommand): void {
    const go = (): void => (command.bio as CommandBio).ended(command);
    const abandoned = (): void => {
      command.status = Status.CommandAbortedByHost;
      go();
    };
    const { fences } = this.#head.subsystem;
    if (path === null || !mayStillRun(command) || !fences.holdCommand(path, command, go, abandoned)) go();
  }

  #sendFused(path: NvmePath, first: IoCommand, second: IoCommand): boolean {
    return path.controller.submitFused(first, second);
  }

  /** A path has changed: fused pairs look again. */
  pathChanged(): void {
    for (const { first, second } of this.#waiting.splice(0)) {
      if (!this.submitFused(first, second)) end(first, Status.InvalidQueueSize);
    }
  }

  abort(command: IoCommand): void {
    const bio = command.bio as CommandBio;
    if (bio.index < 0) {
      const at = this.#waiting.findIndex(({ first, second }) => first === command || second === command);
      if (at >= 0) {
        const [{ first }] = this.#waiting.splice(at, 1) as [FusedPair];
        end(first, Status.CommandAbortedByHost);
      } else if (command.state !== RequestState.Idle) command.queue!.cancel(command);
      else this.#head.subsystem.fences.cancel(command);
      return;
    }
    // Its end is final from now on, and wherever it waits it ends now.
    bio.flags |= BioFlag.NoRetry;
    if (command.state !== RequestState.Idle) (bio.path as NvmePath).controller.abort(command);
    else this.#head.cancel(bio);
  }

  abortAll(which: (command: IoCommand) => boolean): void {
    for (const bio of [...this.#active]) if (bio.index >= 0 && which(bio.command)) this.abort(bio.command);
    for (const { first } of [...this.#waiting]) if (which(first)) this.abort(first);
  }
}
