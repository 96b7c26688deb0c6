/** The middle of the values; of an even number of values the mean of the middle two. NaN without values. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Of one case: what the rounds came to. */
export interface CaseResult {
  readonly case: string;
  readonly iops: number;
  readonly c_iops: number;
  /** Median of the ratios of the rounds, not ratio of the medians: the two runs of a round are neighbours in time. */
  readonly ratio: number;
  readonly p99_us: number;
  readonly c_p99_us: number;
  /** CPU time of the whole process for one command: of the server, or of the host where hosts are compared. */
  readonly cpu_us: number;
  readonly c_cpu_us: number;
  /** Median of the ratios of the rounds, and the lowest and highest of them. */
  readonly cpu_ratio: number;
  readonly cpu_ratio_min: number;
  readonly cpu_ratio_max: number;
  readonly ratio_min: number;
  readonly ratio_max: number;
  readonly rounds: number;
}

/** What the load generator reports of one run. */
export interface LoadReport {
  readonly ios: number;
  readonly iops: number;
  readonly mbps: number;
  readonly p50_us: number;
  readonly p99_us: number;
  readonly p999_us: number;
  readonly cpu_us_client: number;
  readonly cpu_us_server?: number;
  readonly verified_bytes?: number;
}

export interface Round {
  readonly ours: LoadReport;
  readonly c: LoadReport;
}

/** Which of the two processes of a run is the one that is compared. */
export type Side = 'server' | 'client';

export function summarize(name: string, rounds: readonly Round[], side: Side = 'server'): CaseResult {
  const cpu = (report: LoadReport): number =>
    (side === 'server' ? report.cpu_us_server : report.cpu_us_client) ?? Number.NaN;
  const ratio = spread(rounds.map((round) => round.ours.iops / round.c.iops));
  const cpuRatio = spread(rounds.map((round) => cpu(round.ours) / cpu(round.c)));
  const of = (value: (round: Round) => number | undefined, digits: number): number =>
    Number(median(rounds.map((round) => value(round) ?? Number.NaN)).toFixed(digits));
  return {
    case: name,
    iops: of((round) => round.ours.iops, 0),
    c_iops: of((round) => round.c.iops, 0),
    ratio: ratio.median,
    p99_us: of((round) => round.ours.p99_us, 1),
    c_p99_us: of((round) => round.c.p99_us, 1),
    cpu_us: of((round) => cpu(round.ours), 3),
    c_cpu_us: of((round) => cpu(round.c), 3),
    cpu_ratio: cpuRatio.median,
    cpu_ratio_min: cpuRatio.min,
    cpu_ratio_max: cpuRatio.max,
    ratio_min: ratio.min,
    ratio_max: ratio.max,
    rounds: rounds.length,
  };
}

function spread(values: readonly number[]): { median: number; min: number; max: number } {
  const round = (value: number): number => Number(value.toFixed(3));
  return { median: round(median(values)), min: round(Math.min(...values)), max: round(Math.max(...values)) };
}

/** What a head costs above one controller without multipath. */
export interface OverheadResult {
  readonly case: string;
  /** CPU time of the whole host process for one command, medians. */
  readonly cpu_us: number;
  readonly single_cpu_us: number;
  /** Median, lowest and highest of the pairs: 0.03 is 3 % more than a single path. */
  readonly overhead: number;
  readonly overhead_min: number;
  readonly overhead_max: number;
  readonly pairs: number;
}

/** @param pairs of reports that are neighbours in time */
export function overhead(name: string, pairs: readonly { single: LoadReport; head: LoadReport }[]): OverheadResult {
  const more = spread(pairs.map(({ single, head }) => head.cpu_us_client / single.cpu_us_client - 1));
  const cpu = (values: number[]): number => Number(median(values).toFixed(3));
  return {
    case: name,
    cpu_us: cpu(pairs.map(({ head }) => head.cpu_us_client)),
    single_cpu_us: cpu(pairs.map(({ single }) => single.cpu_us_client)),
    overhead: more.median,
    overhead_min: more.min,
    overhead_max: more.max,
    pairs: pairs.length,
  };
}

/** As a table in plain text. */
export function overheadTable(results: readonly OverheadResult[]): string {
  const percent = (value: number): string => `${(value * 100).toFixed(1)} %`;
  return aligned([
    ['head', 'CPU us', 'single path', 'more', 'spread', 'pairs'],
    ...results.map((r) => [
      r.case,
      r.cpu_us.toFixed(2),
      r.single_cpu_us.toFixed(2),
      percent(r.overhead),
      `${percent(r.overhead_min)} to ${percent(r.overhead_max)}`,
      String(r.pairs),
    ]),
  ]);
}

const HEADINGS = [
  'case',
  'IOPS',
  'C IOPS',
  'ratio',
  'spread',
  'p99 us',
  'C p99 us',
  'CPU us',
  'C CPU us',
  'CPU ratio',
  'CPU spread',
];

/** The results as a table in plain text. */
export function table(results: readonly CaseResult[]): string {
  const rows = results.map((r) => [
    r.case,
    String(r.iops),
    String(r.c_iops),
    r.ratio.toFixed(2),
    `${r.ratio_min.toFixed(2)}-${r.ratio_max.toFixed(2)}`,
    r.p99_us.toFixed(0),
    r.c_p99_us.toFixed(0),
    r.cpu_us.toFixed(2),
    r.c_cpu_us.toFixed(2),
    r.cpu_ratio.toFixed(2),
    `${r.cpu_ratio_min.toFixed(2)}-${r.cpu_ratio_max.toFixed(2)}`,
  ]);
  return aligned([HEADINGS, ...rows]);
}

function aligned(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd();
  return rows.map(line).join('\n');
}
