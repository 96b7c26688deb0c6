import { crc32c, type Memory } from '@nvbraid/base';

/*
 * What a verified block holds. Offsets in bytes, little-endian:
 *
 *    0  magic   "nvbr"        |
 *    4  run     u32           |  the tag, repeated at the start of every 512 bytes, so that a torn block
 *    8  writer  u32           |  shows its pieces
 *   12  seq     u32           |
 *   16  lba     u64           at the start of the block only
 *   24  crc     u32           CRC32C of the whole block with this field zero
 *   28  zero    u32
 *   32  filler, made from run, writer, seq and lba; different in every write
 */
const MAGIC = 0x7262766e;
const TAG_BYTES = 16;
const CRC_AT = 24;
export const SECTOR_BYTES = 512;

export const BlockKind = {
  /** A whole block of this run. */
  Stamped: 0,
  /** All bytes are zero. */
  Zero: 1,
  /** Nothing of this run: what the namespace held before. */
  Foreign: 2,
  /** Pieces of this run that do not fit together, or a checksum that is wrong. */
  Torn: 3,
} as const;
export type BlockKind = (typeof BlockKind)[keyof typeof BlockKind];

/** What `readStamp` found; one object is used again and again. */
export interface Stamp {
  kind: BlockKind;
  writer: number;
  seq: number;
  lba: number;
  /** CRC32C of the content, for Foreign and Zero blocks: equal content has equal digests. */
  digest: number;
  /** For Torn: what does not fit. */
  detail: string;
}

export function emptyStamp(): Stamp {
  return { kind: BlockKind.Zero, writer: 0, seq: 0, lba: 0, digest: 0, detail: '' };
}

/** Fills the block of `blockSize` bytes (a multiple of 512) at `offset` with a stamp and filler. */
export function writeStamp(
  memory: Memory,
  offset: number,
  blockSize: number,
  run: number,
  writer: number,
  seq: number,
  lba: number,
): void {
  const view = memory.view;
  let x = (Math.imul(run ^ writer, 0x9e3779b1) ^ Math.imul(seq, 0x85ebca6b) ^ Math.imul(lba | 0, 0xc2b2ae35)) | 1;
  const end = offset + blockSize;
  for (let sector = offset; sector < end; sector += SECTOR_BYTES) {
    view.setUint32(sector, MAGIC, true);
    view.setUint32(sector + 4, run, true);
    view.setUint32(sector + 8, writer, true);
    view.setUint32(sector + 12, seq, true);
    for (let at = sector + TAG_BYTES; at < sector + SECTOR_BYTES; at += 4) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      view.setInt32(at, x, true);
    }
  }
  view.setUint32(offset + 16, lba % 0x100000000, true);
  view.setUint32(offset + 20, Math.floor(lba / 0x100000000), true);
  view.setUint32(offset + CRC_AT, 0, true);
  view.setUint32(offset + 28, 0, true);
  view.setUint32(offset + CRC_AT, crc32c(memory, offset, blockSize), true);
}

/** Looks at the block at `offset` and says whose it is. Changes nothing. */
export function readStamp(memory: Memory, offset: number, blockSize: number, run: number, into: Stamp): Stamp {
  const view = memory.view;
  into.writer = view.getUint32(offset + 8, true);
  into.seq = view.getUint32(offset + 12, true);
  into.lba = view.getUint32(offset + 16, true) + view.getUint32(offset + 20, true) * 0x100000000;
  into.digest = 0;
  into.detail = '';
  let own = 0;
  for (let at = offset; at < offset + blockSize; at += SECTOR_BYTES) {
    if (isOwn(view, at, run)) own++;
  }
  if (own === 0) {
    into.kind = isZero(view, offset, blockSize) ? BlockKind.Zero : BlockKind.Foreign;
    into.digest = crc32c(memory, offset, blockSize);
    return into;
  }
  const stored = view.getUint32(offset + CRC_AT, true);
  if (own === blockSize / SECTOR_BYTES && stored === checksum(memory, offset, blockSize)) {
    into.kind = BlockKind.Stamped;
    return into;
  }
  into.kind = BlockKind.Torn;
  into.detail = describePieces(view, offset, blockSize, run);
  return into;
}

const ZEROES = /* @__PURE__ */ new DataView(new ArrayBuffer(4));
const ZERO_MEMORY = /* @__PURE__ */ (() => ({
  bytes: new Uint8Array(ZEROES.buffer),
  view: ZEROES,
  length: 4,
  address: 0,
}))();

/** The block's CRC as `writeStamp` made it: with four zero bytes in the place of the CRC itself. */
function checksum(memory: Memory, offset: number, blockSize: number): number {
  const head = crc32c(memory, offset, CRC_AT);
  const gap = crc32c(ZERO_MEMORY, 0, 4, head);
  return crc32c(memory, offset + CRC_AT + 4, blockSize - CRC_AT - 4, gap);
}

function isOwn(view: DataView, at: number, run: number): boolean {
  return view.getUint32(at, true) === MAGIC && view.getUint32(at + 4, true) === run;
}

function isZero(view: DataView, offset: number, length: number): boolean {
  for (let at = offset; at < offset + length; at += 4) if (view.getInt32(at, true) !== 0) return false;
  return true;
}

/** `writer 2 seq 7 in bytes 0-1023, zero in bytes 1024-4095` */
function describePieces(view: DataView, offset: number, blockSize: number, run: number): string {
  const pieces: string[] = [];
  let from = 0;
  let name = '';
  for (let at = 0; at <= blockSize; at += SECTOR_BYTES) {
    const next = at === blockSize ? '' : nameOf(view, offset + at, run);
    if (next === name) continue;
    if (name !== '') pieces.push(`${name} in bytes ${from}-${at - 1}`);
    name = next;
    from = at;
  }
  return pieces.length === 1 ? `${pieces[0]}, with a wrong checksum` : pieces.join(', ');
}

function nameOf(view: DataView, at: number, run: number): string {
  if (isOwn(view, at, run)) return `writer ${view.getUint32(at + 8, true)} seq ${view.getUint32(at + 12, true)}`;
  return isZero(view, at, SECTOR_BYTES) ? 'zeroes' : 'other bytes';
}
