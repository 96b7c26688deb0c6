/* The program that measures our host works on every way and place, and what it says is what happened. No time is asserted. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type CompiledBaseline, compileBaseline } from '../baseline.ts';
import { HOST_CASES } from '../cases.ts';
import { BenchError, killChildren, type Server, startBaseline, startHost } from '../children.ts';
import { type HostSetup, measureHost, measureMultipath } from '../host.ts';

const out = mkdtempSync(join(tmpdir(), 'nvbraid-host-'));
after(() => {
  killChildren();
  rmSync(out, { recursive: true });
});
const baseline = compileBaseline(out);
const skip = typeof baseline === 'string' && !baseline.includes('could not compile') ? baseline : false;
if (skip) console.log(`skipped: ${skip}`);
const QUICK = { seconds: 0.05, warmup: 0.01 };

describe('our host', { skip }, () => {
  const compiled = baseline as CompiledBaseline;
  let c: Server;
  before(async () => {
    c = await startBaseline(compiled);
  });
  after(() => c.stop());

  for (const way of ['controller', '1', '2', '2-round-robin'] as const) {
    for (const place of ['main', 'thread', 'device'] as const) {
      test(`${way} on ${place}: several jobs on one connection`, async () => {
        const host = await startHost(c, way, place);
        for (const { rw, bs, depth } of HOST_CASES) {
          const report = await host.run({ rw, bs, depth, ...QUICK });
          assert.ok(report.ios > 0 && report.iops > 0, JSON.stringify(report));
          assert.ok(report.cpu_us_client > 0 && report.p99_us > 0, JSON.stringify(report));
        }
        await host.stop();
      });
    }
  }

  test('a host that has ended is told in a sentence', async () => {
    const host = await startHost(c, 'controller', 'main');
    await host.stop();
    await assert.rejects(host.run({ rw: 'randread', bs: 4096, depth: 1, ...QUICK }), BenchError);
  });

  test('both hosts in rounds, and heads in pairs', async () => {
    const said: string[] = [];
    const progress = (text: string): void => void said.push(text);
    const setup: HostSetup = {
      baseline: compiled,
      target: c,
      pinning: null,
      rounds: 2,
      ...QUICK,
      compileSeconds: 0.05,
      progress,
    };
    const results = await measureHost(setup, HOST_CASES.slice(0, 1));
    assert.deepEqual(
      results.map((result) => [result.case, result.rounds]),
      [
        ['host-read-4k-qd1 main', 2],
        ['host-read-4k-qd1 thread', 2],
        ['host-read-4k-qd1 device', 2],
      ],
    );
    const heads = await measureMultipath(setup, 1);
    assert.deepEqual(
      heads.map((result) => [result.case, result.pairs]),
      [
        ['head, 1 path', 1],
        ['head, 2 paths', 1],
        ['head, 2 paths in turns', 1],
      ],
    );
    assert.equal(said.length, 6 + 3);
  });
});
