import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { after, test } from 'node:test';
import { nvbraid } from './support/in-process.ts';
import { Sandbox } from './support/process.ts';

const sandbox = new Sandbox();
after(() => sandbox.close());
process.env.NVBRAID_RUNTIME_DIR = sandbox.env.NVBRAID_RUNTIME_DIR;
mkdirSync(sandbox.file('run'), { mode: 0o700 });

const USAGE: readonly [line: string, message: RegExp][] = [
  ['frobnicate', /^nvbraid: unknown command 'frobnicate'$/m],
  ['sevre', /did you mean 'serve'\?/],
  ['--frob', /unknown option '--frob'/],
  ['help frob', /unknown command 'frob'/],
  ['serve --sze 1GiB', /^nvbraid serve: unknown option --sze; did you mean --size\?$/m],
  ['serve --block-size 513', /--block-size: 513 is not a power of two/],
  ['serve --memory disk.img', /--memory and FILE exclude each other/],
  ['serve -t net --reactors 2', /-t net works with --reactors 0 only/],
  ['serve -t rdma', /-t: 'rdma' is none of tcp, mptcp, net/],
  ['serve --listen 127.0.0.1:x', /--listen: 'x' in '127.0.0.1:x' is not a port from 0 to 65535/],
  ['serve --listen 127.0.0.1,transport=rdma', /--listen: 'rdma' is none of tcp, mptcp, net/],
  ['serve --listen 127.0.0.1,transport=net --reactors 1', /-t net works with --reactors 0 only/],
  ['connect -t mptcp -a 127.0.0.1 --tls', /--tls: TLS is not built for tcp, and mptcp cannot have it/],
  ['serve -s 65536', /65536 is more than 65535/],
  ['discover', /-a is missing: the address of the target/],
  ['connect', /-a is missing/],
  ['id-ctrl -n nqn.x', /-a is missing/],
  ['id-ctrl --socket x -a y', /exclude each other/],
  ['read -c 0 -z 1024k extra', /unexpected argument 'extra'/],
  ['bench --reactors 2', /--reactors needs --self/],
  ['bench --self -a 127.0.0.1', /exclude each other/],
  ['bench --rw trim', /is none of read, write, randread, randwrite, randrw/],
  ['completion', /SHELL is missing/],
  ['completion tcsh', /'tcsh' is none of bash, zsh, fish/],
];

for (const [line, message] of USAGE) {
  test(`usage: ${line}`, async () => {
    const { code, out, err } = await nvbraid(line.split(' '));
    assert.equal(code, 2);
    assert.equal(out, '');
    assert.match(err, message);
    assert.match(err, /Try 'nvbraid .*--help'\./);
    assert.equal(err.trimEnd().split('\n').length, 2);
  });
}

/** One sentence, no stack. */
async function fails(argv: readonly string[], message: RegExp): Promise<void> {
  const { code, err } = await nvbraid(argv);
  assert.equal(code, 1, err);
  assert.match(err, message);
  assert.equal(err.trimEnd().split('\n').length, 1, err);
  assert.doesNotMatch(err, /\bat .*:\d+:\d+/);
}

const file = (name: string): string => sandbox.file(name);
const serve = (...argv: string[]): string[] => ['serve', '--no-discovery', '--reactors', '0', '-s', '0', ...argv];

test('a missing file', async () => {
  await fails(
    serve(file('none.img')),
    /^nvbraid serve: .*none\.img does not exist; --size makes it, e\.g\. --size 1GiB$/m,
  );
  await fails(serve(file('none/x.img'), '--size', '1MiB'), /its directory does not exist/);
});

test('a file that cannot be served', async () => {
  writeFileSync(file('empty.img'), '');
  writeFileSync(file('odd.img'), Buffer.alloc(1000));
  writeFileSync(file('small.img'), Buffer.alloc(8192));
  await fails(serve(file('empty.img')), /is empty; --size makes it/);
  await fails(serve(file('odd.img')), /size 1000 is not a multiple of the block size 512/);
  await fails(
    serve(file('small.img'), '--size', '1MiB'),
    /exists and has 8 KiB \(8192 bytes\), not 1 MiB; leave out --size/,
  );
  await fails(serve(sandbox.path), /is a directory/);
  await fails(serve('/dev/null'), /is neither a regular file nor a block device/);
  await fails(serve(`${file('odd.img')}/x`), /leads through a file/);
});

test('a busy port and an address of another machine', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  try {
    await fails(
      ['serve', '--memory', '--size', '1MiB', '--reactors', '0', '-s', String(port)],
      new RegExp(
        `^nvbraid serve: port ${port} on 127\\.0\\.0\\.1 is in use; choose another with -s, or stop the other process$`,
        'm',
      ),
    );
    const path = file('unmade.img');
    await fails(['serve', path, '--size', '1MiB', '--reactors', '0', '-s', String(port)], /is in use/);
    assert.ok(!existsSync(path), 'no file was made');
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
  await fails(
    ['serve', '--size', '1MiB', '--reactors', '0', '-a', '192.0.2.1'],
    /192\.0\.2\.1 is not an address of this machine; choose one with -a/,
  );
});

test('bad names', async () => {
  await fails(serve('--size', '1MiB', '--nqn', 'n'.repeat(300)), /NQN/i);
  await fails(serve('--size', '1MiB', '--serial', 'x'.repeat(21)), /serial number is more than 20 printable ASCII/);
});

test('nobody there', async () => {
  await fails(
    ['discover', '-a', '127.0.0.1', '-s', '1'],
    /127\.0\.0\.1:1: connection refused; start a target there, or check -a and -s/,
  );
  await fails(['id-ctrl', '-a', '127.0.0.1', '-s', '1', '-n', 'nqn.2026-01.io.nvbraid:x'], /connection refused/);
  await fails(['id-ns'], /no nvbraid process is running here; name a target with -a, or start nvbraid serve/);
  await fails(['read', '--socket', file('none.sock')], /there is no control socket .*none\.sock/);
  await fails(['disconnect'], /no nvbraid connect is running here/);
  await fails(['disconnect', '-n', 'nqn.2026-01.io.nvbraid:x'], /no nvbraid connect here is connected to nqn/);
  await fails(['write', '-d', file('none.bin')], /cannot read .*none\.bin: there is no such file/);
});

test('errors for machines', async () => {
  const { code, out, err } = await nvbraid(['list', '-o', 'json', '--socket', file('none.sock')]);
  assert.equal(code, 1);
  assert.match(err, /^nvbraid list: there is no control socket/);
  assert.deepEqual(Object.keys(JSON.parse(out).error), ['code', 'message']);
  assert.equal(JSON.parse(out).error.code, 'ENOENT');
});

test('NVBRAID_DEBUG=1 shows the stack', async () => {
  const { code, err } = await nvbraid(serve(file('none.img')), { NVBRAID_DEBUG: '1' });
  assert.equal(code, 1);
  assert.match(err, /\n {4}at /);
});

test('nothing runs: list says so', async () => {
  const text = await nvbraid(['list']);
  assert.equal(text.code, 0);
  assert.match(text.err, /No nvbraid process is running here/);
  const json = await nvbraid(['list', '-o', 'json']);
  assert.deepEqual(JSON.parse(json.out), { Devices: [], Targets: [] });
  const env = await nvbraid(['list'], { NVBRAID_OUTPUT: 'json' });
  assert.equal(env.out, json.out);
});
