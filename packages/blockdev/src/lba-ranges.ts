import type { PreparedDevice } from './block-device.ts';
import { dataRanges } from './file/data-ranges.ts';
import type { PreparedFileDevice } from './file/file-spec.ts';
import type { PreparedFilter } from './filters/filter.ts';
import { UncorrectableMarks } from './uncorrectable-marks.ts';

/** First byte, and the one behind the last. */
export type ByteRange = readonly [start: number, end: number];

/**
 * The parts of a range that hold data, as far as is known, in whole blocks, ascending. A file's holes are not allocated;
 * of all other devices, and of filters that keep data of their own or change what is read, everything is.
 */
export function allocatedRanges(device: PreparedDevice, offset: number, length: number, limit: number): ByteRange[] {
  let layer = device as PreparedDevice & Partial<PreparedFilter>;
  while (layer.keepsNothing === true) layer = layer.lower!;
  const found = layer.kind === 'file' ? dataRanges(layer as PreparedFileDevice, offset, length, limit) : null;
  if (found === null) return [[offset, offset + length]];
  const { blockSize } = device;
  const ranges: [number, number][] = [];
  for (const [from, to] of found) {
    const start = Math.floor(from / blockSize) * blockSize;
    const end = Math.ceil(to / blockSize) * blockSize;
    const last = ranges.at(-1);
    if (last !== undefined && start <= last[1]) last[1] = end;
    else ranges.push([start, end]);
  }
  return ranges;
}

/** The parts of a range that are marked uncorrectable. */
export function uncorrectableRanges(
  device: PreparedDevice,
  offset: number,
  length: number,
  limit: number,
): ByteRange[] {
  if (device.uncorrectable !== true) return [];
  type Layer = PreparedDevice & { readonly lower?: PreparedDevice; readonly marks?: SharedArrayBuffer | null };
  let layer: Layer | undefined = device;
  while (layer !== undefined && layer.marks == null) layer = layer.lower;
  if (layer?.marks == null) return [];
  return new UncorrectableMarks(layer.marks, device.blockSize).within(offset, length, limit);
}
