import { missingFor, type Need } from '../../bench/netns/requirements.ts';

/** Links that two busy processors carry beside everything else. */
export const RATE_MBIT = 40;

/** Settings that the tests have in common. */
export const COMMON = { adrfam: 'ipv4', congestion: null, seed: 1 } as const;

/** Why tests on shaped links are skipped on this machine; false when they are not. Says so, too. */
export function skipped(need: Need): string | false {
  const why = missingFor(need);
  if (why !== null) console.log(`skipped: ${why}`);
  return why ?? false;
}
