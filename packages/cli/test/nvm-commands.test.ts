import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { memoryDevice } from '@nvbraid/blockdev';
import { call } from '@nvbraid/manage';
import type { NvbraidError } from 'nvbraid';
import { BothWays } from './support/both-ways.ts';

/* The commands of the NVM Command Set, through a running connect and by an association of their own. */

const ways = new BothWays('commands', { device: memoryDevice({ size: 1 << 20, blockSize: 512 }) });
const { sandbox } = ways;

ways.describe([], (run, ok) => {
  test('compare says whether blocks hold the data, and its exit status does too', async () => {
    writeFileSync(sandbox.file('data.bin'), Buffer.alloc(2048, 'a'));
    await ok('write', '--start-block', '8', '-d', sandbox.file('data.bin'));
    assert.match(
      await ok('compare', '--start-block', '8', '-d', sandbox.file('data.bin')),
      /4 blocks from block 8 on hold/,
    );
    const different = await run('compare', '--start-block', '9', '-d', sandbox.file('data.bin'));
    assert.equal(different.code, 1);
    assert.match(different.err, /block 12 is the first that does not hold this data: byte 1536 of the data/);
    const json = await run('compare', '--start-block', '9', '-d', sandbox.file('data.bin'), '-o', 'json');
    assert.deepEqual(JSON.parse(json.out), { nsid: 1, slba: 9, blocks: 3, equal: false, block: 12, byte: 0 });
    assert.equal((await run('compare', '-d', sandbox.file('none.bin'))).code, 1);
  });

  test('compare ends at the first difference, and does not read on', async () => {
    const data = Buffer.alloc(16 << 10, 'c');
    writeFileSync(sandbox.file('near.bin'), data);
    await ok('write', '--start-block', '512', '-d', sandbox.file('near.bin'));
    data[5 * 512 + 17] = 0;
    data[9 * 512] = 0;
    writeFileSync(sandbox.file('near.bin'), data);
    const found = await run('compare', '--start-block', '512', '-d', sandbox.file('near.bin'), '-o', 'json');
    assert.deepEqual(JSON.parse(found.out), { nsid: 1, slba: 512, blocks: 5, equal: false, block: 517, byte: 17 });
    // An input without end: it is left, not read.
    const endless = await run('compare', '-d', '/dev/zero');
    assert.equal(endless.code, 1, endless.err);
    assert.match(endless.err, /block 8 is the first .* byte 4096 of the data/);
  });

  test('write-uncor, verify, write-zeroes', async () => {
    assert.match(await ok('write-uncor', '--start-block', '9', '-c', '1'), /marked 2 blocks from block 9 on/);
    const bad = await run('verify', '--start-block', '8', '-c', '7');
    assert.equal(bad.code, 1);
    assert.match(bad.err, /Unrecovered Read Error/);
    assert.match(
      await ok('write-zeroes', '--start-block', '9', '-c', '1', '--deac'),
      /zeroed 2 blocks from block 9 on/,
    );
    assert.match(await ok('verify', '--start-block', '8', '-c', '7'), /verified 8 blocks from block 8 on/);
    const beyond = await run('verify', '--start-block', '2048');
    assert.match(beyond.err, /block 2048 is beyond the end of namespace 1/);
  });

  test('copy, dsm, flush', async () => {
    await ok('write', '--start-block', '100', '-d', sandbox.file('data.bin'));
    assert.match(
      await ok('copy', '--slbs', '100,0x65', '--blocks', '1,0', '--sdlba', '200'),
      /copied 3 blocks to block 200 and on/,
    );
    assert.match(await ok('compare', '--start-block', '200', '-z', '1536', '-d', sandbox.file('data.bin')), /3 blocks/);
    const overlap = await run('copy', '--slbs', '100', '--blocks', '3', '--sdlba', '101');
    assert.match(overlap.err, /blocks 100 to 103 cannot be copied to 101 to 104, which they overlap/);
    assert.match(await ok('dsm', '--ad', '--slbs', '200,202', '-b', '1,1'), /deallocated 2 ranges of blocks/);
    assert.match(await ok('dsm', '--idr', '--slbs', '200', '-b', '1'), /told about 1 range of blocks/);
    assert.deepEqual(JSON.parse(await ok('flush', '-o', 'json')), { nsid: 1 });
  });

  test('lists that do not fit are refused', async () => {
    for (const [argv, message] of [
      [['copy', '--slbs', '1,2', '--blocks', '0'], /--slbs names 2 blocks, --blocks 1/],
      [['dsm', '--ad', '--slbs', '1'], /--blocks is missing/],
      [['dsm', '--ad', '--slbs', '1,x', '-b', '1,1'], /"x" is not a number of blocks/],
      [['dsm', '--ad', '--slbs', '2047', '-b', '2'], /beyond the end/],
      [['copy', '--slbs', '0', '--blocks', '3', '--sdlba', '2046'], /beyond the end/],
    ] as const) {
      const { code, err } = await run(...argv);
      assert.ok(code === 1 || code === 2, String(code));
      assert.match(err, message);
    }
  });
});

test('what the control socket is told is checked', async () => {
  for (const [method, params] of [
    ['compare', { nsid: 1, slba: 0 }],
    ['verify', { nsid: 1, slba: 0, blocks: -1 }],
    ['write-uncor', { nsid: 0, slba: 0, blocks: 1 }],
    ['write-zeroes', { nsid: 1, blocks: 1 }],
    ['dsm', { nsid: 1, ranges: 'all' }],
    ['copy', { nsid: 1, ranges: [5], sdlba: 0 }],
    ['copy', { nsid: 1, ranges: [], sdlba: 0.5 }],
  ] as const) {
    await assert.rejects(call(ways.socket, method, params), (error: NvbraidError) => error.code === 'EINVAL', method);
  }
});
