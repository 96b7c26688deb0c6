import { bits, layout, type Names, u8, u64, u64big, type ValueOf } from '../../layout.ts';
import { type Parsed, parsed, unparsable } from '../../parsed.ts';

/** Zone Type (ZNS 1.2, 3.4.2.2.3). */
export const ZoneType = { SequentialWriteRequired: 2 } as const;

/** Zone State (ZNS 1.2, 2.1.1.3). */
export const ZoneState = {
  Empty: 0x1,
  ImplicitlyOpened: 0x2,
  ExplicitlyOpened: 0x3,
  Closed: 0x4,
  ReadOnly: 0xd,
  Full: 0xe,
  Offline: 0xf,
} as const;
export type ZoneState = (typeof ZoneState)[keyof typeof ZoneState];

export const ZONE_STATE_NAMES: Names = {
  1: 'Empty',
  2: 'Implicitly Opened',
  3: 'Explicitly Opened',
  4: 'Closed',
  13: 'Read Only',
  14: 'Full',
  15: 'Offline',
};

/** Bits of the zone attributes. */
export const ZoneAttribute = {
  FinishedByController: 0x01,
  FinishRecommended: 0x02,
  ResetRecommended: 0x04,
  RandomWriteAreaValid: 0x08,
  DescriptorExtensionValid: 0x80,
} as const;

/** The write pointer of zones whose state has none. */
export const NO_WRITE_POINTER = 0xffff_ffff_ffff_ffffn;

/** Zone Descriptor (ZNS 1.2, 3.4.2.2.3). */
export const ZoneDescriptor = layout('ZoneDescriptor', 64, {
  /** A `ZoneType`. */
  zt: bits(0, 0, 4),
  zs: bits(1, 4, 4, 1, { names: ZONE_STATE_NAMES }),
  /** Bits: `ZoneAttribute`. */
  za: u8(2, { hex: true }),
  zai: u8(3, { hex: true }),
  /** Blocks that can be written. */
  zcap: u64(8),
  zslba: u64(16),
  /** Next block to write; `NO_WRITE_POINTER` where there is none. */
  wp: u64big(24),
});
export type ZoneDescriptor = ValueOf<typeof ZoneDescriptor>;
export const ZONE_DESCRIPTOR_SIZE = 64;

/** Head of a zone report; the descriptors follow (ZNS 1.2, 3.4.2.2.1). */
export const ZoneReportHeader = layout('ZoneReport', 64, { nrZones: u64(0) });
export type ZoneReportHeader = ValueOf<typeof ZoneReportHeader>;
export const ZONE_REPORT_HEADER_SIZE = 64;

/** A report as it came: the number of zones that the head tells, and the descriptors that are whole. */
export interface ZoneReport {
  readonly nrZones: number;
  readonly zones: ZoneDescriptor[];
}

export function parseZoneReport(bytes: Uint8Array): Parsed<ZoneReport> {
  if (bytes.length < ZONE_REPORT_HEADER_SIZE) return unparsable(`a zone report of ${bytes.length} bytes has no head`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const nrZones = ZoneReportHeader.nrZones.get(view, 0);
  const room = Math.floor((bytes.length - ZONE_REPORT_HEADER_SIZE) / ZONE_DESCRIPTOR_SIZE);
  const count = Math.min(nrZones, room);
  const zones: ZoneDescriptor[] = [];
  for (let i = 0; i < count; i++) {
    const zone = ZoneDescriptor.parse(view, ZONE_REPORT_HEADER_SIZE + i * ZONE_DESCRIPTOR_SIZE);
    if (ZONE_STATE_NAMES[zone.zs] === undefined) return unparsable(`zone ${i} of the report has state ${zone.zs}`);
    zones.push(zone);
  }
  return parsed({ nrZones, zones });
}
