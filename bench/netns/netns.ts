/*
 * npm run netns: NVMe over TCP and over MPTCP on shaped links between two network namespaces. See README.md beside this file.
 */
import { writeFileSync } from 'node:fs';
import { jsonOf, LOSS_UNIT } from './cases.ts';
import { chart } from './chart.ts';
import { measureAll } from './matrix.ts';
import { leftNamespaces, removeLeft } from './names.ts';
import { type NetnsOptions, readOptions, USAGE, UsageError } from './options.ts';
import { endOnSignals, NetnsError } from './own.ts';
import { describeMachine, missingFor, type Need } from './requirements.ts';
import { playAll, storyTables } from './stories.ts';
import { isImpairedStory } from './story-list.ts';
import { tables } from './table.ts';

function print(lines: readonly string[]): void {
  for (const line of lines) process.stdout.write(`${line}\n`);
}

function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** The results, as lines for people or for programs, and into files. */
function tell(options: NetnsOptions, results: readonly object[], lines: readonly string[], svg: string | null): void {
  if (options.json) print(results.map((result) => JSON.stringify(result)));
  else print([describeMachine(), '', ...lines]);
  if (options.out === null) return;
  writeFileSync(`${options.out}.json`, `${JSON.stringify(results, null, 2)}\n`);
  if (svg !== null) writeFileSync(`${options.out}.svg`, svg);
}

async function tellStories(options: NetnsOptions): Promise<void> {
  const { results, broken } = await playAll(options.stories, {
    ...options,
    quietSeconds: Math.max(2, options.seconds),
    progress: note,
  });
  tell(options, results, storyTables(results), null);
  if (broken.length > 0) throw new NetnsError(broken.join('; '));
}

async function compare(options: NetnsOptions): Promise<void> {
  const results = await measureAll({ ...options, progress: note });
  tell(options, results.map(jsonOf), tables(results), options.all ? chart(results) : null);
  const failed = results.filter((one) => one.failed !== null).length;
  if (failed > 0) throw new NetnsError(`${failed} of ${results.length} measurements failed`);
}

async function main(argv: readonly string[]): Promise<void> {
  const options = readOptions(argv);
  if (options.help) return void process.stdout.write(USAGE);
  const missing = missingFor(needOf(options));
  if (missing !== null) throw new NetnsError(missing);
  endOnSignals();
  if (options.clean) return print((await removeLeft()).map((name) => `removed ${name}`));
  const left = await leftNamespaces();
  if (left.length > 0) note(`left behind by a run that was killed: ${left.join(', ')}; --clean removes it`);
  await (options.stories.length > 0 ? tellStories(options) : compare(options));
}

function needOf({ lists, stories, clean }: NetnsOptions): Need {
  if (clean) return { mptcp: false, impairment: null };
  if (stories.length === 0) {
    const units = lists.loss.filter((loss) => loss !== '0').map((loss) => LOSS_UNIT[loss]);
    return {
      mptcp: lists.transport.includes('mptcp'),
      impairment: units.find((unit) => unit === 'packet') ?? units[0] ?? null,
    };
  }
  return { mptcp: true, impairment: stories.some(isImpairedStory) ? 'segments' : null };
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  if (error instanceof UsageError) {
    note(`netns: ${error.message}\nnpm run netns -- --help tells more`);
    process.exitCode = 2;
  } else if (error instanceof NetnsError) {
    note(`netns: ${error.message}`);
    process.exitCode = 1;
  } else throw error;
}
