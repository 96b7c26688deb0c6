import { AssertionError, assert } from '@nvbraid/base';

/*
 * The field-table kit. A wire structure is declared once:
 *
 *   export const Cqe = layout('CQE', 16, { dw0: u32(0), sqhd: u16(8), cid: u16(12), p: bits(14, 0, 1), status: bits(14, 1, 15) });
 *   export type Cqe = ValueOf<typeof Cqe>;
 *
 * and gives `Cqe.cid.get(view, base)` / `.set(view, base, value)` for the hot path, `Cqe.parse`, `Cqe.emit` and
 * `Cqe.describe` for everything else. Nothing else in nvbraid touches the offsets of a structure. Bounds, overlaps and
 * names are checked when the declaration is loaded; bits that no field covers are reserved and can be checked for zero.
 * Everything is little-endian, as NVMe is.
 */

/** One field: its place, its accessors, and how it prints. */
export interface Field<T> {
  readonly offset: number;
  readonly length: number;
  get(view: DataView, base: number): T;
  set(view: DataView, base: number, value: T): void;
  /** The value `emit` writes when the caller gives none. */
  readonly initial: T;
  format(value: T): string;
  /** Which bits of the bytes at `offset` the field owns; all of them when absent. */
  readonly mask?: Uint8Array;
}

export type Fields = Readonly<Record<string, Field<never> | Field<unknown>>>;
// biome-ignore lint/suspicious/noExplicitAny: the value type of a field of any type
type AnyField = Field<any>;
type FieldValue<F> = F extends Field<infer T> ? T : never;
type Values<F> = { -readonly [K in keyof F]: FieldValue<F[K]> };

export interface LayoutMethods<V> {
  readonly structName: string;
  /** Bytes of the structure. */
  readonly size: number;
  readonly fields: ReadonlyArray<readonly [string, AnyField]>;
  /** Every field as a plain object. The caller has checked that `size` bytes are there. */
  parse(view: DataView, base?: number): V;
  /** Zeroes the structure, then writes the given fields. */
  emit(view: DataView, base: number, values: Partial<V>): void;
  /** A new byte array that holds just this structure. */
  toBytes(values: Partial<V>): Uint8Array;
  /** One line for humans; fields that are zero or empty are left out. */
  describe(view: DataView, base?: number): string;
  /** Offset of the first reserved byte that is not zero, or -1. */
  firstReservedNonZero(view: DataView, base: number): number;
}

export type Layout<F> = LayoutMethods<Values<F>> & { readonly [K in keyof F]: F[K] };
/** The plain object type of a layout: `type Sqe = ValueOf<typeof Sqe>`. */
export type ValueOf<L> = L extends LayoutMethods<infer V> ? V : never;

const TAKEN_NAMES = new Set([
  'structName',
  'size',
  'fields',
  'parse',
  'emit',
  'toBytes',
  'describe',
  'firstReservedNonZero',
]);

export function layout<const F extends Record<string, AnyField>>(name: string, size: number, fields: F): Layout<F> {
  const owned = new Uint8Array(size);
  const entries = Object.entries(fields) as [string, AnyField][];
  for (const [key, field] of entries) {
    assert(!TAKEN_NAMES.has(key), `${name}.${key}: the name belongs to the kit`);
    assert(field.offset >= 0 && field.offset + field.length <= size, `${name}.${key}: outside the structure`);
    for (let i = 0; i < field.length; i++) {
      const bits = field.mask === undefined ? 0xff : field.mask[i]!;
      if ((owned[field.offset + i]! & bits) !== 0) throw new AssertionError(`${name}.${key}: overlaps another field`);
      owned[field.offset + i]! |= bits;
    }
  }
  type V = Values<F>;
  const methods: LayoutMethods<V> = {
    structName: name,
    size,
    fields: entries,
    parse(view, base = 0) {
      const value: Record<string, unknown> = {};
      for (const [key, field] of entries) value[key] = field.get(view, base);
      return value as V;
    },
    emit(view, base, values) {
      for (let i = 0; i < size; i++) view.setUint8(base + i, 0);
      for (const [key, field] of entries) {
        const value = (values as Record<string, unknown>)[key];
        if (value !== undefined) field.set(view, base, value);
        else if (field.initial !== 0) field.set(view, base, field.initial);
      }
    },
    toBytes(values) {
      const bytes = new Uint8Array(size);
      methods.emit(new DataView(bytes.buffer), 0, values);
      return bytes;
    },
    describe(view, base = 0) {
      const parts: string[] = [];
      for (const [key, field] of entries) {
        const value: unknown = field.get(view, base);
        if (isEmpty(value)) continue;
        parts.push(`${key}=${field.format(value)}`);
      }
      return parts.length === 0 ? name : `${name} ${parts.join(' ')}`;
    },
    firstReservedNonZero(view, base) {
      for (let i = 0; i < size; i++) if ((view.getUint8(base + i) & ~owned[i]!) !== 0) return i;
      return -1;
    },
  };
  return Object.assign(methods, fields) as Layout<F>;
}

function isEmpty(value: unknown): boolean {
  if (value === 0 || value === 0n || value === '' || value === false) return true;
  if (value instanceof Uint8Array) return value.every((b) => b === 0);
  return Array.isArray(value) && value.every((item) => typeof item === 'object' && Object.values(item).every(isEmpty));
}

export type Names = Readonly<Record<number, string>>;

export interface NumberOptions {
  /** Names of values, for `describe`. */
  readonly names?: Names;
  readonly hex?: boolean;
  readonly initial?: number;
}

function formatNumber(options: NumberOptions, width: number): (value: number) => string {
  return (value) => {
    const name = options.names?.[value];
    if (name !== undefined) return name;
    return options.hex ? `0x${value.toString(16).padStart(width, '0')}` : String(value);
  };
}

export function u8(offset: number, options: NumberOptions = {}): Field<number> {
  return {
    offset,
    length: 1,
    initial: options.initial ?? 0,
    get: (view, base) => view.getUint8(base + offset),
    set: (view, base, value) => view.setUint8(base + offset, value),
    format: formatNumber(options, 2),
  };
}

export function u16(offset: number, options: NumberOptions = {}): Field<number> {
  return {
    offset,
    length: 2,
    initial: options.initial ?? 0,
    get: (view, base) => view.getUint16(base + offset, true),
    set: (view, base, value) => view.setUint16(base + offset, value, true),
    format: formatNumber(options, 4),
  };
}

export function u32(offset: number, options: NumberOptions = {}): Field<number> {
  return {
    offset,
    length: 4,
    initial: options.initial ?? 0,
    get: (view, base) => view.getUint32(base + offset, true),
    set: (view, base, value) => view.setUint32(base + offset, value, true),
    format: formatNumber(options, 8),
  };
}

const TWO32 = 0x100000000;

/** A 48-bit number: timestamps. */
export function u48(offset: number, options: NumberOptions = {}): Field<number> {
  return {
    offset,
    length: 6,
    initial: options.initial ?? 0,
    get: (view, base) => view.getUint32(base + offset, true) + view.getUint16(base + offset + 4, true) * TWO32,
    set: (view, base, value) => {
      view.setUint32(base + offset, value >>> 0, true);
      view.setUint16(base + offset + 4, Math.floor(value / TWO32), true);
    },
    format: formatNumber(options, 12),
  };
}

/**
 * A 64-bit number as a JavaScript number, for quantities whose legal values stay below 2^53 (LBAs, sizes, counters).
 * A larger value on the wire reads as a number above 2^53, inexact but never small, so that range checks still refuse it.
 */
export function u64(offset: number, options: NumberOptions = {}): Field<number> {
  return {
    offset,
    length: 8,
    initial: options.initial ?? 0,
    get: (view, base) => view.getUint32(base + offset, true) + view.getUint32(base + offset + 4, true) * TWO32,
    set: (view, base, value) => {
      view.setUint32(base + offset, value >>> 0, true);
      view.setUint32(base + offset + 4, Math.floor(value / TWO32), true);
    },
    format: formatNumber(options, 16),
  };
}

/** A 64-bit value of which every bit counts: reservation keys, CAP, EUI-64. Not for the hot path. */
export function u64big(offset: number): Field<bigint> {
  return {
    offset,
    length: 8,
    initial: 0n,
    get: (view, base) => view.getBigUint64(base + offset, true),
    set: (view, base, value) => view.setBigUint64(base + offset, value, true),
    format: (value) => `0x${value.toString(16)}`,
  };
}

/** A 128-bit counter or capacity, little-endian. */
export function u128(offset: number): Field<bigint> {
  return {
    offset,
    length: 16,
    initial: 0n,
    get: (view, base) => view.getBigUint64(base + offset, true) | (view.getBigUint64(base + offset + 8, true) << 64n),
    set: (view, base, value) => {
      view.setBigUint64(base + offset, value & 0xffffffffffffffffn, true);
      view.setBigUint64(base + offset + 8, value >> 64n, true);
    },
    format: (value) => String(value),
  };
}

/** `width` bits from bit `shift` of the little-endian word of `bytes` bytes (1, 2 or 4) at `offset`. */
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
  const read =
    bytes === 1
      ? (view: DataView, at: number) => view.getUint8(at)
      : bytes === 2
        ? (view: DataView, at: number) => view.getUint16(at, true)
        : (view: DataView, at: number) => view.getUint32(at, true);
  const write =
    bytes === 1
      ? (view: DataView, at: number, v: number) => view.setUint8(at, v)
      : bytes === 2
        ? (view: DataView, at: number, v: number) => view.setUint16(at, v, true)
        : (view: DataView, at: number, v: number) => view.setUint32(at, v, true);
  return {
    offset,
    length: bytes,
    mask,
    initial: options.initial ?? 0,
    get: (view, base) => ((read(view, base + offset) >>> shift) & ones) >>> 0,
    set: (view, base, value) =>
      write(view, base + offset, ((read(view, base + offset) & keep) | ((value & ones) << shift)) >>> 0),
    format: formatNumber(options, Math.ceil(width / 4)),
  };
}

/** ASCII text padded with spaces: serial and model numbers. */
export function ascii(offset: number, length: number): Field<string> {
  return text(offset, length, 0x20);
}

/** Text ended by a NUL or by the end of the field: NQNs, transport addresses of Connect data. UTF-8. */
export function cstring(offset: number, length: number): Field<string> {
  return text(offset, length, 0);
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();

function text(offset: number, length: number, pad: number): Field<string> {
  return {
    offset,
    length,
    initial: '',
    get: (view, base) => {
      const raw = new Uint8Array(view.buffer, view.byteOffset + base + offset, length);
      let end = raw.indexOf(0);
      if (end < 0) end = length;
      if (pad === 0x20) while (end > 0 && raw[end - 1] === 0x20) end--;
      return decoder.decode(raw.slice(0, end));
    },
    set: (view, base, value) => {
      const raw = encoder.encode(value);
      for (let i = 0; i < length; i++) view.setUint8(base + offset + i, i < raw.length ? raw[i]! : pad);
    },
    format: (value) => JSON.stringify(value),
  };
}

/** Raw bytes; `get` answers a copy. */
export function bytes(offset: number, length: number): Field<Uint8Array> {
  return {
    offset,
    length,
    initial: new Uint8Array(length),
    get: (view, base) => new Uint8Array(view.buffer, view.byteOffset + base + offset, length).slice(),
    set: (view, base, value) => {
      for (let i = 0; i < length; i++) view.setUint8(base + offset + i, i < value.length ? value[i]! : 0);
    },
    format: (value) => Array.from(value, (b) => b.toString(16).padStart(2, '0')).join(''),
  };
}

/** A UUID in the byte order of RFC 9562, as text. The nil UUID reads as the empty string. */
export function uuid(offset: number): Field<string> {
  return {
    offset,
    length: 16,
    initial: '',
    get: (view, base) => {
      let hex = '';
      for (let i = 0; i < 16; i++)
        hex += view
          .getUint8(base + offset + i)
          .toString(16)
          .padStart(2, '0');
      if (/^0+$/.test(hex)) return '';
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
    },
    set: (view, base, value) => {
      const hex = value.replaceAll('-', '').padEnd(32, '0');
      assert(/^[0-9a-fA-F]{32}$/.test(hex), `not a UUID: ${value}`);
      for (let i = 0; i < 16; i++) view.setUint8(base + offset + i, Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16));
    },
    format: (value) => value,
  };
}

/** `count` structures of one layout in a row. */
export function array<V>(offset: number, count: number, item: LayoutMethods<V>): Field<V[]> {
  return {
    offset,
    length: count * item.size,
    initial: [],
    get: (view, base) => Array.from({ length: count }, (_, i) => item.parse(view, base + offset + i * item.size)),
    set: (view, base, value) => {
      for (let i = 0; i < count && i < value.length; i++) item.emit(view, base + offset + i * item.size, value[i]!);
    },
    format: (value) => JSON.stringify(value),
  };
}

/** A structure inside a structure. */
export function struct<V>(offset: number, item: LayoutMethods<V>): Field<V> {
  return {
    offset,
    length: item.size,
    initial: 0 as unknown as V,
    get: (view, base) => item.parse(view, base + offset),
    set: (view, base, value) => item.emit(view, base + offset, value as Partial<V>),
    format: (value) => JSON.stringify(value),
  };
}
