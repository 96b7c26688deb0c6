/*
 * npm run bench:fairness: what a polite host (one queue, one 4 KiB read at a time) gets beside a greedy one (16 queues,
 * 128 reads of 128 KiB on each). Both use one reactor. Where both say that they are the same host the target has nothing
 * to share: that is what it was before there were turns.
 *
 * --cold DIRECTORY: the namespace is a file there, which is dropped from the page cache again and again, so that reads
 * wait for the disk; those of the greedy host have 4 KiB too.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { compileBaseline } from './baseline.ts';
import { SUBSYSTEM_NQN } from './cases.ts';
import { BenchError, choosePinning, killChildren, runLoad, startOurs } from './children.ts';
import { ColdFile } from './cold-file.ts';
import type { LoadReport } from './statistics.ts';

const POLITE = ['--rw', 'randread', '--bs', '4096', '--depth', '1'];
const HOST = 'nqn.2026-01.io.github.nvbraid:fairness-';
/** From the start of the greedy host until the polite one is measured, and what it goes on afterwards, in s. */
const LEAD = 1;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '3' },
    cold: { type: 'string' },
  },
});
/** Cold reads are short: what they cost is the wait for the disk, and a host may have the more of them. */
const greedyBytes = values.cold === undefined ? 131072 : 4096;
const GREEDY = ['--rw', 'randread', '--bs', String(greedyBytes), '--depth', '128', '--queues', '16'];
const seconds = Number(values.seconds);
const rounds = Number(values.rounds);
if (!(seconds >= 0.5 && seconds <= 60 && rounds >= 1 && rounds <= 20)) {
  process.stderr.write(
    'usage: npm run bench:fairness -- [--seconds 0.5 to 60] [--rounds 1 to 20] [--cold DIRECTORY]\n',
  );
  process.exit(2);
}

interface Case {
  readonly name: string;
  readonly greedy: string | null;
  readonly polite: string | null;
}

const CASES: readonly Case[] = [
  { name: 'polite alone', greedy: null, polite: 'b' },
  { name: 'greedy alone', greedy: 'a', polite: null },
  { name: 'together, not shared', greedy: 'a', polite: 'a' },
  { name: 'together, shared', greedy: 'a', polite: 'b' },
];

async function main(): Promise<void> {
  const baseline = compileBaseline();
  if (typeof baseline === 'string') throw new BenchError(baseline);
  const pinning = choosePinning();
  const file = values.cold === undefined ? null : new ColdFile(values.cold);
  const server = await startOurs(pinning?.server, [], file === null ? [] : [file.path]);
  // The loads share a CPU: the greedy one yields it, so that what is measured is the target and not that CPU.
  const load = (args: readonly string[], host: string, time: number): Promise<LoadReport> => {
    const all = [...args, '--seconds', String(time), '--warmup', '0.3', '--hostnqn', `${HOST}${host}`];
    return runLoad(baseline, server, all, pinning?.load, SUBSYSTEM_NQN, args === GREEDY ? 19 : 0);
  };
  if (file === null) await load(['--fill', ...POLITE], 'b', 0.5);
  const reports = new Map<string, { polite: LoadReport[]; greedy: LoadReport[] }>();
  for (const { name } of CASES) reports.set(name, { polite: [], greedy: [] });
  for (let round = 0; round < rounds; round++) {
    for (const { name, greedy, polite } of CASES) {
      const { polite: polites, greedy: greedies } = reports.get(name)!;
      const running = greedy === null ? null : load(GREEDY, greedy, seconds + 2 * LEAD);
      if (running !== null) await wait(LEAD * 1000);
      if (polite !== null) polites.push(await load(POLITE, polite, seconds));
      if (running !== null) greedies.push(await running);
    }
  }
  const lines = [
    '| case | polite IOPS | p50 us | p99 us | p99.9 us | greedy MB/s |',
    '|---|---|---|---|---|---|',
    ...CASES.map(({ name }) => {
      const { polite, greedy } = reports.get(name)!;
      const of = (list: LoadReport[], value: (report: LoadReport) => number): string =>
        list.length === 0 ? '-' : String(Math.round(median(list.map(value))));
      const cells = [
        of(polite, ({ iops }) => iops),
        of(polite, ({ p50_us }) => p50_us),
        of(polite, ({ p99_us }) => p99_us),
        of(polite, ({ p999_us }) => p999_us),
        of(greedy, ({ iops }) => (iops * greedyBytes) / 1e6),
      ];
      return `| ${name} | ${cells.join(' | ')} |`;
    }),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
  await server.stop();
  file?.remove();
}

function median(list: readonly number[]): number {
  return [...list].sort((x, y) => x - y)[Math.floor(list.length / 2)]!;
}

process.on('exit', killChildren);
try {
  await main();
} catch (error) {
  if (!(error instanceof BenchError)) throw error;
  process.stderr.write(`fairness: ${error.message}\n`);
  process.exitCode = 1;
}
