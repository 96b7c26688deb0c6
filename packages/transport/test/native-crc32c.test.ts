import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32c, crc32cPortable, Memory, Rng } from '@nvbraid/base';
import { installNativeCrc32c } from '@nvbraid/transport';

test('the native CRC32C, where there is one, agrees with ours at every length and seed', (t) => {
  const native = installNativeCrc32c();
  t.diagnostic(native ? 'libisal is in use' : 'no libisal here: the portable implementation stays in use');
  assert.equal(installNativeCrc32c(), native);
  const rng = new Rng(0x0c3c);
  const memory = Memory.shared(9000);
  rng.fill(memory.bytes);
  for (let i = 0; i < 200; i++) {
    const offset = rng.below(500);
    const length = rng.below(8000);
    const seed = i % 2 === 0 ? 0 : rng.u32();
    assert.equal(
      crc32c(memory, offset, length, seed),
      crc32cPortable(memory, offset, length, seed),
      `${offset} ${length}`,
    );
  }
});
