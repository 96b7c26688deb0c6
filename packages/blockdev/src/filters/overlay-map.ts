import * as fs from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { NvbraidError } from '@nvbraid/base';
import { replaceFile } from '../file/replace-file.ts';
import { MAP_LOCK_SECONDS, MAP_PAGE_BYTES } from '../limits.ts';

/** Words of the counters of an overlay: who may go in, who is in, who writes the map. */
export const OverlayWord = { Epoch: 0, Inside: 1, Gate: 3, MapLock: 4, Failed: 5 } as const;
/** Values of `Gate` besides the number of a step plus one. */
export const Gate = { Open: 0, All: -1 } as const;

/**
 * Takes the right to write the map, if nobody has it, or has had it since so long ago that its thread must be dead.
 * The lock is the second in which it was taken.
 */
export function lockMap(words: Int32Array, nowMs: number): boolean {
  const now = Math.max(1, Math.floor(nowMs / 1000) & 0x7fffffff);
  const held = Atomics.load(words, OverlayWord.MapLock);
  if (held !== 0 && now - held < MAP_LOCK_SECONDS) return false;
  return Atomics.compareExchange(words, OverlayWord.MapLock, held, now) === held;
}

/** Bytes of the map of a device: one bit per block, and one word per page of it that is set while it is not stable. */
export function mapBytes(blockCount: number): number {
  return pagesOf(blockCount) * (MAP_PAGE_BYTES + 4);
}

function pagesOf(blockCount: number): number {
  return Math.ceil(blockCount / (MAP_PAGE_BYTES * 8));
}

/** Which blocks are in the overlay, in memory that threads share, and where it is kept in a file. */
export class OverlayMap {
  readonly #bits: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #dirty: Int32Array;
  readonly pages: number;

  constructor(area: SharedArrayBuffer, blockCount: number) {
    this.pages = pagesOf(blockCount);
    this.#bytes = new Uint8Array(area, 0, this.pages * MAP_PAGE_BYTES);
    this.#bits = new Int32Array(area, 0, (this.pages * MAP_PAGE_BYTES) / 4);
    this.#dirty = new Int32Array(area, this.pages * MAP_PAGE_BYTES, this.pages);
  }

  has(block: number): boolean {
    return (Atomics.load(this.#bits, Math.floor(block / 32)) & (1 << (block & 31))) !== 0;
  }

  /** How many blocks from `first` on, at most `count`, are in the overlay; as a negative number, are not. */
  run(first: number, count: number): number {
    const inside = this.has(first);
    const whole = inside ? -1 : 0;
    let n = 1;
    while (n < count) {
      const block = first + n;
      if ((block & 31) === 0 && count - n >= 32 && Atomics.load(this.#bits, block / 32) === whole) n += 32;
      else if (this.has(block) === inside) n++;
      else break;
    }
    return inside ? n : -n;
  }

  /** Their blocks have been written to the overlay. */
  add(first: number, count: number): void {
    this.#change(first, count, true);
  }

  /** Only while nobody else uses these blocks. */
  remove(first: number, count: number): void {
    this.#change(first, count, false);
  }

  #change(first: number, count: number, inside: boolean): void {
    const bits = this.#bits;
    const end = first + count;
    let block = first;
    for (; block < end && (block & 31) !== 0; block++) this.#bit(block, inside);
    // Whole words at once: what is set is never cleared meanwhile, and the other way round.
    const words = Math.floor((end - block) / 32);
    if (words > 0) bits.fill(inside ? -1 : 0, block / 32, block / 32 + words);
    for (block += words * 32; block < end; block++) this.#bit(block, inside);
    const from = Math.floor(first / (MAP_PAGE_BYTES * 8));
    const to = Math.floor((end - 1) / (MAP_PAGE_BYTES * 8));
    for (let page = from; page <= to; page++) Atomics.store(this.#dirty, page, 1);
  }

  #bit(block: number, inside: boolean): void {
    const bit = 1 << (block & 31);
    if (inside) Atomics.or(this.#bits, Math.floor(block / 32), bit);
    else Atomics.and(this.#bits, Math.floor(block / 32), ~bit);
  }

  /** Blocks in the overlay. */
  count(): number {
    let count = 0;
    for (const word of this.#bits) {
      if (word === 0) continue;
      let bits = word - ((word >>> 1) & 0x55555555);
      bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
      count += Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
    }
    return count;
  }

  /** Copies the pages that are not stable; they count as stable from here on, unless `put` says otherwise. */
  take(): Map<number, Uint8Array> {
    const taken = new Map<number, Uint8Array>();
    for (let page = 0; page < this.pages; page++) {
      if (Atomics.load(this.#dirty, page) === 0 || Atomics.exchange(this.#dirty, page, 0) === 0) continue;
      taken.set(page, this.#bytes.slice(page * MAP_PAGE_BYTES, (page + 1) * MAP_PAGE_BYTES));
    }
    return taken;
  }

  put(pages: Iterable<number>): void {
    for (const page of pages) Atomics.store(this.#dirty, page, 1);
  }

  get dirty(): boolean {
    for (let page = 0; page < this.pages; page++) if (Atomics.load(this.#dirty, page) !== 0) return true;
    return false;
  }

  /** @throws of fs */
  load(fd: number): void {
    const page = Buffer.alloc(MAP_PAGE_BYTES);
    for (let n = 0; n < this.pages; n++) {
      page.fill(0);
      fs.readSync(fd, page, 0, MAP_PAGE_BYTES, HEADER_BYTES + n * MAP_PAGE_BYTES);
      this.#bytes.set(page, n * MAP_PAGE_BYTES);
    }
  }
}

const HEADER_BYTES = 4096;
const MAGIC = 'nvbraid overlay map';

interface Geometry {
  readonly blockSize: number;
  readonly blockCount: number;
}

/**
 * Opens the file of a map, or makes an empty one.
 * @throws NvbraidError EINVAL when it belongs to another device, EACCES, EIO
 */
export async function openMapFile(path: string, overlay: string, geometry: Geometry): Promise<number> {
  const header = `${JSON.stringify({ what: MAGIC, version: 1, ...geometry })}\n`;
  if (!(await exists(path))) {
    if (await exists(overlay)) {
      throw new NvbraidError(
        'EINVAL',
        `filter cow: ${overlay} exists, but its map ${path} does not: remove it, or name another path`,
      );
    }
    await replaceFile(path, header.padEnd(HEADER_BYTES, '\0'));
  }
  try {
    const file = await open(path, 'r+');
    try {
      const found = Buffer.alloc(HEADER_BYTES);
      await file.read(found, 0, HEADER_BYTES, 0);
      if (found.toString('utf8').split('\n')[0] !== header.trimEnd()) {
        throw new NvbraidError(
          'EINVAL',
          `filter cow: ${path} is not the map of an overlay for this device: name another path`,
        );
      }
      const { size } = await file.stat();
      const whole = HEADER_BYTES + pagesOf(geometry.blockCount) * MAP_PAGE_BYTES;
      if (size < whole) await file.truncate(whole);
    } finally {
      await file.close();
    }
    return fs.openSync(path, 'r+');
  } catch (error) {
    if (error instanceof NvbraidError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const denied = code === 'EACCES' || code === 'EPERM' || code === 'EROFS';
    throw new NvbraidError(denied ? 'EACCES' : 'EIO', `filter cow: cannot open ${path}: ${message}`, { cause: error });
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** Writes pages and waits until they are stable. @param done with null, or why not */
export function writeMap(
  fd: number,
  pages: ReadonlyMap<number, Uint8Array>,
  done: (error: Error | null) => void,
): void {
  try {
    for (const [page, bytes] of pages) fs.writeSync(fd, bytes, 0, bytes.length, HEADER_BYTES + page * MAP_PAGE_BYTES);
  } catch (error) {
    done(error as Error);
    return;
  }
  fs.fdatasync(fd, (error) => done(error));
}
