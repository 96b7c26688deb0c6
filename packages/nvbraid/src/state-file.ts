import { readFile } from 'node:fs/promises';
import { crc32cPortable, Memory, NvbraidError } from '@nvbraid/base';
import { replaceFile } from '@nvbraid/blockdev';

/** What a file of state is called in the sentences about it. */
export interface StateFileWords {
  /** E.g. `reservations`. */
  readonly what: string;
  /** Why it cannot be done without. */
  readonly danger: string;
  /** Largest file that is looked at, in bytes. */
  readonly maxBytes: number;
}

function checksum(body: unknown): string {
  const bytes = Buffer.from(JSON.stringify(body));
  return crc32cPortable(Memory.over(new Uint8Array(bytes)), 0, bytes.length)
    .toString(16)
    .padStart(8, '0');
}

/**
 * One line of JSON with a checksum. Fulfilled when it is on stable storage.
 * @throws NvbraidError EACCES, ENOENT, EIO
 */
export async function writeStateFile(path: string, body: object): Promise<void> {
  await replaceFile(path, `${JSON.stringify({ ...body, crc32c: checksum(body) })}\n`, { makeDirectory: true });
}

/**
 * What was written.
 * @param isBody the checksum tells damage; this tells a file that somebody else has made
 * @returns null when there is no file
 * @throws NvbraidError EACCES, EIO when the file cannot be read; EINVAL when it is not what was written
 */
export async function readStateFile<T extends object>(
  path: string,
  words: StateFileWords,
  isBody: (body: Partial<T>) => boolean,
): Promise<T | null> {
  const { what, danger, maxBytes } = words;
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    const denied = code === 'EACCES' || code === 'EPERM';
    throw new NvbraidError(
      denied ? 'EACCES' : 'EIO',
      `cannot read ${path}, which keeps the ${what} of a namespace: ${message}; mend that, or delete it to start without`,
      { cause: error, context: { path } },
    );
  }
  const body = bytes.length <= maxBytes ? parseBody(bytes.toString('utf8'), isBody) : null;
  if (body !== null) return body;
  throw new NvbraidError(
    'EINVAL',
    `${path} is damaged, or not a file of ${what}: ${danger} without it; restore it, or delete it to start without ${what}`,
    { context: { path } },
  );
}

function parseBody<T extends object>(text: string, isBody: (body: Partial<T>) => boolean): T | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const { crc32c, ...body } = value as Record<string, unknown>;
  return crc32c === checksum(body) && isBody(body as Partial<T>) ? (body as T) : null;
}
