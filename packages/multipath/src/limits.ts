/*
 * Bounds of the multipath library.
 */

/** Paths of one head. A scan over all of them happens for every request under queue-depth and service-time. */
export const MAX_PATHS = 1024;
/** NUMA nodes of one head. The table of distances has the square of this many bytes. */
export const MAX_NODES = 1024;
/** Largest distance between two nodes: one byte in firmware's table. */
export const MAX_DISTANCE = 255;
/** Distance of a node to itself, and of everything whose node is unknown. */
export const LOCAL_DISTANCE = 10;
/** Distance of two nodes about which nothing is known. */
export const REMOTE_DISTANCE = 20;
/** Seconds of delayed removal: what 32 bits hold. */
export const MAX_REMOVAL_SECS = 0xffff_ffff;
/** How often a request is tried again on one path before its error is final. */
export const DEFAULT_MAX_RETRIES = 5;
/** Warnings of one kind that are logged within `WARNING_INTERVAL_MS`; the rest is counted. */
export const WARNING_BURST = 10;
export const WARNING_INTERVAL_MS = 5000;
/** Characters of the name of a policy, a path or a head. */
export const MAX_NAME = 255;

/** Weight of a new sample in the moving average of a path's latency. */
export const LATENCY_WEIGHT = 0.125;
/** What a head expects of a path before anything was measured; and the shortest time that counts as one. */
export const INITIAL_LATENCY_MS = 1;
export const MIN_LATENCY_MS = 0.001;
/** A latency that nobody measured for this long is no longer believed: the path is tried again. */
export const LATENCY_STALE_MS = 2000;
/** What a request without data, a flush, weighs in bytes. */
export const MIN_WEIGHT_BYTES = 4096;
