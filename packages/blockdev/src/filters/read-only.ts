import { settingTable } from '@nvbraid/base';
import { type DeviceSpec, type Io, IoOp, IoResult } from '../block-device.ts';
import { answer, ENABLED, TunableFilter, type TunableKind, type TunableSpec, tunableSpec } from './tunable.ts';

const TABLE = settingTable({ enabled: ENABLED });

export type ReadOnlyOptions = Partial<{ -readonly [K in keyof typeof TABLE]: unknown }>;

/** Refuses everything that changes a block. @throws NvbraidError EINVAL */
export function readOnlyFilter(lower: DeviceSpec, options: ReadOnlyOptions = {}): TunableSpec {
  return tunableSpec(READ_ONLY, lower, options);
}

export const READ_ONLY: TunableKind = {
  kind: 'read-only',
  summary: 'Refuses everything that changes a block',
  keepsNothing: true,
  table: TABLE,
  // What is switched on at the start is told to hosts; what is switched on later ends commands with an error.
  changes: ({ enabled }) => (enabled === true ? { readOnly: true } : {}),
  open: (prepared, lower, options) => new ReadOnlyFilter(prepared, lower, options),
};

class ReadOnlyFilter extends TunableFilter<typeof TABLE> {
  submit(io: Io): boolean {
    this.look();
    // What is not known to leave the blocks alone counts as a change.
    if (this.settings.enabled && io.op !== IoOp.Read && io.op !== IoOp.Flush) return answer(io, IoResult.ReadOnly);
    return this.lower.submit(io);
  }
}
