import { bits, type LayoutMethods, layout, type Names, u8, u16, type ValueOf } from '../layout.ts';

/*
 * Values of the properties (Base 2.1, 3.1.4). They travel as one number of 4 or 8 bytes; `propertyValue` and
 * `propertyFields` go between the number and its fields.
 */

/** Controller Capabilities, 8 bytes. */
export const CapProperty = layout('CAP', 8, {
  /** Entries of an I/O queue at most, 0's based. */
  mqes: u16(0),
  cqr: bits(2, 0, 1),
  ams: bits(2, 1, 2),
  /** Longest wait for CSTS.RDY, in 500 ms. */
  to: u8(3),
  dstrd: bits(4, 0, 4),
  nssrs: bits(4, 4, 1),
  /** Bit 0: NVM command set, 6: one or more by Identify, 7: no I/O command set (discovery). */
  css: bits(4, 5, 8, 2),
  bps: bits(5, 5, 1),
  cps: bits(5, 6, 2),
  /** Host page sizes: 2^(12 + n) bytes. */
  mpsmin: bits(6, 0, 4),
  mpsmax: bits(6, 4, 4),
  pmrs: bits(7, 0, 1),
  cmbs: bits(7, 1, 1),
  nsss: bits(7, 2, 1),
  /** Controller ready modes: 1 with media, 2 independent of media. */
  crms: bits(7, 3, 2),
  nsses: bits(7, 5, 1),
});
export type CapProperty = ValueOf<typeof CapProperty>;
/** CAP.CSS values. */
export const CapCss = { Nvm: 0x01, Iocs: 0x40, NoIo: 0x80 } as const;

/** Version, 4 bytes. */
export const VsProperty = layout('VS', 4, { ter: u8(0), mnr: u8(1), mjr: u16(2) });
export type VsProperty = ValueOf<typeof VsProperty>;

/** A version as VS and VER hold it: 1.3.0 is 00010300h. */
export function nvmeVersion(major: number, minor: number, tertiary = 0): number {
  return ((major << 16) | (minor << 8) | tertiary) >>> 0;
}

/** Shutdown notification of CC and shutdown status of CSTS. */
export const Shn = { None: 0, Normal: 1, Abrupt: 2 } as const;
export const Shst = { Normal: 0, Occurring: 1, Complete: 2 } as const;
export const SHN_NAMES: Names = { 1: 'normal', 2: 'abrupt' };
export const SHST_NAMES: Names = { 1: 'occurring', 2: 'complete' };

/** Controller Configuration, 4 bytes. */
export const CcProperty = layout('CC', 4, {
  en: bits(0, 0, 1, 4),
  css: bits(0, 4, 3, 4),
  mps: bits(0, 7, 4, 4),
  ams: bits(0, 11, 3, 4),
  shn: bits(0, 14, 2, 4, { names: SHN_NAMES }),
  /** Entry sizes as powers of two: 6 and 4. */
  iosqes: bits(0, 16, 4, 4),
  iocqes: bits(0, 20, 4, 4),
  crime: bits(0, 24, 1, 4),
});
export type CcProperty = ValueOf<typeof CcProperty>;

/** Controller Status, 4 bytes. */
export const CstsProperty = layout('CSTS', 4, {
  rdy: bits(0, 0, 1, 4),
  cfs: bits(0, 1, 1, 4),
  shst: bits(0, 2, 2, 4, { names: SHST_NAMES }),
  nssro: bits(0, 4, 1, 4),
  pp: bits(0, 5, 1, 4),
  st: bits(0, 6, 1, 4),
});
export type CstsProperty = ValueOf<typeof CstsProperty>;

/** Controller Ready Timeouts, 4 bytes, in 500 ms: with media, independent of media. */
export const CrtoProperty = layout('CRTO', 4, { crwmt: u16(0), crimt: u16(2) });
export type CrtoProperty = ValueOf<typeof CrtoProperty>;

/** Property offset -> its layout; the layout's size is the size of the property. */
export const PROPERTY_LAYOUTS = {
  0: CapProperty,
  8: VsProperty,
  20: CcProperty,
  28: CstsProperty,
  104: CrtoProperty,
} as const;

/** The number that holds these fields. */
export function propertyValue<V>(property: LayoutMethods<V>, values: Partial<V>): bigint {
  const view = new DataView(new ArrayBuffer(8));
  property.emit(view, 0, values);
  return view.getBigUint64(0, true);
}

/** The fields of a number. */
export function propertyFields<V>(property: LayoutMethods<V>, value: bigint | number): V {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt(value), true);
  return property.parse(view, 0);
}
