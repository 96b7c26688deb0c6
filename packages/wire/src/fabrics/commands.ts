import { bits, cstring, layout, type Names, u8, u16, u32, u64, u64big, uuid, type ValueOf } from '../layout.ts';

/** What all fabrics commands share (Base 2.1, 6): opcode 7Fh, the type in byte 4. */
export const FabricsSqe = layout('Fabrics', 64, {
  opc: u8(0, { hex: true, initial: 0x7f }),
  psdt: bits(1, 6, 2),
  cid: u16(2),
  fctype: u8(4, { hex: true }),
});

/** Connect (Base 2.1, 6.3): recfmt 0, 1024 bytes of Connect data in the capsule. */
export const ConnectSqe = layout('Connect', 64, {
  opc: u8(0, { hex: true, initial: 0x7f }),
  psdt: bits(1, 6, 2, 1, { initial: 1 }),
  cid: u16(2),
  fctype: u8(4, { initial: 1 }),
  sglAddress: u64(24),
  sglLength: u32(32),
  sglId: u8(39, { hex: true }),
  recfmt: u16(40),
  qid: u16(42),
  /** Entries of the submission queue, 0's based. */
  sqsize: u16(44),
  /** bit 2: disable SQ flow control; bits 1:0 priority class. */
  cattr: u8(46, { hex: true }),
  /** Keep Alive Timeout in ms; admin queue only. */
  kato: u32(48),
});
export type ConnectSqe = ValueOf<typeof ConnectSqe>;
export const CATTR_DISABLE_SQFLOW = 4;

export const ConnectData = layout('ConnectData', 1024, {
  hostid: uuid(0),
  cntlid: u16(16, { hex: true }),
  subnqn: cstring(256, 256),
  hostnqn: cstring(512, 256),
});
export type ConnectData = ValueOf<typeof ConnectData>;
export const CONNECT_DATA_SIZE = 1024;
/** cntlid of a Connect that asks for a new controller (dynamic controller model). */
export const CNTLID_DYNAMIC = 0xffff;

/** Property offsets (Base 2.1, 3.1.4). */
export const Property = { CAP: 0x00, VS: 0x08, CC: 0x14, CSTS: 0x1c, NSSR: 0x20, CRTO: 0x68 } as const;
export const PROPERTY_NAMES: Names = Object.fromEntries(Object.entries(Property).map(([name, value]) => [value, name]));

/** Property Get and Set (Base 2.1, 6.5 and 6.6). attrib bits 2:0: 0 = 4 bytes, 1 = 8 bytes. */
export const PropertySqe = layout('Property', 64, {
  opc: u8(0, { hex: true, initial: 0x7f }),
  psdt: bits(1, 6, 2),
  cid: u16(2),
  fctype: u8(4),
  attrib: bits(40, 0, 3),
  ofst: u32(44, { hex: true, names: PROPERTY_NAMES }),
  value: u64big(48),
});
export type PropertySqe = ValueOf<typeof PropertySqe>;
