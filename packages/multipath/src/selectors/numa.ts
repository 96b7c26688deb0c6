import { defineSelector } from '../selector.ts';
import { findNearest } from './nearest.ts';

/**
 * The path nearest to the submitter, the same one until it is disabled. While only a non-optimized one is left each
 * request looks again, so that the return of an optimized path needs nobody to announce it.
 */
export const numa = defineSelector({
  name: 'numa',
  byDistance: true,
  select(head, node) {
    const path = head.currentPath[node]!;
    if (path === null || !head.usable(path) || !head.template.isOptimized(path)) return findNearest(head, node);
    return path;
  },
});
