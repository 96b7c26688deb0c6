/** Blocks that carry one 32-bit number all over, so that a torn one gives itself away. 0 is the block of zeroes. */

export function fillBlocks(bytes: Uint8Array, tag: number): void {
  new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4).fill(tag);
}

/** The number of a block. @returns -1 for a torn one */
export function blockTag(bytes: Uint8Array, offset: number, blockSize: number): number {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset + offset, blockSize / 4);
  const tag = words[0]!;
  for (let i = 1; i < words.length; i++) if (words[i] !== tag) return -1;
  return tag;
}
