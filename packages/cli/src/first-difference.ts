import { NvbraidError } from 'nvbraid';
import type { Session, SessionNamespace } from './session.ts';

/** Where a namespace and data part. */
export interface Difference {
  readonly block: number;
  /** In the block, from 0 on; null when it cannot be told: it cannot be read, or has changed meanwhile. */
  readonly byte: number | null;
}

/**
 * Compares blocks with data by Compare commands, which leave the data where it is, and halves what differs down to one
 * block. Only that one is read.
 */
export async function firstDifference(
  session: Session,
  { nsid, blockSize }: SessionNamespace,
  slba: number,
  bytes: Uint8Array,
): Promise<Difference | null> {
  if (await session.compare(nsid, slba, bytes)) return null;
  let from = 0;
  let to = bytes.length / blockSize;
  while (to - from > 1) {
    const middle = from + Math.floor((to - from) / 2);
    const equal = await session.compare(nsid, slba + from, bytes.subarray(from * blockSize, middle * blockSize));
    if (equal) from = middle;
    else to = middle;
  }
  const block = slba + from;
  const wanted = bytes.subarray(from * blockSize, to * blockSize);
  return { block, byte: await firstByte(session, nsid, block, wanted) };
}

async function firstByte(session: Session, nsid: number, block: number, wanted: Uint8Array): Promise<number | null> {
  const found = new Uint8Array(wanted.length);
  try {
    await session.read(nsid, block, found);
  } catch (error) {
    if (error instanceof NvbraidError) return null;
    throw error;
  }
  const byte = found.findIndex((value, i) => value !== wanted[i]);
  return byte < 0 ? null : byte;
}
