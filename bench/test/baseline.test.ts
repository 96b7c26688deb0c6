/*
 * The C programs of the benchmark work, and our target works with them: host and target that share no code with ours.
 * Every run verifies its data; none asserts a time.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type CompiledBaseline, compileBaseline } from '../baseline.ts';
import { CASES } from '../cases.ts';
import { BenchError, killChildren, runLoad, type Server, startBaseline, startOurs } from '../children.ts';

const out = mkdtempSync(join(tmpdir(), 'nvbraid-baseline-'));
after(() => {
  killChildren();
  rmSync(out, { recursive: true });
});
const baseline = compileBaseline(out, ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror']);
// Only what this machine lacks is a reason to skip: sources that do not compile are a failure.
const skip = typeof baseline === 'string' && !baseline.includes('could not compile') ? baseline : false;
if (skip) console.log(`skipped: ${skip}`);

test('the baseline compiles without a warning', { skip }, () => {
  assert.ok(typeof baseline !== 'string', String(baseline));
});

const RUNS: readonly { name: string; args: string[] }[] = [
  ...CASES.map(({ name, rw, bs, depth }) => ({
    name,
    args: ['--rw', rw, '--bs', String(bs), '--depth', String(depth)],
  })),
  { name: 'reads with SQ flow control on 3 queues', args: ['--sqflow', '--queues', '3', '--depth', '17'] },
  { name: 'writes by R2T', args: ['--rw', 'randwrite', '--bs', '131072', '--depth', '8', '--queues', '2'] },
  {
    name: 'writes of 512 KiB with SQ flow control',
    args: ['--rw', 'write', '--bs', '524288', '--depth', '4', '--sqflow'],
  },
  { name: 'reads of 1 MiB, more than a socket takes', args: ['--bs', '1048576', '--depth', '64'] },
  { name: 'depth 1000', args: ['--depth', '1000'] },
];

for (const [who, start] of [
  ['the C target', (compiled: CompiledBaseline) => startBaseline(compiled)],
  ['our target', () => startOurs()],
] as const) {
  describe(who, { skip: skip || typeof baseline === 'string' }, () => {
    const compiled = baseline as CompiledBaseline;
    let server: Server;
    before(async () => {
      server = await start(compiled);
    });
    after(() => server.stop());

    for (const { name, args } of RUNS) {
      test(name, async () => {
        const seed = Math.floor(Math.random() * 1e9);
        const all = [...args, '--verify', '--region', '8388608', '--seconds', '0.1', '--warmup', '0.02'];
        const report = await runLoad(compiled, server, [...all, '--seed', String(seed)]).catch((error: unknown) => {
          throw new Error(`seed ${seed}`, { cause: error });
        });
        assert.ok(report.ios > 0, `${report.ios} commands`);
        assert.ok(report.verified_bytes! > 0, 'nothing was verified');
      });
    }

    test('an unknown subsystem is refused', async () => {
      const wrong = runLoad(compiled, server, [], undefined, 'nqn.2014-08.org.example:nobody');
      await assert.rejects(wrong, (error) => error instanceof BenchError && /status 182h/.test(error.message));
    });
  });
}
