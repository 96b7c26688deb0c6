// Plain JavaScript that any Node can run: installs what is missing, then makes sure that the scripts run on a Node
// that can execute TypeScript. `--check` only checks (it runs after the install, under the Node the install brought).
'use strict';
const { spawnSync } = require('node:child_process');
const { existsSync, readFileSync, statSync } = require('node:fs');
const { join } = require('node:path');

const root = join(__dirname, '..');
const NEEDED = [22, 18];

function tooOld(version) {
  const [major, minor] = version.replace(/^v/, '').split('.').map(Number);
  return major < NEEDED[0] || (major === NEEDED[0] && minor < NEEDED[1]);
}

function installIsCurrent() {
  const marker = join(root, 'node_modules', '.package-lock.json');
  const lock = join(root, 'package-lock.json');
  if (!existsSync(marker)) return false;
  if (!existsSync(lock)) return true;
  return statSync(marker).mtimeMs >= statSync(lock).mtimeMs || sameVersions(marker, lock);
}

function sameVersions(marker, lock) {
  try {
    const have = JSON.parse(readFileSync(marker, 'utf8')).packages;
    const want = JSON.parse(readFileSync(lock, 'utf8')).packages;
    for (const [path, entry] of Object.entries(want)) {
      if (path === '' || entry.optional || entry.link || !path.startsWith('node_modules/')) continue;
      if (!have[path] || have[path].version !== entry.version) return false;
    }
    return true;
  } catch {
    return false;
  }
}

if (process.argv.includes('--check')) {
  if (tooOld(process.version)) {
    console.error(
      `nvbraid: Node ${process.version} is too old (needed: >= ${NEEDED.join('.')}) and the pinned Node was not installed, ` +
        'most likely because install scripts were disabled: run `npm ci` without --ignore-scripts, or use a newer Node.',
    );
    process.exit(1);
  }
} else if (!installIsCurrent()) {
  console.error('nvbraid: installing dependencies (npm ci) …');
  const npm = process.env.npm_execpath;
  // Warnings would say, for each package, that this Node is too old: the install is about to bring the right one.
  const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error'];
  const options = { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] };
  const result = npm
    ? spawnSync(process.execPath, [npm, ...args], options)
    : spawnSync('npm', args, { ...options, shell: true });
  if (result.status !== 0) {
    console.error('nvbraid: `npm ci` failed; the lines above say why. Is the npm registry reachable?');
    process.exit(1);
  }
}
