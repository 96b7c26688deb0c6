import type { Head } from './head.ts';
import { LATENCY_WEIGHT, MIN_LATENCY_MS } from './limits.ts';
import type { Path } from './path.ts';

/** Feeds one measured time into the averages of the path and of the head. */
export function sampleLatency(head: Head, path: Path, tookMs: number, nowMs: number): void {
  const sample = Math.max(tookMs, MIN_LATENCY_MS);
  const old = path.latencyMs;
  path.latencyMs = old === Number.POSITIVE_INFINITY ? sample : old + (sample - old) * LATENCY_WEIGHT;
  path.sampledMs = nowMs;
  head.latencyMs += (sample - head.latencyMs) * LATENCY_WEIGHT;
}
