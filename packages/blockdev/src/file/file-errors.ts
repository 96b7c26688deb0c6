import { IoResult } from '../block-device.ts';
import {
  EDQUOT,
  EFBIG,
  EINVAL,
  EIO,
  ENODEV,
  ENOSPC,
  ENOSYS,
  ENOTTY,
  ENXIO,
  EOPNOTSUPP,
  EPERM,
  EROFS,
} from './file-calls.ts';

/** What a failed system call means for the operation. @param error negative error number */
export function resultOf(error: number): IoResult {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return IoResult.NoSpace;
    case EROFS:
    case EPERM:
      return IoResult.ReadOnly;
    case EIO:
    case ENXIO:
    case ENODEV:
      return IoResult.MediaError;
    default:
      return IoResult.Failed;
  }
}

/** Errors by which file systems and devices say that they have no such operation. */
export function cannotZero(error: number): boolean {
  return error === EOPNOTSUPP || error === ENOSYS || error === EINVAL || error === ENOTTY;
}

/** The error for a log. */
export function describe(error: { errno?: number | undefined }): string {
  return error instanceof Error ? error.message : `error ${-(error.errno ?? EIO)}`;
}
