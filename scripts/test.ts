/*
 * Lint, types, then every test. `npm test -- PATTERN…` runs only the test files whose path contains a pattern,
 * without lint and types.
 */
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const patterns = process.argv.slice(2);

function run(title: string, command: string, args: string[]): void {
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (result.status !== 0) {
    console.error(`\n${title} failed${result.error ? `: ${result.error.message}` : ''}`);
    process.exit(1);
  }
}

const bin = (name: string): string => join(root, 'node_modules', '.bin', name);
const files = globSync(['packages/*/test/**/*.test.ts', 'test/**/*.test.ts', 'bench/**/*.test.ts'], { cwd: root })
  .sort()
  .filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)));
if (files.length === 0) {
  console.error(`no test file matches ${patterns.join(' ')}`);
  process.exit(2);
}
if (patterns.length === 0) {
  run('lint', bin('biome'), ['check', '.']);
  run('type check', bin('tsc'), ['-p', 'tsconfig.json']);
}
run('tests', process.execPath, ['--test', '--test-timeout=1500000', ...files]);
