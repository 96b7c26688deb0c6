import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as wire from '@nvbraid/wire';
import fc from 'fast-check';
import { arbitraryOf, bytesOf } from './arbitraries.ts';

const layouts = Object.entries(wire as Record<string, unknown>).filter(
  (entry): entry is [string, wire.LayoutMethods<Record<string, unknown>>] =>
    typeof entry[1] === 'object' && entry[1] !== null && 'firstReservedNonZero' in entry[1],
);

test('all layouts are found', () => {
  assert.ok(layouts.length >= 45, `${layouts.length}`);
});

for (const [name, layout] of layouts) {
  test(`${name}: parse(emit(x)) is x, the rest is zero, any bytes can be read`, () => {
    const runs = layout.size > 512 ? 8 : 40;
    fc.assert(
      fc.property(arbitraryOf(layout), (values) => {
        const all = new Uint8Array(layout.size + 3).fill(0xa5);
        const view = new DataView(all.buffer);
        layout.emit(view, 2, values);
        assert.deepEqual(layout.parse(view, 2), values);
        assert.equal(layout.firstReservedNonZero(view, 2), -1);
        assert.deepEqual([all[0], all[1], all.at(-1)], [0xa5, 0xa5, 0xa5]);
      }),
      { numRuns: runs },
    );
    fc.assert(
      fc.property(bytesOf(layout.size), (all) => {
        const view = new DataView(all.buffer, all.byteOffset, all.byteLength);
        layout.parse(view);
        assert.ok(layout.describe(view).startsWith(layout.structName));
      }),
      { numRuns: 5 },
    );
  });
}
