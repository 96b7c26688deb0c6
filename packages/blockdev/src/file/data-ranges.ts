import { ENXIO } from './file-calls.ts';
import type { PreparedFileDevice } from './file-spec.ts';
import { libc } from './native.ts';

const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/**
 * The parts of a file that are not holes, at most `limit` of them. Null where the system does not tell: it has no such
 * calls, or it is a block device.
 */
export function dataRanges(
  prepared: PreparedFileDevice,
  offset: number,
  length: number,
  limit: number,
): [start: number, end: number][] | null {
  const library = prepared.native && !prepared.blockDevice ? libc() : null;
  if (library === null) return null;
  const end = offset + length;
  const ranges: [number, number][] = [];
  for (let at = offset; at < end && ranges.length < limit; ) {
    const start = library.lseek(prepared.fd, at, SEEK_DATA);
    if (start < 0) {
      if (library.error() === ENXIO) break; // a hole up to the end
      return null;
    }
    if (start >= end) break;
    const hole = library.lseek(prepared.fd, start, SEEK_HOLE);
    if (hole <= start) return null; // cut short meanwhile
    ranges.push([start, Math.min(hole, end)]);
    at = hole;
  }
  return ranges;
}
