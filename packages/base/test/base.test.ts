import assert from 'node:assert/strict';
import { test } from 'node:test';
import { copyBytes, crc32c, crc32cPortable, Memory, Outbox, Ring, Rng, SlabPool, StateTable } from '@nvbraid/base';
import fc from 'fast-check';

const ascii = (text: string): Memory => Memory.over(new Uint8Array(new TextEncoder().encode(text).buffer.slice(0)));

test('CRC32C: the check value of the polynomial and the vectors of RFC 3720 B.4', () => {
  assert.equal(crc32c(ascii('123456789'), 0, 9), 0xe3069283);
  const m = Memory.alloc(32);
  assert.equal(crc32c(m, 0, 32), 0x8a9136aa);
  m.bytes.fill(0xff);
  assert.equal(crc32c(m, 0, 32), 0x62a8ab43);
  for (let i = 0; i < 32; i++) m.bytes[i] = i;
  assert.equal(crc32c(m, 0, 32), 0x46dd794e);
  for (let i = 0; i < 32; i++) m.bytes[i] = 31 - i;
  assert.equal(crc32c(m, 0, 32), 0x113fdb5c);
});

test('CRC32C continues over any split of the range', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(), (bytes, cut) => {
      const m = Memory.over(new Uint8Array(bytes));
      const at = bytes.length === 0 ? 0 : cut % bytes.length;
      const whole = crc32cPortable(m, 0, m.length);
      assert.equal(crc32cPortable(m, at, m.length - at, crc32cPortable(m, 0, at)), whole);
    }),
  );
});

test('Ring behaves like an array under push, unshift and shift', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 2 })), (ops) => {
      const ring = new Ring<number>(2);
      const model: number[] = [];
      ops.forEach((op, i) => {
        if (op === 0) {
          ring.push(i);
          model.push(i);
        } else if (op === 1) {
          ring.unshift(i);
          model.unshift(i);
        } else assert.equal(ring.shift(), model.shift());
        assert.equal(ring.length, model.length);
        assert.equal(ring.peek(), model[0]);
        for (let k = 0; k <= model.length; k++) assert.equal(ring.at(k), model[k]);
      });
    }),
  );
});

test('Rng: equal seeds give equal numbers, below() stays below', () => {
  const a = new Rng(7);
  const b = new Rng(7);
  for (let i = 0; i < 1000; i++) {
    const limit = i % 2 ? 10 : 2 ** 40;
    const x = a.below(limit);
    assert.equal(x, b.below(limit));
    assert.ok(x >= 0 && x < limit && Number.isInteger(x));
  }
  assert.notEqual(new Rng(1).u32(), new Rng(2).u32());
});

test('Outbox joins neighbouring arena bytes and keeps the order of the wire', () => {
  const pool = new SlabPool(1 << 20);
  const out = new Outbox(64, 4);
  const slab = pool.take(5000)!;
  slab.bytes.fill(9, 0, 3);
  out.arena.bytes[out.reserve(1)] = 1;
  out.arena.bytes[out.reserve(1)] = 2;
  assert.equal(out.count, 1);
  out.append(slab, 0, 3);
  out.releaseAfterSend(slab, pool);
  out.arena.bytes[out.reserve(1)] = 3;
  assert.deepEqual([...out.toBytes()], [1, 2, 9, 9, 9, 3]);
  assert.equal(out.bytes, 6);
  assert.ok(!out.room(2, 0) && out.room(1, 61) && !out.room(1, 62));
  assert.equal(pool.loanedBytes, 8192);
  out.reset();
  assert.equal(pool.loanedBytes, 0);
  assert.equal(out.count, 0);
});

test('SlabPool keeps to its limit, reuses slabs and refuses to take one back twice', () => {
  const pool = new SlabPool(16384);
  const a = pool.take(4097)!;
  const b = pool.take(8192)!;
  assert.equal(a.length, 8192);
  assert.equal(pool.take(1), null);
  assert.equal(pool.takeOverLimit(1).length, 4096);
  pool.give(a);
  assert.throws(() => pool.give(a), /twice/);
  pool.give(b);
  assert.ok(pool.take(8000) !== null);
});

test('StateTable runs, refuses and describes its transitions', () => {
  const table = new StateTable<'a' | 'b', 'go' | 'back'>('T', 'a', { go: { a: 'b' }, back: { b: 'a' } });
  assert.equal(table.next('a', 'go'), 'b');
  assert.equal(table.may('a', 'back'), false);
  assert.throws(() => table.next('a', 'back'), /T: back in state a/);
  assert.equal(table.describe(), 'T (starts in a)\n  go: a -> b\n  back: b -> a');
});

test('copyBytes copies exactly the range, whatever its size, between plain and shared memory', () => {
  const from = Memory.shared(10000);
  new Rng(3).fill(from.bytes);
  for (const length of [0, 1, 64, 65, 4096, 9000]) {
    const to = Memory.alloc(9100);
    copyBytes(from, 500, to, 50, length);
    assert.deepEqual([...to.bytes.slice(50, 50 + length)], [...from.bytes.slice(500, 500 + length)]);
    assert.ok(to.bytes.slice(0, 50).every((b) => b === 0) && to.bytes.slice(50 + length).every((b) => b === 0));
  }
});
