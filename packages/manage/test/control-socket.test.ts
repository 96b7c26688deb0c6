import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { NvbraidError } from '@nvbraid/base';
import {
  ControlClient,
  ControlServer,
  call,
  controlLimits,
  makeRuntimeDirectory,
  ownSocketPath,
  runningProcesses,
  runtimeDirectories,
} from '../src/index.ts';

let directory = '';
const cleanups: (() => unknown)[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'nvbraid-manage-'));
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  rmSync(directory, { recursive: true, force: true });
});

const methods = {
  status: () => ({ role: 'test' }),
  echo: (params: object) => params,
  slow: () => new Promise((resolve) => setTimeout(() => resolve('late'), 300)),
  never: () => new Promise(() => {}),
  nothing: () => undefined,
  fails: () => {
    throw new NvbraidError('ENVME', 'Read: LBA Out Of Range', { context: { sct: 0, sc: 0x80, dnr: true } });
  },
  breaks: () => {
    throw new TypeError('a bug');
  },
};

async function listen(name = 'test-1.sock', idleMs?: number): Promise<ControlServer> {
  const path = join(directory, name);
  const server = await ControlServer.listen({ path, methods, ...(idleMs === undefined ? {} : { idleMs }) });
  cleanups.push(() => server.close());
  return server;
}

function raw(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path, () => resolve(socket));
    socket.once('error', reject);
    cleanups.push(() => socket.destroy());
  });
}

/** Everything the server says until it closes, or until `lines` lines have come. */
function hear(socket: Socket, lines = Number.POSITIVE_INFINITY): Promise<string[]> {
  return new Promise((resolve) => {
    let text = '';
    const done = (): void => resolve(text.split('\n').filter((line) => line !== ''));
    socket.on('data', (chunk) => {
      text += String(chunk);
      if (text.split('\n').length > lines) done();
    });
    socket.on('error', () => {});
    socket.on('close', done);
  });
}

const rejectsWith = (code: string, pattern: RegExp) => (error: unknown) => {
  assert.ok(error instanceof NvbraidError, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, pattern);
  return true;
};

test('calls get results and errors with their code and context', async () => {
  const { path } = await listen();
  assert.deepEqual(await call(path, 'status'), { role: 'test' });
  assert.deepEqual(await call(path, 'echo', { text: 'ü\n"', list: [1, null] }), { text: 'ü\n"', list: [1, null] });
  assert.equal(await call(path, 'nothing'), null);
  await assert.rejects(call(path, 'fails'), (error: NvbraidError) => {
    assert.deepEqual(error.context, { sct: 0, sc: 0x80, dnr: true });
    return rejectsWith('ENVME', /^Read: LBA Out Of Range$/)(error);
  });
  await assert.rejects(call(path, 'breaks'), rejectsWith('EIO', /^a bug$/));
  await assert.rejects(
    call(path, 'toString'),
    rejectsWith('EINVAL', /there is no method "toString"; there are breaks/),
  );
});

test('one connection carries many calls, one after the other', async () => {
  const { path } = await listen();
  const client = await ControlClient.connect(path);
  cleanups.push(() => client.close());
  for (let i = 0; i < 20; i++) assert.deepEqual(await client.call('echo', { i }), { i });
  const slow = client.call('slow');
  await assert.rejects(client.call('status'), rejectsWith('EBUSY', /under way/));
  assert.equal(await slow, 'late');
});

test('the socket is private, and gone after close', async () => {
  const server = await listen();
  assert.equal(statSync(server.path).mode & 0o777, 0o600);
  await server.close();
  assert.ok(!existsSync(server.path));
  await assert.rejects(call(server.path, 'status'), rejectsWith('ENOENT', /there is no control socket/));
});

test('a call that is not answered ends', async () => {
  const server = await listen();
  await assert.rejects(call(server.path, 'never', {}, { timeoutMs: 50 }), rejectsWith('ETIMEDOUT', /within 50 ms/));
  const client = await ControlClient.connect(server.path);
  const pending = client.call('never');
  pending.catch(() => {});
  await server.close();
  await assert.rejects(pending, rejectsWith('ECONNRESET', /went away/));
});

test('a large piece of data goes through, both ways', async () => {
  const { path } = await listen();
  const data = Buffer.alloc(controlLimits.dataBytes, 0xa5).toString('base64');
  assert.deepEqual(await call(path, 'echo', { data }), { data });
});

const nonsense: [string, string, RegExp][] = [
  ['not JSON', 'hello', /not JSON/],
  ['not an object', '[1,2]', /not an object/],
  ['null', 'null', /not an object/],
  ['no method', '{"id":5}', /has no method/],
  ['a method that is a number', '{"id":5,"method":7}', /has no method/],
  ['params that are a list', '{"id":5,"method":"echo","params":[]}', /params is not an object/],
  ['deep nesting', '['.repeat(100_000), /not JSON/],
  ['__proto__', '{"id":5,"method":"__proto__"}', /no method/],
  ['binary', '\0\u0001\ufffd', /not JSON/],
];

for (const [name, text, pattern] of nonsense) {
  test(`nonsense gets an error and the next request its answer: ${name}`, async () => {
    const { path } = await listen();
    const socket = await raw(path);
    socket.write(`${text}\n{"id":6,"method":"status"}\n`);
    const [first, second] = (await hear(socket, 2)).map((line) => JSON.parse(line));
    assert.equal(first.error.code, 'EINVAL');
    assert.match(first.error.message, pattern);
    assert.equal(first.id, text.startsWith('{"id":5') ? 5 : null);
    assert.deepEqual(second, { id: 6, result: { role: 'test' } });
  });
}

test('an endless line is cut off', async () => {
  const { path } = await listen();
  const socket = await raw(path);
  const heard = hear(socket);
  const chunk = 'x'.repeat(65536);
  for (let i = 0; i <= controlLimits.lineBytes / chunk.length; i++) socket.write(chunk);
  const [line] = await heard;
  assert.match(line!, /"EINVAL".*longer than/);
  assert.deepEqual(await call(path, 'status'), { role: 'test' });
});

test('a client that drips, or sits still, or does not read, is dropped', async () => {
  const server = await listen('test-2.sock', 100);
  const still = hear(await raw(server.path));
  const dripping = await raw(server.path);
  dripping.write('{"id":1,');
  const dripped = hear(dripping);
  const deaf = await raw(server.path);
  deaf.pause();
  const data = 'x'.repeat(1_500_000);
  deaf.write(`{"id":1,"method":"echo","params":{"data":"${data}"}}\n`.repeat(8));
  assert.deepEqual(await still, []);
  assert.deepEqual(await dripped, []);
  while (server.clients > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual(await call(server.path, 'status'), { role: 'test' });
});

test('too many clients: the rest is told so', async () => {
  const server = await listen();
  for (let i = 0; i < controlLimits.clients; i++) await raw(server.path);
  while (server.clients < controlLimits.clients) await new Promise((resolve) => setTimeout(resolve, 5));
  await assert.rejects(call(server.path, 'status'), rejectsWith('EBUSY', /clients are connected already/));
});

test('a client that goes away in the middle of a call hurts nobody', async () => {
  const server = await listen();
  const socket = await raw(server.path);
  socket.write('{"id":1,"method":"slow"}\n');
  socket.destroy();
  await new Promise((resolve) => setTimeout(resolve, 400));
  assert.deepEqual(await call(server.path, 'status'), { role: 'test' });
});

test('a server that talks nonsense gives an error, not a hang', async () => {
  for (const answer of ['hello\n', '[]\n', '{"id":1,"error":7}\n', 'x'.repeat(controlLimits.lineBytes + 10)]) {
    const path = join(directory, 'bad.sock');
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', () => socket.write(answer));
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    await assert.rejects(call(path, 'status'), rejectsWith('EPROTO', /./));
    await new Promise((resolve) => server.close(resolve));
  }
});

/** Leaves a socket file behind as a killed process does, and answers its pid. */
function deadSocket(path: string): number {
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  const child = spawnSync(process.execPath, ['-e', script]);
  assert.ok(existsSync(path));
  return child.pid;
}

test('the socket of a dead process is taken over, that of a living one is not', async () => {
  const path = join(directory, 'test-3.sock');
  deadSocket(path);
  await assert.rejects(call(path, 'status'), rejectsWith('ECONNREFUSED', /no process is behind/));
  await listen('test-3.sock');
  assert.deepEqual(await call(path, 'status'), { role: 'test' });
  await assert.rejects(listen('test-3.sock'), rejectsWith('EADDRINUSE', /another process has/));
  assert.deepEqual(await call(path, 'status'), { role: 'test' });
});

test('a path that is a file, too long, or nowhere is refused in a sentence', async () => {
  writeFileSync(join(directory, 'file.sock'), 'precious');
  await assert.rejects(listen('file.sock'), rejectsWith('EINVAL', /is not a socket/));
  assert.ok(existsSync(join(directory, 'file.sock')));
  await assert.rejects(listen('x'.repeat(120)), rejectsWith('EINVAL', /107 at most/));
  await assert.rejects(
    listen('none/x.sock'),
    rejectsWith('ENOENT', /directory of the control socket .* does not exist/),
  );
});

test('running processes are found; what the dead left is removed', async () => {
  await listen(`serve-${process.pid}.sock`);
  writeFileSync(join(directory, 'notes.txt'), '');
  const dead = join(directory, 'connect-x.sock');
  const pid = deadSocket(dead);
  const named = join(directory, `connect-${pid}.sock`);
  deadSocket(named);
  const found = await runningProcesses([directory, directory, join(directory, 'none')]);
  assert.deepEqual(found, [{ role: 'serve', pid: process.pid, socket: join(directory, `serve-${process.pid}.sock`) }]);
  assert.ok(!existsSync(named));
});

test('the runtime directory follows the environment', () => {
  assert.deepEqual(runtimeDirectories({ NVBRAID_RUNTIME_DIR: '/a', XDG_RUNTIME_DIR: '/b' }, 0), ['/a']);
  assert.deepEqual(runtimeDirectories({ XDG_RUNTIME_DIR: '/b' }, 1000), ['/b/nvbraid', join(tmpdir(), 'nvbraid-1000')]);
  assert.deepEqual(runtimeDirectories({}, 0), ['/run/nvbraid', join(tmpdir(), 'nvbraid-0')]);
});

test('the runtime directory is made private, and an unsafe one refused', () => {
  const made = makeRuntimeDirectory([join(directory, 'file.txt/x'), join(directory, 'new')].slice(1));
  assert.equal(statSync(made).mode & 0o777, 0o700);
  writeFileSync(join(directory, 'file.txt'), '');
  assert.equal(makeRuntimeDirectory([join(directory, 'file.txt/x'), made]), made, 'the next one is taken');
  assert.throws(() => makeRuntimeDirectory([join(directory, 'file.txt/x')]), rejectsWith('EACCES', /--socket/));
  const open = join(directory, 'open');
  mkdirSync(open);
  spawnSync('chmod', ['777', open]);
  assert.throws(() => makeRuntimeDirectory([open]), rejectsWith('EACCES', /written by other users/));
});

test('a process has its own socket path', () => {
  const before = process.env.NVBRAID_RUNTIME_DIR;
  process.env.NVBRAID_RUNTIME_DIR = join(directory, 'run');
  try {
    assert.equal(ownSocketPath('serve', 42), join(directory, 'run', 'serve-42.sock'));
  } finally {
    if (before === undefined) delete process.env.NVBRAID_RUNTIME_DIR;
    else process.env.NVBRAID_RUNTIME_DIR = before;
  }
});
