import { performance } from 'node:perf_hooks';
import type { Clock } from '@nvbraid/base';

/** The monotonic clock of the machine. Not by the global `performance`, a getter that costs more than the time itself. */
export const systemClock: Clock = { nowMs: () => performance.now() };

const origin = performance.timeOrigin;

/** The same with one zero for all threads: for what they share. */
export const sharedClock: Clock = { nowMs: () => performance.now() + origin };
