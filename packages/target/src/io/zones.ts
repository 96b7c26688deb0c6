import { ZoneCondition } from '@nvbraid/blockdev';
import { ZoneState } from '@nvbraid/wire';
import type { NamespaceEntry } from '../namespace-table.ts';

/** True when a zone of the namespace begins with this block. */
export function isZoneStart(entry: NamespaceEntry, slba: number): boolean {
  const geometry = entry.device.zones?.geometry;
  return geometry !== undefined && slba % geometry.zoneBlocks === 0;
}

/** States of the device's zones as they are told on the wire. */
export const ZONE_STATE_OF: readonly number[] = Object.entries(ZoneCondition)
  .sort(([, a], [, b]) => a - b)
  .map(([name]) => ZoneState[name as keyof typeof ZoneState]);
