import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, describe, test } from 'node:test';

const PREFLIGHT = join(import.meta.dirname, '../scripts/preflight.cjs');
const dir = mkdtempSync(join(tmpdir(), 'nvbraid-preflight-'));
after(() => rmSync(dir, { recursive: true, force: true }));

describe('preflight --check: is this Node new enough?', () => {
  /** Runs the check under a Node that claims to be another version. */
  function check(version: string): { status: number | null; stderr: string } {
    const claim = join(dir, `claim-${version}.cjs`);
    writeFileSync(claim, `Object.defineProperty(process, 'version', { value: '${version}' });\n`);
    return spawnSync(process.execPath, ['--require', claim, PREFLIGHT, '--check'], { encoding: 'utf8' });
  }

  for (const version of ['v14.21.3', 'v20.20.2', 'v22.17.1']) {
    test(`${version}: one sentence that says what to do, exit code 1`, () => {
      const { status, stderr } = check(version);
      assert.equal(status, 1);
      assert.match(stderr, new RegExp(`^nvbraid: Node ${version} is too old .*npm ci.*--ignore-scripts.*\\.\n$`));
    });
  }

  for (const version of ['v22.18.0', 'v23.0.0', 'v24.21.0', 'v100.0.0']) {
    test(`${version}: silent, exit code 0`, () => {
      const { status, stderr } = check(version);
      assert.equal(status, 0);
      assert.equal(stderr, '');
    });
  }

  const old = otherNode();
  const skip = old === null && 'no older Node is installed on this machine';
  test('a Node that is really too old understands the script', { skip }, () => {
    const { status, stderr } = spawnSync(old!, [PREFLIGHT, '--check'], { encoding: 'utf8' });
    assert.equal(status, 1);
    assert.match(stderr, /^nvbraid: Node v[\d.]+ is too old .*\n$/);
  });
});

/** A Node on the PATH, outside of this repository, that is too old. */
function otherNode(): string | null {
  for (const place of (process.env.PATH ?? '').split(delimiter)) {
    const program = join(place, 'node');
    const { stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' });
    const [major, minor] = (stdout ?? '').replace('v', '').split('.').map(Number);
    if (major !== undefined && (major < 22 || (major === 22 && minor! < 18)) && major >= 14) return program;
  }
  return null;
}

describe('preflight: installs what is missing', () => {
  const root = join(dir, 'clone');
  mkdirSync(join(root, 'scripts'), { recursive: true });
  copyFileSync(PREFLIGHT, join(root, 'scripts/preflight.cjs'));
  const calls = join(dir, 'calls');

  /** Runs the preflight with an npm that only writes down how it was called. */
  function preflight(npmStatus = 0): { status: number | null; stderr: string; npm: string } {
    const npm = join(dir, 'npm.cjs');
    const note = `require('fs').writeFileSync(${JSON.stringify(calls)}, process.argv.slice(2).join(' '));`;
    writeFileSync(npm, `${note}process.exit(${npmStatus});\n`);
    writeFileSync(calls, '');
    const env = { ...process.env, npm_execpath: npm };
    const result = spawnSync(process.execPath, [join(root, 'scripts/preflight.cjs')], { encoding: 'utf8', env });
    return { status: result.status, stderr: result.stderr, npm: readFileSync(calls, 'utf8') };
  }

  function lock(path: string, versions: Record<string, string>, ageS: number): void {
    const packages = Object.entries(versions).map(([name, version]) => [`node_modules/${name}`, { version }]);
    writeFileSync(join(root, path), JSON.stringify({ packages: { '': {}, ...Object.fromEntries(packages) } }));
    const time = Date.now() / 1000 - ageS;
    utimesSync(join(root, path), time, time);
  }

  test('nothing is installed: npm ci', () => {
    lock('package-lock.json', { koffi: '1.0.0' }, 100);
    const { status, npm } = preflight();
    assert.equal(status, 0);
    assert.match(npm, /^ci\b/);
  });

  test('npm ci fails: one sentence, exit code 1', () => {
    const { status, stderr } = preflight(7);
    assert.equal(status, 1);
    assert.match(stderr, /npm ci` failed/);
  });

  test('the install is newer than the lockfile: nothing to do', () => {
    mkdirSync(join(root, 'node_modules'), { recursive: true });
    lock('node_modules/.package-lock.json', { koffi: '1.0.0' }, 50);
    assert.deepEqual(preflight(), { status: 0, stderr: '', npm: '' });
  });

  test('the lockfile was touched but says the same: nothing to do', () => {
    lock('package-lock.json', { koffi: '1.0.0' }, 0);
    assert.deepEqual(preflight(), { status: 0, stderr: '', npm: '' });
  });

  test('the lockfile asks for another version: npm ci', () => {
    lock('package-lock.json', { koffi: '1.0.1' }, 0);
    assert.match(preflight().npm, /^ci\b/);
  });
});
