import { layout, u8, u16, u32, u64, type ValueOf } from '../../layout.ts';

/**
 * Identify Controller of the NVM command set (CNS 06h, CSI 0; NVM 1.1, 4.1.5.4): limits of commands that move no data.
 * Size limits are powers of two of 4 KiB pages; 0 = no limit told.
 */
export const IdentifyControllerNvm = layout('IdentifyControllerNvm', 4096, {
  /** Verify, Write Zeroes and Write Uncorrectable size limits. */
  vsl: u8(0),
  wzsl: u8(1),
  wusl: u8(2),
  /** Dataset Management: ranges, blocks of one range, blocks of all ranges. */
  dmrl: u8(3),
  dmrsl: u32(4),
  dmsl: u64(8),
  kpiocap: u8(16),
  wzdsl: u8(17),
  /** Bit 0: Get LBA Status can return allocated blocks. */
  aocs: u16(18, { hex: true }),
  ver: u32(20, { hex: true }),
});
export type IdentifyControllerNvm = ValueOf<typeof IdentifyControllerNvm>;
