import assert from 'node:assert/strict';
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { nvbraid } from './support/in-process.ts';
import { type Cli, Sandbox } from './support/process.ts';

const NQN = 'nqn.2026-01.io.nvbraid:target-test';

/** Runs `nvbraid target` in this process, which is faster than one of its own. */
function run(sandbox: Sandbox, words: readonly string[]) {
  return nvbraid(['target', ...words], { NVBRAID_SOCKET: sandbox.file('serve.sock') });
}

/** What `nvbraid target` answers on standard output. */
async function target(sandbox: Sandbox, ...words: string[]): Promise<string> {
  const { code, out, err } = await run(sandbox, words);
  assert.equal(code, 0, `${words.join(' ')}: ${err}`);
  return out;
}

async function fails(sandbox: Sandbox, words: string[], code: number, message: RegExp): Promise<void> {
  const result = await run(sandbox, words);
  assert.match(result.err, message, words.join(' '));
  assert.equal(result.code, code);
}

function image(sandbox: Sandbox, name: string): string {
  writeFileSync(sandbox.file(name), '');
  truncateSync(sandbox.file(name), 1 << 20);
  return sandbox.file(name);
}

describe('nvbraid target, on a serve that was started with a file', () => {
  const sandbox = new Sandbox();
  let serve: Cli;
  before(async () => {
    image(sandbox, 'disk.img');
    serve = sandbox.start(['serve', 'disk.img', '-s', '0', '--no-discovery', '--nqn', NQN, '--socket', 'serve.sock']);
    await serve.printed(/Ctrl-C stops/);
  });
  after(() => sandbox.close());

  test('ls lists directories as configfs has them', async () => {
    assert.equal(
      await target(sandbox, 'ls'),
      '/discovery_nqn\n/nvbraid_limits\n/nvbraid_state_directory\n/nvbraid_host_defaults\n/nvbraid_faults\n/hosts/\n/subsystems/\n/ports/\n',
    );
    assert.equal(
      await target(sandbox, 'ls', '/ports/1/subsystems'),
      `/ports/1/subsystems/${NQN} -> /subsystems/${NQN}\n`,
    );
    assert.match(await target(sandbox, 'ls', '-l', `/subsystems/${NQN}`), /\/attr_allow_any_host=1\n/);
    assert.match(await target(sandbox, 'ls', '-R'), /\/namespaces\/1\/device_path\n/);
    const entries = JSON.parse(await target(sandbox, 'ls', '-o', 'json', '/ports/1'));
    assert.deepEqual(entries[0], { path: '/ports/1/addr_trtype', kind: 'attribute', value: 'tcp' });
  });

  test('get prints one value alone, several with their names', async () => {
    assert.equal(await target(sandbox, 'get', '/ports/1', 'addr_traddr'), '127.0.0.1\n');
    assert.equal(await target(sandbox, 'get', '/ports/1/addr_trtype'), 'tcp\n');
    assert.equal(
      await target(sandbox, 'get', `/subsystems/${NQN}/namespaces/1`, 'enable', 'nvbraid_block_size'),
      'enable=1\nnvbraid_block_size=512\n',
    );
    assert.equal(JSON.parse(await target(sandbox, 'get', '-o', 'json', '/ports/1')).addr_adrfam, 'ipv4');
    await fails(sandbox, ['get', '/ports/1', 'nothing'], 1, /there is no attribute nothing; there are addr_trtype/);
    await fails(sandbox, ['get', '/ports/9'], 1, /there is no \/ports\/9/);
  });

  test('a namespace is made, served, moved, disabled and deleted', async () => {
    image(sandbox, 'second.img');
    const path = `/subsystems/${NQN}/namespaces/2`;
    // The path is the caller's, whatever directory the process has.
    const words = ['create', path, 'device_path=second.img', 'nvbraid_block_size=4096', 'enable=1'];
    const { out: made } = await sandbox.run(['target', '--socket', 'serve.sock', ...words]);
    assert.match(made, new RegExp(`set ${path} device_path=${sandbox.file('second.img')}\n`));
    const list = JSON.parse((await sandbox.run(['list', '-o', 'json', '--socket', 'serve.sock'])).out).Targets[0]
      .subsystems[0].namespaces;
    assert.deepEqual(
      list.map(({ nsid, device }: { nsid: number; device: string }) => [nsid, device.replace(/^.*\//, '')]),
      [
        [1, 'disk.img'],
        [2, 'second.img'],
      ],
    );
    await target(sandbox, 'grpid', path, '4');
    assert.equal(await target(sandbox, 'get', `${path}/ana_grpid`), '4\n');
    await fails(
      sandbox,
      ['set', path, 'device_path=/other'],
      1,
      /device_path cannot change while the namespace is enabled/,
    );
    await target(sandbox, 'disable', path);
    await target(sandbox, 'set', path, 'device', 'uuid=43c4260a-826b-475d-9b42-883b4258f53f');
    await target(sandbox, 'enable', path);
    const { out } = await sandbox.run(['id-ns', '-o', 'json', '--nsid', '2', '--socket', 'serve.sock']);
    assert.doesNotThrow(() => JSON.parse(out));
    await target(sandbox, 'delete', path);
    await fails(sandbox, ['delete', path], 1, /there is no/);
    assert.match(serve.out, /^\d\d:\d\d:\d\d set .* enable=1$/m, 'the process says what was done');
  });

  test('a mistake in the middle changes nothing', async () => {
    const before = await target(sandbox, 'saveconfig', '-');
    await fails(
      sandbox,
      ['set', `/subsystems/${NQN}`, 'attr_qid_max=4', 'attr_cntlid_min=0'],
      1,
      /attr_cntlid_min is a whole number from 1/,
    );
    await fails(sandbox, ['create', '/subsystems/new', 'attr_serial='], 1, /attr_serial is 1 to 20/);
    assert.equal(await target(sandbox, 'saveconfig', '-'), before);
  });

  test('saveconfig writes what nvmetcli would, restoreconfig and diff read it', async () => {
    await target(sandbox, 'saveconfig', sandbox.file('saved.json'));
    assert.equal(statSync(sandbox.file('saved.json')).mode & 0o777, 0o600);
    const text = readFileSync(sandbox.file('saved.json'), 'utf8');
    assert.equal(await target(sandbox, 'diff', sandbox.file('saved.json')), '');
    writeFileSync(sandbox.file('next.json'), text.replace('"state": "optimized"', '"state": "non-optimized"'));
    const change = 'set /ports/1/ana_groups/1 ana_state=non-optimized\n';
    assert.equal(await target(sandbox, 'diff', sandbox.file('next.json')), change);
    assert.equal(await target(sandbox, 'restoreconfig', sandbox.file('next.json')), change);
    const back = JSON.parse(await target(sandbox, 'restoreconfig', '-o', 'json', sandbox.file('saved.json')));
    assert.deepEqual(back.edits, [
      { op: 'set', path: '/ports/1/ana_groups/1', attribute: 'ana_state', value: 'optimized' },
    ]);
    await fails(sandbox, ['saveconfig'], 2, /FILE is missing; the process was not started with --config/);
    await fails(sandbox, ['restoreconfig', 'none.json'], 1, /cannot read none\.json: there is no such file/);
    const unknown = await sandbox.run(
      ['target', 'diff', '-', '--socket', 'serve.sock'],
      '{"later": 1, "subsystems": []}',
    );
    assert.match(unknown.err, /warning: \/: later is not known here: it is kept/);
    assert.match(unknown.out, /^delete \/subsystems\/nqn/m);
  });

  test('wrong command lines', async () => {
    await fails(sandbox, [], 2, /VERB .* is missing/);
    await fails(sandbox, ['mkdir', '/x'], 2, /'mkdir' is none of ls, get, set/);
    await fails(sandbox, ['set', '/ports/1'], 2, /ATTRIBUTE=VALUE is missing/);
    await fails(sandbox, ['set', '/ports/1', 'addr_traddr'], 2, /'addr_traddr' is not ATTRIBUTE=VALUE/);
    await fails(sandbox, ['enable', '/ports/1'], 2, /a port is enabled by the first link/);
  });

  test('large configurations fit into an answer', async () => {
    const hosts = Array.from({ length: 4000 }, (_, i) => ({
      nqn: `nqn.2014-08.org.nvmexpress:uuid:${String(i).padStart(180, '0')}`,
    }));
    const config = JSON.parse(await target(sandbox, 'saveconfig', '-'));
    const { code, err } = await sandbox.run(
      ['target', 'restoreconfig', '-', '--socket', 'serve.sock'],
      JSON.stringify({ ...config, hosts }),
    );
    assert.equal(code, 0, err);
    assert.equal(JSON.parse(await target(sandbox, 'saveconfig', '-')).hosts.length, 4000);
  });
});
