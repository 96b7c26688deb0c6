import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { COMMANDS } from '../src/command-table.ts';
import { nvbraid } from './support/in-process.ts';

const directory = mkdtempSync(join(tmpdir(), 'nvbraid-completion-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const has = (shell: string): boolean => spawnSync(shell, ['--version']).status === 0;
const unless = (shell: string): { skip: string | false } => ({ skip: has(shell) ? false : `no ${shell} here` });

async function script(shell: string): Promise<string> {
  const { code, out } = await nvbraid(['completion', shell]);
  assert.equal(code, 0);
  const path = join(directory, `nvbraid.${shell}`);
  writeFileSync(path, out);
  return path;
}

/** What bash offers at the end of `words`; the last one is what was typed of it so far. */
function offers(path: string, words: readonly string[]): string[] {
  const quoted = words.map((word) => `'${word}'`).join(' ');
  const commands = `source '${path}'
    COMP_WORDS=(${quoted})
    COMP_CWORD=${words.length - 1}
    _nvbraid nvbraid
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const result = spawnSync('bash', ['--norc', '-euc', commands], { cwd: directory, encoding: 'utf8' });
  assert.equal(result.stderr, '');
  return result.stdout
    .split('\n')
    .filter((word) => word !== '')
    .sort();
}

describe('bash', unless('bash'), () => {
  const cases: readonly [words: string[], expected: readonly string[]][] = [
    [
      ['nvbraid', 'co'],
      ['compare', 'completion', 'connect', 'connect-all', 'copy'],
    ],
    [
      ['nvbraid', 'serve', '--re'],
      ['--reactors', '--read-only'],
    ],
    [
      ['nvbraid', 'serve', '-t', ''],
      ['mptcp', 'net', 'tcp'],
    ],
    [['nvbraid', 'bench', '--verify', 'h'], ['history']],
    [['nvbraid', 'bench', '--verify', '=', 'h'], ['history']],
    [
      ['nvbraid', 'bench', '--rw', '='],
      ['randread', 'randrw', 'randwrite', 'read', 'write'],
    ],
    [['nvbraid', 'list', '-o', 'j'], ['json']],
    [
      ['nvbraid', 'completion', ''],
      ['bash', 'fish', 'zsh'],
    ],
    [
      ['nvbraid', 'serve', 'di'],
      ['disk image.img', 'disk.img'],
    ],
    [['nvbraid', 'read', '--data', 'disk.'], ['disk.img']],
    [['nvbraid', 'connect', '--nqn', ''], []],
    [
      ['nvbraid', 'help', 'id'],
      ['id-ctrl', 'id-ns'],
    ],
  ];
  for (const [words, expected] of cases) {
    test(words.join(' '), async () => {
      writeFileSync(join(directory, 'disk.img'), '');
      writeFileSync(join(directory, 'disk image.img'), '');
      assert.deepEqual(offers(await script('bash'), words), expected);
    });
  }

  test('every command and every option', async () => {
    const path = await script('bash');
    const commands = offers(path, ['nvbraid', '']);
    for (const { name, options } of COMMANDS) {
      assert.ok(commands.includes(name));
      const expected = [...Object.keys(options).map((option) => `--${option}`), '--help'];
      assert.deepEqual(offers(path, ['nvbraid', name, '--']), expected.sort());
    }
  });
});

test('zsh takes the script', unless('zsh'), async () => {
  const path = await script('zsh');
  const result = spawnSync(
    'zsh',
    ['-f', '-c', `autoload -U compinit; compinit -D; source '${path}'; whence -w _nvbraid`],
    {
      encoding: 'utf8',
      env: { ...process.env, HOME: directory },
    },
  );
  assert.equal(result.stderr, '');
  assert.equal(result.stdout, '_nvbraid: function\n');
});

test('fish takes the script', unless('fish'), async () => {
  const path = await script('fish');
  const result = spawnSync('fish', ['--no-config', '-c', `source '${path}'; complete -C 'nvbraid serve --read'`], {
    encoding: 'utf8',
    env: { ...process.env, HOME: directory },
  });
  assert.equal(result.stderr, '');
  assert.match(result.stdout, /^--read-only\tRefuse writes$/m);
});
