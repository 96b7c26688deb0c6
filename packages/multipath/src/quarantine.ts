import { NEVER, NvbraidError } from '@nvbraid/base';
import { type Bio, Outcome } from './bio.ts';
import type { Head } from './head.ts';
import type { Path } from './path.ts';

export interface QuarantineOptions {
  /** Completions are judged in windows of this length. */
  windowMs?: number;
  /** Fewer completions in a window say nothing. */
  minSamples?: number;
  /** Share of completions with an error of the path (0 … 1) from which on it is marginal. */
  errorRate?: number;
  /** A completion that takes longer is slow. */
  slowMs?: number;
  /** Share of slow completions (0 … 1) from which on the path is marginal. */
  slowRate?: number;
  /** Time between the end of a probe and the next one. */
  probeIntervalMs?: number;
  /** Good probes in a row that bring a path back. */
  goodProbes?: number;
}

const DEFAULTS: Required<QuarantineOptions> = {
  windowMs: 10_000,
  minSamples: 32,
  errorRate: 0.1,
  slowMs: 1000,
  slowRate: 0.5,
  probeIntervalMs: 5000,
  goodProbes: 3,
};

/**
 * Takes marginal paths, those with too many errors or slow answers, out of selection and probes them until they are
 * good again. A path in quarantine is still used when every other one is disabled: it is slow, but it is a path.
 */
export class Quarantine {
  readonly options: Required<QuarantineOptions>;
  readonly #head: Head;
  /** The earliest probe that is due, NEVER when none is. */
  deadlineMs = NEVER;

  constructor(head: Head, options: QuarantineOptions) {
    this.#head = head;
    this.options = { ...DEFAULTS, ...options };
    for (const [name, value] of Object.entries(this.options)) {
      if (typeof value === 'number' && value > 0) continue;
      throw new NvbraidError('EINVAL', `quarantine: ${name} must be a positive number`);
    }
  }

  /** Judges one completion on a path, at `head.measuredMs`. Allocates nothing. */
  observe(path: Path, bio: Bio, outcome: Outcome): void {
    const { options } = this;
    if (path.marginal) return;
    const nowMs = this.#head.measuredMs;
    if (nowMs - path.windowStartMs >= options.windowMs) {
      path.windowStartMs = nowMs;
      path.windowCount = 0;
      path.windowErrors = 0;
      path.windowSlow = 0;
    }
    path.windowCount++;
    if (outcome === Outcome.PathError || outcome === Outcome.Retryable) path.windowErrors++;
    if (nowMs - bio.startedMs > options.slowMs) path.windowSlow++;
    if (path.windowCount < options.minSamples || path.head === null) return;
    const tooBad = path.windowErrors >= options.errorRate * path.windowCount;
    const tooSlow = path.windowSlow >= options.slowRate * path.windowCount;
    if (tooBad || tooSlow) this.#enter(path, tooBad ? 'errors' : 'slow', nowMs);
  }

  /** The driver's word on a probe. A slow good one is not good. */
  endProbe(path: Path, ok: boolean, nowMs: number): void {
    if (path.probeStartedMs === NEVER) return;
    const good = ok && nowMs - path.probeStartedMs <= this.options.slowMs;
    path.probeStartedMs = NEVER;
    path.goodProbes = good ? path.goodProbes + 1 : 0;
    if (path.goodProbes >= this.options.goodProbes) {
      this.#leave(path);
      return;
    }
    this.#due(path, nowMs + this.options.probeIntervalMs);
  }

  /** Starts the probes that are due. */
  tick(nowMs: number): void {
    if (nowMs < this.deadlineMs) return;
    this.deadlineMs = NEVER;
    for (const path of this.#head.paths) {
      if (path.probeDueMs <= nowMs && path.marginal) {
        path.probeDueMs = NEVER;
        path.probeStartedMs = nowMs;
        this.#head.template.probePath!(path);
      }
    }
    for (const path of this.#head.paths) this.deadlineMs = Math.min(this.deadlineMs, path.probeDueMs);
  }

  /** A path that comes or goes has no history. */
  forget(path: Path): void {
    if (path.marginal) this.#head.marginalCount--;
    path.marginal = false;
    path.probeDueMs = NEVER;
    path.probeStartedMs = NEVER;
    path.goodProbes = 0;
    path.windowStartMs = Number.NEGATIVE_INFINITY;
  }

  #enter(path: Path, why: string, nowMs: number): void {
    const { windowErrors, windowSlow, windowCount } = path;
    path.marginal = true;
    this.#head.marginalCount++;
    this.#head.clearCurrentPath(path);
    this.#due(path, nowMs + this.options.probeIntervalMs);
    const share = why === 'errors' ? `${windowErrors} errors` : `${windowSlow} slow answers`;
    this.#head.log(`path ${path.name} is marginal: ${share} among ${windowCount}`);
  }

  #leave(path: Path): void {
    this.forget(path);
    this.#head.log(`path ${path.name} is good again`);
    this.#head.refillSlots(path);
    this.#head.kickRequeue();
  }

  #due(path: Path, ms: number): void {
    path.probeDueMs = ms;
    if (ms < this.deadlineMs) this.deadlineMs = ms;
    this.#head.wake();
  }
}
