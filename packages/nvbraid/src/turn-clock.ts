import { systemClock } from './system-clock.ts';

/*
 * The times of calls and of their ends, read once for all that happen in one turn: a clock costs some 50 ns, which is
 * felt when a hundred commands come and go at once. All commands of a turn go out together at its end, and all answers of
 * a turn have been received at once, so that the first of them speaks for the others.
 */

let begunMs = -1;
let endedMs = -1;

/** When the calls of this turn were made. */
export function begunNowMs(): number {
  if (begunMs < 0) {
    begunMs = systemClock.nowMs();
    process.nextTick(forgetBegun);
  }
  return begunMs;
}

/** When the calls whose answers came in this turn ended. */
export function endedNowMs(): number {
  if (endedMs < 0) {
    endedMs = systemClock.nowMs();
    process.nextTick(forgetEnded);
  }
  return endedMs;
}

function forgetBegun(): void {
  begunMs = -1;
}

function forgetEnded(): void {
  endedMs = -1;
}
