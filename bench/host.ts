import type { CompiledBaseline } from './baseline.ts';
import { type BenchCase, MULTIPATH_CASE } from './cases.ts';
import { type Host, type Pinning, runLoad, type Server, startHost } from './children.ts';
import type { HostPlace, HostWay } from './our-host.ts';
import {
  type CaseResult,
  type LoadReport,
  type OverheadResult,
  overhead,
  type Round,
  summarize,
} from './statistics.ts';

/** How our host is measured: both hosts load the C target, one after the other. */
export interface HostSetup {
  readonly baseline: CompiledBaseline;
  readonly target: Server;
  readonly pinning: Pinning | null;
  readonly rounds: number;
  readonly seconds: number;
  readonly warmup: number;
  /** How long a host works before it is measured for the first time: its code is compiled meanwhile. */
  readonly compileSeconds: number;
  readonly progress: (text: string) => void;
}

const PLACES: readonly HostPlace[] = ['main', 'thread', 'device'];

/** Pairs, and after how many of them the hosts are started anew: two starts are not compiled to the same code. */
const PAIRS = 9;
const PAIRS_OF_ONE_START = 3;

const WAYS: readonly { readonly way: HostWay; readonly name: string }[] = [
  { way: '1', name: 'head, 1 path' },
  { way: '2', name: 'head, 2 paths' },
  { way: '2-round-robin', name: 'head, 2 paths in turns' },
];

function job(setup: HostSetup, { rw, bs, depth }: BenchCase) {
  return { rw, bs, depth, seconds: setup.seconds, warmup: setup.warmup };
}

async function warmUp(host: Host, setup: HostSetup, one: BenchCase): Promise<void> {
  await host.run({ ...job(setup, one), warmup: setup.compileSeconds, seconds: 0.05 });
}

function runC({ baseline, target, pinning, seconds, warmup }: HostSetup, one: BenchCase): Promise<LoadReport> {
  const args = ['--rw', one.rw, '--bs', String(one.bs), '--depth', String(one.depth)];
  args.push('--seconds', String(seconds), '--warmup', String(warmup));
  return runLoad(baseline, target, args, pinning?.load);
}

/** Our host as `connect` gives it, with one path, against the C host. */
export async function measureHost(setup: HostSetup, cases: readonly BenchCase[]): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  for (const place of PLACES) {
    const host = await startHost(setup.target, '1', place, setup.pinning?.load);
    for (const one of cases) {
      await warmUp(host, setup, one);
      await runC(setup, one);
      results.push(await measureCase(setup, host, one, place));
    }
    await host.stop();
  }
  // A case in all places, then the next one.
  return cases.flatMap((_, i) => PLACES.map((_, p) => results[p * cases.length + i]!));
}

async function measureCase(setup: HostSetup, host: Host, one: BenchCase, place: HostPlace): Promise<CaseResult> {
  const name = `${one.name} ${place}`;
  const rounds: Round[] = [];
  for (let i = 0; i < setup.rounds; i++) {
    let ours: LoadReport | null = i % 2 === 0 ? await host.run(job(setup, one)) : null;
    const c = await runC(setup, one);
    ours ??= await host.run(job(setup, one));
    rounds.push({ ours, c });
    setup.progress(
      `${name} ${i + 1}/${setup.rounds}: ${ours.iops} / ${c.iops} IOPS = ${(ours.iops / c.iops).toFixed(2)}`,
    );
  }
  return summarize(name, rounds, 'client');
}

/** What heads cost above one controller, in CPU time for each command, in a thread of their own. */
export async function measureMultipath(setup: HostSetup, pairs = PAIRS): Promise<OverheadResult[]> {
  const measured: Record<string, { single: LoadReport; head: LoadReport }[]> = {};
  for (let done = 0; done < pairs; done += PAIRS_OF_ONE_START) {
    const start = (way: HostWay): Promise<Host> => startHost(setup.target, way, 'device', setup.pinning?.load);
    const single = await start('controller');
    const heads: Host[] = [];
    for (const { way } of WAYS) heads.push(await start(way));
    for (const host of [single, ...heads]) await warmUp(host, setup, MULTIPATH_CASE);
    for (let i = done; i < Math.min(pairs, done + PAIRS_OF_ONE_START); i++) {
      for (const [k, { name }] of WAYS.entries()) {
        const pair = await measurePair(setup, single, heads[k]!, i % 2 === 0);
        (measured[name] ??= []).push(pair);
        const [more, less] = [pair.head.cpu_us_client, pair.single.cpu_us_client];
        setup.progress(`${name} ${i + 1}/${pairs}: ${more.toFixed(2)} / ${less.toFixed(2)} us CPU`);
      }
    }
    for (const host of [single, ...heads]) await host.stop();
  }
  return WAYS.map(({ name }) => overhead(name, measured[name]!));
}

async function measurePair(setup: HostSetup, single: Host, head: Host, headFirst: boolean) {
  const run = (host: Host): Promise<LoadReport> => host.run(job(setup, MULTIPATH_CASE));
  const first = await run(headFirst ? head : single);
  const second = await run(headFirst ? single : head);
  return headFirst ? { head: first, single: second } : { single: first, head: second };
}
