/*
 * What is published works without this repository: the packages are packed, installed in an empty folder, type-checked
 * against, and `npx nvbraid serve` is run from there.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { npm, pack } from '../scripts/pack.ts';
import { freePort } from './interop/guest.ts';
import { ServeProcess } from './interop/serve.ts';

const root = join(import.meta.dirname, '..');
const NQN = 'nqn.2026-01.io.nvbraid:packed';

/** Uses the package as a stranger would, in TypeScript. */
const USER = `
import { connectController, discover, type NvmeError } from 'nvbraid';

const [port, nqn] = process.argv.slice(2) as [string, string];
const log = await discover({ traddr: '127.0.0.1', trsvcid: port });
if (!log.records.some((record) => record.subnqn === nqn)) throw new Error('discovery does not list the subsystem');
const controller = await connectController({ traddr: '127.0.0.1', trsvcid: port, nqn, nrIoQueues: 2, dataDigest: true });
const ns = controller.namespace(1);
const written = Buffer.alloc(ns.blockSize * 20, 'packed ');
await ns.write(7, written, { fua: true });
const back = Buffer.alloc(written.length);
await ns.read(7, back);
if (!back.equals(written)) throw new Error('read something else than was written');
const refused = await ns.read(ns.blockCount, back).then(() => null, (error: NvmeError) => error);
if (refused?.statusName !== 'LBA Out of Range') throw new Error(\`not refused as it should be: \${refused}\`);
await controller.disconnect();
console.log('verified', ns.blockCount * ns.blockSize);
`;
const MISUSE = `
import { connectController } from 'nvbraid';
// @ts-expect-error a number is no NQN: fails to fail when the declarations are not found
await connectController({ traddr: '127.0.0.1', nqn: 5 });
`;

describe('the packed packages', { concurrency: false }, () => {
  let dir: string;
  let home: string;
  let tarballs: string[];

  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'nvbraid-packed-'));
    home = join(dir, 'home');
    mkdirSync(home);
    tarballs = pack(join(dir, 'tarballs'));
    writeFileSync(join(home, 'package.json'), '{"private": true, "type": "module"}');
    npm(['install', '--no-audit', '--no-fund', '--prefer-offline', ...tarballs], home);
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  test('one tarball for each package, with licence and JavaScript, without sources', () => {
    assert.equal(tarballs.length, readdirSync(join(root, 'packages')).length);
    for (const name of installed()) {
      const place = join(home, 'node_modules', name);
      assert.match(readFileSync(join(place, 'LICENSE'), 'utf8'), /^MIT License/);
      assert.ok(statSync(join(place, 'dist/index.js')).isFile(), name);
      assert.ok(statSync(join(place, 'dist/index.d.ts')).isFile(), name);
      assert.deepEqual(
        readdirSync(place, { recursive: true, encoding: 'utf8' }).filter((file) => /(?<!\.d)\.ts$/.test(file)),
        [],
      );
    }
  });

  test('nothing else is installed than the packages and koffi', () => {
    const lock = JSON.parse(readFileSync(join(home, 'package-lock.json'), 'utf8'));
    const others = Object.keys(lock.packages)
      .map((path) => path.replace('node_modules/', ''))
      .filter((name) => name !== '' && !installed().includes(name) && !/^(koffi|@koromix\/koffi-[\w-]+)$/.test(name));
    assert.deepEqual(others, []);
  });

  test('the declarations describe the packages to a compiler', () => {
    writeFileSync(join(home, 'user.ts'), USER);
    writeFileSync(join(home, 'misuse.ts'), MISUSE);
    const flags = ['--noEmit', '--strict', '--target', 'es2024', '--module', 'nodenext', '--types', 'node'];
    const types = ['--typeRoots', join(root, 'node_modules/@types'), '--skipLibCheck', 'false'];
    const tsc = join(root, 'node_modules/.bin/tsc');
    const result = spawnSync(tsc, [...flags, ...types, 'user.ts', 'misuse.ts'], { cwd: home, encoding: 'utf8' });
    assert.equal(result.status, 0, result.stdout);
  });

  test('npx nvbraid serve runs from there, our host connects from there, Ctrl-C ends it with exit code 0', async () => {
    const port = await freePort();
    const path = `${join(root, 'node_modules/.bin')}:${process.env.PATH}`;
    const env = { ...process.env, PATH: path };
    const serve = await ServeProcess.start({
      ...{ port, nqn: NQN, args: [join(home, 'disk.img'), '--size', '64MiB'], cwd: home, env },
      command: ['npx', '--no-install', 'nvbraid'],
    });
    try {
      writeFileSync(join(home, 'user.ts'), USER);
      const user = spawn(process.execPath, ['user.ts', String(port), NQN], { cwd: home, env });
      let output = '';
      for (const stream of [user.stdout, user.stderr]) stream.on('data', (text: Buffer) => (output += text));
      const [code] = await once(user, 'close');
      assert.equal(code, 0, `${output}\nnvbraid serve said:\n${serve.output}`);
      assert.match(output, new RegExp(`^verified ${64 * 1024 * 1024}$`, 'm'));
    } finally {
      assert.equal(await serve.stop(), 0, serve.output);
    }
    assert.ok(readFileSync(join(home, 'disk.img')).includes('packed packed'), 'what was written is in the file');
  });

  const installed = (): string[] =>
    readdirSync(join(root, 'packages')).map((name) => (name === 'nvbraid' ? name : `@nvbraid/${basename(name)}`));
});
