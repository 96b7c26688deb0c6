import { NEVER } from '@nvbraid/base';
import { Ctratt, type IdentifyController } from '@nvbraid/wire';
import type { HostController } from '../host-controller.ts';
import type { NamespaceHead } from './namespace-head.ts';
import type { NvmeBio } from './nvme-bio.ts';
import type { NvmePath } from './nvme-path.ts';

/*
 * Safe failover (Base 2.1, 9.6). A command whose connection was lost may be executed later, after newer commands that took
 * another path: then old data replaces new. So such a command is held back until its old association is over for certain:
 * the controller says so by Cross-Controller Reset, or so much time has passed that the controller must have noticed the
 * loss (by Keep Alive) and quiesced (CQT). One that is not to be sent again is held as well: who is told of its failure
 * writes something newer.
 */

/** A command that waits for the end of its association. */
interface Held {
  /** What `cancel` names it by. */
  readonly command: object;
  readonly head: NamespaceHead;
  /** Ends it, or sends it another way. */
  readonly go: () => void;
  /** It must end: its head is gone, or its submitter does not want it any more. */
  readonly fail: () => void;
}

/** An association that was lost with commands under way. */
export interface Fence {
  readonly controller: HostController;
  readonly cntlid: number;
  /** Of the lost controller, as Identify told: what Cross-Controller Reset names it by. */
  readonly ciu: number;
  readonly cirn: bigint;
  /** Each association has an object of its own: identifiers are used again. */
  readonly association: IdentifyController;
  lostMs: number;
  /** From then on nothing of it can run, whatever else is known. */
  untilMs: number;
  readonly held: Held[];
  /** What has been done to prove its end by Cross-Controller Reset: see cross-reset.ts. */
  readonly reset: {
    state: 'idle' | 'asking' | 'waiting';
    /** The controller that was asked last, in which of its associations. */
    by: HostController | null;
    association: IdentifyController | null;
    /** Associations that were asked, each once. */
    readonly asked: Set<IdentifyController>;
    /** Until then nobody is asked: too many resets are in progress. */
    retryMs: number;
  };
  /** The owner knows of it. */
  told: boolean;
}

/**
 * How long a command of unknown fate is held when nothing else proves the end of its association, in ms: twice the Keep
 * Alive Timeout (three times where traffic counts: the last sign of life may be one period older) and the controller's
 * command quiesce time.
 */
export function quiesceMs(keepAliveMs: number, cqtMs: number, trafficBased: boolean): number {
  return (trafficBased ? 3 : 2) * keepAliveMs + cqtMs;
}

/** The Keep Alive Timeout that a controller keeps: the one asked for, in its granularity (KAS, units of 100 ms). */
export function keptKeepAliveMs(keepAliveMs: number, kas: number): number {
  const unit = kas * 100;
  return unit === 0 ? keepAliveMs : Math.ceil(keepAliveMs / unit) * unit;
}

/** As `quiesceMs`, of a controller that has been live. */
export function quiesceMsOf({ options }: HostController, identify: IdentifyController): number {
  const traffic = (identify.ctratt & Ctratt.Tbkas) !== 0;
  return quiesceMs(keptKeepAliveMs(options.keepAliveMs, identify.kas), identify.cqt, traffic);
}

/** The fences of one subsystem. */
export class Fences {
  /** False: commands go another way at once, as Linux and SPDK have it. */
  enabled: boolean;
  /** Commands that were held, since the subsystem is used. */
  heldCount = 0;
  /** Fences that were released by proof, and by time. */
  proven = 0;
  timedOut = 0;
  readonly #nowMs: () => number;
  readonly #changed: () => void;
  readonly #fences: Fence[] = [];

  /** @param changed a fence has come, or it is time to ask again: somebody may prove the end of its association */
  constructor(enabled: boolean, nowMs: () => number, changed: () => void) {
    this.enabled = enabled;
    this.#nowMs = nowMs;
    this.#changed = changed;
  }

  get pending(): readonly Fence[] {
    return this.#fences;
  }

  get nextDeadlineMs(): number {
    let next = NEVER;
    for (const fence of this.#fences) {
      next = Math.min(next, fence.reset.retryMs, isOpen(fence) ? NEVER : fence.untilMs);
    }
    return next;
  }

  /** Takes a command that was lost with its connection and must wait; false when it need not. */
  hold(path: NvmePath, bio: NvmeBio): boolean {
    if (!this.enabled || !bio.changes) return false;
    const head = path.namespaceHead;
    const end = (): void => bio.endOn(head, path, bio.driverStatus);
    return this.holdCommand(path, bio, end, end);
  }

  /** As `hold`, for what is no bio: `go` is called when it may end, `fail` when it has to. */
  holdCommand(path: NvmePath, command: object, go: () => void, fail: () => void): boolean {
    if (!this.enabled) return false;
    const fence = this.#fenceOf(path.controller);
    if (fence === null) return false;
    fence.held.push({ command, head: path.namespaceHead, go, fail });
    this.heldCount++;
    if (fence.held.length === 1) this.#changed();
    return true;
  }

  /** The association that is just being lost; commands end one after the other and share it. */
  #fenceOf(controller: HostController): Fence | null {
    const { identify } = controller;
    if (identify === null) return null; // it never got as far as commands
    const known = this.#fences.find(({ association }) => association === identify);
    if (known !== undefined) return known;
    const lostMs = this.#nowMs();
    const fence: Fence = {
      controller,
      cntlid: controller.cntlid,
      ciu: identify.ciu,
      cirn: identify.cirn,
      association: identify,
      lostMs,
      untilMs: lostMs + quiesceMsOf(controller, identify),
      held: [],
      reset: { state: 'idle', by: null, association: null, asked: new Set(), retryMs: NEVER },
      told: false,
    };
    this.#fences.push(fence);
    return fence;
  }

  /**
   * The admin connection of a controller is given up. Where its I/O queues were closed before, it counts from now: the
   * last command that it had was a sign of life.
   */
  associationOver(controller: HostController): void {
    for (const fence of this.#fences) {
      if (fence.controller !== controller || fence.association !== controller.identify) continue;
      fence.lostMs = this.#nowMs();
      fence.untilMs = fence.lostMs + quiesceMsOf(controller, fence.association);
    }
  }

  /** Ends a command that is held; it must not be tried again. False when it is not held. */
  cancel(command: object): boolean {
    return this.#fail((held) => held.command === command) > 0;
  }

  /** Ends all commands of a head. They must not be tried again. */
  cancelHead(head: NamespaceHead): void {
    this.#fail((held) => held.head === head);
  }

  #fail(which: (held: Held) => boolean): number {
    const failed: Held[] = [];
    for (const fence of [...this.#fences]) {
      for (let i = fence.held.length - 1; i >= 0; i--) {
        if (which(fence.held[i]!)) failed.unshift(...fence.held.splice(i, 1));
      }
      // Nobody is interested in its end any more.
      if (fence.held.length === 0) this.#fences.splice(this.#fences.indexOf(fence), 1);
    }
    for (const { fail } of failed) fail();
    return failed.length;
  }

  /** The association of the fence is over for certain: its commands go on, in their order. */
  release(fence: Fence): void {
    const index = this.#fences.indexOf(fence);
    if (index < 0) return;
    this.#fences.splice(index, 1);
    this.proven++;
    for (const { go } of fence.held.splice(0)) go();
  }

  tick(nowMs: number): void {
    let again = false;
    for (const fence of [...this.#fences]) {
      if (nowMs >= fence.untilMs && !isOpen(fence)) {
        this.release(fence);
        this.proven--;
        this.timedOut++;
      } else if (nowMs >= fence.reset.retryMs) {
        fence.reset.retryMs = NEVER;
        again = true;
      }
    }
    if (again) this.#changed();
  }
}

/** Its controller is being deleted in order and still hears from us: its time does not run yet. */
function isOpen({ controller, association }: Fence): boolean {
  return controller.isDeleting && controller.admin !== null && controller.identify === association;
}
