import { bits, layout, u16, u32, type ValueOf } from '../../layout.ts';

/** Power State Descriptor (Base 2.1, 5.1.13.2.1). */
export const PowerState = layout('PSD', 32, {
  /** Maximum power, in 0.01 W, or 0.0001 W when mxps is 1. */
  mp: u16(0),
  mxps: bits(3, 0, 1),
  nops: bits(3, 1, 1),
  /** Entry and exit latency, in microseconds. */
  enlat: u32(4),
  exlat: u32(8),
  rrt: bits(12, 0, 5),
  rrl: bits(13, 0, 5),
  rwt: bits(14, 0, 5),
  rwl: bits(15, 0, 5),
  idlp: u16(16),
  ips: bits(18, 6, 2),
  actp: u16(20),
  apw: bits(22, 0, 3),
  aps: bits(22, 6, 2),
});
export type PowerState = ValueOf<typeof PowerState>;
