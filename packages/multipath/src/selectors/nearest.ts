import { AccessState } from '../access-state.ts';
import type { Head } from '../head.ts';
import { LOCAL_DISTANCE } from '../limits.ts';
import { NO_NODE, type Path } from '../path.ts';

/**
 * The nearest optimized path, or else the nearest non-optimized one, or null; the first of equals. Whatever it is goes
 * into the slot of `node`. Distances count only under a policy that asks for them.
 */
export function findNearest(head: Head, node: number): Path | null {
  const byDistance = head.iopolicy.selector.byDistance;
  const paths = head.paths;
  let optimized: Path | null = null;
  let nonOptimized: Path | null = null;
  let optimizedDistance = Number.POSITIVE_INFINITY;
  let nonOptimizedDistance = Number.POSITIVE_INFINITY;
  for (let i = 0; i < paths.length; i++) {
    const path = paths[i]!;
    if (!head.usable(path)) continue;
    const near = byDistance && path.numaNode !== NO_NODE ? head.distance(node, path.numaNode) : LOCAL_DISTANCE;
    if (path.accessState === AccessState.Optimized) {
      if (near < optimizedDistance) {
        optimizedDistance = near;
        optimized = path;
      }
    } else if (path.accessState === AccessState.NonOptimized) {
      if (near < nonOptimizedDistance) {
        nonOptimizedDistance = near;
        nonOptimized = path;
      }
    }
  }
  const found = optimized ?? nonOptimized;
  head.setCurrentPath(node, found);
  return found;
}
