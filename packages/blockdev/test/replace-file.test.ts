import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { replaceFile, statePath } from '../src/index.ts';

describe('replacing a file', () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'nvbraid-replace-'));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  test('makes it with the mode, and its directory when asked', async () => {
    const path = join(dir, 'a/b/config.json');
    await assert.rejects(replaceFile(path, 'x'), { code: 'ENOENT', message: new RegExp(path) });
    await replaceFile(path, 'one', { makeDirectory: true });
    assert.equal(readFileSync(path, 'utf8'), 'one');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    await replaceFile(path, Uint8Array.of(1, 2, 3), { mode: 0o644 });
    assert.deepEqual([...readFileSync(path)], [1, 2, 3]);
    assert.equal(statSync(path).mode & 0o777, 0o644);
    assert.deepEqual(readdirSync(join(dir, 'a/b')), ['config.json'], 'nothing is left behind');
  });

  test('a failure leaves the old contents and nothing else', async () => {
    const path = join(dir, 'taken');
    await replaceFile(join(path, 'inner'), 'kept', { makeDirectory: true });
    await assert.rejects(replaceFile(path, 'a file cannot replace a directory'), { code: 'EIO' });
    assert.equal(readFileSync(join(path, 'inner'), 'utf8'), 'kept');
    assert.deepEqual(
      readdirSync(dir).filter((name) => name.startsWith('.')),
      [],
    );
  });

  test('two at once leave one of them whole', async () => {
    const path = join(dir, 'race');
    writeFileSync(path, '');
    const texts = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(100_000));
    await Promise.all(texts.map((text) => replaceFile(path, text)));
    assert.ok(texts.includes(readFileSync(path, 'utf8')));
  });
});

test('the state of a file is beside it, that of a block device where the caller says', () => {
  assert.equal(statePath('/srv/disk.img', false, 'zones'), '/srv/disk.img.nvbraid/zones');
  assert.equal(statePath('/dev/sdb', true, 'zones'), null);
  assert.equal(statePath('/dev/sdb', true, 'zones', '/var/lib/nvbraid'), '/var/lib/nvbraid/sdb.nvbraid/zones');
});
