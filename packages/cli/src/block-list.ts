import { NvbraidError } from 'nvbraid';
import { checkRange } from './io-options.ts';
import type { SessionNamespace } from './session.ts';
import { UsageError } from './usage-error.ts';

export interface Range {
  readonly slba: number;
  readonly blocks: number;
}

/**
 * Ranges from two comma-separated lists, as nvme-cli takes them.
 * @param zeroBased blocks are one less than their number
 * @throws UsageError, NvbraidError EINVAL when a range is not inside the namespace
 */
export function rangesOf(
  namespace: SessionNamespace,
  slbs: string | undefined,
  blocks: string | undefined,
  zeroBased: boolean,
): Range[] {
  const first = numbers('--slbs', slbs);
  const counts = numbers('--blocks', blocks);
  if (first.length !== counts.length) {
    throw new UsageError(
      `--slbs names ${first.length} blocks, --blocks ${counts.length}: give as many of one as of the other`,
    );
  }
  return first.map((slba, i) => {
    const range = { slba, blocks: counts[i]! + (zeroBased ? 1 : 0) };
    if (range.blocks > 0) checkRange(namespace, slba, range.blocks * namespace.blockSize);
    else if (slba >= namespace.blockCount) {
      throw new NvbraidError('EINVAL', `block ${slba} is beyond the end of namespace ${namespace.nsid}`);
    }
    return range;
  });
}

function numbers(option: string, list: string | undefined): number[] {
  if (list === undefined || list === '')
    throw new UsageError(`${option} is missing: numbers, with commas between them`);
  return list.split(',').map((text) => {
    const value = /^(0x[0-9a-f]+|[0-9]+)$/i.test(text.trim()) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value))
      throw new UsageError(`${option}: ${JSON.stringify(text)} is not a number of blocks`);
    return value;
  });
}
