import { AccessState } from '../access-state.ts';
import { LATENCY_STALE_MS, MIN_WEIGHT_BYTES } from '../limits.ts';
import type { Path } from '../path.ts';
import { defineSelector } from '../selector.ts';

/**
 * The path that is expected to be done first: moving average of its latency times the bytes that would be under way
 * on it. A path about which nothing fresh is known counts as no slower than the head's paths are on average, so that
 * new paths are tried and slow ones tried again. No kernel has this policy as a path selector of native multipath.
 */
export const serviceTime = defineSelector({
  name: 'service-time',
  measures: true,
  select(head, _node, bytes) {
    const paths = head.paths;
    const weight = Math.max(bytes, MIN_WEIGHT_BYTES);
    const usual = head.latencyMs;
    const freshSince = head.measuredMs - LATENCY_STALE_MS;
    let optimized: Path | null = null;
    let nonOptimized: Path | null = null;
    let optimizedCost = Number.POSITIVE_INFINITY;
    let nonOptimizedCost = Number.POSITIVE_INFINITY;
    for (let i = 0; i < paths.length; i++) {
      const path = paths[i]!;
      if (!head.usable(path)) continue;
      let latency = path.latencyMs;
      if (latency > usual && path.sampledMs < freshSince) latency = usual;
      const cost = latency * (path.inflightBytes + weight);
      if (path.accessState === AccessState.Optimized) {
        if (cost < optimizedCost) {
          optimizedCost = cost;
          optimized = path;
        }
      } else if (path.accessState === AccessState.NonOptimized) {
        if (cost < nonOptimizedCost) {
          nonOptimizedCost = cost;
          nonOptimized = path;
        }
      }
    }
    return optimized ?? nonOptimized;
  },
});
