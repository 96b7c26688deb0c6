import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { after, describe, test } from 'node:test';
import { Memory } from '@nvbraid/base';
import { BlockKind, emptyStamp, readStamp } from 'nvbraid';
import { nvbraid } from './support/in-process.ts';
import { Sandbox } from './support/process.ts';

const BLOCK = 4096;
const REGION_BLOCKS = 4096;

describe('nvbraid demo', { concurrency: false }, () => {
  const sandbox = new Sandbox();
  process.env.NVBRAID_RUNTIME_DIR = sandbox.env.NVBRAID_RUNTIME_DIR;
  after(() => sandbox.close());

  test('writes, verifies, and loses nothing at Ctrl-C', async () => {
    const demo = sandbox.start(['demo', '-s', '0']);
    await demo.printed(/^pattern: 16 MiB written and read back, 4096 blocks verified$/m);
    assert.match(demo.out, /nvme connect -t tcp -a 127\.0\.0\.1 -s \d+ -n nqn\.2026-01\.io\.nvbraid:/);
    demo.signal('SIGINT');
    assert.equal(await demo.exit(), 0, demo.err);
    assert.match(demo.out, /^\d+ operations, \d+ blocks verified, no error$/m);
    assert.match(demo.out, /^Stopped after .* Everything that was written is in data\/nvbraid\.img\.$/m);
    const path = sandbox.file('data/nvbraid.img');
    assert.equal(statSync(path).size, 1024 ** 3);
    const image = readFileSync(path).subarray(0, REGION_BLOCKS * BLOCK);
    const memory = Memory.over(image);
    const stamp = emptyStamp();
    const run = memory.view.getUint32(4, true);
    for (let lba = 0; lba < REGION_BLOCKS; lba++) {
      readStamp(memory, lba * BLOCK, BLOCK, run, stamp);
      assert.equal(stamp.kind, BlockKind.Stamped, `LBA ${lba}`);
      assert.equal(stamp.lba, lba);
    }
  });

  test('runs again on what is there, and shows in list', async () => {
    const demo = sandbox.start(['demo', '-s', '0', '--iodepth', '4']);
    await demo.printed(/^pattern: /m);
    const { Targets } = JSON.parse((await nvbraid(['list', '-o', 'json'])).out);
    assert.equal(Targets[0].pid, demo.child.pid);
    demo.signal('SIGTERM');
    assert.equal(await demo.exit(), 0, demo.err);
  });

  test('a file that exists is not changed', async () => {
    const path = sandbox.file('mine.img');
    writeFileSync(path, randomBytes(300 * 512));
    const digest = (): string => createHash('sha256').update(readFileSync(path)).digest('hex');
    const before = digest();
    const demo = await sandbox.run(['demo', 'mine.img', '-s', '0', '--runtime', '0.3']);
    assert.equal(demo.code, 0, demo.err);
    assert.match(demo.out, /mine\.img, 150 KiB in blocks of 512 bytes, only read/);
    assert.match(demo.out, /Nothing in mine\.img was changed by the demo/);
    assert.equal(digest(), before);
  });

  test('a missing file is a sentence', async () => {
    const { code, err } = await nvbraid(['demo', sandbox.file('none.img')]);
    assert.equal(code, 1);
    assert.match(err, /none\.img does not exist; --size makes it/);
  });

  test('another host ends the traffic', async () => {
    const demo = sandbox.start(['demo', '-s', '0']);
    const [, port, nqn] = await demo.printed(/-s (\d+) -n (\S+)/);
    await demo.printed(/^pattern: /m);
    const other = await nvbraid([
      'id-ns',
      '-a',
      '127.0.0.1',
      '-s',
      port!,
      '-n',
      nqn!,
      '-q',
      'nqn.2026-01.io.nvbraid:other',
    ]);
    assert.equal(other.code, 0, other.err);
    await demo.printed(
      /another host has connected \(nqn\.2026-01\.io\.nvbraid:other\): the traffic of the demo ends here/,
    );
    demo.signal('SIGINT');
    assert.equal(await demo.exit(), 0, demo.err);
  });
});
