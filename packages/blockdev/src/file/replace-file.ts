import { randomBytes } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { NvbraidError } from '@nvbraid/base';

export interface ReplaceOptions {
  /** Permission bits of the new file. Default 0600. */
  readonly mode?: number;
  /** Makes the directory, too, when it is missing. Default false. */
  readonly makeDirectory?: boolean;
}

/**
 * Replaces a file as a whole, so that a crash at any moment leaves the old contents or the new ones: a temporary file
 * beside it, fsync, rename, fsync of the directory.
 * @throws NvbraidError EACCES, ENOENT, ENOSPC, EIO with a sentence that names the file
 */
export async function replaceFile(
  path: string,
  data: string | Uint8Array,
  options: ReplaceOptions = {},
): Promise<void> {
  const directory = dirname(path);
  const temporary = join(directory, `.${basename(path)}.${randomBytes(6).toString('hex')}`);
  try {
    if (options.makeDirectory === true) await mkdir(directory, { recursive: true, mode: 0o700 });
    const file = await open(temporary, 'wx', options.mode ?? 0o600);
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncDirectory(directory);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw replaceError(path, error as NodeJS.ErrnoException);
  }
}

/** The entries of a directory are on stable storage when it is done. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function replaceError(path: string, error: NodeJS.ErrnoException): NvbraidError {
  const options = { cause: error, context: { path } };
  switch (error.code) {
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new NvbraidError('EACCES', `no permission to write ${path}`, options);
    case 'ENOENT':
    case 'ENOTDIR':
      return new NvbraidError('ENOENT', `the directory of ${path} does not exist`, options);
    default:
      return new NvbraidError('EIO', `cannot write ${path}: ${error.message}`, options);
  }
}
