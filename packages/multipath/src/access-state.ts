/** How a path reaches the disk now. Written by the driver whenever the device reports it. */
export const AccessState = {
  /** Neither of the two: never selected by a policy that compares states. */
  Other: 0,
  NonOptimized: 1,
  Optimized: 2,
} as const;
export type AccessState = (typeof AccessState)[keyof typeof AccessState];

const NAMES = ['other', 'non-optimized', 'optimized'] as const;

export function accessStateName(state: AccessState): string {
  return NAMES[state];
}
