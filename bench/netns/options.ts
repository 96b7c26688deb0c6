import { parseArgs } from 'node:util';
import {
  ALL,
  type CaseLists,
  IOPOLICIES,
  type IopolicyName,
  LOSSES,
  type Loss,
  TRANSPORTS,
  type Transport,
} from './cases.ts';
import { STORIES, type StoryName } from './story-list.ts';
import type { Adrfam } from './topology.ts';

export const USAGE = `usage: npm run netns -- [transport [paths [iopolicy [loss]]]] [options]        (as root)

Two network namespaces with four links between them, a target in one and a host in the other: the selftest
mptcp_nvme.sh of the kernel's MPTCP. Random reads of 128 KiB, then writes; any error, reconnect or failed keep-alive
fails the run.

  transport         tcp or mptcp (default: mptcp)
  paths             1 to 4: NVMe paths, each on a link of its own; 1 listens on all addresses (default: 1)
  iopolicy          ${IOPOLICIES.join(', ')} (default: numa)
  loss              0: clean links; 1: 5 ms and 0.5 % loss as netem has it, which loses what TCP hands to its device,
                    up to 64 KiB; packet: the same loss of packets of 1500 bytes (default: 0)

Each may be a list: tcp,mptcp 1,4. Also as --transport, --paths, --iopolicy, --loss.

  --all             tcp,mptcp 1,4 all policies, all kinds of loss, in one table (with one path there is no policy)
  --story NAME      links that go and come under verified writes; ${Object.keys(STORIES).join(', ')},
                    or all; may be repeated. Over mptcp with one path and over tcp with four
  --rate MBIT       of each link (default: 100)
  --seconds S       how long each operation is measured (default: 10)
  --ramp S          how long it is loaded before (default: 2)
  --queues N        I/O queues of each path (default: 1)
  --depth N         operations under way over all paths (default: what one link carries in a second)
  --adrfam FAMILY   ipv4 or ipv6 (default: ipv4)
  --congestion NAME congestion control of TCP (default: cubic, or reno where the machine does not allow that)
  --seed N          of the losses and the places (default: 1)
  --out FILE        write FILE.json, and with --all the chart FILE.svg, too
  --json            JSON lines alone
  --clean           only remove what runs that were killed have left behind
  --help            this

Examples:
  npm run netns                                     one MPTCP connection over four links
  npm run netns -- tcp,mptcp 1 --seconds 3          and one of TCP, which has one
  npm run netns -- tcp,mptcp 4 round-robin 1        under loss
  npm run netns -- --all --out docs/mptcp-results   everything
  npm run netns -- --story link-down
  npm run netns -- --story all --json
`;

export class UsageError extends Error {}

export interface NetnsOptions {
  readonly lists: CaseLists;
  readonly all: boolean;
  readonly stories: readonly StoryName[];
  readonly rateMbit: number;
  readonly seconds: number;
  readonly rampSeconds: number;
  readonly queues: number;
  readonly depth: number | null;
  readonly adrfam: Adrfam;
  readonly congestion: string | null;
  readonly seed: number;
  readonly out: string | null;
  readonly json: boolean;
  readonly clean: boolean;
  readonly help: boolean;
}

const PLACES = ['transport', 'paths', 'iopolicy', 'loss'] as const;

/** @throws UsageError */
export function readOptions(argv: readonly string[]): NetnsOptions {
  const { values, positionals } = parsed(argv);
  if (positionals.length > PLACES.length) throw new UsageError(`'${positionals[PLACES.length]}' is one too many`);
  const given = (name: (typeof PLACES)[number], usual: string): string => {
    const place = positionals[PLACES.indexOf(name)];
    if (place !== undefined && values[name] !== undefined) throw new UsageError(`${name} is given twice`);
    return place ?? values[name] ?? usual;
  };
  const story = values.story.length > 0;
  const selected = PLACES.find((name, i) => positionals[i] !== undefined || values[name] !== undefined);
  if (values.all && selected !== undefined) throw new UsageError(`--all has every ${selected}: leave it out`);
  if (story && values.all) throw new UsageError('--story and --all exclude each other');
  if (story && selected !== undefined) throw new UsageError(`a story has its own ${selected}: leave it out`);
  const lists: CaseLists = values.all
    ? ALL
    : {
        transport: listOf<Transport>('transport', given('transport', 'mptcp'), TRANSPORTS),
        paths: listOf('paths', given('paths', '1'), ['1', '2', '3', '4']).map(Number),
        iopolicy: listOf<IopolicyName>('iopolicy', given('iopolicy', 'numa'), IOPOLICIES),
        loss: listOf<Loss>('loss', given('loss', '0'), LOSSES),
      };
  return {
    lists,
    all: values.all,
    stories: storiesOf(values.story),
    rateMbit: number('rate', values.rate, 1, 100000),
    seconds: number('seconds', values.seconds, 0.1, 3600),
    rampSeconds: number('ramp', values.ramp, 0, 600),
    queues: whole('queues', values.queues, 1, 128),
    depth: values.depth === undefined ? null : whole('depth', values.depth, 1, 4000),
    adrfam: one<Adrfam>('adrfam', values.adrfam, ['ipv4', 'ipv6']),
    congestion: values.congestion === undefined ? null : word('congestion', values.congestion),
    seed: whole('seed', values.seed, 0, 0xffffffff),
    out: values.out ?? null,
    json: values.json,
    clean: values.clean,
    help: values.help,
  };
}

function parsed(argv: readonly string[]) {
  const text = { type: 'string' } as const;
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        transport: text,
        paths: text,
        iopolicy: text,
        loss: text,
        all: { type: 'boolean', default: false },
        story: { type: 'string', multiple: true, default: [] },
        rate: { ...text, default: '100' },
        seconds: { ...text, default: '10' },
        ramp: { ...text, default: '2' },
        queues: { ...text, default: '1' },
        depth: text,
        adrfam: { ...text, default: 'ipv4' },
        congestion: text,
        seed: { ...text, default: '1' },
        out: text,
        json: { type: 'boolean', default: false },
        clean: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function one<T extends string>(name: string, text: string, allowed: readonly T[]): T {
  const found = allowed.find((value) => value === text);
  if (found === undefined) throw new UsageError(`${name}: '${text}' is none of ${allowed.join(', ')}`);
  return found;
}

function listOf<T extends string>(name: string, text: string, allowed: readonly T[]): T[] {
  return [...new Set(text.split(',').map((word) => one(name, word, allowed)))];
}

function number(name: string, text: string, least: number, most: number): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (value >= least && value <= most) return value;
  throw new UsageError(`--${name}: '${text}' is not a number from ${least} to ${most}`);
}

function whole(name: string, text: string, least: number, most: number): number {
  const value = number(name, text, least, most);
  if (!Number.isInteger(value)) throw new UsageError(`--${name}: '${text}' is not a whole number`);
  return value;
}

function word(name: string, text: string): string {
  if (/^[a-z0-9_]+$/.test(text)) return text;
  throw new UsageError(`--${name}: '${text}' is not a name`);
}

function storiesOf(names: readonly string[]): StoryName[] {
  const known = Object.keys(STORIES) as StoryName[];
  if (names.includes('all')) return known;
  return known.filter((name) => names.map((text) => one('story', text, known)).includes(name));
}
