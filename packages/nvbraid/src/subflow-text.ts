import type { QueueSubflows, SubflowChange } from './subflow-watch.ts';

const WORDS = {
  added: 'added',
  lost: 'lost',
  stale: 'stale: what was sent is not answered',
  recovered: 'recovered',
} as const;

/**
 * What has happened to subflows, as sentences for a log: one for all queues of a controller that it happened to between
 * the same addresses.
 * @param controllerOf how the controller of a queue is called
 */
export function subflowSentences<Q extends QueueSubflows>(
  changes: readonly SubflowChange<Q>[],
  controllerOf: (queue: Q) => string,
): string[] {
  const groups = new Map<string, { first: SubflowChange<Q>; qids: number[]; working: number }>();
  for (const change of changes) {
    const { event, queue, subflow, working } = change;
    const key = [event, controllerOf(queue), subflow?.local.address, subflow?.remote.address].join(' ');
    const group = groups.get(key) ?? { first: change, qids: [], working };
    group.qids.push(queue.qid);
    group.working = Math.min(group.working, working);
    groups.set(key, group);
  }
  return [...groups.values()].map(({ first, qids, working }) => {
    const { event, subflow } = first;
    const where = `${controllerOf(first.queue)}, ${queueNumbers(qids)}`;
    if (event === 'fallback' || subflow === null) return `${where}: fell back to TCP, there is one subflow`;
    const left =
      event === 'lost' || event === 'stale'
        ? `, ${working === 0 ? 'none' : working} left that ${working === 1 ? 'works' : 'work'}`
        : '';
    const ends = `${subflow.local.address} -> ${subflow.remote.address}`;
    return `${where}: subflow ${ends} ${WORDS[event]}${left}`;
  });
}

/** `queue 1`, `queues 0-2, 4`. */
export function queueNumbers(qids: readonly number[]): string {
  const sorted = [...new Set(qids)].sort((a, b) => a - b);
  const runs: [from: number, to: number][] = [];
  for (const qid of sorted) {
    const last = runs.at(-1);
    if (last !== undefined && qid === last[1] + 1) last[1] = qid;
    else runs.push([qid, qid]);
  }
  const text = runs.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(', ');
  return `${sorted.length === 1 ? 'queue' : 'queues'} ${text}`;
}
