import type { BlockDevice, PreparedDevice } from '@nvbraid/blockdev';

/** What is known of a file below a device, whatever filters stand on it. */
export interface Backing {
  readonly path: string;
  readonly blockDevice: boolean;
  readonly shared: boolean;
}

/** Null for devices that keep nothing. */
export function backingOf(device: PreparedDevice | BlockDevice): Backing | null {
  let at = device as Partial<Backing> & { kind?: string; lower?: unknown };
  while (at.lower !== undefined && at.kind !== undefined) at = at.lower as typeof at;
  return at.kind === 'file' ? (at as Backing) : null;
}
