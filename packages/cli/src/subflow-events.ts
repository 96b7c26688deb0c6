import { type QueueSubflows, type SubflowChange, subflowSentences } from 'nvbraid';
import { subflowEnds } from './subflow-view.ts';

/** A line of a log and what stands beside it in JSON. */
export interface SubflowLine {
  readonly text: string;
  readonly fields: object;
}

/** What has happened to subflows: sentences for people, one object for each change for scripts. */
export function subflowLogLines<Q extends QueueSubflows>(
  changes: readonly SubflowChange<Q>[],
  json: boolean,
  controllerOf: (queue: Q) => string,
  fieldsOf: (queue: Q) => object,
): SubflowLine[] {
  if (!json) return subflowSentences(changes, controllerOf).map((text) => ({ text, fields: {} }));
  return changes.map(({ event, queue, subflow, working }) => ({
    text: '',
    fields: {
      ...fieldsOf(queue),
      qid: queue.qid,
      change: event,
      subflow: subflow === null ? null : subflowEnds(subflow),
      working,
    },
  }));
}
