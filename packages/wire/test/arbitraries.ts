import { Rng } from '@nvbraid/base';
import type { Field, LayoutMethods } from '@nvbraid/wire';
import fc from 'fast-check';

const ASCII = fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)) });
const encoder = new TextEncoder();

function fitting(text: string, length: number): string {
  let out = text;
  while (encoder.encode(out).length > length) out = out.slice(0, -1);
  // Half a pair of surrogates does not come back from UTF-8.
  return out.toWellFormed();
}

/** Random bytes, from a seed: quicker than an arbitrary of arrays. */
export function bytesOf(length: number): fc.Arbitrary<Uint8Array> {
  return fc.nat().map((seed) => {
    const bytes = new Uint8Array(length);
    new Rng(seed).fill(bytes);
    return bytes;
  });
}

/** Any value that the field can hold. */
// biome-ignore lint/suspicious/noExplicitAny: a field of any type
export function arbitraryOfField(field: Field<any>): fc.Arbitrary<unknown> {
  switch (field.kind) {
    case 'number':
      return fc.maxSafeInteger().map((n) => (field.width === 64 ? Math.abs(n) : Math.abs(n) % 2 ** field.width));
    case 'bigint':
      return fc.bigInt({ min: 0n, max: (1n << BigInt(8 * field.length)) - 1n });
    case 'ascii':
      return ASCII.map((text) => fitting(text, field.length));
    case 'cstring':
      return fc
        .string({ unit: 'grapheme', maxLength: field.length })
        .map((text) => fitting(text.replaceAll('\0', ''), field.length))
        .filter((text) => encoder.encode(text).length <= field.length);
    case 'bytes':
      return bytesOf(field.length);
    case 'uuid':
      return fc.uuid();
    case 'array':
      return fc.array(arbitraryOf(field.item!), {
        minLength: field.length / field.item!.size,
        maxLength: field.length / field.item!.size,
      });
    case 'struct':
      return arbitraryOf(field.item!);
  }
}

/** Any values of all fields of a layout. */
export function arbitraryOf<V>(layout: LayoutMethods<V>): fc.Arbitrary<V> {
  return fc.record(Object.fromEntries(layout.fields.map(([key, field]) => [key, arbitraryOfField(field)])), {
    noNullPrototype: true,
  }) as fc.Arbitrary<V>;
}
