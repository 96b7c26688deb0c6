import { bits, layout, u8, u16, u32, type ValueOf } from '../../layout.ts';

/** Identify Namespace, independent of I/O command sets (CNS 08h; Base 2.1, 5.1.13.2.8). */
export const IdentifyNamespaceIndependent = layout('IdentifyNamespaceIndependent', 4096, {
  nsfeat: u8(0, { hex: true }),
  nmic: u8(1, { hex: true }),
  rescap: u8(2, { hex: true }),
  fpi: u8(3, { hex: true }),
  anagrpid: u32(4),
  nsattr: u8(8, { hex: true }),
  nvmsetid: u16(10),
  endgid: u16(12),
  /** Namespace status: ready for I/O. */
  nrdy: bits(14, 0, 1),
  kpios: u8(15, { hex: true }),
  maxkt: u16(16),
  rgrpid: u32(20),
});
export type IdentifyNamespaceIndependent = ValueOf<typeof IdentifyNamespaceIndependent>;
