/* The micro-benchmark works, and says that selecting and submitting allocate nothing. No time is asserted. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { SELECTORS } from '@nvbraid/multipath';
import type { Measured } from '../selection.ts';

const { stdout, stderr, status } = spawnSync(
  process.execPath,
  [join(import.meta.dirname, '..', 'selection.ts'), '--quick', '--json'],
  { encoding: 'utf8' },
);

describe('the micro-benchmark of path selection', () => {
  test('measures every policy with 1, 4 and 64 paths, and quarantine', () => {
    assert.equal(status, 0, stderr);
    const { scanNs, cases } = JSON.parse(stdout) as { scanNs: number; cases: Measured[] };
    assert.ok(scanNs > 0);
    assert.deepEqual(
      cases.map(({ policy, paths }) => `${policy} ${paths}`),
      [...SELECTORS.flatMap(({ name }) => [1, 4, 64].map((paths) => `${name} ${paths}`)), 'numa, guarded 4'],
    );
    for (const { selectNs, requestNs, ratio } of cases) assert.ok(selectNs > 0 && requestNs > 0 && ratio > 0);
  });

  test('selecting and submitting leave nothing on the heap', () => {
    const { cases } = JSON.parse(stdout) as { cases: Measured[] };
    for (const { policy, paths, selectBytes, requestBytes } of cases) {
      assert.ok(selectBytes < 1, `${policy} with ${paths} paths: ${selectBytes} bytes for each selection`);
      assert.ok(requestBytes < 1, `${policy} with ${paths} paths: ${requestBytes} bytes for each request`);
    }
  });
});
