import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileDevice, memoryDevice } from '@nvbraid/blockdev';
import { NvbraidError } from 'nvbraid';
import { KeptFiles } from '../src/kept-files.ts';

const directory = mkdtempSync(join(tmpdir(), 'nvbraid-kept-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const spec = memoryDevice({ size: 4096 });

test('files are synced at the end, and a failure is told', async (t) => {
  const path = join(directory, 'a.img');
  writeFileSync(path, 'x');
  const probe = await open(path);
  const prototype = Object.getPrototypeOf(probe) as typeof probe;
  await probe.close();
  const kept = new KeptFiles();
  await kept.add({ spec: fileDevice({ path }), name: path, made: false });
  await kept.add({ spec, name: 'memory', made: true });
  unlinkSync(path);
  const fail = t.mock.method(prototype, 'datasync', async () => {
    throw Object.assign(new Error('io'), { code: 'ENOSPC' });
  });
  await assert.rejects(kept.settle(), (error: unknown) => {
    assert.ok(error instanceof NvbraidError);
    assert.equal(error.message, `not everything that was written to ${path} is on disk: the disk is full`);
    return true;
  });
  assert.equal(fail.mock.callCount(), 1);
  await kept.settle();
  assert.equal(fail.mock.callCount(), 1, 'once');
});
