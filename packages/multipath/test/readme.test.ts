import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { AccessState, defineSelector, Iopolicy } from '../src/index.ts';
import { Fixture } from './support/fixture.ts';

const here = import.meta.dirname;
const readme = readFileSync(join(here, '..', 'README.md'), 'utf8');
const blocks = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1]!);

describe('the README', () => {
  test('its example is test/support/example.ts, about fifty lines, and does what it says', () => {
    const file = join(here, 'support', 'example.ts');
    assert.equal(blocks[0], readFileSync(file, 'utf8'));
    assert.ok(blocks[0]!.split('\n').length <= 60);
    const { stdout, stderr, status } = spawnSync(process.execPath, [file], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    const lines = stdout.trim().split('\n');
    assert.deepEqual(
      lines.slice(0, 4).sort(),
      [0, 1, 2, 3].map((block) => `block ${block} written`),
    );
    assert.equal(lines[4], 'left 2 failovers, right 4 requests');
  });

  test('its policy works as it stands there', () => {
    const make = new Function('defineSelector', `${strip(blocks[1]!)}\nreturn lopsided;`);
    const iopolicy = new Iopolicy({ selectors: [make(defineSelector)], initial: 'lopsided' });
    const f = new Fixture({ iopolicy });
    f.path('first', AccessState.NonOptimized);
    f.path('last');
    f.submit(6);
    const sent = f.takeSent();
    assert.equal(sent.filter((name) => name === 'first').length, 4);
    assert.equal(f.head.currentPath[0]?.name, sent.at(-1));
    assert.ok(blocks[1]!.split('\n').length <= 21, 'a policy takes twenty lines');
  });
});

/** Takes the types out of the little that the README's policy has. */
function strip(text: string): string {
  return text.replace(/: Path \| null/g, '');
}
