/** What the target process has at one moment, after a forced garbage collection of its main thread. */
export interface Sample {
  readonly second: number;
  readonly rss: number;
  readonly heap: number;
  /** ArrayBuffers of all kinds, and what else lies outside the heap. */
  readonly external: number;
  readonly files: number;
  readonly threads: number;
  readonly connections: number;
}

/** Growth between the first and the last third of a run that counts as flat: a part, and bytes or pieces on top. */
const TOLERANCES = {
  rss: [0.05, 16 << 20],
  heap: [0.05, 3 << 20],
  external: [0.05, 4 << 20],
  files: [0, 8],
  threads: [0, 0],
} as const;

export interface Judgement {
  readonly what: keyof typeof TOLERANCES;
  readonly first: number;
  readonly last: number;
  /** Per minute, by least squares over all samples. */
  readonly slope: number;
  readonly allowed: number;
  readonly flat: boolean;
}

const MIB = 1 << 20;

/** Compares the medians of the first and the last third; what grows beyond the tolerance is not flat. */
export function judge(samples: readonly Sample[]): Judgement[] {
  const third = Math.max(1, Math.floor(samples.length / 3));
  return (Object.keys(TOLERANCES) as (keyof typeof TOLERANCES)[]).map((what) => {
    const first = median(samples.slice(0, third).map((sample) => sample[what]));
    const last = median(samples.slice(-third).map((sample) => sample[what]));
    const [part, more] = TOLERANCES[what];
    const allowed = first * part + more;
    return { what, first, last, slope: slopePerMinute(samples, what), allowed, flat: last - first <= allowed };
  });
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

function slopePerMinute(samples: readonly Sample[], what: keyof typeof TOLERANCES): number {
  const n = samples.length;
  const meanX = samples.reduce((sum, { second }) => sum + second, 0) / n;
  const meanY = samples.reduce((sum, sample) => sum + sample[what], 0) / n;
  let above = 0;
  let below = 0;
  for (const sample of samples) {
    above += (sample.second - meanX) * (sample[what] - meanY);
    below += (sample.second - meanX) ** 2;
  }
  return below === 0 ? 0 : (above / below) * 60;
}

export function sampleTable(samples: readonly Sample[]): string {
  const lines = [
    '| second | RSS MiB | heap MiB | external MiB | files | threads | connections |',
    '|---|---|---|---|---|---|---|',
  ];
  for (const { second, rss, heap, external, files, threads, connections } of samples) {
    const bytes = [rss, heap, external].map((value) => (value / MIB).toFixed(1)).join(' | ');
    lines.push(`| ${second.toFixed(0)} | ${bytes} | ${files} | ${threads} | ${connections} |`);
  }
  return lines.join('\n');
}

export function judgementTable(judgements: readonly Judgement[]): string {
  const lines = [
    '| | first third | last third | slope a minute | growth allowed | flat |',
    '|---|---|---|---|---|---|',
  ];
  for (const { what, first, last, slope, allowed, flat } of judgements) {
    const bytes = what === 'rss' || what === 'heap' || what === 'external';
    const say = (value: number): string => (bytes ? `${(value / MIB).toFixed(2)} MiB` : value.toFixed(1));
    lines.push(`| ${what} | ${say(first)} | ${say(last)} | ${say(slope)} | ${say(allowed)} | ${flat ? 'yes' : 'NO'} |`);
  }
  return lines.join('\n');
}
