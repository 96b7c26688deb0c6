import { ascii, bits, layout, type ValueOf } from '../../layout.ts';

/** Firmware Slot Information log page (LID 03h; Base 2.1, 5.1.12.1.4). */
export const FirmwareSlotLog = layout('FirmwareSlotLog', 512, {
  /** Slot that runs, and slot that runs after the next reset (0 = not told). */
  active: bits(0, 0, 3),
  next: bits(0, 4, 3),
  /** Revisions by slot. */
  frs1: ascii(8, 8),
  frs2: ascii(16, 8),
  frs3: ascii(24, 8),
  frs4: ascii(32, 8),
  frs5: ascii(40, 8),
  frs6: ascii(48, 8),
  frs7: ascii(56, 8),
});
export type FirmwareSlotLog = ValueOf<typeof FirmwareSlotLog>;
