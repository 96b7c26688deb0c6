import { NvbraidError } from '@nvbraid/base';
import { MAX_BLOCK_SIZE, MAX_DEVICE_BYTES, MIN_BLOCK_SIZE } from './limits.ts';

/** @throws NvbraidError EINVAL unless `blockSize` is one that devices can have. */
export function checkBlockSize(blockSize: number): void {
  const power = Number.isSafeInteger(blockSize) && (blockSize & (blockSize - 1)) === 0;
  if (!power || blockSize < MIN_BLOCK_SIZE || blockSize > MAX_BLOCK_SIZE) {
    throw new NvbraidError(
      'EINVAL',
      `block size ${blockSize} is not a power of two from ${MIN_BLOCK_SIZE} to ${MAX_BLOCK_SIZE}`,
      { context: { blockSize } },
    );
  }
}

/**
 * Checks size and block size together.
 * @param what names the device at the head of the sentence, e.g. its path
 * @param hint says what to do about a size that is not a whole number of blocks
 * @returns the number of blocks
 * @throws NvbraidError EINVAL
 */
export function checkGeometry(what: string, size: number, blockSize: number, hint = sizeHint): number {
  checkBlockSize(blockSize);
  if (!Number.isSafeInteger(size) || size < 0 || size > MAX_DEVICE_BYTES) {
    throw new NvbraidError('EINVAL', `${what}: size ${size} is not a whole number of bytes below 2^53`);
  }
  if (size < blockSize) {
    throw new NvbraidError(
      'EINVAL',
      `${what}: too small, ${size} bytes are less than one block of ${blockSize} bytes`,
      { context: { size, blockSize } },
    );
  }
  if (size % blockSize !== 0) {
    throw new NvbraidError(
      'EINVAL',
      `${what}: size ${size} is not a multiple of the block size ${blockSize}: ${hint(size, blockSize)}`,
      { context: { size, blockSize } },
    );
  }
  return size / blockSize;
}

function sizeHint(size: number, blockSize: number): string {
  const up = Math.ceil(size / blockSize) * blockSize;
  return `use ${up - blockSize} or ${up}`;
}
