import type { DeviceSpec, PreparedDevice } from '../block-device.ts';
import { openDevice } from '../devices.ts';
import { FILTER_KINDS } from './filter-table.ts';
import { FilterHandle, type PreparedTunable } from './tunable.ts';

/** The filters of a prepared device, the one nearest to the host first. */
export function filtersOf(prepared: PreparedDevice): FilterHandle[] {
  const handles: FilterHandle[] = [];
  let at: DeviceSpec | undefined = prepared;
  while (at !== undefined) {
    const { kind, lower } = at as PreparedTunable;
    const found = 'shared' in at ? FILTER_KINDS.find((candidate) => candidate.kind === kind) : undefined;
    if (found !== undefined) handles.push(new FilterHandle(at as PreparedTunable, found, openDevice));
    at = lower;
  }
  return handles;
}
