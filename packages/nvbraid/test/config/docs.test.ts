import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ATTRIBUTES, type AttributeRow } from '../../src/config/attributes.ts';
import { pathPatterns } from '../../src/config/edits.ts';

/* docs/configuration.md tells of every path and attribute what the table says. UPDATE_DOCS=1 writes it. */

const FILE = join(import.meta.dirname, '../../../../docs/configuration.md');

const WHEN: Readonly<Record<AttributeRow['when']['rule'], string>> = {
  any: 'always',
  disabled: 'while disabled',
  undiscovered: 'until a host has connected',
  enabled: 'while enabled',
};

function fallback(row: AttributeRow): string {
  if (row.writeOnly) return 'write only';
  if (typeof row.default !== 'string')
    return row.name === 'ana_state' ? '`optimized` in group 1, else `inaccessible`' : 'made of the names';
  return row.default === '' ? 'none' : `\`${row.default}\``;
}

function when(row: AttributeRow): string {
  const { when } = row;
  return when.rule === 'disabled' ? `${WHEN.disabled}, else ${when.code}` : WHEN[when.rule];
}

function tables(): string {
  return pathPatterns()
    .flatMap(({ path, kind }) => [
      `### \`${path}\``,
      '',
      '| Attribute | Value | Default | May change | What it is |',
      '|---|---|---|---|---|',
      ...ATTRIBUTES[kind].map((row) => {
        const note = row.ignored === null ? '' : ` (kept, no effect: ${row.ignored})`;
        return `| \`${row.name}\` | ${row.type.says} | ${fallback(row)} | ${when(row)} | ${row.help}${note} |`;
      }),
      '',
    ])
    .join('\n');
}

test('docs/configuration.md tells of every attribute what the table says', () => {
  const text = readFileSync(FILE, 'utf8');
  const begin = text.indexOf('<!-- attributes -->\n') + '<!-- attributes -->\n'.length;
  const end = text.indexOf('<!-- /attributes -->');
  assert.ok(begin > 0 && end >= begin, 'the markers are there');
  const wanted = `\n${tables()}`;
  if (process.env.UPDATE_DOCS === '1') writeFileSync(FILE, text.slice(0, begin) + wanted + text.slice(end));
  else assert.equal(text.slice(begin, end), wanted, 'run the test with UPDATE_DOCS=1');
});
