import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { NvbraidError } from '@nvbraid/base';
import { fileDevice, measureDevice, memoryDevice, prepareDevice, releaseDevice, stackFilters } from '../src/index.ts';

const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-measure-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

test('a device is measured again: files follow, also below filters, overlays and memory stay', async () => {
  const path = join(scratch, 'disk.img');
  const file = await prepareDevice(fileDevice({ path, size: 1 << 20, create: true }));
  truncateSync(path, 2 << 20);
  const measured = await measureDevice(file);
  assert.deepEqual([file.blockCount, measured.blockCount], [256, 512]);
  truncateSync(path, (2 << 20) + 1);
  await assert.rejects(measureDevice(file), (error) => error instanceof NvbraidError && error.code === 'EINVAL');
  await releaseDevice(measured);
  for (const [kind, expected] of [
    ['stats', 512],
    ['cow', 256],
  ] as const) {
    truncateSync(path, 1 << 20);
    const stacked = await prepareDevice(stackFilters(fileDevice({ path }), [{ kind }]));
    truncateSync(path, 2 << 20);
    assert.equal((await measureDevice(stacked)).blockCount, expected, kind);
    await releaseDevice(stacked);
  }
  const memory = await prepareDevice(memoryDevice({ size: 1 << 20 }));
  assert.equal(await measureDevice(memory), memory);
});
