import { layout, u8, u16, u32, u64, type ValueOf } from '../../layout.ts';

/** NLRD of a namespace of which only a look at all its blocks can tell more. */
export const LBA_RANGES_ALL = 0xffffffff;
/** RNLB has 32 bits and is 0's based. */
export const LBA_RANGE_BLOCKS_MAX = 2 ** 32;

/** Head of the LBA Status Information log page (LID 0Eh; NVM 1.1, 4.1.4.5). */
export const LbaStatusLogHeader = layout('LbaStatusLogHeader', 16, {
  /** Bytes of the page. */
  lslplen: u32(0),
  /** Namespaces that follow. */
  nlslne: u32(4),
  /** Estimate of the blocks that may be unrecoverable. */
  estulb: u32(8),
  /** Counts the pages that had blocks in them which the host had not read of before. */
  lsgc: u16(14),
});
export type LbaStatusLogHeader = ValueOf<typeof LbaStatusLogHeader>;

/** A namespace in the page, before its ranges. */
export const LbaStatusNamespace = layout('LbaStatusNamespace', 16, {
  neid: u32(0),
  /** Ranges that follow; LBA_RANGES_ALL: none do, and all blocks are to be looked at. */
  nlrd: u32(4),
  /** The action type to give to Get LBA Status. */
  ratype: u8(8, { hex: true }),
});
export type LbaStatusNamespace = ValueOf<typeof LbaStatusNamespace>;

export const LbaStatusRange = layout('LbaStatusRange', 16, {
  rslba: u64(0),
  /** Blocks, 0's based. */
  rnlb: u32(8),
});
export type LbaStatusRange = ValueOf<typeof LbaStatusRange>;

export interface LbaStatusElement {
  readonly nsid: number;
  /** 'all': more than can be listed. */
  readonly ranges: readonly (readonly [slba: number, blocks: number])[] | 'all';
}

/** The bytes of the page. @param ratype for all namespaces */
export function lbaStatusLog(elements: readonly LbaStatusElement[], lsgc: number, ratype: number): Uint8Array {
  const counts = elements.map(({ ranges }) => (ranges === 'all' ? 0 : ranges.length));
  const listed = counts.reduce((sum, count) => sum + count, 0);
  const page = new Uint8Array(
    LbaStatusLogHeader.size + elements.length * LbaStatusNamespace.size + listed * LbaStatusRange.size,
  );
  const view = new DataView(page.buffer);
  let blocks = 0;
  let at = LbaStatusLogHeader.size;
  for (const { nsid, ranges } of elements) {
    const nlrd = ranges === 'all' ? LBA_RANGES_ALL : ranges.length;
    LbaStatusNamespace.emit(view, at, { neid: nsid, nlrd, ratype });
    at += LbaStatusNamespace.size;
    if (ranges === 'all') blocks = Number.POSITIVE_INFINITY;
    else {
      for (const [rslba, count] of ranges) {
        LbaStatusRange.emit(view, at, { rslba, rnlb: count - 1 });
        at += LbaStatusRange.size;
        blocks += count;
      }
    }
  }
  // All ones stands for a number that is not known, or has no room.
  const estulb = Math.min(blocks, 0xffffffff);
  LbaStatusLogHeader.emit(view, 0, { lslplen: page.length, nlslne: elements.length, estulb, lsgc });
  return page;
}
