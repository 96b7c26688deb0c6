import type { Clock } from '@nvbraid/base';

/** The monotonic clock of the machine. */
export const systemClock: Clock = { nowMs: () => performance.now() };
