/* One run compares TCP and MPTCP, one path and four, with and without loss, in one table. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { program } from '../support/programs.ts';
import { RATE_MBIT, skipped } from './bed.ts';

const NETNS = join(import.meta.dirname, '../../bench/netns/netns.ts');

test('row 30: one run makes the table over transports, paths and loss', {
  skip: skipped({ mptcp: true, impairment: 'segments' }),
}, async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-table-'));
  try {
    const out = join(scratch, 'results');
    const lists = ['--transport', 'tcp,mptcp', '--paths', '1,4', '--loss', '0,1'];
    const quick = ['--rate', String(RATE_MBIT), '--seconds', '0.2', '--ramp', '0.2', '--depth', '8'];
    const run = await program(process.execPath, [NETNS, ...lists, ...quick, '--out', out]);
    assert.equal(run.code, 0, run.err);
    console.log(run.out);
    assert.equal(run.out.match(/^\| [14] +\| (?:any|numa) +\|(?: +\d+\.\d \|){4}(?: +\d+\.\d\dx \|){2}$/gm)?.length, 4);
    const results = JSON.parse(readFileSync(`${out}.json`, 'utf8')) as Record<string, unknown>[];
    assert.equal(results.length, 16);
    for (const result of results) assert.equal(typeof result.ratio_to_tcp_1path, 'number');
    const base = results.filter(({ transport, paths }) => transport === 'tcp' && paths === 1);
    assert.ok(base.every(({ ratio_to_tcp_1path: ratio }) => ratio === 1));
  } finally {
    rmSync(scratch, { recursive: true });
  }
});
