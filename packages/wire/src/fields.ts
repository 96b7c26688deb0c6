import { assert } from '@nvbraid/base';
import type { LayoutMethods } from './layout.ts';

/*
 * The kinds of fields that a layout is made of. Accessors of numbers are two machine instructions once inlined; the
 * others allocate and are not for the hot path. Everything is little-endian, as NVMe is.
 */

export type FieldKind = 'number' | 'bigint' | 'ascii' | 'cstring' | 'bytes' | 'uuid' | 'array' | 'struct';

/** One field: its place, its accessors, and how it prints. */
export interface Field<T> {
  readonly kind: FieldKind;
  readonly offset: number;
  readonly length: number;
  get(view: DataView, base: number): T;
  /** Numbers are cut to the width of the field; text and bytes that are too long are a programmer error. */
  set(view: DataView, base: number, value: T): void;
  /** The value `emit` writes when the caller gives none. */
  readonly initial: T;
  format(value: T): string;
  /** Number of bits of a number; 0 for other kinds. */
  readonly width: number;
  /** Which bits of the bytes at `offset` the field owns; all of them when undefined. */
  readonly mask: Uint8Array | undefined;
  /** The layout of the elements of an array and of a struct. */
  readonly item: LayoutMethods<unknown> | undefined;
}

export type Names = Readonly<Record<number, string>>;

export interface NumberOptions {
  /** Names of values, for `describe`. */
  readonly names?: Names;
  readonly hex?: boolean;
  readonly initial?: number;
}

/** Empty values are left out of descriptions. */
export function isEmpty(value: unknown): boolean {
  if (value === 0 || value === 0n || value === '') return true;
  if (value instanceof Uint8Array) return value.every((b) => b === 0);
  if (Array.isArray(value)) return value.every(isEmpty);
  return typeof value === 'object' && value !== null && Object.values(value).every(isEmpty);
}

function number(
  offset: number,
  length: number,
  width: number,
  options: NumberOptions,
  get: (view: DataView, base: number) => number,
  set: (view: DataView, base: number, value: number) => void,
  mask?: Uint8Array,
): Field<number> {
  const { names, hex } = options;
  const digits = Math.ceil(width / 4);
  return {
    kind: 'number',
    offset,
    length,
    get,
    set,
    initial: options.initial ?? 0,
    format: (value) => names?.[value] ?? (hex ? `0x${value.toString(16).padStart(digits, '0')}` : String(value)),
    width,
    mask,
    item: undefined,
  };
}

function other<T>(
  kind: FieldKind,
  offset: number,
  length: number,
  initial: T,
  get: (view: DataView, base: number) => T,
  set: (view: DataView, base: number, value: T) => void,
  format: (value: T) => string,
  item?: LayoutMethods<unknown>,
  mask?: Uint8Array,
): Field<T> {
  return { kind, offset, length, get, set, initial, format, width: 0, mask, item };
}

export function u8(offset: number, options: NumberOptions = {}): Field<number> {
  return number(
    offset,
    1,
    8,
    options,
    (view, base) => view.getUint8(base + offset),
    (view, base, value) => view.setUint8(base + offset, value),
  );
}

export function u16(offset: number, options: NumberOptions = {}): Field<number> {
  return number(
    offset,
    2,
    16,
    options,
    (view, base) => view.getUint16(base + offset, true),
    (view, base, value) => view.setUint16(base + offset, value, true),
  );
}

export function u32(offset: number, options: NumberOptions = {}): Field<number> {
  return number(
    offset,
    4,
    32,
    options,
    (view, base) => view.getUint32(base + offset, true),
    (view, base, value) => view.setUint32(base + offset, value, true),
  );
}

const TWO32 = 0x100000000;

/** Numbers in network byte order: NBD. */
export function u16be(offset: number, options: NumberOptions = {}): Field<number> {
  return number(
    offset,
    2,
    16,
    options,
    (view, base) => view.getUint16(base + offset),
    (view, base, value) => view.setUint16(base + offset, value),
  );
}

export function u32be(offset: number, options: NumberOptions = {}): Field<number> {
  return number(
    offset,
    4,
    32,
    options,
    (view, base) => view.getUint32(base + offset),
    (view, base, value) => view.setUint32(base + offset, value),
  );
}

/** See `u64`. */
export function u64be(offset: number, options: NumberOptions = {}): Field<number> {
  return number(
    offset,
    8,
    64,
    options,
    (view, base) => view.getUint32(base + offset) * TWO32 + view.getUint32(base + offset + 4),
    (view, base, value) => {
      view.setUint32(base + offset, Math.floor(value / TWO32));
      view.setUint32(base + offset + 4, value >>> 0);
    },
  );
}

/** A 48-bit number: timestamps. */
export function u48(offset: number, options: NumberOptions = {}): Field<number> {
  return number(
    offset,
    6,
    48,
    options,
    (view, base) => view.getUint32(base + offset, true) + view.getUint16(base + offset + 4, true) * TWO32,
    (view, base, value) => {
      view.setUint32(base + offset, value >>> 0, true);
      view.setUint16(base + offset + 4, Math.floor(value / TWO32), true);
    },
  );
}

/**
 * A 64-bit number as a JavaScript number, for quantities whose legal values stay below 2^53 (LBAs, sizes, counters).
 * A larger value on the wire reads as a number above 2^53, inexact but never small, so that range checks still refuse it.
 */
export function u64(offset: number, options: NumberOptions = {}): Field<number> {
  return number(
    offset,
    8,
    64,
    options,
    (view, base) => view.getUint32(base + offset, true) + view.getUint32(base + offset + 4, true) * TWO32,
    (view, base, value) => {
      view.setUint32(base + offset, value >>> 0, true);
      view.setUint32(base + offset + 4, Math.floor(value / TWO32), true);
    },
  );
}

/** A 64-bit value of which every bit counts: reservation keys, CAP, EUI-64. Not for the hot path. */
export function u64big(offset: number): Field<bigint> {
  return other(
    'bigint',
    offset,
    8,
    0n,
    (view, base) => view.getBigUint64(base + offset, true),
    (view, base, value) => view.setBigUint64(base + offset, value, true),
    (value) => `0x${value.toString(16)}`,
  );
}

/** A 128-bit counter or capacity. */
export function u128(offset: number): Field<bigint> {
  return other(
    'bigint',
    offset,
    16,
    0n,
    (view, base) => view.getBigUint64(base + offset, true) | (view.getBigUint64(base + offset + 8, true) << 64n),
    (view, base, value) => {
      view.setBigUint64(base + offset, value, true);
      view.setBigUint64(base + offset + 8, value >> 64n, true);
    },
    String,
  );
}

/** `width` bits from bit `shift` of the word of `bytes` bytes (1, 2 or 4) at `offset`. */
export function bits(
  offset: number,
  shift: number,
  width: number,
  bytes: 1 | 2 | 4 = 1,
  options: NumberOptions = {},
): Field<number> {
  assert(shift >= 0 && width > 0 && shift + width <= bytes * 8, 'bits outside their word');
  const ones = width === 32 ? 0xffffffff : 2 ** width - 1;
  const keep = ~(ones << shift) >>> 0;
  const mask = new Uint8Array(bytes);
  for (let i = shift; i < shift + width; i++) mask[i >> 3]! |= 1 << (i & 7);
  if (bytes === 1) {
    return number(
      offset,
      1,
      width,
      options,
      (view, base) => (view.getUint8(base + offset) >>> shift) & ones,
      (view, base, value) =>
        view.setUint8(base + offset, (view.getUint8(base + offset) & keep) | ((value & ones) << shift)),
      mask,
    );
  }
  if (bytes === 2) {
    return number(
      offset,
      2,
      width,
      options,
      (view, base) => (view.getUint16(base + offset, true) >>> shift) & ones,
      (view, base, value) =>
        view.setUint16(base + offset, (view.getUint16(base + offset, true) & keep) | ((value & ones) << shift), true),
      mask,
    );
  }
  return number(
    offset,
    4,
    width,
    options,
    (view, base) => ((view.getUint32(base + offset, true) >>> shift) & ones) >>> 0,
    (view, base, value) =>
      view.setUint32(base + offset, (view.getUint32(base + offset, true) & keep) | ((value & ones) << shift), true),
    mask,
  );
}

/** ASCII text padded with spaces: serial and model numbers. Reading also stops at a NUL, which some peers pad with. */
export function ascii(offset: number, length: number): Field<string> {
  return text('ascii', offset, length, 0x20);
}

/** UTF-8 text ended by a NUL or by the end of the field: NQNs. */
export function cstring(offset: number, length: number): Field<string> {
  return text('cstring', offset, length, 0);
}

// Whatever a peer sent reads as some text; a byte order mark is text like any other.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const encoder = new TextEncoder();

function text(kind: 'ascii' | 'cstring', offset: number, length: number, pad: number): Field<string> {
  return other(
    kind,
    offset,
    length,
    '',
    (view, base) => {
      const raw = new Uint8Array(view.buffer, view.byteOffset + base + offset, length);
      let end = raw.indexOf(0);
      if (end < 0) end = length;
      if (pad === 0x20) while (end > 0 && raw[end - 1] === 0x20) end--;
      // A copy, because a decoder does not read shared memory.
      return decoder.decode(raw.slice(0, end));
    },
    (view, base, value) => {
      const raw = encoder.encode(value);
      assert(raw.length <= length, `text of ${raw.length} bytes for a field of ${length}`);
      for (let i = 0; i < length; i++) view.setUint8(base + offset + i, i < raw.length ? raw[i]! : pad);
    },
    (value) => JSON.stringify(value),
  );
}

/** Raw bytes; `get` answers a copy, `set` fills what is missing with zeroes. */
export function bytes(offset: number, length: number): Field<Uint8Array> {
  return other(
    'bytes',
    offset,
    length,
    new Uint8Array(0),
    (view, base) => new Uint8Array(view.buffer, view.byteOffset + base + offset, length).slice(),
    (view, base, value) => {
      assert(value.length <= length, `${value.length} bytes for a field of ${length}`);
      for (let i = 0; i < length; i++) view.setUint8(base + offset + i, i < value.length ? value[i]! : 0);
    },
    hex,
  );
}

function hex(value: Uint8Array): string {
  return Array.from(value, (b) => b.toString(16).padStart(2, '0')).join('');
}

/** A UUID in the byte order of RFC 9562, as text in lower case. The nil UUID reads as the empty string. */
export function uuid(offset: number): Field<string> {
  return other(
    'uuid',
    offset,
    16,
    '',
    (view, base) => {
      const digits = hex(new Uint8Array(view.buffer, view.byteOffset + base + offset, 16));
      return /^0+$/.test(digits) ? '' : digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
    },
    (view, base, value) => {
      const digits = value === '' ? '0'.repeat(32) : value.replaceAll('-', '');
      assert(/^[0-9a-fA-F]{32}$/.test(digits), `not a UUID: ${value}`);
      for (let i = 0; i < 16; i++)
        view.setUint8(base + offset + i, Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16));
    },
    (value) => value,
  );
}

/** `count` structures of one layout in a row; `set` zeroes those for which there is no value. */
export function array<V>(offset: number, count: number, item: LayoutMethods<V>): Field<V[]> {
  const mask = new Uint8Array(count * item.size);
  for (let i = 0; i < count; i++) mask.set(item.owned, i * item.size);
  return other(
    'array',
    offset,
    count * item.size,
    [],
    (view, base) => Array.from({ length: count }, (_, i) => item.parse(view, base + offset + i * item.size)),
    (view, base, value) => {
      assert(value.length <= count, `${value.length} ${item.structName} for an array of ${count}`);
      for (let i = 0; i < count; i++) {
        const at = base + offset + i * item.size;
        const one = value[i];
        if (one !== undefined) item.emit(view, at, one);
        else for (let k = 0; k < item.size; k++) view.setUint8(at + k, 0);
      }
    },
    (value) => {
      let used = value.length;
      while (used > 0 && isEmpty(value[used - 1])) used--;
      return `[${value
        .slice(0, used)
        .map((one) => item.format(one))
        .join(', ')}]`;
    },
    item as LayoutMethods<unknown>,
    mask,
  );
}

/** A structure inside a structure. */
export function struct<V>(offset: number, item: LayoutMethods<V>): Field<V> {
  return other(
    'struct',
    offset,
    item.size,
    {} as V,
    (view, base) => item.parse(view, base + offset),
    (view, base, value) => item.emit(view, base + offset, value as Partial<V>),
    (value) => item.format(value),
    item as LayoutMethods<unknown>,
    item.owned,
  );
}
