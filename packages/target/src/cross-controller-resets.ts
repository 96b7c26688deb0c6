import { NEVER } from '@nvbraid/base';
import { Ccrs, type CrossControllerResetEntry, DNR, NO_ALTERNATE_CONTROLLER, Status } from '@nvbraid/wire';
import { EVENTS } from './async-events.ts';
import type { Controller } from './controller.ts';
import { type ControllerInstance, endInstance, type InstanceFate } from './controller-instance.ts';
import { CCR_LIMIT, CCR_LOG_ENTRIES, CCR_PATIENCE_MS } from './limits.ts';
import type { Request } from './request.ts';

interface Reset {
  readonly instance: ControllerInstance;
  status: Ccrs;
  /** The command, while it waits for the reset to end. */
  request: Request | null;
  readonly answerMs: number;
}

/**
 * The Cross-Controller Resets that one controller was asked for (Base 2.3, 5.4.3). A command is answered when its reset is
 * over, with Immediate Reset Successful; one whose reset takes longer than CCR_PATIENCE_MS is answered without, and the
 * log page tells what became of it, after an event. No reset is reported as successful before the impacted controller
 * is quiet, however long that takes.
 */
export class CrossControllerResets {
  readonly #controller: Controller;
  #resets: Reset[] = [];

  constructor(controller: Controller) {
    this.#controller = controller;
  }

  /** When `tick` has to be called. */
  get deadlineMs(): number {
    let deadlineMs = NEVER;
    for (const reset of this.#resets) if (reset.request !== null) deadlineMs = Math.min(deadlineMs, reset.answerMs);
    return deadlineMs;
  }

  /** Runs the command; a status other than 0: it was not begun. */
  start(request: Request, instance: ControllerInstance): number {
    const controller = this.#controller;
    if (instance.cntlid === controller.cntlid) return Status.InvalidField | DNR;
    const inProgress = this.#resets.filter(({ status }) => status === Ccrs.InProgress);
    if (inProgress.some((reset) => same(reset.instance, instance))) return Status.CrossControllerResetInProgress;
    if (inProgress.length >= CCR_LIMIT) return Status.CrossControllerResetLimitExceeded;
    if (this.#resets.length >= CCR_LOG_ENTRIES) return Status.CrossControllerResetLogPageFull;
    const answerMs = controller.target.nowMs() + CCR_PATIENCE_MS;
    const reset: Reset = { instance, status: Ccrs.InProgress, request, answerMs };
    this.#resets.push(reset);
    this.#begin(instance, (fate) => this.#ended(reset, fate));
    if (reset.request !== null) controller.target.deadlineSet(answerMs);
    return 0;
  }

  #begin(instance: ControllerInstance, ended: (fate: InstanceFate) => void): void {
    const { subsystem, target, hostnqn, hostid } = this.#controller;
    const host = { hostnqn, hostid };
    endInstance(subsystem!, instance, host, (fate) => {
      if (fate !== 'unknown' || target.hooks.endElsewhere === undefined) ended(fate);
      else target.hooks.endElsewhere(subsystem!, instance, host, ended);
    });
  }

  #ended(reset: Reset, fate: InstanceFate): void {
    if (!this.#resets.includes(reset)) return; // this controller was itself reset meanwhile
    const { request } = reset;
    reset.status = fate === 'quiet' ? Ccrs.Success : Ccrs.Failed;
    reset.request = null;
    if (request === null) {
      this.#controller.events.raise(EVENTS.crossControllerReset);
      return;
    }
    this.#resets.splice(this.#resets.indexOf(reset), 1);
    if (fate === 'quiet') request.complete(0, 1);
    else request.complete(Status.InvalidField | DNR);
  }

  /** Answers commands whose reset takes its time. */
  tick(nowMs: number): void {
    for (const reset of this.#resets) {
      const { request } = reset;
      if (request === null || nowMs < reset.answerMs) continue;
      reset.request = null;
      request.complete(0, 0);
    }
  }

  /** What the log page shows: resets whose command was answered before they were over. */
  entries(): Partial<CrossControllerResetEntry>[] {
    return this.#logged().map(({ instance, status }) => ({
      icid: instance.cntlid,
      ciu: instance.ciu,
      acid: NO_ALTERNATE_CONTROLLER,
      ccrs: status,
      validated: status === Ccrs.Failed ? 0 : 1,
      initiated: status === Ccrs.Failed ? 0 : 1,
    }));
  }

  /** Forgets those of `entries()` from `first` up to `end` (exclusive) that are over. */
  forget(first: number, end: number): void {
    const read = new Set(this.#logged().slice(first, end));
    this.#resets = this.#resets.filter((reset) => reset.status === Ccrs.InProgress || !read.has(reset));
  }

  #logged(): Reset[] {
    return this.#resets.filter(({ request }) => request === null);
  }

  /** Controller reset: commands end, entries are forgotten. What has begun goes on. */
  reset(): void {
    for (const { request } of this.#resets.splice(0)) request?.complete(Status.SqDeletionAbort);
  }

  /** The admin queue is gone, and its requests with it. */
  drop(): void {
    this.#resets.length = 0;
  }
}

function same(a: ControllerInstance, b: ControllerInstance): boolean {
  return a.cntlid === b.cntlid && a.ciu === b.ciu;
}
