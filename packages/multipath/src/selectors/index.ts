import type { Selector } from '../selector.ts';
import { numa } from './numa.ts';
import { queueDepth } from './queue-depth.ts';
import { roundRobin } from './round-robin.ts';
import { serviceTime } from './service-time.ts';

export { findNearest } from './nearest.ts';
export { numa, queueDepth, roundRobin, serviceTime };

/** The policies that every head knows. The first is the default. */
export const SELECTORS: readonly Selector[] = [numa, roundRobin, queueDepth, serviceTime];
