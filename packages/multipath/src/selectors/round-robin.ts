import { AccessState } from '../access-state.ts';
import type { Path } from '../path.ts';
import { defineSelector } from '../selector.ts';
import { findNearest } from './nearest.ts';

/** The next optimized path after the one that this node used last; if there is none, the non-optimized ones in turn. */
export const roundRobin = defineSelector({
  name: 'round-robin',
  select(head, node) {
    const old = head.currentPath[node]!;
    if (old === null) return findNearest(head, node);
    const paths = head.paths;
    if (paths.length === 1) return head.usable(old) ? old : null;

    let found: Path | null = null;
    let at = old.index;
    for (let left = paths.length - 1; left > 0; left--) {
      if (++at === paths.length) at = 0;
      const path = paths[at]!;
      if (!head.usable(path)) continue;
      if (path.accessState === AccessState.Optimized) {
        head.setCurrentPath(node, path);
        return path;
      }
      if (path.accessState === AccessState.NonOptimized) found = path;
    }
    // No other one is optimized. The old one stays if it is, or if it is the only one that works at all.
    const state = old.accessState;
    if (state === AccessState.Optimized || (found === null && state === AccessState.NonOptimized)) {
      if (head.usable(old)) return old;
    }
    if (found !== null) head.setCurrentPath(node, found);
    return found;
  },
});
