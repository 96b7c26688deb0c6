import { setTimeout as sleep } from 'node:timers/promises';
import { Load, type LoadResult } from './load.ts';
import { NetnsError } from './own.ts';
import { Served } from './served.ts';
import { cleanShape } from './shape.ts';
import { type Cast, isImpairedStory, STORIES, type Story, type StoryName } from './story-list.ts';
import { aligned } from './table.ts';
import { type Adrfam, Topology } from './topology.ts';

const BLOCK_BYTES = 128 * 1024;
const SIZE_BYTES = 64 * 2 ** 20;
const DEPTH = 64;
const SAMPLE_MS = 100;
/** One more than the stories of four links need: the way of the TCP path that stands by. */
const LINKS = 5;

export interface StoryOptions {
  readonly rateMbit: number;
  readonly adrfam: Adrfam;
  readonly congestion: string | null;
  /** Before the trouble, and after it. */
  readonly quietSeconds: number;
  readonly seed: number;
  readonly progress: (text: string) => void;
}

/** How a cast stood a story: a line of `--json`. Rates are MiB/s of verified writes. */
export interface StoryResult {
  readonly story: StoryName;
  readonly cast: string;
  /** Seen by the user. */
  readonly errors: number;
  readonly checked_blocks: number;
  readonly before_mib_s: number;
  readonly during_mib_s: number;
  /** Of the second half of the time after the trouble. */
  readonly after_mib_s: number;
  /** The longest operation, and the longest time in which none ended. */
  readonly longest_ms: number;
  readonly gap_ms: number;
  /** From the end of the trouble until nine tenths of the rate before are reached for a second; null: not reached. */
  readonly recovered_ms: number | null;
  /** Events of NVMe: paths that were lost, and came back; commands that went another way. */
  readonly resets: number;
  readonly reconnects: number;
  readonly failovers: number;
  readonly keep_alive_tmo: number;
  readonly rate_mbit: number;
  readonly shaper: string;
}

/** Plays a story with one cast. @throws NetnsError when a promise is broken: an error, wrong data, an event too many */
export async function play(name: StoryName, cast: Cast, options: StoryOptions): Promise<StoryResult> {
  const { rateMbit, adrfam, congestion, seed } = options;
  const topology = await Topology.create({
    links: LINKS,
    endpoints: cast.endpoints,
    adrfam,
    congestion,
    shape: cleanShape(rateMbit),
    impairedLater: isImpairedStory(name),
    lossUnit: 'segments',
    seed,
  });
  try {
    const served = await Served.start(topology, cast.listening);
    try {
      return await act(name, cast, topology, served, options);
    } finally {
      await served.stop();
    }
  } finally {
    await topology.remove();
  }
}

async function act(
  name: StoryName,
  cast: Cast,
  topology: Topology,
  served: Served,
  { rateMbit, quietSeconds, seed, progress }: StoryOptions,
): Promise<StoryResult> {
  const story: Story = STORIES[name];
  const load = new Load(topology, served, {
    ...{
      iopolicy: cast.iopolicy,
      rw: 'randwrite',
      verify: 'history',
      blockBytes: BLOCK_BYTES,
      depth: DEPTH,
      queues: 1,
    },
    ...{ sizeBytes: SIZE_BYTES, sampleMs: SAMPLE_MS, keepAliveTmo: cast.keepAliveTmo, reconnectDelay: 1, seed },
    seconds: story.troubleSeconds + 2 * quietSeconds,
  });
  await load.started();
  await sleep(quietSeconds * 1000);
  const fromMs = Date.now();
  await story.trouble(topology, rateMbit);
  const toMs = Date.now();
  const result = await load.result();
  const where = `${name}: ${cast.name}`;
  const wrong = broken(cast, result, [...load.log, ...served.log]);
  if (wrong !== null) throw new NetnsError(`${where}: ${wrong}`);
  const told = summary(name, cast, result, fromMs, toMs);
  progress(
    `${where}: ${told.before_mib_s}, ${told.during_mib_s}, ${told.after_mib_s} MiB/s; ${told.gap_ms} ms without any`,
  );
  return { ...told, rate_mbit: rateMbit, shaper: topology.shaper };
}

/** The promise that was not kept; null when all were. */
function broken({ paths }: Cast, result: LoadResult, log: readonly string[]): string | null {
  if (result.error !== null) return result.error;
  if (result.total.errors > 0) return `${result.total.errors} operations ended with an error`;
  if (result.verify.violation !== null) return result.verify.violation.message;
  const events = result.failover.paths.reduce((sum, one) => sum + one.resets + one.reconnects + one.failovers, 0);
  const told = log.filter((line) => /keep.?alive|fatal|fault/i.test(line));
  if (paths === 'kept' && events + told.length > 0) {
    return `the loss of a subflow is an event of NVMe: ${events} of paths; ${log.join('; ')}`;
  }
  if (paths === 'lost' && events === 0) return 'no path was lost';
  const gone = result.failover.paths.filter(({ state }) => state !== 'live');
  if (gone.length > 0) return `${gone.map(({ name, state }) => `${name} is ${state}`).join(', ')} at the end`;
  return null;
}

function summary(
  story: StoryName,
  cast: Cast,
  result: LoadResult,
  fromMs: number,
  toMs: number,
): Omit<StoryResult, 'rate_mbit' | 'shaper'> {
  const samples = result.samples!;
  const startMs = Date.parse(samples.start);
  const endMs = startMs + result.seconds * 1000;
  const rate = (from: number, to: number): number => {
    const [first, last] = [from, to].map((ms) => Math.round((ms - startMs) / SAMPLE_MS)) as [number, number];
    const bytes = samples.bytes.slice(Math.max(0, first), last).reduce((sum, one) => sum + one, 0);
    return Math.round((bytes / 2 ** 20 / ((to - from) / 1000)) * 10) / 10;
  };
  // The first second fills the queues.
  const before = rate(Math.min(startMs + 1000, fromMs - 500), fromMs);
  const sum = (key: 'resets' | 'reconnects' | 'failovers'): number =>
    result.failover.paths.reduce((all, path) => all + path[key], 0);
  return {
    story,
    cast: cast.name,
    errors: result.total.errors,
    checked_blocks: result.verify.checked_blocks,
    before_mib_s: before,
    during_mib_s: rate(fromMs, toMs),
    after_mib_s: rate((toMs + endMs) / 2, endMs - 200),
    longest_ms: Math.round(result.failover.stall_ms),
    gap_ms: Math.round(result.longest_gap_ms),
    recovered_ms: recovery(before, rate, toMs, endMs),
    resets: sum('resets'),
    reconnects: sum('reconnects'),
    failovers: sum('failovers'),
    keep_alive_tmo: cast.keepAliveTmo,
  };
}

function recovery(
  before: number,
  rate: (from: number, to: number) => number,
  toMs: number,
  endMs: number,
): number | null {
  for (let ms = toMs; ms + 1000 <= endMs; ms += SAMPLE_MS) {
    if (rate(ms, ms + 1000) >= 0.9 * before) return Math.round(ms - toMs);
  }
  return null;
}

/** Plays stories with all their casts, one after the other, also when some break a promise: `broken` tells of them. */
export async function playAll(
  names: readonly StoryName[],
  options: StoryOptions,
): Promise<{ readonly results: StoryResult[]; readonly broken: string[] }> {
  const results: StoryResult[] = [];
  const broken: string[] = [];
  for (const name of names) {
    for (const cast of STORIES[name].casts) {
      try {
        results.push(await play(name, cast, options));
      } catch (error) {
        if (!(error instanceof NetnsError)) throw error;
        broken.push(error.message);
        options.progress(`FAILED: ${error.message}`);
      }
    }
  }
  return { results, broken };
}

/** A table in Markdown for each story. */
export function storyTables(results: readonly StoryResult[]): string[] {
  const lines: string[] = [];
  for (const story of new Set(results.map((one) => one.story))) {
    if (lines.length > 0) lines.push('');
    lines.push(`${story}: ${STORIES[story].title}`, '');
    const header = [
      'cast',
      'k',
      'before',
      'during',
      'after',
      'back after',
      'no operation for',
      'longest',
      'paths lost',
      'failovers',
      'errors',
    ];
    const rows = results
      .filter((one) => one.story === story)
      .map((one) => [
        one.cast,
        String(one.keep_alive_tmo),
        ...[one.before_mib_s, one.during_mib_s, one.after_mib_s].map((rate) => rate.toFixed(1)),
        one.recovered_ms === null ? 'later' : seconds(one.recovered_ms),
        seconds(one.gap_ms),
        seconds(one.longest_ms),
        ...[one.resets, one.failovers, one.errors].map(String),
      ]);
    lines.push(...aligned([header, header.map(() => ''), ...rows]));
  }
  return lines;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
