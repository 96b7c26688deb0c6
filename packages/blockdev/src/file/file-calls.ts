import { constants } from 'node:os';
import type { Memory } from '@nvbraid/base';

const { errno } = constants;

/** Errors as the system calls below answer them: negative error numbers of this system. */
export const EAGAIN = -errno.EAGAIN;
export const EINVAL = -errno.EINVAL;
export const EIO = -errno.EIO;
export const ENODEV = -errno.ENODEV;
export const ENOSPC = -errno.ENOSPC;
export const ENXIO = -errno.ENXIO;
export const EDQUOT = -errno.EDQUOT;
export const EFBIG = -errno.EFBIG;
export const EOPNOTSUPP = -errno.EOPNOTSUPP;
export const ENOSYS = -errno.ENOSYS;
export const ENOTTY = -errno.ENOTTY;
export const EPERM = -errno.EPERM;
export const EROFS = -errno.EROFS;

/** How a range becomes zero. */
export const ZeroMode = {
  /** The space is given back; reads return zeroes. */
  Punch: 0,
  /** The space is kept. */
  Keep: 1,
} as const;
export type ZeroMode = (typeof ZeroMode)[keyof typeof ZeroMode];

/**
 * How a call that ran on the thread pool ended: node:fs' own convention, so that its callbacks need no wrapping.
 * Never called before the call that started it has returned.
 */
export type Done = (error: { errno?: number | undefined } | null, count?: number) => void;

/**
 * The system calls of the file back end, in two implementations: `nativeCalls` and `nodeCalls`. The Now calls answer
 * the number of bytes, which may be less than asked for, or a negative error number.
 */
export interface FileCalls {
  /** Reads what can be had without waiting for a disk. EAGAIN: use `readLater`. EOPNOTSUPP: always use it here. */
  readNow(fd: number, memory: Memory, memoryOffset: number, length: number, position: number): number;
  /** Writes into the page cache. */
  writeNow(fd: number, memory: Memory, memoryOffset: number, length: number, position: number): number;
  readLater(fd: number, memory: Memory, memoryOffset: number, length: number, position: number, done: Done): void;
  writeLater(fd: number, memory: Memory, memoryOffset: number, length: number, position: number, done: Done): void;
  /** fdatasync */
  syncLater(fd: number, done: Done): void;
  /** Makes a range read as zeroes without writing them; EOPNOTSUPP where that is not possible. */
  zeroLater(fd: number, mode: ZeroMode, position: number, length: number, done: Done): void;
}

/** True for an answer of `readNow` that means: ask the thread pool. */
export function wouldWait(result: number): boolean {
  return result === EAGAIN || result === EOPNOTSUPP;
}
