import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Case,
  type CaseLists,
  type CaseResult,
  casesOf,
  LOSS_UNIT,
  type Loss,
  OPS,
  type Op,
  withRatios,
} from './cases.ts';
import { failures, Load } from './load.ts';
import { listeningOn, Served } from './served.ts';
import { cleanShape, lossyShape } from './shape.ts';
import { type Adrfam, Topology } from './topology.ts';

const BLOCK_BYTES = 128 * 1024;
const LINKS = 4;

export interface MatrixOptions {
  readonly lists: CaseLists;
  readonly adrfam: Adrfam;
  readonly rateMbit: number;
  /** How long each operation is measured, and how long it is loaded before. */
  readonly seconds: number;
  readonly rampSeconds: number;
  readonly congestion: string | null;
  readonly queues: number;
  /** Operations under way; null: as many as one link carries in a second. */
  readonly depth: number | null;
  readonly seed: number;
  /** Tells what has been done, for who waits. */
  readonly progress: (text: string) => void;
}

/** As many as one link carries in a second, which is what the selftest has: 1024 of 128 KiB for a link of 1 Gbit/s. */
export function depthFor(rateMbit: number): number {
  return Math.min(4096, Math.max(16, Math.round((rateMbit * 1e6) / 8 / BLOCK_BYTES)));
}

type Measured = Omit<CaseResult, 'ratio_to_tcp_1path'>;

/** Measures all cases, one after the other, also when some fail. @throws NetnsError when one cannot be measured */
export async function measureAll(options: MatrixOptions): Promise<CaseResult[]> {
  const results: Measured[] = [];
  const cases = casesOf(options.lists);
  for (const loss of options.lists.loss) {
    const topology = await topologyFor(loss, options);
    try {
      for (const group of groupsOf(cases.filter((one) => one.loss === loss))) {
        results.push(...(await measureGroup(topology, group, options)));
      }
    } finally {
      await topology.remove();
    }
  }
  return withRatios(results);
}

function topologyFor(loss: Loss, { adrfam, rateMbit, seed, lists, congestion }: MatrixOptions): Promise<Topology> {
  return Topology.create({
    links: LINKS,
    endpoints: lists.transport.includes('mptcp') ? LINKS : 0,
    adrfam,
    shape: loss === '0' ? cleanShape(rateMbit) : lossyShape(rateMbit),
    lossUnit: LOSS_UNIT[loss],
    congestion,
    seed,
  });
}

/** Cases that share a target. */
function groupsOf(cases: readonly Case[]): Case[][] {
  const groups = new Map<string, Case[]>();
  for (const one of cases) {
    const key = `${one.transport} ${one.paths}`;
    const group = groups.get(key) ?? [];
    group.push(one);
    groups.set(key, group);
  }
  return [...groups.values()];
}

async function measureGroup(topology: Topology, group: readonly Case[], options: MatrixOptions): Promise<Measured[]> {
  const { transport, paths } = group[0]!;
  const served = await Served.start(topology, listeningOn(transport, paths));
  try {
    await served.discover();
    const results: Measured[] = [];
    for (const one of group) {
      for (const op of OPS) results.push(await measure(topology, served, one, op, options));
      await served.flush();
    }
    return results;
  } finally {
    await served.stop();
  }
}

async function measure(
  topology: Topology,
  served: Served,
  one: Case,
  op: Op,
  { rateMbit, seconds, rampSeconds, queues, depth: givenDepth, seed, progress }: MatrixOptions,
): Promise<Measured> {
  const depth = givenDepth ?? depthFor(rateMbit);
  const seen = served.log.length;
  const load = new Load(topology, served, {
    iopolicy: one.iopolicy,
    rw: op === 'read' ? 'randread' : 'randwrite',
    blockBytes: BLOCK_BYTES,
    ...{ depth, queues, seconds, rampSeconds, seed },
  });
  const result = await load.result();
  const where = describeCase(one, op);
  const wrong = failures(result, load.log, served.log.slice(seen));
  const { bytes, latency_us } = result[op];
  const { shape } = topology.options;
  const measured = {
    ...one,
    op,
    mib_s: Math.round((bytes / 2 ** 20 / result.seconds) * 10) / 10,
    failed: wrong.length === 0 ? null : wrong.join('; '),
    rate_mbit: rateMbit,
    delay_ms: shape.delayMs,
    loss_percent: shape.lossPercent,
    shaper: topology.shaper,
    congestion: topology.congestion,
    seconds: result.seconds,
    queues,
    depth,
    p50_ms: Math.round(latency_us.p50 / 1000),
    p99_ms: Math.round(latency_us.p99 / 1000),
  };
  progress(`${where}: ${measured.mib_s.toFixed(1)} MiB/s${wrong.length === 0 ? '' : `, FAILED: ${measured.failed}`}`);
  // Sockets of the run before have said their last word.
  await sleep(100);
  return measured;
}

export function describeCase({ transport, paths, iopolicy, loss }: Case, op: Op): string {
  return `${transport} ${paths} ${iopolicy} loss=${loss} ${op}`;
}
