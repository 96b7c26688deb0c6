import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { allocatedRanges, fileDevice, prepareDevice, releaseDevice, stackFilters } from '../src/index.ts';

const MIB = 1024 * 1024;

test('holes of a file are seen through filters that keep nothing, and through no other', async (t) => {
  const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-ranges-'));
  t.after(() => rmSync(scratch, { recursive: true }));
  const path = join(scratch, 'sparse.img');
  const file = openSync(path, 'w');
  writeSync(file, Buffer.alloc(MIB, 1), 0, MIB, 2 * MIB);
  closeSync(file);
  truncateSync(path, 8 * MIB);
  const ranges = async (...kinds: string[]) => {
    const device = await prepareDevice(
      stackFilters(
        fileDevice({ path }),
        kinds.map((kind) => ({ kind })),
      ),
    );
    const found = allocatedRanges(device, 0, 8 * MIB, 10);
    await releaseDevice(device);
    return found.map((range) => [...range]);
  };
  const data = [[2 * MIB, 3 * MIB]];
  const all = [[0, 8 * MIB]];
  assert.deepEqual(await ranges(), data);
  assert.deepEqual(await ranges('delay', 'rate', 'stats', 'log', 'error', 'read-only'), data);
  assert.deepEqual(await ranges('corrupt'), all);
  assert.deepEqual(await ranges('delay', 'cow'), all);
  assert.deepEqual(await ranges('cow', 'delay'), all);
});
