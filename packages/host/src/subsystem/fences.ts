import { NEVER } from '@nvbraid/base';
import { BioFlag } from '@nvbraid/multipath';
import { Ctratt } from '@nvbraid/wire';
import type { HostController } from '../host-controller.ts';
import type { NvmeBio } from './nvme-bio.ts';
import type { NvmePath } from './nvme-path.ts';

/*
 * Safe failover (Base 2.1, 9.6). A command whose connection was lost may be executed later, after newer commands that took
 * another path: then old data replaces new. So such a command is held back until its old association is over for certain:
 * the controller says so by Cross-Controller Reset, or so much time has passed that the controller must have noticed the
 * loss (by Keep Alive) and quiesced (CQT).
 */

/** An association that was lost with commands under way. */
export interface Fence {
  readonly controller: HostController;
  readonly cntlid: number;
  /** Of the lost controller, as Identify told: what Cross-Controller Reset names it by. */
  readonly ciu: number;
  readonly cirn: bigint;
  readonly lostMs: number;
  /** From then on nothing of it can run, whatever else is known. */
  readonly untilMs: number;
  readonly held: { readonly path: NvmePath; readonly bio: NvmeBio }[];
  /** What has been done to prove its end by Cross-Controller Reset: see cross-reset.ts. */
  readonly reset: {
    state: 'idle' | 'asking' | 'waiting';
    /** The controller that was asked last. */
    by: HostController | null;
    /** Those that were asked, each once. */
    readonly asked: Set<string>;
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

/** The fences of one subsystem. */
export class Fences {
  /** False: commands go another way at once, as Linux and SPDK have it. */
  enabled: boolean;
  /** Commands that were held, since the subsystem is used. */
  heldCount = 0;
  readonly #nowMs: () => number;
  readonly #changed: () => void;
  readonly #fences: Fence[] = [];

  /** @param changed a fence has come: somebody may prove the end of its association */
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
    for (const fence of this.#fences) next = Math.min(next, fence.untilMs);
    return next;
  }

  /** Takes a command that must wait; false when it need not. */
  hold(path: NvmePath, bio: NvmeBio): boolean {
    if (!this.enabled || !bio.changes || (bio.flags & BioFlag.NoRetry) !== 0) return false;
    const fence = this.#fenceOf(path.controller);
    if (fence === null) return false;
    fence.held.push({ path, bio });
    this.heldCount++;
    if (fence.held.length === 1) this.#changed();
    return true;
  }

  /** The association that is just being lost; commands end one after the other and share it. */
  #fenceOf(controller: HostController): Fence | null {
    const { identify, options } = controller;
    if (identify === null) return null; // it never got as far as commands
    const known = this.#fences.find((fence) => fence.controller === controller && fence.cntlid === controller.cntlid);
    if (known !== undefined) return known;
    const lostMs = this.#nowMs();
    const traffic = (identify.ctratt & Ctratt.Tbkas) !== 0;
    const fence: Fence = {
      controller,
      cntlid: controller.cntlid,
      ciu: identify.ciu,
      cirn: identify.cirn,
      lostMs,
      untilMs: lostMs + quiesceMs(options.keepAliveMs, identify.cqt, traffic),
      held: [],
      reset: { state: 'idle', by: null, asked: new Set() },
      told: false,
    };
    this.#fences.push(fence);
    return fence;
  }

  /** Ends a command that is held; it must not be tried again. False when it is not held. */
  cancel(bio: NvmeBio): boolean {
    for (const { held } of this.#fences) {
      const at = held.findIndex((one) => one.bio === bio);
      if (at < 0) continue;
      const [{ path }] = held.splice(at, 1) as [{ path: NvmePath; bio: NvmeBio }];
      bio.endOn(path.namespaceHead, path, bio.driverStatus);
      return true;
    }
    return false;
  }

  /** The association of the fence is over for certain: its commands go on, in their order. */
  release(fence: Fence): void {
    const index = this.#fences.indexOf(fence);
    if (index < 0) return;
    this.#fences.splice(index, 1);
    for (const { path, bio } of fence.held) bio.endOn(path.namespaceHead, path, bio.driverStatus);
  }

  tick(nowMs: number): void {
    for (const fence of [...this.#fences]) if (nowMs >= fence.untilMs) this.release(fence);
  }
}
