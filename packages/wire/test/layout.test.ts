import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionError } from '@nvbraid/base';
import {
  array,
  ascii,
  bits,
  bytes,
  cstring,
  type Field,
  type Layout,
  type LayoutMethods,
  layout,
  struct,
  u8,
  u16,
  u32,
  u48,
  u64,
  u64big,
  u128,
  uuid,
  type ValueOf,
} from '@nvbraid/wire';
import fc from 'fast-check';
import { arbitraryOf, bytesOf } from './arbitraries.ts';

const Inner = layout('Inner', 4, { a: u8(0), low: bits(1, 0, 3), high: bits(1, 4, 2), b: u8(2) });
const Everything = layout('Everything', 256, {
  u8: u8(0, { hex: true }),
  u16: u16(1),
  u32: u32(3, { names: { 7: 'seven' } }),
  u48: u48(8),
  u64: u64(16),
  big: u64big(24),
  huge: u128(32),
  nibble: bits(48, 0, 4),
  rest: bits(48, 5, 3),
  wide: bits(50, 3, 9, 2),
  top: bits(52, 0, 31, 4),
  sign: bits(52, 31, 1, 4),
  word: bits(56, 0, 32, 4),
  serial: ascii(64, 20),
  nqn: cstring(84, 40),
  raw: bytes(124, 7),
  id: uuid(131),
  inner: struct(148, Inner),
  list: array(152, 3, Inner),
});
type Everything = ValueOf<typeof Everything>;

const viewOf = (array: Uint8Array): DataView => new DataView(array.buffer, array.byteOffset, array.byteLength);

test('a field outside its structure is refused when it is declared', () => {
  assert.throws(() => layout('X', 4, { a: u32(1) }), /X\.a: outside/);
  assert.throws(() => layout('X', 4, { a: u8(-1) }), /X\.a: outside/);
  assert.throws(() => layout('X', 4, { a: array(0, 2, Inner) }), /X\.a: outside/);
  assert.throws(() => bits(0, 6, 3), AssertionError);
  assert.throws(() => bits(0, 0, 0), AssertionError);
});

test('fields that overlap are refused, bits that share a byte are not', () => {
  assert.throws(() => layout('X', 8, { a: u32(0), b: u8(3) }), /X\.b: overlaps/);
  assert.throws(() => layout('X', 8, { a: bits(0, 0, 4), b: bits(0, 3, 1) }), /X\.b: overlaps/);
  assert.throws(() => layout('X', 8, { a: bits(0, 7, 9, 2), b: u8(1) }), /X\.b: overlaps/);
  assert.throws(() => layout('X', 8, { a: struct(0, Inner), b: bits(1, 5, 1) }), /X\.b: overlaps/);
  layout('X', 8, { a: bits(0, 0, 4), b: bits(0, 4, 4), c: u8(1) });
});

test('names of the kit cannot be those of fields', () => {
  const methods = Object.keys(Inner).filter((key) => !['a', 'low', 'high', 'b'].includes(key));
  for (const name of methods) assert.throws(() => layout('X', 4, { [name]: u8(0) }), /belongs to the kit/, name);
});

test('reserved bits are found wherever they are set', () => {
  const bytesOf = (at: number, value: number): DataView => {
    const all = new Uint8Array(Everything.size);
    all[at] = value;
    return viewOf(all);
  };
  for (let at = 0; at < Everything.size; at++)
    for (let bit = 0; bit < 8; bit++) {
      const owned = (Everything.owned[at]! >> bit) & 1;
      assert.equal(Everything.firstReservedNonZero(bytesOf(at, 1 << bit), 0), owned ? -1 : at);
    }
  assert.equal(Everything.owned[48], 0b1110_1111);
  assert.equal(Everything.owned[149], 0b0011_0111, 'inside a structure');
  assert.equal(Everything.owned[161], 0b0011_0111, 'inside an array');
  assert.equal(Everything.owned[255], 0);
});

test('parse(emit(x)) is x, and emit zeroes all that is reserved', () => {
  fc.assert(
    fc.property(arbitraryOf(Everything), fc.nat(9), (values, base) => {
      const all = new Uint8Array(base + Everything.size + 1).fill(0xff);
      Everything.emit(viewOf(all), base, values);
      assert.deepEqual(Everything.parse(viewOf(all), base), values);
      assert.equal(Everything.firstReservedNonZero(viewOf(all), base), -1);
      for (let i = 0; i < base; i++) assert.equal(all[i], 0xff, 'before the structure');
      assert.equal(all.at(-1), 0xff, 'after the structure');
      assert.deepEqual(Everything.toBytes(values), all.slice(base, base + Everything.size));
    }),
  );
});

test('set changes the bits of its field and no others', () => {
  fc.assert(
    fc.property(arbitraryOf(Everything), arbitraryOf(Everything), fc.nat(), (before, after, which) => {
      const [key, field] = Everything.fields[which % Everything.fields.length]!;
      const all = Everything.toBytes(before);
      field.set(viewOf(all), 0, after[key as keyof Everything]);
      assert.deepEqual(Everything.parse(viewOf(all)), { ...before, [key]: after[key as keyof Everything] });
    }),
  );
});

test('reading any bytes never throws', () => {
  fc.assert(
    fc.property(bytesOf(Everything.size), (all) => {
      Everything.parse(viewOf(all));
      assert.ok(Everything.describe(viewOf(all)).startsWith('Everything'));
    }),
  );
});

test('what does not fit is a programmer error, not another value', () => {
  const emit =
    (values: Partial<Everything>): (() => void) =>
    () =>
      void Everything.toBytes(values);
  assert.throws(emit({ u8: 256 }), /Everything\.u8: 256 does not fit/);
  assert.throws(emit({ u16: -1 }), /does not fit/);
  assert.throws(emit({ nibble: 16 }), /does not fit/);
  assert.throws(emit({ u32: 0.5 }), /does not fit/);
  assert.throws(emit({ u32: Number.NaN }), /does not fit/);
  assert.throws(emit({ u64: 2 ** 64 }), /does not fit/);
  assert.throws(emit({ serial: 'x'.repeat(21) }), AssertionError);
  assert.throws(emit({ nqn: 'ü'.repeat(21) }), AssertionError);
  assert.throws(emit({ raw: new Uint8Array(8) }), AssertionError);
  assert.throws(emit({ id: 'not-a-uuid' }), /not a UUID/);
  assert.throws(emit({ list: Array.from({ length: 4 }, () => ({ a: 0, low: 0, high: 0, b: 0 })) }), AssertionError);
  // Bit operations make 32-bit words negative.
  assert.equal(Everything.parse(viewOf(Everything.toBytes({ u32: 1 << 31 }))).u32, 0x80000000);
});

test('numbers read unsigned and 64 bits never read too small', () => {
  const ones = viewOf(new Uint8Array(Everything.size).fill(0xff));
  assert.equal(Everything.u32.get(ones, 0), 0xffffffff);
  assert.equal(Everything.word.get(ones, 0), 0xffffffff);
  assert.equal(Everything.top.get(ones, 0), 0x7fffffff);
  assert.equal(Everything.sign.get(ones, 0), 1);
  assert.equal(Everything.u48.get(ones, 0), 2 ** 48 - 1);
  assert.ok(Everything.u64.get(ones, 0) > Number.MAX_SAFE_INTEGER);
  assert.equal(Everything.big.get(ones, 0), 2n ** 64n - 1n);
  assert.equal(Everything.huge.get(ones, 0), 2n ** 128n - 1n);
});

test('text: padding, ends and bytes that are no text', () => {
  const all = Everything.toBytes({ serial: 'AB', nqn: 'nqn.x' });
  assert.deepEqual([...all.slice(64, 84)], [0x41, 0x42, ...new Array(18).fill(0x20)]);
  assert.deepEqual([...all.slice(84, 90)], [...Buffer.from('nqn.x'), 0]);
  // Peers pad with NUL what should be padded with spaces.
  all.fill(0, 66, 84);
  assert.equal(Everything.serial.get(viewOf(all), 0), 'AB');
  all.fill(0x61, 84, 124);
  assert.equal(Everything.nqn.get(viewOf(all), 0), 'a'.repeat(40));
  all.fill(0xff, 84, 86);
  assert.equal(Everything.nqn.get(viewOf(all), 0), '\ufffd\ufffd' + 'a'.repeat(38));
  // A byte order mark is text like any other.
  assert.equal(Everything.nqn.get(viewOf(Everything.toBytes({ nqn: '\ufeffx' })), 0), '\ufeffx');
  // Memory that threads share.
  const shared = new DataView(new SharedArrayBuffer(Everything.size));
  Everything.emit(shared, 0, { nqn: 'shared' });
  assert.equal(Everything.nqn.get(shared, 0), 'shared');
});

test('initial values, and zero given in their place', () => {
  const WithInitial = layout('WithInitial', 8, { a: u8(0, { initial: 7 }), t: ascii(1, 3), inner: struct(4, Inner) });
  assert.deepEqual([...WithInitial.toBytes({})], [7, 0x20, 0x20, 0x20, 0, 0, 0, 0]);
  assert.deepEqual([...WithInitial.toBytes({ a: 0, t: 'x' })], [0, 0x78, 0x20, 0x20, 0, 0, 0, 0]);
});

test('describe names values and leaves out what is empty', () => {
  const all = Everything.toBytes({
    u8: 10,
    u32: 7,
    big: 255n,
    huge: 3n,
    nqn: 'a"b\n',
    raw: Uint8Array.of(1, 0xab),
    inner: { a: 1, low: 0, high: 2, b: 0 },
    list: [
      { a: 0, low: 1, high: 0, b: 0 },
      { a: 0, low: 0, high: 0, b: 0 },
    ],
  });
  assert.equal(
    Everything.describe(viewOf(all)),
    'Everything u8=0x0a u32=seven big=0xff huge=3 nqn="a\\"b\\n" raw=01ab0000000000 inner=Inner a=1 high=2 list=[Inner low=1]',
  );
  assert.equal(Inner.describe(new DataView(new ArrayBuffer(4))), 'Inner');
  assert.equal(Inner.format({ b: 2 }), 'Inner b=2');
});

// ------------------------------------------------------------------ types: what follows is checked by the compiler

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function holds<_ extends true>(): void {}

test('a declaration gives the type of its values', () => {
  holds<Equal<ValueOf<typeof Inner>, { a: number; low: number; high: number; b: number }>>();
  holds<Equal<Everything['big'], bigint>>();
  holds<Equal<Everything['nqn'], string>>();
  holds<Equal<Everything['raw'], Uint8Array>>();
  holds<Equal<Everything['list'], ValueOf<typeof Inner>[]>>();
  holds<Equal<Everything['inner'], ValueOf<typeof Inner>>>();
  holds<Equal<(typeof Everything)['u8'], Field<number>>>();
  holds<Equal<(typeof Inner)['parse'], LayoutMethods<ValueOf<typeof Inner>>['parse']>>();
  const inner: Layout<{ a: Field<number> }> = layout('X', 1, { a: u8(0) });
  const never = (): void => {
    // @ts-expect-error no such field
    inner.toBytes({ b: 1 });
    // @ts-expect-error a number is wanted
    inner.toBytes({ a: '1' });
    // @ts-expect-error no such field
    inner.b;
    // @ts-expect-error a bigint is wanted
    Everything.big.set(new DataView(new ArrayBuffer(256)), 0, 1);
    // @ts-expect-error fields cannot be replaced
    inner.a = u8(0);
  };
  assert.equal(typeof never, 'function');
});
