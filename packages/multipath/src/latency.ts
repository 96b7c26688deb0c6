import type { Bio } from './bio.ts';
import type { Head } from './head.ts';
import { LATENCY_WEIGHT, MIN_LATENCY_MS } from './limits.ts';
import type { Path } from './path.ts';

/**
 * Feeds the time of a bio that ended at `head.measuredMs` into the averages of its path and of the head. Times are
 * handed over in fields here and in Quarantine: an argument that is no small integer would be allocated.
 */
export function sampleLatency(head: Head, path: Path, bio: Bio): void {
  const nowMs = head.measuredMs;
  const sample = Math.max(nowMs - bio.startedMs, MIN_LATENCY_MS);
  const old = path.latencyMs;
  path.latencyMs = old === Number.POSITIVE_INFINITY ? sample : old + (sample - old) * LATENCY_WEIGHT;
  path.sampledMs = nowMs;
  head.latencyMs += (sample - head.latencyMs) * LATENCY_WEIGHT;
}
