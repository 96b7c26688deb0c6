import { assert } from '@nvbraid/base';
import { type Field, isEmpty } from './fields.ts';

/*
 * The field-table kit. A wire structure is declared once:
 *
 *   export const DsmRange = layout('DsmRange', 16, { cattr: u32(0), nlb: u32(4), slba: u64(8) });
 *   export type DsmRange = ValueOf<typeof DsmRange>;
 *
 * and gives `DsmRange.slba.get(view, base)` / `.set(view, base, value)` for the hot path, `DsmRange.parse`, `.emit` and
 * `.describe` for everything else. Nothing else in nvbraid touches the offsets of a structure. Bounds, overlaps and
 * names are checked when the declaration is loaded; bits that no field covers are reserved and can be checked for zero.
 */
export * from './fields.ts';

// biome-ignore lint/suspicious/noExplicitAny: the value type of a field of any type
type AnyField = Field<any>;
export type Fields = Readonly<Record<string, AnyField>>;
type FieldValue<F> = F extends Field<infer T> ? T : never;
type Values<F> = { -readonly [K in keyof F]: FieldValue<F[K]> };

export interface LayoutMethods<V> {
  readonly structName: string;
  /** Bytes of the structure. */
  readonly size: number;
  readonly fields: ReadonlyArray<readonly [string, AnyField]>;
  /** A bit for each bit that belongs to a field; the others are reserved. */
  readonly owned: Uint8Array;
  /** Every field as a plain object. The caller has checked that `size` bytes are there. */
  parse(view: DataView, base?: number): V;
  /**
   * Zeroes the structure, then writes the given fields, and the initial values of the others. A number that does not
   * fit its field is a programmer error.
   */
  emit(view: DataView, base: number, values: Partial<V>): void;
  /** A new byte array that holds just this structure. */
  toBytes(values: Partial<V>): Uint8Array;
  /** One line for humans; fields that are zero or empty are left out. */
  describe(view: DataView, base?: number): string;
  /** As `describe`, of parsed values. */
  format(values: Partial<V>): string;
  /** Offset of the first byte with a reserved bit that is not zero, or -1. */
  firstReservedNonZero(view: DataView, base: number): number;
}

export type Layout<F> = LayoutMethods<Values<F>> & { readonly [K in keyof F]: F[K] };
/** The plain object type of a layout: `type Sqe = ValueOf<typeof Sqe>`. */
export type ValueOf<L> = L extends LayoutMethods<infer V> ? V : never;

const TAKEN_NAMES = new Set([
  'structName',
  'size',
  'fields',
  'owned',
  'parse',
  'emit',
  'toBytes',
  'describe',
  'format',
  'firstReservedNonZero',
]);

export function layout<const F extends Fields>(name: string, size: number, fields: F): Layout<F> {
  const entries = Object.entries(fields);
  const owned = ownedBits(name, size, entries);
  type V = Values<F>;
  const methods: LayoutMethods<V> = {
    structName: name,
    size,
    fields: entries,
    owned,
    parse(view, base = 0) {
      const values: Record<string, unknown> = {};
      for (const [key, field] of entries) values[key] = field.get(view, base);
      return values as V;
    },
    emit(view, base, values) {
      for (let i = 0; i < size; i++) view.setUint8(base + i, 0);
      for (const [key, field] of entries) {
        const value = (values as Record<string, unknown>)[key] ?? field.initial;
        if (value === 0) continue;
        if (field.kind === 'number')
          assert(fits(value as number, field.width), `${name}.${key}: ${value} does not fit`);
        field.set(view, base, value);
      }
    },
    toBytes(values) {
      const bytes = new Uint8Array(size);
      methods.emit(new DataView(bytes.buffer), 0, values);
      return bytes;
    },
    describe(view, base = 0) {
      return methods.format(methods.parse(view, base) as Partial<V>);
    },
    format(values) {
      const parts = [name];
      for (const [key, field] of entries) {
        const value = (values as Record<string, unknown>)[key];
        if (value !== undefined && !isEmpty(value)) parts.push(`${key}=${field.format(value)}`);
      }
      return parts.join(' ');
    },
    firstReservedNonZero(view, base) {
      for (let i = 0; i < size; i++) if ((view.getUint8(base + i) & ~owned[i]!) !== 0) return i;
      return -1;
    },
  };
  // A literal, not Object.assign: an object that grows by more than a few properties becomes a dictionary, whose
  // accessors the compiler cannot inline.
  return { ...methods, ...fields } as Layout<F>;
}

/** A mask of the bits that fields own, after all declarations have been checked. */
function ownedBits(name: string, size: number, entries: ReadonlyArray<readonly [string, AnyField]>): Uint8Array {
  const owned = new Uint8Array(size);
  for (const [key, field] of entries) {
    assert(!TAKEN_NAMES.has(key), `${name}.${key}: the name belongs to the kit`);
    assert(field.offset >= 0 && field.offset + field.length <= size, `${name}.${key}: outside the structure`);
    for (let i = 0; i < field.length; i++) {
      const bits = field.mask?.[i] ?? 0xff;
      assert((owned[field.offset + i]! & bits) === 0, `${name}.${key}: overlaps another field`);
      owned[field.offset + i]! |= bits;
    }
  }
  return owned;
}

/** Bit operations of JavaScript make 32-bit words negative: those are as good as their unsigned twins. */
function fits(value: number, width: number): boolean {
  return Number.isInteger(value) && value < 2 ** width && (value >= 0 || (width === 32 && value >= -(2 ** 31)));
}
