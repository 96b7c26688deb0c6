import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { connectController } from 'nvbraid';
import { nvbraid, ok } from './support/in-process.ts';
import { type Cli, Sandbox } from './support/process.ts';

const NQN = 'nqn.2026-01.io.nvbraid:test:disk';
const SIZE = 8 * 1024 * 1024;

/** `nvbraid serve` in a process of its own, and every other command against it. */
describe('nvbraid serve', { concurrency: false }, () => {
  const sandbox = new Sandbox();
  let serve: Cli;
  let port: string;
  process.env.NVBRAID_RUNTIME_DIR = sandbox.env.NVBRAID_RUNTIME_DIR;

  before(async () => {
    serve = sandbox.start(['serve', 'disk.img', '--size', '8MiB', '-s', '0', '--nqn', NQN]);
    port = (await serve.printed(/ -s (\d+) -n /))[1]!;
  });
  after(() => sandbox.close());

  test('says what it serves and how to connect', async () => {
    await serve.printed(/Ctrl-C stops/);
    const text = serve.out;
    assert.match(text, new RegExp(`^serving ${NQN} on tcp 127\\.0\\.0\\.1:${port}$`, 'm'));
    assert.match(text, /^ {2}namespace 1: disk\.img, 8 MiB in blocks of 512 bytes, made now$/m);
    assert.match(text, /^ {2}discovery: (tcp 127\.0\.0\.1:8009|port 8009 is in use; .*)$/m);
    assert.match(text, /^ {2}control socket: .*serve-\d+\.sock$/m);
    assert.match(text, new RegExp(`^ {2}nvme connect -t tcp -a 127\\.0\\.0\\.1 -s ${port} -n ${NQN}$`, 'm'));
  });

  test('list', async () => {
    const text = await ok('list');
    assert.match(text, new RegExp(`serve +${NQN} +1 +8 MiB +512 B +127\\.0\\.0\\.1:${port} +0 controllers`));
    const { Targets } = JSON.parse(await ok('list', '-o', 'json'));
    assert.equal(Targets[0].pid, serve.child.pid);
    assert.equal(Targets[0].subsystems[0].namespaces[0].blockCount, SIZE / 512);
    assert.match(await ok('list', '-v'), /disk\.img, uuid [0-9a-f-]{36}/);
  });

  test('list -v tells what each host has and has done', async () => {
    const hostnqn = 'nqn.2026-01.org.nvbraid:listed';
    const host = await connectController({ traddr: '127.0.0.1', trsvcid: port, nqn: NQN, hostnqn });
    await host.namespace(1).read(0, Buffer.alloc(512));
    assert.match(
      await ok('list', '-v'),
      new RegExp(`host +${hostnqn}: 1 controller, 1 queue; \\d+ commands?, .* under way`),
    );
    const [listed] = JSON.parse(await ok('list', '-o', 'json')).Targets[0].hosts;
    assert.equal(listed.hostnqn, hostnqn);
    assert.equal(listed.queues, 1);
    await host.disconnect();
  });

  test('discover', async () => {
    const { records } = JSON.parse(await ok('discover', '-a', '127.0.0.1', '-s', port, '-o', 'json'));
    const entry = records.find((record: { subtype: string }) => record.subtype === 'nvme subsystem');
    assert.equal(entry.subnqn, NQN);
    assert.equal(entry.trsvcid, port);
    const text = await ok('discover', '-a', '127.0.0.1', '-s', port);
    assert.match(text, /^Discovery Log Number of Records \d+, Generation counter \d+$/m);
    assert.match(text, new RegExp(`^subnqn: +${NQN}$`, 'm'));
  });

  test('id-ctrl and id-ns, by the running process and by the address', async () => {
    const byProcess = JSON.parse(await ok('id-ctrl', '-o', 'json'));
    assert.equal(byProcess.subnqn, NQN);
    assert.equal(byProcess.mn, 'nvbraid');
    assert.equal(byProcess.sqes, 0x66);
    const byAddress = JSON.parse(await ok('id', 'ctrl', '-o', 'json', '-a', '127.0.0.1', '-s', port, '-n', NQN));
    assert.equal(byAddress.sn, byProcess.sn);
    const text = await ok('id-ctrl', '-v');
    assert.match(text, /^NVME Identify Controller:\nvid {7}: 0x/);
    assert.match(text, /^cntrltype : 1 \(I\/O controller\)$/m);
    assert.match(text, /^sqes {6}: 0x66$/m);
    const namespace = JSON.parse(await ok('id-ns', '-o', 'json'));
    assert.equal(namespace.nsze, SIZE / 512);
    assert.equal(namespace.lbafs[0].lbads, 9);
    assert.match(
      await ok('id-ns', '--nsid', '1'),
      /^nsze {6}: 0x4000\n[\s\S]*^lbaf {2}0 : ms:0 {3}lbads:9 {2}rp:0 \(in use\)$/m,
    );
  });

  test('what was written is read back, and reads beyond the end are refused', async () => {
    const data = randomBytes(1536 * 1024);
    writeFileSync(sandbox.file('in.bin'), data);
    await ok('write', '--start-block', '100', '--data', sandbox.file('in.bin'));
    await ok('read', '--start-block', '100', '-z', '1536KiB', '--data', sandbox.file('out.bin'));
    assert.ok(readFileSync(sandbox.file('out.bin')).equals(data));
    const one = JSON.parse(await ok('read', '--slba', '101', '-c', '1', '-o', 'json'));
    assert.ok(Buffer.from(one.data, 'base64').equals(data.subarray(512, 1536)));
    const beyond = await nvbraid(['read', '--start-block', '16384']);
    assert.equal(beyond.code, 1);
    assert.match(beyond.err, /block 16384 is beyond the end of namespace 1, whose last block is 16383/);
  });

  test('standard input and output carry data', async () => {
    const short = await sandbox.run(['write', '--start-block', '10'], 'short');
    assert.equal(short.code, 1);
    assert.match(short.err, /the data has 5 bytes, not a multiple of the block size 512; --data-size 512 fills it up/);
    const filled = await sandbox.run(['write', '--start-block', '10', '-c', '0', '--force-unit-access'], 'hello');
    assert.equal(filled.code, 0, filled.err);
    const { code, data } = await sandbox.run(['read', '--start-block', '10']);
    assert.equal(code, 0);
    assert.ok(data.equals(Buffer.concat([Buffer.from('hello'), Buffer.alloc(507)])));
  });

  test('an unknown subsystem and an unknown namespace', async () => {
    const subsystem = await nvbraid(['id-ctrl', '-o', 'json', '-a', '127.0.0.1', '-s', port, '-n', `${NQN}x`]);
    assert.equal(subsystem.code, 1);
    assert.match(
      subsystem.err,
      /Connect Invalid Parameters .* nvbraid discover -a 127\.0\.0\.1 -s \d+ lists what it has/,
    );
    const { status } = JSON.parse(subsystem.out).error;
    assert.deepEqual(status, { sct: 1, sc: 0x82, dnr: true, name: 'Connect Invalid Parameters' });
    const namespace = await nvbraid(['id-ns', '--namespace-id', '7']);
    assert.equal(namespace.code, 1);
    assert.match(namespace.err, /has no namespace 7 \(it has 1\)/);
  });

  test('bench measures and verifies', async () => {
    const words = [
      'bench',
      '--rw',
      'randrw',
      '--runtime',
      '1',
      '--verify',
      'history',
      '-i',
      '2',
      '--size',
      '1MiB',
      '-o',
      'json',
    ];
    const result = JSON.parse(await ok(...words));
    assert.equal(result.verify.violation, null);
    assert.ok(result.verify.checked_blocks > 0 && result.read.ios > 0 && result.write.ios > 0);
    assert.equal(result.total.errors, 0);
    assert.ok(result.read.latency_us.p50 <= result.read.latency_us.p99);
    assert.equal(result.settings.nr_io_queues, 2);
    const careful = await nvbraid(['bench', '--verify', 'history']);
    assert.equal(careful.code, 2);
    assert.match(careful.err, /--verify history writes to the namespace: say so with --rw/);
  });

  test('the file is locked while it is served', async () => {
    const second = await nvbraid(['serve', sandbox.file('disk.img'), '-s', '0', '--reactors', '0', '--no-discovery']);
    assert.equal(second.code, 1);
    assert.match(second.err, /disk\.img/);
  });

  test('Ctrl-C: what was written is on disk, the exit code is 0, the socket is gone', async () => {
    const data = randomBytes(4096);
    writeFileSync(sandbox.file('last.bin'), data);
    await ok('write', '--start-block', '8000', '--data', sandbox.file('last.bin'));
    serve.signal('SIGINT');
    assert.equal(await serve.exit(), 0);
    assert.match(
      serve.out,
      /^Stopped after .*: \d+ reads \(.*\), \d+ writes \(.*\), 0 errors\. Everything that was written is on disk\.$/m,
    );
    assert.match(serve.err, /stopping; once more stops at once/);
    const image = readFileSync(sandbox.file('disk.img'));
    assert.equal(image.length, SIZE);
    assert.ok(image.subarray(8000 * 512, 8000 * 512 + 4096).equals(data));
    assert.deepEqual(JSON.parse(await ok('list', '-o', 'json')), { Devices: [], Targets: [] });
  });

  test('the image is served again as it is, to JSON readers and named hosts only', async () => {
    const again = sandbox.start([
      'serve',
      'disk.img',
      '-s',
      '0',
      '--allow-host',
      'nqn.2026-01.io.nvbraid:friend',
      '-o',
      'json',
      '--no-discovery',
    ]);
    await again.printed(/"event":"serving".*\n/);
    const serving = JSON.parse(again.out.split('\n')[0]!);
    const at = ['-a', '127.0.0.1', '-s', String(serving.ports[0].trsvcid), '-n', serving.subsystems[0].nqn];
    const stranger = await nvbraid(['read', '--start-block', '8000', ...at]);
    assert.equal(stranger.code, 1);
    assert.match(stranger.err, /Connect Invalid Host .*choose a host NQN that it allows with -q/);
    const out = await ok(
      'read',
      '--start-block',
      '8000',
      '-c',
      '7',
      '-o',
      'json',
      '-q',
      'nqn.2026-01.io.nvbraid:friend',
      ...at,
    );
    assert.ok(Buffer.from(JSON.parse(out).data, 'base64').equals(readFileSync(sandbox.file('last.bin'))));
    again.signal('SIGTERM');
    assert.equal(await again.exit(), 0);
    const events = again.out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.equal(events.at(-1).event, 'stopped');
    assert.equal(events.at(-1).stats.readCommands > 0, true);
  });
});
