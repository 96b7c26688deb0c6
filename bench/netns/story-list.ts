import { setTimeout as sleep } from 'node:timers/promises';
import type { IopolicyName } from './cases.ts';
import { type Listening, listeningOn, PORT } from './served.ts';
import { cleanShape, type Shape } from './shape.ts';
import type { Topology } from './topology.ts';

/** Who is used in a story: its paths and their options. */
export interface Cast {
  readonly name: string;
  readonly listening: readonly Listening[];
  /** Links with MPTCP endpoints. */
  readonly endpoints: number;
  readonly iopolicy: IopolicyName;
  readonly keepAliveTmo: number;
  /** Events of the host that this is expected to lead to: none, or the loss of a path. */
  readonly paths: 'kept' | 'lost' | 'either';
}

/** What happens to the links. */
export interface Story {
  readonly title: string;
  readonly casts: readonly Cast[];
  /** A link will lose packets. */
  readonly impaired?: boolean;
  readonly trouble: (topology: Topology, rateMbit: number) => Promise<void>;
  /** Of the trouble, at least. */
  readonly troubleSeconds: number;
}

/** Of the path that stands by when all four links are gone. */
const SIBLING = { transport: 'tcp', link: 5, trsvcid: 4421, standby: true } as const;

const oneMptcp = listeningOn('mptcp', 1);
const fourTcp = listeningOn('tcp', 4);

/*
 * Keep Alive: a path whose link falls silent is lost after 1.5 times its timeout, and only then commands go another way. TCP
 * itself sends for minutes before it gives up. So native multipath is given 1 s, where a second without an answer means
 * that the link is gone; the subflows of MPTCP need no such judge, so that has the usual 5 s.
 */
const MPTCP: Cast = {
  ...{ name: 'MPTCP, one path', listening: oneMptcp, endpoints: 4, iopolicy: 'numa', keepAliveTmo: 5, paths: 'kept' },
};

function tcp(iopolicy: IopolicyName, paths: Cast['paths']): Cast {
  const name = `TCP, four paths, ${iopolicy}`;
  return { name, listening: fourTcp, endpoints: 0, iopolicy, keepAliveTmo: 1, paths };
}

/** Policies that differ where one of the links is worse than the others. */
const UNEQUAL = [
  MPTCP,
  ...(['round-robin', 'queue-depth', 'service-time'] as const).map((name) => tcp(name, 'either')),
];

async function downFor(topology: Topology, links: readonly number[], seconds: number): Promise<void> {
  for (const link of links) await topology.linkDown(link);
  await sleep(seconds * 1000);
  for (const link of links) await topology.linkUp(link);
}

async function shapedFor(topology: Topology, shape: Shape, rateMbit: number, seconds: number): Promise<void> {
  await topology.setShape(2, shape);
  await sleep(seconds * 1000);
  await topology.setShape(2, cleanShape(rateMbit));
}

export const STORIES = {
  'link-down': {
    title: 'one link is down for 3 s',
    casts: [MPTCP, tcp('round-robin', 'lost')],
    troubleSeconds: 3,
    trouble: (topology) => downFor(topology, [2], 3),
  },
  'each-link': {
    title: 'each link in turn is down for 3 s, 4 s after the one before has come back',
    casts: [MPTCP, tcp('round-robin', 'lost')],
    troubleSeconds: 24,
    trouble: async (topology) => {
      for (let link = 1; link <= 4; link++) {
        if (link > 1) await sleep(4000);
        await downFor(topology, [link], 3);
      }
    },
  },
  'all-down': {
    title: 'all four links are down for 5 s',
    casts: [
      { ...MPTCP, keepAliveTmo: 1, paths: 'lost' },
      tcp('round-robin', 'lost'),
      {
        name: 'MPTCP, and TCP by a fifth link',
        listening: [{ transport: 'mptcp', link: 1, trsvcid: PORT }, SIBLING],
        endpoints: 4,
        iopolicy: 'numa',
        keepAliveTmo: 1,
        paths: 'lost',
      },
    ],
    troubleSeconds: 5,
    trouble: (topology) => downFor(topology, [1, 2, 3, 4], 5),
  },
  'link-loss': {
    title: 'one link loses 1 % of its segments for 5 s',
    casts: UNEQUAL,
    impaired: true,
    troubleSeconds: 5,
    trouble: (topology, rateMbit) => shapedFor(topology, { ...topology.options.shape, lossPercent: 1 }, rateMbit, 5),
  },
  'link-slow': {
    title: 'one link has a tenth of its rate for 5 s',
    casts: UNEQUAL,
    troubleSeconds: 5,
    trouble: (topology, rateMbit) => shapedFor(topology, cleanShape(rateMbit / 10), rateMbit, 5),
  },
} as const satisfies Record<string, Story>;

export type StoryName = keyof typeof STORIES;

/** Whether its links will lose something. */
export function isImpairedStory(name: StoryName): boolean {
  const story: Story = STORIES[name];
  return story.impaired ?? false;
}
