import { layout, u16, u64, type ValueOf } from '../../layout.ts';
import { type Parsed, parsed, unparsable } from '../../parsed.ts';

/** Zone identifiers that the page holds. */
export const CHANGED_ZONES_MAX = 511;
export const CHANGED_ZONES_SIZE = 4096;
/** The number of identifiers when more zones have changed than the page holds. */
export const CHANGED_ZONES_TOO_MANY = 0xffff;

/** Head of the Changed Zone List log page (LID BFh; ZNS 1.2, 4.1.4.1). */
export const ChangedZonesHeader = layout('ChangedZones', 8, { nrzid: u16(0) });
export type ChangedZonesHeader = ValueOf<typeof ChangedZonesHeader>;

/** The first blocks of zones whose descriptors have changed by themselves. */
export const ChangedZone = layout('ChangedZone', 8, { zslba: u64(0) });
export type ChangedZone = ValueOf<typeof ChangedZone>;

/** The 4096 bytes of the page. More zones than it holds are told by a number alone. */
export function changedZones(zslbas: readonly number[]): Uint8Array {
  const page = new Uint8Array(CHANGED_ZONES_SIZE);
  const view = new DataView(page.buffer);
  if (zslbas.length > CHANGED_ZONES_MAX) {
    ChangedZonesHeader.emit(view, 0, { nrzid: CHANGED_ZONES_TOO_MANY });
    return page;
  }
  ChangedZonesHeader.emit(view, 0, { nrzid: zslbas.length });
  zslbas.forEach((zslba, i) => {
    ChangedZone.emit(view, ChangedZonesHeader.size + i * ChangedZone.size, { zslba });
  });
  return page;
}

/** The first blocks of the changed zones, or 'all' when there are more than the page holds. */
export function parseChangedZones(page: Uint8Array): Parsed<number[] | 'all'> {
  if (page.length < ChangedZonesHeader.size) return unparsable(`a list of ${page.length} bytes has no head`);
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  const count = ChangedZonesHeader.nrzid.get(view, 0);
  if (count === CHANGED_ZONES_TOO_MANY) return parsed('all');
  const room = Math.floor((page.length - ChangedZonesHeader.size) / ChangedZone.size);
  if (count > room) return unparsable(`${count} zones do not fit into ${page.length} bytes`);
  return parsed(
    Array.from({ length: count }, (_, i) =>
      ChangedZone.zslba.get(view, ChangedZonesHeader.size + i * ChangedZone.size),
    ),
  );
}
