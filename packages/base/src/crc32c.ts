import type { Memory } from './memory.ts';

/*
 * CRC32C (Castagnoli, reflected polynomial 0x82f63b78), as the NVMe/TCP header and data digests use it.
 * JavaScript by slicing-by-16; a native implementation can be plugged in for long runs of bytes.
 */
const TABLE = /* @__PURE__ */ makeTables();

function makeTables(): Uint32Array {
  const t = new Uint32Array(16 * 256);
  for (let n = 0; n < 256; n++) {
    let c = n;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
    t[n] = c >>> 0;
  }
  for (let n = 0; n < 256; n++) {
    let c = t[n]!;
    for (let s = 1; s < 16; s++) {
      c = t[c & 0xff]! ^ (c >>> 8);
      t[s * 256 + n] = c >>> 0;
    }
  }
  return t;
}

/** Continues a raw (not inverted) CRC over `length` bytes. */
function update(crc: number, view: DataView, offset: number, length: number): number {
  const t = TABLE;
  let c = crc;
  let p = offset;
  const end = offset + length;
  while (end - p >= 16) {
    const a = c ^ view.getUint32(p, true);
    const b = view.getUint32(p + 4, true);
    const d = view.getUint32(p + 8, true);
    const e = view.getUint32(p + 12, true);
    c =
      t[3840 + (a & 0xff)]! ^
      t[3584 + ((a >>> 8) & 0xff)]! ^
      t[3328 + ((a >>> 16) & 0xff)]! ^
      t[3072 + (a >>> 24)]! ^
      t[2816 + (b & 0xff)]! ^
      t[2560 + ((b >>> 8) & 0xff)]! ^
      t[2304 + ((b >>> 16) & 0xff)]! ^
      t[2048 + (b >>> 24)]! ^
      t[1792 + (d & 0xff)]! ^
      t[1536 + ((d >>> 8) & 0xff)]! ^
      t[1280 + ((d >>> 16) & 0xff)]! ^
      t[1024 + (d >>> 24)]! ^
      t[768 + (e & 0xff)]! ^
      t[512 + ((e >>> 8) & 0xff)]! ^
      t[256 + ((e >>> 16) & 0xff)]! ^
      t[e >>> 24]!;
    p += 16;
  }
  while (p < end) c = t[(c ^ view.getUint8(p++)) & 0xff]! ^ (c >>> 8);
  return c;
}

/** Same contract as `crc32c`, for the native implementation that a transport may bring. */
export type Crc32c = (memory: Memory, offset: number, length: number, seed: number) => number;

/** Below this many bytes JavaScript is faster than a native call. */
const NATIVE_FROM_BYTES = 512;

let native: Crc32c | null = null;

/**
 * CRC32C of a range. To continue over a second range pass the first result as `seed`.
 * @returns the digest as an unsigned 32-bit number; it goes onto the wire little-endian.
 */
export function crc32c(memory: Memory, offset: number, length: number, seed = 0): number {
  if (native !== null && length >= NATIVE_FROM_BYTES) return native(memory, offset, length, seed);
  return ~update(~seed, memory.view, offset, length) >>> 0;
}

/** The JavaScript implementation, whatever is plugged in. */
export function crc32cPortable(memory: Memory, offset: number, length: number, seed = 0): number {
  return ~update(~seed, memory.view, offset, length) >>> 0;
}

/** Plugs in a native implementation after it has agreed with the portable one on `probe`; answers whether it did. */
export function useNativeCrc32c(candidate: Crc32c, probe: Memory): boolean {
  const half = probe.length >>> 1;
  const whole = crc32cPortable(probe, 0, probe.length);
  if (candidate(probe, 0, probe.length, 0) !== whole) return false;
  if (candidate(probe, half, probe.length - half, candidate(probe, 0, half, 0)) !== whole) return false;
  native = candidate;
  return true;
}
