/*
 * npm run bench: our target against a C target and our host against a C host, in interleaved rounds. See README.md beside this file.
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { type CompiledBaseline, compileBaseline } from './baseline.ts';
import { type BenchCase, CASES, HOST_CASES } from './cases.ts';
import {
  BenchError,
  choosePinning,
  killChildren,
  type Pinning,
  runLoad,
  type Server,
  startBaseline,
  startOurs,
} from './children.ts';
import { type HostSetup, measureHost, measureMultipath } from './host.ts';
import { type CaseResult, type LoadReport, overheadTable, type Round, summarize, table } from './statistics.ts';

const COMPILE_SECONDS = 1.5;
const MULTIPATH = 'multipath';
const NAMES = [...[...CASES, ...HOST_CASES].map(({ name }) => name), MULTIPATH];

const USAGE = `usage: npm run bench -- [options]
  --target        only our target against the C target
  --host          only our host against the C host, and what multipath costs
  --case NAME     only this case, may be repeated: ${NAMES.join(', ')}
  --rounds N      rounds of each case, default 7
  --seconds S     how long each run measures, default 1
  --warmup S      how long each run goes on before it measures, default 0.3
  --sqflow        target: queues with SQ flow control: a response follows the data of each read
  --no-pin        let the scheduler place servers and load
  --json          JSON lines alone
`;

interface Options {
  readonly cases: readonly BenchCase[];
  readonly hostCases: readonly BenchCase[];
  readonly multipath: boolean;
  readonly rounds: number;
  readonly seconds: number;
  readonly warmup: number;
  readonly sqflow: boolean;
  readonly pin: boolean;
  readonly json: boolean;
}

function usageError(message: string): never {
  process.stderr.write(`bench: ${message}\n${USAGE}`);
  process.exit(2);
}

function readOptions(): Options {
  const number = (name: string, text: string, least: number): number => {
    const value = Number(text);
    return Number.isFinite(value) && value >= least
      ? value
      : usageError(`--${name} ${text}: a number from ${least} on`);
  };
  try {
    const { values } = parseArgs({
      options: {
        target: { type: 'boolean', default: false },
        host: { type: 'boolean', default: false },
        case: { type: 'string', multiple: true, default: [] },
        rounds: { type: 'string', default: '7' },
        seconds: { type: 'string', default: '1' },
        warmup: { type: 'string', default: '0.3' },
        sqflow: { type: 'boolean', default: false },
        'no-pin': { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.help) {
      process.stdout.write(USAGE);
      process.exit(0);
    }
    const unknown = values.case.find((name) => !NAMES.includes(name));
    if (unknown !== undefined) usageError(`there is no case ${unknown}`);
    // Neither word means both parts.
    const target = values.target || !values.host;
    const host = values.host || !values.target;
    const wanted = (name: string): boolean => values.case.length === 0 || values.case.includes(name);
    return {
      cases: CASES.filter(({ name }) => target && wanted(name)),
      hostCases: HOST_CASES.filter(({ name }) => host && wanted(name)),
      multipath: host && wanted(MULTIPATH),
      rounds: Math.floor(number('rounds', values.rounds, 1)),
      seconds: number('seconds', values.seconds, 0.05),
      warmup: number('warmup', values.warmup, 0),
      sqflow: values.sqflow,
      pin: !values['no-pin'],
      json: values.json,
    };
  } catch (error) {
    return usageError((error as Error).message);
  }
}

function header(options: Options, pinning: Pinning | null): string {
  const place =
    pinning === null
      ? 'server and load are placed by the scheduler'
      : `servers are confined to CPU ${pinning.server}, load and hosts to CPU ${pinning.load}`;
  const flow = options.sqflow ? 'SQ flow control' : 'SQ flow control disabled';
  return [
    `${cpus()[0]?.model.trim() ?? 'unknown CPU'} x ${cpus().length}, Node ${process.version}; ${place}`,
    `${options.rounds} rounds of ${options.seconds} s, ours and C in turn; medians; one queue, ${flow}`,
  ].join('\n');
}

interface Setup {
  readonly options: Options;
  readonly baseline: CompiledBaseline;
  readonly pinning: Pinning | null;
  readonly ours: Server;
  readonly c: Server;
}

function run({ options, baseline, pinning }: Setup, server: Server, { rw, bs, depth }: BenchCase): Promise<LoadReport> {
  const args = ['--rw', rw, '--bs', String(bs), '--depth', String(depth)];
  args.push('--seconds', String(options.seconds), '--warmup', String(options.warmup));
  if (options.sqflow) args.push('--sqflow');
  return runLoad(baseline, server, args, pinning?.load);
}

/** Every page of both namespaces exists before anything is measured: pages never written are all the same page. */
async function fill({ baseline, pinning, ours, c }: Setup): Promise<void> {
  for (const server of [ours, c]) {
    await runLoad(baseline, server, ['--fill', '--seconds', '1', '--warmup', '0'], pinning?.load);
  }
}

async function measure(setup: Setup, one: BenchCase): Promise<CaseResult> {
  const rounds: Round[] = [];
  const { ours, c } = setup;
  // One run of each that does not count: ours is compiled while it runs.
  for (const server of [ours, c]) await run(setup, server, one);
  for (let i = 0; i < setup.options.rounds; i++) {
    const reports = new Map<Server, LoadReport>();
    for (const server of i % 2 === 0 ? [ours, c] : [c, ours]) reports.set(server, await run(setup, server, one));
    const round = { ours: reports.get(ours)!, c: reports.get(c)! };
    rounds.push(round);
    const ratio = (round.ours.iops / round.c.iops).toFixed(2);
    process.stderr.write(
      `${one.name} ${i + 1}/${setup.options.rounds}: ${round.ours.iops} / ${round.c.iops} IOPS = ${ratio}\n`,
    );
  }
  return summarize(one.name, rounds);
}

async function compareHosts({ options, baseline, pinning, c }: Setup): Promise<void> {
  const { rounds, seconds, warmup, hostCases } = options;
  const progress = (text: string): void => void process.stderr.write(`${text}\n`);
  const setup: HostSetup = {
    baseline,
    target: c,
    pinning,
    rounds,
    seconds,
    warmup,
    progress,
    compileSeconds: COMPILE_SECONDS,
  };
  if (hostCases.length > 0) {
    const results = await measureHost(setup, hostCases);
    show(options, table(results), results);
  }
  if (options.multipath) {
    const results = await measureMultipath(setup);
    show(options, overheadTable(results), results);
  }
}

function show(options: Options, text: string, results: readonly object[]): void {
  if (!options.json) process.stdout.write(`\n${text}\n\n`);
  for (const result of results) process.stdout.write(`${JSON.stringify(result)}\n`);
}

async function main(): Promise<void> {
  const options = readOptions();
  const baseline = compileBaseline();
  if (typeof baseline === 'string') throw new BenchError(baseline);
  const pinning = options.pin ? choosePinning() : null;
  const c = await startBaseline(baseline, pinning?.server);
  const ours = await startOurs(pinning?.server);
  const setup: Setup = { options, baseline, pinning, ours, c };
  if (!options.json) process.stdout.write(`${header(options, pinning)}\n`);
  await fill(setup);
  const results: CaseResult[] = [];
  for (const one of options.cases) results.push(await measure(setup, one));
  if (results.length > 0) show(options, table(results), results);
  await compareHosts(setup);
  await Promise.all([ours.stop(), c.stop()]);
}

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.on(signal, () => {
    killChildren();
    process.exit(code);
  });
}
process.on('exit', killChildren);

try {
  await main();
} catch (error) {
  if (!(error instanceof BenchError)) throw error;
  process.stderr.write(`bench: ${error.message}\n`);
  process.exitCode = 1;
  killChildren();
}
