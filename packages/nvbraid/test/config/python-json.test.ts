import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { parseJson, pythonJson } from '../../src/config/python-json.ts';
import { EMPTY, FOREIGN, OLD, RECENT } from './fixtures.ts';

/* nvmetcli saves with Python's json.dumps(…, sort_keys=True, indent=2) and a newline: Python itself says what that is. */

const SAVE = `
import json, sys
sys.stdout.write(json.dumps(json.loads(sys.stdin.buffer.read()), sort_keys=True, indent=2) + "\\n")
`;

const python = spawnSync('python3', ['-c', 'pass']).status === 0;
const skip = python ? false : 'python3 is not installed here';

const TEXTS: Readonly<Record<string, string>> = {
  RECENT,
  OLD,
  EMPTY,
  FOREIGN,
  'empty ones': '{"b": [], "a": {}, "c": [[], {}], "": ""}',
  'texts and the order of keys': JSON.stringify({
    '\u{1f680}': '\u007f\u0080\u2028\\"/\b\f\n\r\t\u0001',
    '\uffff': 'é',
    Z: 1,
    a: 2,
    aa: 3,
    '10': 4,
    '9': 5,
  }),
  numbers: '[0, -1, 1.0, 1e22, 1e-7, 123456789012345678901234567890, 0.1, true, false, null]',
};

for (const [what, text] of Object.entries(TEXTS)) {
  test(`Python writes the same bytes: ${what}`, { skip }, () => {
    const saved = spawnSync('python3', ['-c', SAVE], { input: text, encoding: 'utf8' });
    assert.equal(saved.status, 0, saved.stderr);
    // Numbers keep the text they had: Python would write 1e22 as 1e+22.
    const expected = what === 'numbers' ? saved.stdout.replace('1e+22', '1e22').replace('1e-07', '1e-7') : saved.stdout;
    assert.equal(pythonJson(parseJson(text)), expected);
  });
}
