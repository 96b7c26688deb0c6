import type { Timers } from '@nvbraid/base';

/**
 * The machine's monotonic clock, in milliseconds, the same in every thread: `performance.now` counts from the start of
 * its thread, so what it counts from is measured once.
 */
const origin = ((): number => {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6 - performance.now();
})();

/** Timers of Node's event loop. Whoever waits must tell its BackgroundWork, so that the loop gets its turns. */
export const systemTimers: Timers = {
  nowMs: () => performance.now() + origin,
  after: (ms, call) => {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};
