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
  /** CPU time of the whole server process for one command. */
  readonly cpu_us: number;
  readonly c_cpu_us: number;
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

export function summarize(name: string, rounds: readonly Round[]): CaseResult {
  const ratios = rounds.map((round) => round.ours.iops / round.c.iops);
  const of = (value: (round: Round) => number | undefined, digits: number): number =>
    Number(median(rounds.map((round) => value(round) ?? Number.NaN)).toFixed(digits));
  return {
    case: name,
    iops: of((round) => round.ours.iops, 0),
    c_iops: of((round) => round.c.iops, 0),
    ratio: Number(median(ratios).toFixed(3)),
    p99_us: of((round) => round.ours.p99_us, 1),
    c_p99_us: of((round) => round.c.p99_us, 1),
    cpu_us: of((round) => round.ours.cpu_us_server, 3),
    c_cpu_us: of((round) => round.c.cpu_us_server, 3),
    ratio_min: Number(Math.min(...ratios).toFixed(3)),
    ratio_max: Number(Math.max(...ratios).toFixed(3)),
    rounds: rounds.length,
  };
}

const HEADINGS = ['case', 'IOPS', 'C IOPS', 'ratio', 'spread', 'p99 us', 'C p99 us', 'CPU us', 'C CPU us'];

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
  ]);
  const widths = HEADINGS.map((heading, i) => Math.max(heading.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: string[]): string =>
    cells
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd();
  return [line(HEADINGS), ...rows.map(line)].join('\n');
}
