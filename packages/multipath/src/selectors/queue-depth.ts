import { AccessState } from '../access-state.ts';
import type { Path } from '../path.ts';
import { defineSelector } from '../selector.ts';

/** The optimized path with the fewest requests under way on what it shares with others; or else the non-optimized one. */
export const queueDepth = defineSelector({
  name: 'queue-depth',
  countsActive: true,
  select(head) {
    const paths = head.paths;
    let optimized: Path | null = null;
    let nonOptimized: Path | null = null;
    let optimizedDepth = Number.POSITIVE_INFINITY;
    let nonOptimizedDepth = Number.POSITIVE_INFINITY;
    for (let i = 0; i < paths.length; i++) {
      const path = paths[i]!;
      if (!head.usable(path)) continue;
      const depth = path.nrActive.value;
      if (path.accessState === AccessState.Optimized) {
        if (depth < optimizedDepth) {
          if (depth === 0) return path;
          optimizedDepth = depth;
          optimized = path;
        }
      } else if (path.accessState === AccessState.NonOptimized) {
        if (depth < nonOptimizedDepth) {
          nonOptimizedDepth = depth;
          nonOptimized = path;
        }
      }
    }
    return optimized ?? nonOptimized;
  },
});
