import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { memoryDevice } from '@nvbraid/blockdev';
import { call } from '@nvbraid/manage';
import { BothWays } from './support/both-ways.ts';
import { nvbraid } from './support/in-process.ts';

/* The commands for zones, through a running connect and by an association of their own. */

const ways = new BothWays('zones', {
  device: memoryDevice({ size: 4 * 65536, blockSize: 4096 }),
  zoned: { zoneSize: 65536, zoneCapacity: 49152, maxActive: 3 },
});
const { sandbox } = ways;

ways.describe(['zns'], (run, ok) => {
  test('append, report, open, close, finish, reset', async () => {
    const data = sandbox.file('zone.bin');
    writeFileSync(data, Buffer.alloc(8192, 'z'));
    assert.match(await ok('zone-append', '--zslba', '16', '-d', data), /appended 2 blocks at block 16/);
    const json = await ok('zone-append', '--zslba', '0x10', '-d', data, '-z', '4096', '-o', 'json');
    assert.deepEqual(JSON.parse(json), { nsid: 1, zslba: 16, slba: 18, blocks: 1 });
    await ok('open-zone', '--start-lba', '32');
    assert.equal(
      await ok('report-zones', '-d', '3'),
      [
        'nr_zones: 3',
        'SLBA: 0x0        WP: 0x0        Cap: 0xc        State: EMPTY        Type: SEQWRITE_REQ Attrs: 0x0',
        'SLBA: 0x10       WP: 0x13       Cap: 0xc        State: IMP_OPENED   Type: SEQWRITE_REQ Attrs: 0x0',
        'SLBA: 0x20       WP: 0x20       Cap: 0xc        State: EXP_OPENED   Type: SEQWRITE_REQ Attrs: 0x0',
        '',
      ].join('\n'),
    );
    await ok('close-zone', '--select-all');
    await ok('finish-zone', '--start-lba', '48');
    const report = JSON.parse(await ok('report-zones', '--start-lba', '20', '-o', 'json'));
    assert.deepEqual(report.zone_list, [
      { slba: 16, wp: 19, cap: 12, state: 'CLOSED', attrs: 0, type: 'SEQWRITE_REQ' },
      { slba: 32, wp: 32, cap: 12, state: 'CLOSED', attrs: 0, type: 'SEQWRITE_REQ' },
      { slba: 48, wp: null, cap: 12, state: 'FULL', attrs: 0, type: 'SEQWRITE_REQ' },
    ]);
    assert.match(await ok('report-zones', '--state', '5'), /nr_zones: 1\nSLBA: 0x30 {7}WP: 0xffffffffffffffff/);
    const refused = await run('offline-zone', '--start-lba', '16');
    assert.equal(refused.code, 1);
    assert.match(refused.err, /Invalid Zone State Transition/);
    await ok('reset-zone', '--start-lba', '16');
    assert.deepEqual(JSON.parse(await ok('reset-zone', '--select-all', '-o', 'json')), {
      nsid: 1,
      action: 'reset',
      zone: 'all',
    });
    assert.match(await ok('report-zones', '--state', '1'), /nr_zones: 4/);
  });

  test('id-ns and id-ctrl tell what there is', async () => {
    const ns = JSON.parse(await ok('id-ns', '-o', 'json'));
    assert.deepEqual([ns.zoc, ns.ozcs, ns.mar, ns.mor, ns.lbafe], [0, 1, 2, 2, [{ zsze: 16, zdes: 0 }]]);
    assert.match(await ok('id-ns'), /ZNS Command Set Identify Namespace 1:\nzoc {7}: 0x0\nozcs {6}: 0x1\n/);
    assert.match(await ok('id-ns'), /lbafe {2}0: zsze:0x10 zdes:0/);
    assert.deepEqual(JSON.parse(await ok('id-ctrl', '-o', 'json')), { zasl: 0 });
  });

  test('what is wrong with the command line, or the data, is said', async () => {
    assert.match((await run('reset-zone')).err, /--start-lba is missing/);
    assert.match((await run('reset-zone', '--start-lba', '0', '--select-all')).err, /exclude each other/);
    assert.match((await run('zone-append')).err, /--zslba is missing/);
    writeFileSync(sandbox.file('odd.bin'), 'abc');
    assert.match(
      (await run('zone-append', '--zslba', '0', '-d', sandbox.file('odd.bin'))).err,
      /has 3 bytes.*--data-size 4096 fills it up/,
    );
    assert.match((await run('zone-append', '--zslba', '0', '-d', sandbox.file('none.bin'))).err, /cannot read/);
  });
});

test('a peer at the control socket cannot make up states and actions', async () => {
  await assert.rejects(call(ways.socket, 'zone-report', { nsid: 1, slba: 0, state: 'Lost' }), /state is one of Empty/);
  await assert.rejects(call(ways.socket, 'zone-action', { nsid: 1, action: 'burn', zone: 0 }), /action is one of open/);
  await assert.rejects(call(ways.socket, 'zone-append', { nsid: 1, zslba: 0 }), /data is a string/);
});

test('serve makes zoned namespaces, whose zones are there the next time', async () => {
  const image = sandbox.file('zns.img');
  const zoned = ['--size', '4MiB', '--zone-size', '1MiB', '--zone-capacity', '768KiB', '--max-active-zones', '3'];
  for (const [expected, place] of [
    ['EMPTY', 0],
    ['CLOSED', 1],
  ] as const) {
    const serving = sandbox.start(['serve', image, ...zoned, '-s', '0', '--no-discovery', '-n', `${ways.nqn}:serve`]);
    const port = (await serving.printed(/127\.0\.0\.1:(\d+)/))[1]!;
    const at = ['-a', '127.0.0.1', '-s', port, '-n', `${ways.nqn}:serve`];
    assert.match((await nvbraid(['zns', 'report-zones', '-d', '1', ...at])).out, new RegExp(`State: ${expected}`));
    writeFileSync(sandbox.file('block.bin'), Buffer.alloc(512, 1));
    const appended = await nvbraid(['zns', 'zone-append', '--zslba', '0', '-d', sandbox.file('block.bin'), ...at]);
    assert.match(appended.out + appended.err, new RegExp(`at block ${place}`));
    serving.child.kill('SIGTERM');
    await serving.exit();
  }
  const odd = await nvbraid(['serve', image, '--zone-capacity', '1MiB']);
  assert.match(odd.err, /--zone-capacity needs --zone-size/);
});
