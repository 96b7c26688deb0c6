import { layout, u8, u16, u32, u64, type ValueOf } from '../layout.ts';
import { sqeHead } from './sqe.ts';

/** Get LBA Status (NVM 1.1, 4.2.1). */
export const GetLbaStatusSqe = layout('GetLbaStatus', 64, {
  ...sqeHead,
  slba: u64(40),
  /** Dwords to return at most, 0's based. */
  mndw: u32(48),
  /** Blocks to look at; 0: up to the end. */
  rl: u16(52),
  atype: u8(55, { hex: true }),
});
export type GetLbaStatusSqe = ValueOf<typeof GetLbaStatusSqe>;

/** Which blocks Get LBA Status returns. */
export const LbaStatusAction = {
  /** Those that are allocated. */
  Allocated: 0x02,
  /** Those that may be unrecoverable, known or found by a look at them. */
  Untracked: 0x10,
  /** Those that are known to be. */
  Tracked: 0x11,
} as const;

/** The head of the list of descriptors. */
export const LbaStatusList = layout('LbaStatusList', 8, {
  /** Descriptors. */
  nlsd: u32(0),
  /** Why the command has ended: 1: there was no room for more, 2: the range was looked at. */
  cmpc: u8(4),
});
export type LbaStatusList = ValueOf<typeof LbaStatusList>;

export const LbaStatusDescriptor = layout('LbaStatusDescriptor', 16, {
  dslba: u64(0),
  nlb: u32(8),
  status: u8(13),
});
export type LbaStatusDescriptor = ValueOf<typeof LbaStatusDescriptor>;
