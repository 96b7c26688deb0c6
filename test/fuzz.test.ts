/*
 * A hundred thousand mutated sessions against the target: see fuzz/run-streams.ts for what is checked with each. Seeds:
 * NVBRAID_FUZZ_SEED repeats a run, NVBRAID_FUZZ_STREAMS makes it longer.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'node:test';
import type { FuzzResult } from './fuzz/run-streams.ts';

const RUNNER = join(import.meta.dirname, 'fuzz/run-streams.ts');
const STREAMS = Number(process.env.NVBRAID_FUZZ_STREAMS ?? 100_000);
/** What garbage collection may leave of caches and compiled code; one lost slab per hundred streams would be more. */
const GROWTH_BYTES = 3 << 20;
const HANG_MS = 600_000;

function run(seed: number, streams: number): Promise<FuzzResult> {
  return new Promise((resolve, reject) => {
    const args = ['--expose-gc', RUNNER, String(seed), String(streams)];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: HANG_MS });
    let output = '';
    let trouble = '';
    child.stdout.on('data', (text: Buffer) => (output += text));
    child.stderr.on('data', (text: Buffer) => (trouble += text));
    child.once('close', (code, signal) => {
      if (code === 0) resolve(JSON.parse(output) as FuzzResult);
      else reject(new Error(`${signal === null ? '' : `hangs, ended by ${signal}; `}${trouble}`));
    });
  });
}

test(`${STREAMS} mutated streams neither make the target throw, hang nor grow; each bad one gets its TermReq`, async (t) => {
  const seed = Number(process.env.NVBRAID_FUZZ_SEED ?? randomInt(2 ** 31));
  t.diagnostic(`seed ${seed}`);
  const result = await run(seed, STREAMS);
  t.diagnostic(JSON.stringify(result));
  assert.equal(result.streams, STREAMS);
  assert.ok(result.growth < GROWTH_BYTES, `memory has grown by ${result.growth} bytes`);
  // the mutations reach everything: each fatal error status, goodbyes, and streams that do no harm
  for (let fes = 1; fes <= 6; fes++) assert.ok(result.fatal[fes]! > 0, `no stream led to fatal error status ${fes}`);
  assert.ok(result.ended > 0 && result.alive > STREAMS / 50 && result.statuses > 8 && result.commands > STREAMS);
});
