import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import { BIN, Sandbox } from './support/process.ts';

/** A Node of this machine that is too old to run the sources. */
function oldNode(): string | null {
  for (const directory of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(directory, 'node');
    if (!existsSync(path)) continue;
    const [major, minor] = spawnSync(path, ['-p', 'process.versions.node'], { encoding: 'utf8' })
      .stdout.split('.')
      .map(Number);
    if (major! < 22 || (major === 22 && minor! < 18)) return path;
  }
  return null;
}

const old = oldNode();
const needsOld = { skip: old === null ? 'every Node here is new enough' : false };

test('an old Node hands over to the one of the clone, exit code and signals included', needsOld, async () => {
  const usage = spawnSync(old!, [BIN, 'serve', '--frob'], { encoding: 'utf8' });
  assert.equal(usage.status, 2);
  assert.match(usage.stderr, /unknown option --frob/);
  const sandbox = new Sandbox();
  try {
    const child = spawn(old!, [BIN, 'serve', '--size', '1MiB', '-s', '0', '--no-discovery'], {
      env: sandbox.env,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const exited = once(child, 'exit');
    for await (const chunk of child.stdout) if (String(chunk).includes('Ctrl-C stops')) break;
    child.kill('SIGTERM');
    assert.deepEqual(await exited, [0, null]);
  } finally {
    await sandbox.close();
  }
});

test('an old Node alone says in one sentence what is missing', needsOld, () => {
  const { status, stderr } = spawnSync(old!, [BIN, '--version'], {
    encoding: 'utf8',
    env: { ...process.env, NVBRAID_PINNED_NODE: '1' },
  });
  assert.equal(status, 1);
  assert.match(
    stderr,
    /^nvbraid: Node v[\d.]+ is too old: install Node 22\.18 or newer, or, in a clone, run npm ci, which brings one\.\n$/,
  );
});

test('a reader that has enough ends the command quietly', () => {
  const command = `"${process.execPath}" "${BIN}" serve --help | head -1`;
  const { status, stdout, stderr } = spawnSync('bash', ['-o', 'pipefail', '-c', command], { encoding: 'utf8' });
  assert.equal(stderr, '');
  assert.equal(status, 0);
  assert.match(stdout, /^nvbraid serve: /);
});
