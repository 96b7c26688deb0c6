import { allocatedRanges, type BlockDevice, type PreparedDevice, uncorrectableRanges } from '@nvbraid/blockdev';
import type { Namespace } from '@nvbraid/target';
import { isOpenDevice } from './data-plane.ts';

/** What a namespace's device says of its blocks: see TargetHooks. */
export function lbaRanges(
  namespace: Namespace,
  kind: 'allocated' | 'unrecoverable',
  slba: number,
  blocks: number,
  limit: number,
): (readonly [slba: number, blocks: number])[] {
  const { blockSize, device } = namespace;
  const offset = slba * blockSize;
  const length = blocks * blockSize;
  const marked = kind === 'unrecoverable';
  const ranges = isOpenDevice(device) ? ofOpen(device, marked, offset, length, limit) : null;
  const find = marked ? uncorrectableRanges : allocatedRanges;
  return (ranges ?? find(device as PreparedDevice, offset, length, limit)).map(([start, end]) => {
    const first = Math.floor(start / blockSize);
    return [first, Math.ceil(end / blockSize) - first];
  });
}

function ofOpen(
  device: BlockDevice,
  marked: boolean,
  offset: number,
  length: number,
  limit: number,
): [start: number, end: number][] {
  if (!marked) return [[offset, offset + length]];
  return device.marks?.within(offset, length, limit) ?? [];
}
