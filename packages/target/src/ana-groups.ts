import { NEVER, NvbraidError } from '@nvbraid/base';
import { AnaState } from '@nvbraid/wire';
import { ANA_TRANSITION_SECONDS } from './limits.ts';
import { checkAnaGroupId } from './namespace.ts';

/** The group that every port has, and that namespaces are in when nobody says another. */
export const DEFAULT_ANA_GROUP = 1;

interface AnaGroupOnPort {
  state: AnaState;
  changeCount: number;
  /** Listed in the log even when it has no namespace. */
  exists: boolean;
  /** When the change state began, and whether somebody has been told that it lasts too long. */
  changingSinceMs: number;
  reported: boolean;
}

/**
 * The ANA groups of one port. Group 1 always exists and begins optimized; a group that was never made has the port's
 * default state, and is listed in the log as soon as a namespace is in it.
 */
export class AnaGroups {
  readonly defaultState: AnaState;
  readonly #groups = new Map<number, AnaGroupOnPort>();
  #changes = 1;

  constructor(defaultState: AnaState) {
    this.defaultState = defaultState;
    this.#groups.set(DEFAULT_ANA_GROUP, { ...this.#fresh(), state: AnaState.Optimized, changeCount: 1, exists: true });
  }

  #fresh(): AnaGroupOnPort {
    return { state: this.defaultState, changeCount: 0, exists: false, changingSinceMs: 0, reported: false };
  }

  /** Rises with every change of any group. */
  get changes(): number {
    return this.#changes;
  }

  has(grpid: number): boolean {
    return this.#groups.get(grpid)?.exists === true;
  }

  state(grpid: number): AnaState {
    return this.#groups.get(grpid)?.state ?? this.defaultState;
  }

  /** How often the group has changed on this port; 0 when never. */
  changeCount(grpid: number): number {
    return this.#groups.get(grpid)?.changeCount ?? 0;
  }

  /** Groups that exist, ascending. */
  ids(): number[] {
    return [...this.#groups.keys()].filter((grpid) => this.has(grpid)).sort((a, b) => a - b);
  }

  /** @throws NvbraidError EINVAL, EBUSY when it exists */
  add(grpid: number, state: AnaState, nowMs: number): void {
    checkAnaGroupId(grpid);
    if (this.has(grpid)) throw new NvbraidError('EBUSY', `ANA group ${grpid} exists`, { retryable: false });
    this.set(grpid, state, nowMs);
  }

  /** The group has the default state again. @throws NvbraidError EINVAL for group 1, ENOENT */
  remove(grpid: number, nowMs: number): void {
    if (grpid === DEFAULT_ANA_GROUP)
      throw new NvbraidError('EINVAL', 'every port has ANA group 1: it cannot be removed');
    if (!this.has(grpid)) throw new NvbraidError('ENOENT', `there is no ANA group ${grpid}`);
    this.set(grpid, this.defaultState, nowMs);
    this.#groups.get(grpid)!.exists = false;
    this.#changes++;
  }

  /** Makes the group if need be. Answers whether anything changed. @throws NvbraidError EINVAL */
  set(grpid: number, state: AnaState, nowMs: number): boolean {
    checkAnaGroupId(grpid);
    const group = this.#groups.get(grpid) ?? this.#fresh();
    if (group.exists && group.state === state) return false;
    this.#groups.set(grpid, group);
    if (state === AnaState.Change && group.state !== AnaState.Change) {
      group.changingSinceMs = nowMs;
      group.reported = false;
    }
    group.state = state;
    group.exists = true;
    group.changeCount++;
    this.#changes++;
    return true;
  }

  /** When the first group has been in the change state for as long as ANATT lets hosts wait. */
  deadlineMs(): number {
    let deadline = NEVER;
    for (const group of this.#groups.values()) {
      if (group.state !== AnaState.Change || group.reported) continue;
      deadline = Math.min(deadline, group.changingSinceMs + ANA_TRANSITION_SECONDS * 1000);
    }
    return deadline;
  }

  /** Groups whose change state has just become too long: each is answered once. */
  overdue(nowMs: number): number[] {
    const late: number[] = [];
    for (const [grpid, group] of this.#groups) {
      if (group.state !== AnaState.Change || group.reported) continue;
      if (nowMs < group.changingSinceMs + ANA_TRANSITION_SECONDS * 1000) continue;
      group.reported = true;
      late.push(grpid);
    }
    return late;
  }
}
