import { NvbraidError, type Plain, splitSettings } from '@nvbraid/base';
import type { DeviceSpec } from '../block-device.ts';
import { MAX_FILTERS } from '../limits.ts';
import { CORRUPT } from './corrupt.ts';
import { COW } from './cow.ts';
import { DELAY } from './delay.ts';
import { ERROR } from './error.ts';
import { LOG } from './log.ts';
import { RATE } from './rate.ts';
import { READ_ONLY } from './read-only.ts';
import { STATS } from './stats.ts';
import { type TunableKind, tunableSpec } from './tunable.ts';

/** The filters that can be chosen by configuration. */
export const FILTER_KINDS: readonly TunableKind[] = [DELAY, ERROR, RATE, READ_ONLY, LOG, STATS, COW, CORRUPT];

/** One filter as configuration has it: its kind, perhaps a name, and its settings. Plain JSON. */
export interface FilterConfig {
  readonly kind: string;
  readonly name?: string;
  readonly [setting: string]: Plain | undefined;
}

const NAME = /^[a-z][a-z0-9-]{0,31}$/;

/**
 * Stacks filters on a device. The first of the list is nearest to the host, the last stands on the device.
 * @throws NvbraidError EINVAL with a sentence that names the filter and the setting
 */
export function stackFilters(device: DeviceSpec, filters: readonly FilterConfig[]): DeviceSpec {
  if (filters.length > MAX_FILTERS) {
    throw new NvbraidError(
      'EINVAL',
      `${filters.length} filters are more than the ${MAX_FILTERS} that one device may have`,
    );
  }
  const names = new Set<string>();
  const stack = filters.map((filter, i) => {
    const checked = checkFilter(filter);
    const name = checked.name ?? freeName(checked.kind.kind, names, filters, i);
    if (names.has(name)) throw new NvbraidError('EINVAL', `two filters have the name ${name}: give each its own`);
    names.add(name);
    return { ...checked, name };
  });
  return stack.reduceRight(
    (lower: DeviceSpec, { kind, name, settings }) => tunableSpec(kind, lower, settings, name),
    device,
  );
}

/** The kind where it is alone, else with a number. */
function freeName(kind: string, names: ReadonlySet<string>, filters: readonly FilterConfig[], index: number): string {
  const taken = (name: string): boolean =>
    names.has(name) || filters.some((filter, i) => i > index && filter.name === name);
  if (!taken(kind)) return kind;
  for (let n = 2; ; n++) if (!taken(`${kind}${n}`)) return `${kind}${n}`;
}

function checkFilter(filter: FilterConfig): { kind: TunableKind; name?: string; settings: object } {
  if (typeof filter !== 'object' || filter === null)
    throw new NvbraidError('EINVAL', 'a filter is an object with a kind');
  const { kind: word, name, ...settings } = filter;
  const kind = FILTER_KINDS.find((candidate) => candidate.kind === word);
  if (kind === undefined) {
    const known = FILTER_KINDS.map((candidate) => candidate.kind).join(', ');
    throw new NvbraidError('EINVAL', `there is no filter ${JSON.stringify(word)}; there are ${known}`);
  }
  if (name !== undefined && !(typeof name === 'string' && NAME.test(name))) {
    throw new NvbraidError(
      'EINVAL',
      `filter ${word}: name is a word of small letters, digits and dashes, not ${JSON.stringify(name)}`,
    );
  }
  return { kind, settings, ...(name === undefined ? {} : { name }) };
}

/**
 * A filter from the text of a command line: `delay,read=5ms,hold=write`.
 * @throws NvbraidError EINVAL
 */
export function parseFilter(text: string): FilterConfig {
  const { kind, settings } = splitSettings(text);
  const filter: FilterConfig = { ...settings, kind };
  stackFilters({ kind: 'null' }, [filter]);
  return filter;
}
