import { bits, layout, type Names, u8, u16, type ValueOf } from '../../layout.ts';
import { type Parsed, parsed, unparsable } from '../../parsed.ts';

/*
 * Cross-Controller Reset log page (LID 1Eh; Base 2.3, 5.2.12.3.1): a header of 8 bytes, then one entry of 8 bytes for each
 * reset that the controller was asked for and did not end at once.
 */
export const CrossControllerResetHeader = layout('CrossControllerResetHeader', 8, { ne: u16(0) });
export type CrossControllerResetHeader = ValueOf<typeof CrossControllerResetHeader>;

/** What has become of a reset. */
export const Ccrs = { InProgress: 0, Success: 1, Failed: 2 } as const;
export type Ccrs = (typeof Ccrs)[keyof typeof Ccrs];
export const CCRS_NAMES: Names = { 0: 'in progress', 1: 'success', 2: 'failed' };

export const CrossControllerResetEntry = layout('CrossControllerResetEntry', 8, {
  /** The impacted controller, and its instance. */
  icid: u16(0),
  ciu: u8(2, { hex: true }),
  /** A controller that can do it instead; FFFFh: none is named. */
  acid: u16(4),
  ccrs: u8(6, { names: CCRS_NAMES }),
  /** The impacted controller was found to be the one that was meant. */
  validated: bits(7, 0, 1),
  /** Its reset has begun. */
  initiated: bits(7, 1, 1),
});
export type CrossControllerResetEntry = ValueOf<typeof CrossControllerResetEntry>;

/** acid that names no controller. */
export const NO_ALTERNATE_CONTROLLER = 0xffff;
/** lsp: entries of resets that are over are forgotten once they have been read. */
export const CCR_LSP_RMC = 1;
/** Entries that a page has room for: it is 4096 bytes at most. */
export const CCR_LOG_MAX_ENTRIES = 511;

export function crossControllerResetLog(entries: readonly Partial<CrossControllerResetEntry>[]): Uint8Array {
  const page = new Uint8Array(8 + entries.length * 8);
  const view = new DataView(page.buffer);
  CrossControllerResetHeader.emit(view, 0, { ne: entries.length });
  for (const [i, entry] of entries.entries()) CrossControllerResetEntry.emit(view, 8 + i * 8, entry);
  return page;
}

/** Reads a page that a peer sent. */
export function parseCrossControllerResetLog(page: Uint8Array): Parsed<CrossControllerResetEntry[]> {
  if (page.length < 8) return unparsable('shorter than its header');
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  const { ne } = CrossControllerResetHeader.parse(view, 0);
  if (ne > CCR_LOG_MAX_ENTRIES) return unparsable(`${ne} entries, more than the page can have`);
  if (8 + ne * 8 > page.length) return unparsable(`entry ${ne} lies outside the log`);
  return parsed(Array.from({ length: ne }, (_, i) => CrossControllerResetEntry.parse(view, 8 + i * 8)));
}
