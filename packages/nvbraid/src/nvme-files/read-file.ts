import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { NvbraidError } from '@nvbraid/base';

/** Where nvme-cli keeps its files; `$NVBRAID_NVME_DIR` names another place. */
export function nvmeDirectory(env: Readonly<Record<string, string | undefined>> = process.env): string {
  return env.NVBRAID_NVME_DIR || '/etc/nvme';
}

/**
 * The text of a file.
 * @returns null when there is no such file
 * @throws NvbraidError EINVAL for one that is too long, no file, or no text; EACCES, EIO
 */
export function readText(path: string, limit: number): string | null {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw new NvbraidError(code === 'EACCES' ? 'EACCES' : 'EIO', `${path} cannot be read: ${code}`, { cause: error });
  }
  try {
    // A pipe or a device would block, or never end.
    if (!fstatSync(fd).isFile()) throw new NvbraidError('EINVAL', `${path} is not a file`);
    const bytes = Buffer.alloc(limit + 1);
    let length = 0;
    for (let got = -1; got !== 0 && length <= limit; length += got)
      got = readSync(fd, bytes, length, limit + 1 - length, null);
    if (length > limit) throw new NvbraidError('EINVAL', `${path} has more than ${limit} bytes`);
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, length));
  } catch (error) {
    if (error instanceof NvbraidError) throw error;
    if (error instanceof TypeError) throw new NvbraidError('EINVAL', `${path} is not text in UTF-8`, { cause: error });
    throw new NvbraidError('EIO', `${path} cannot be read: ${(error as Error).message}`, { cause: error });
  } finally {
    closeSync(fd);
  }
}
