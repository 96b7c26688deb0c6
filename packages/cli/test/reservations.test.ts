import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { nvbraid } from './support/in-process.ts';
import { type Cli, Sandbox } from './support/process.ts';

const NQN = 'nqn.2026-01.io.nvbraid:test:reservations';
const HOST_A = ['--hostid', 'aaaaaaaa-0000-4000-8000-000000000001', '--hostnqn', 'nqn.2024-01.org.nvbraid:a'];
const HOST_B = ['--hostid', 'bbbbbbbb-0000-4000-8000-000000000001', '--hostnqn', 'nqn.2024-01.org.nvbraid:b'];

/** `nvbraid serve` on a port that the system chose, without discovery. */
async function serve(sandbox: Sandbox, ...argv: string[]): Promise<{ cli: Cli; port: string }> {
  const cli = sandbox.start(['serve', '-s', '0', '--no-discovery', '--nqn', NQN, ...argv]);
  const [, port] = await cli.printed(/ -s (\d+) -n /);
  return { cli, port: port! };
}

describe('the reservation commands', () => {
  let sandbox: Sandbox;
  let served: { cli: Cli; port: string };
  let address: string[];
  before(async () => {
    sandbox = new Sandbox();
    process.env.NVBRAID_RUNTIME_DIR = sandbox.env.NVBRAID_RUNTIME_DIR;
    served = await serve(sandbox, '--size', '4MiB', 'disk.img');
    address = ['-a', '127.0.0.1', '-s', served.port];
  });
  after(() => sandbox.close());

  const run = async (host: readonly string[], ...argv: string[]) => {
    const [name, ...rest] = argv;
    return nvbraid([name!, ...address, ...host, ...rest]);
  };

  test('two hosts: register, acquire, conflict, preempt, release, clear, as nvme-cli prints it', async () => {
    assert.deepEqual(
      [(await run(HOST_A, 'resv-register', '--nrkey=4')).out, (await run(HOST_B, 'resv-register', '--nrkey=0xb')).out],
      ['NVME Reservation  success\n', 'NVME Reservation  success\n'],
    );
    assert.equal(
      (await run(HOST_A, 'resv-acquire', '-c', '4', '--rtype=1', '--racqa=0')).out,
      'NVME Reservation Acquire success\n',
    );
    const refused = await run(HOST_B, 'resv-acquire', '-c', '0xb', '--rtype', '1');
    assert.notEqual(refused.code, 0);
    assert.match(refused.err, /Reservation Conflict/);
    const report = await run(HOST_B, 'resv-report');
    assert.equal(
      report.out,
      `NVME Reservation status:

gen       : 2
rtype     : 1
regctl    : 2
ptpls     : 0
regctlext[0] :
  cntlid     : ffff
  rcsts      : 1
  rkey       : 4
  hostid     : aaaaaaaa000040008000000000000001
regctlext[1] :
  cntlid     : ffff
  rcsts      : 0
  rkey       : b
  hostid     : bbbbbbbb000040008000000000000001
`,
    );
    const preempt = await run(
      HOST_B,
      'resv-acquire',
      '-c',
      '0xb',
      '-p',
      '4',
      '--rtype',
      '2',
      '--racqa',
      '1',
      '-o',
      'json',
    );
    assert.deepEqual(JSON.parse(preempt.out), { nsid: 1, racqa: 1, rtype: 2 });
    assert.match((await run(HOST_B, 'resv-report', '-v')).out, /rtype {5}: 2 \(Exclusive Access\)/);
    const wrong = await run(HOST_B, 'resv-release', '-c', '0xb', '--rtype', '1');
    assert.match(wrong.err, /Invalid Field/);
    const released = await run(HOST_B, 'resv-release', '-c', '0xb', '--rtype', '2');
    assert.equal(released.out, 'NVME Reservation Release success\n');
    await run(HOST_B, 'resv-release', '-c', '0xb', '--rrela', '1');
    const left = JSON.parse((await run(HOST_A, 'resv-report', '-e', '-o', 'json')).out);
    assert.deepEqual(left, { gen: 4, rtype: 0, regctl: 0, ptpls: 0, regctlext: [] });
  });

  test('keys have 64 bits', async () => {
    const key = '0xfedcba9876543210';
    await run(HOST_A, 'resv-register', '--nrkey', key);
    const { out } = await run(HOST_A, 'resv-report', '-o', 'json');
    assert.match(out, /"rkey": 18364758544493064720,/);
    for (const bad of ['0x1fedcba9876543210', '-1', 'key', '1.5']) {
      const refused = await run(HOST_A, 'resv-register', `--nrkey=${bad}`);
      assert.equal(refused.code, 2);
      assert.match(refused.err, /--nrkey/);
    }
    await run(HOST_A, 'resv-register', '--crkey', key, '--rrega', '1');
  });

  test('by a running nvbraid connect, whose host it then is', async () => {
    const connected = sandbox.start(['connect', ...address, ...HOST_A]);
    await connected.printed(/connected/);
    const ask = (...argv: string[]) => nvbraid(argv);
    assert.equal((await ask('resv-register', '--nrkey', '7')).out, 'NVME Reservation  success\n');
    assert.equal((await ask('resv-acquire', '-c', '7', '--rtype', '6')).out, 'NVME Reservation Acquire success\n');
    const report = JSON.parse((await ask('resv-report', '-o', 'json')).out);
    assert.deepEqual(report.regctlext, [
      { cntlid: 65535, rcsts: 1, rkey: 7, hostid: 'aaaaaaaa000040008000000000000001' },
    ]);
    assert.match((await ask('resv-acquire', '-c', '8', '--rtype', '6')).err, /Reservation Conflict/);
    assert.equal((await ask('resv-release', '-c', '7', '--rrela', '1')).out, 'NVME Reservation Release success\n');
    connected.signal('SIGTERM');
    await connected.exit();
  });

  test('a process that is killed right after it has answered keeps what it answered', async () => {
    let at = await serve(sandbox, '--size', '4MiB', 'kept.img');
    const as = (host: readonly string[], name: string, ...rest: string[]) =>
      nvbraid([name, '-a', '127.0.0.1', '-s', at.port, ...host, ...rest]);
    const steps: [readonly string[], string, ...string[]][] = [
      [HOST_A, 'resv-register', '--nrkey', '1', '--cptpl', '3'],
      [HOST_B, 'resv-register', '--nrkey', '2'],
      [HOST_A, 'resv-acquire', '-c', '1', '--rtype', '3'],
    ];
    for (const [host, ...argv] of steps) {
      const { code, err } = await as(host, ...argv);
      at.cli.signal('SIGKILL');
      assert.equal(code, 0, err);
      await at.cli.exit();
      at = await serve(sandbox, 'kept.img');
    }
    const { gen, rtype, ptpls, regctlext } = JSON.parse((await as(HOST_B, 'resv-report', '-o', 'json')).out);
    assert.deepEqual([gen, rtype, ptpls], [2, 3, 1]);
    assert.deepEqual(
      regctlext.map((entry: { rkey: number; rcsts: number }) => [entry.rkey, entry.rcsts]),
      [
        [1, 1],
        [2, 0],
      ],
    );
    at.cli.signal('SIGKILL');
    await at.cli.exit();
    const state = sandbox.file('kept.img.nvbraid/reservations');
    assert.ok(existsSync(state));
    writeFileSync(state, readFileSync(state, 'utf8').slice(0, 100));
    const refused = await sandbox.run(['serve', '-s', '0', '--no-discovery', '--nqn', NQN, 'kept.img']);
    assert.notEqual(refused.code, 0);
    assert.match(refused.err, /kept\.img\.nvbraid\/reservations is damaged.*delete it/s);
  });
});
