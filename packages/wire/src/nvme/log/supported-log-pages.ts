import { bits, layout, u16, type ValueOf } from '../../layout.ts';

/** LID Supported and Effects data structure (Base 2.1, 5.1.12.1.1), one per log page identifier. */
export const SupportedLogPage = layout('SupportedLogPage', 4, {
  /** The log page is supported. */
  lsupp: bits(0, 0, 1),
  /** Its offset may be an index. */
  ios: bits(0, 1, 1),
  /** Parameter specific to the log page. */
  lidsp: u16(2, { hex: true }),
});
export type SupportedLogPage = ValueOf<typeof SupportedLogPage>;
/** Bytes of the Supported Log Pages log page (LID 00h): 256 entries. */
export const SUPPORTED_LOG_PAGES_SIZE = 1024;

/** The log page with these pages. Others are not supported. */
export function supportedLogPages(pages: ReadonlyMap<number, Partial<SupportedLogPage>>): Uint8Array {
  const log = new Uint8Array(SUPPORTED_LOG_PAGES_SIZE);
  const view = new DataView(log.buffer);
  for (const [lid, page] of pages) SupportedLogPage.emit(view, 4 * (lid & 0xff), page);
  return log;
}

/** Identifiers of the log pages whose lsupp bit is set, as far as `log` reaches. */
export function parseSupportedLogPages(log: Uint8Array): Map<number, SupportedLogPage> {
  const view = new DataView(log.buffer, log.byteOffset, log.byteLength);
  const pages = new Map<number, SupportedLogPage>();
  for (let lid = 0; lid < 256 && 4 * lid + 4 <= log.length; lid++) {
    if (SupportedLogPage.lsupp.get(view, 4 * lid) === 1) pages.set(lid, SupportedLogPage.parse(view, 4 * lid));
  }
  return pages;
}
