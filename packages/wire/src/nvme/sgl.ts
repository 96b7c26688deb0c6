import { bits, layout, type Names, u32, u64, type ValueOf } from '../layout.ts';

/*
 * SGL descriptor (Base 2.1, 4.3.2), 16 bytes, of the types that fabrics uses; keyed ones belong to RDMA.
 *
 *   0 … 7     8 … 11   12 … 14    15
 *   address   length   reserved   type (7:4), subtype (3:0)
 */
export const SGL_TYPE_NAMES: Names = {
  0: 'Data Block',
  1: 'Bit Bucket',
  2: 'Segment',
  3: 'Last Segment',
  4: 'Keyed Data Block',
  5: 'Transport Data Block',
  15: 'Vendor Specific',
};
export const SGL_SUBTYPE_NAMES: Names = { 0: 'Address', 1: 'Offset', 10: 'Transport' };

export const SglDescriptor = layout('SGL', 16, {
  /** An address, or with subtype 1 an offset from ICDOFF into the capsule. */
  address: u64(0, { hex: true }),
  /** Bytes. */
  length: u32(8),
  subtype: bits(15, 0, 4, 1, { names: SGL_SUBTYPE_NAMES }),
  type: bits(15, 4, 4, 1, { names: SGL_TYPE_NAMES }),
});
export type SglDescriptor = ValueOf<typeof SglDescriptor>;
