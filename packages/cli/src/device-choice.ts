import { randomUUID } from 'node:crypto';
import { accessSync, constants } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename } from 'node:path';
import { type DeviceSpec, fileDevice, memoryDevice } from '@nvbraid/blockdev';
import { NvbraidError } from 'nvbraid';
import { formatSize } from './size.ts';
import { UsageError } from './usage-error.ts';

export interface DeviceWishes {
  /** Bytes of a file that is made, or of memory. */
  readonly size: number | undefined;
  readonly blockSize: number | undefined;
  readonly readOnly: boolean;
}

export interface ChosenDevice {
  readonly spec: DeviceSpec;
  /** For people: the path, or `memory`. */
  readonly name: string;
  readonly made: boolean;
}

/** Of files and block devices: what mkfs and partition tools take for granted. See `blockSizeOf`. */
export const FILE_BLOCK_SIZE = 512;
export const MEMORY_BLOCK_SIZE = 4096;
export const DEFAULT_SIZE = 1024 ** 3;
const GPT_SIGNATURE = 'EFI PART';

export function chooseMemory({ size = DEFAULT_SIZE, blockSize = MEMORY_BLOCK_SIZE }: DeviceWishes): ChosenDevice {
  return { spec: memoryDevice({ size, blockSize }), name: 'memory', made: true };
}

/**
 * A file that exists is served as it is. One that does not is made, sparse, when a size is given.
 * @throws NvbraidError ENOENT without a size, EINVAL when the file has another size, EACCES
 */
export async function chooseFile(path: string, wishes: DeviceWishes): Promise<ChosenDevice> {
  const { size, readOnly } = wishes;
  const found = await lookAt(path);
  if (found === null || (found.isFile && found.size === 0)) {
    const what = found === null ? `${path} does not exist` : `${path} is empty`;
    if (size === undefined) throw new NvbraidError('ENOENT', `${what}; --size makes it, e.g. --size 1GiB`);
    if (readOnly) throw new NvbraidError('ENOENT', `${what}, and --read-only cannot make it`);
    const blockSize = wishes.blockSize ?? FILE_BLOCK_SIZE;
    return { spec: fileDevice({ path, size, blockSize, create: true }), name: path, made: true };
  }
  if (size !== undefined && found.isFile && found.size !== size) {
    throw new NvbraidError(
      'EINVAL',
      `${path} exists and has ${formatSize(found.size)} (${found.size} bytes), not ${formatSize(size)}; leave out --size to serve it as it is`,
    );
  }
  const blockSize = wishes.blockSize ?? (await blockSizeOf(path));
  return { spec: fileDevice({ path, blockSize, readOnly }), name: path, made: false };
}

async function lookAt(path: string): Promise<{ isFile: boolean; size: number } | null> {
  try {
    const found = await stat(path);
    return { isFile: found.isFile(), size: found.size };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    if (code === 'EACCES') throw new NvbraidError('EACCES', `no permission to look at ${path}`, { cause: error });
    if (code === 'ENOTDIR') throw new NvbraidError('ENOENT', `${path} leads through a file that is not a directory`);
    throw new NvbraidError('EIO', `cannot look at ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * 512, since a file system can be mounted when its blocks are not smaller than the device's (mkfs.ext4 gives small
 * images blocks of 1024 bytes), and partition tables count in blocks of the device they were made on, mostly 512. Only
 * a GPT that was made on 4096-byte blocks, whose header is then at byte 4096, needs those.
 */
async function blockSizeOf(path: string): Promise<number> {
  try {
    const file = await open(path, 'r');
    try {
      const head = Buffer.alloc(8192);
      const { bytesRead } = await file.read(head, 0, head.length, 0);
      const gptAt = (offset: number): boolean =>
        offset + 8 <= bytesRead && head.toString('latin1', offset, offset + 8) === GPT_SIGNATURE;
      return gptAt(4096) && !gptAt(512) ? 4096 : FILE_BLOCK_SIZE;
    } finally {
      await file.close();
    }
  } catch {
    // Whoever opens it to serve it says what is wrong.
    return FILE_BLOCK_SIZE;
  }
}

/**
 * What the operands of a command name; without any, memory.
 * @throws UsageError, NvbraidError as `chooseFile`
 */
export async function chooseDevices(
  operands: readonly string[],
  wishes: DeviceWishes,
): Promise<readonly ChosenDevice[]> {
  checkBlockSize(wishes.blockSize);
  if (operands.length === 0) return [chooseMemory(wishes)];
  return Promise.all(operands.map((path) => chooseFile(path, wishes)));
}

/** Whether it ends with the process. A file may have any name. */
export function isMemory({ spec }: ChosenDevice): boolean {
  return spec.kind === 'memory';
}

/** What its namespace is made with. What is in memory is new each time: hosts must not take it for what was there before. */
export function namespaceOptions(device: ChosenDevice): { readonly device: DeviceSpec; readonly uuid?: string } {
  return { device: device.spec, ...(isMemory(device) ? { uuid: randomUUID() } : {}) };
}

/** Says what else can be done with a device that cannot be opened. */
export function withWayOut(error: unknown, device: ChosenDevice, readOnly: boolean): unknown {
  if (!(error instanceof NvbraidError) || error.code !== 'EACCES') return error;
  if (device.made) return new NvbraidError('EACCES', `no permission to make ${device.name}`, { cause: error });
  if (readOnly || !readable(device.name)) return error;
  return new NvbraidError('EACCES', `${error.message}; it can be read: serve it with --read-only`, { cause: error });
}

function readable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** `nqn.2026-01.io.nvbraid:HOST:FILE`: the same after a restart, another one on another machine. */
export function defaultNqn(path: string | undefined): string {
  const plain = (text: string): string => text.replace(/[^a-zA-Z0-9.-]+/g, '-').slice(0, 64) || 'x';
  const stem = path === undefined ? 'memory' : basename(path).replace(/(?<=.)\.[^.]*$/, '');
  return `nqn.2026-01.io.nvbraid:${plain(hostname())}:${plain(stem)}`;
}

/** @throws UsageError */
function checkBlockSize(blockSize: number | undefined): void {
  if (blockSize === undefined || (blockSize & (blockSize - 1)) === 0) return;
  throw new UsageError(`--block-size: ${blockSize} is not a power of two`);
}
