import { CALLS_PER_POOL_THREAD, MAX_FALLOCATES, MAX_POOL_THREADS, POOL_THREADS } from '../limits.ts';
import { PoolLine } from './pool-line.ts';

/** The lines of one thread to Node's thread pool, which it shares with all others. */
export interface ThreadPool {
  /** For what moves data, and for fdatasync. */
  readonly data: PoolLine;
  /** For fallocate: few at a time, since one may take long and the pool is small. */
  readonly zero: PoolLine;
}

/** Threads of the pool, as libuv reads it from the environment. */
export function poolThreads(text = process.env.UV_THREADPOOL_SIZE): number {
  if (text === undefined) return POOL_THREADS;
  const threads = Number.parseInt(text, 10) || 1;
  return threads < 0 ? MAX_POOL_THREADS : Math.min(threads, MAX_POOL_THREADS);
}

/** @param places for what moves data, and while several owners do */
export function openThreadPool(places: number, sharedPlaces = places): ThreadPool {
  return { data: new PoolLine(places, sharedPlaces), zero: new PoolLine(MAX_FALLOCATES) };
}

/** That of this thread: modules are loaded once in each. */
export const threadPool = openThreadPool(poolThreads() * CALLS_PER_POOL_THREAD, Math.ceil(poolThreads() * 1.5));
