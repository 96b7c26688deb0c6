import { formatMicroseconds, formatSize } from './size.ts';
import type { ConnectStatus } from './status.ts';
import { subflowEnds, subflowMarks } from './subflow-view.ts';
import { type Column, table } from './table.ts';
import type { Terminal } from './terminal.ts';

type Queue = NonNullable<ConnectStatus['controllers'][number]['queues']>[number];
type Subflow = Queue['subflows'][number];

/** One subflow of one queue, between two samples; rates are null where it was not there before. */
export interface TopSubflow {
  readonly controller: string;
  readonly qid: number;
  /** The connection fell back to TCP. */
  readonly fallback: boolean;
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly sentBytesPerSecond: number | null;
  readonly receivedBytesPerSecond: number | null;
  readonly retransmitsPerSecond: number | null;
  readonly rttUs: number;
  /** States other than established, `stale`, `backup`. */
  readonly marks: readonly string[];
}

export function topSubflows(old: ConnectStatus | null, now: ConnectStatus, seconds: number): TopSubflow[] {
  const before = new Map<string, Subflow>();
  for (const { queue, subflow } of subflowsOf(old)) before.set(keyOf(queue, subflow), subflow);
  return subflowsOf(now).map(({ controller, queue, subflow }) => {
    const known = before.get(keyOf(queue, subflow));
    const rate = (name: 'bytesSent' | 'bytesReceived' | 'retransmits'): number | null =>
      known === undefined || seconds <= 0 ? null : Math.max(0, (subflow[name] - known[name]) / seconds);
    return {
      controller,
      qid: queue.qid,
      fallback: queue.fallback === true,
      localAddress: subflow.local.address,
      localPort: subflow.local.port,
      remoteAddress: subflow.remote.address,
      remotePort: subflow.remote.port,
      sentBytesPerSecond: rate('bytesSent'),
      receivedBytesPerSecond: rate('bytesReceived'),
      retransmitsPerSecond: rate('retransmits'),
      rttUs: subflow.rttUs,
      marks: subflowMarks(subflow),
    };
  });
}

function subflowsOf(status: ConnectStatus | null) {
  return (status?.controllers ?? []).flatMap(({ name, queues = [] }) =>
    queues.flatMap((queue) => queue.subflows.map((subflow) => ({ controller: name, queue, subflow }))),
  );
}

function keyOf({ connection }: Queue, subflow: Subflow): string {
  return `${connection} ${subflowEnds(subflow)}`;
}

const COLUMNS: readonly Column[] = [
  { title: 'Controller' },
  { title: 'Subflows' },
  { title: 'Queues', right: true },
  { title: 'Sent', right: true },
  { title: 'Received', right: true },
  { title: 'RTT', right: true },
  { title: 'Again/s', right: true },
  { title: 'Flags' },
];

/**
 * Lines for a person: the subflows of all queues between the same two addresses are one, since they share a link. Their
 * rates are added, of round-trip times the longest is shown, of flags each with how many have it where not all do.
 */
export function subflowTable(subflows: readonly TopSubflow[], terminal: Terminal): string[] {
  const links = [
    ...Map.groupBy(subflows, (one) => `${one.controller} ${one.localAddress} ${one.remoteAddress}`).values(),
  ];
  const rows = links.map((link) => {
    const { controller, localAddress, remoteAddress } = link[0]!;
    return [
      controller,
      `${localAddress} -> ${remoteAddress}`,
      String(link.length),
      sizePerSecond(link.map((one) => one.sentBytesPerSecond)),
      sizePerSecond(link.map((one) => one.receivedBytesPerSecond)),
      formatMicroseconds(Math.max(...link.map(({ rttUs }) => rttUs))),
      String(Math.round(sum(link.map((one) => one.retransmitsPerSecond)) ?? 0)),
      flagsOf(link),
    ];
  });
  const [title, rule, ...lines] = table(COLUMNS, rows);
  return [
    title!,
    rule!,
    ...lines.map((line, i) => (links[i]!.some(isInTrouble) ? terminal.style('yellow', line) : line)),
  ];
}

function isInTrouble({ fallback, marks }: TopSubflow): boolean {
  return fallback || marks.some((mark) => mark !== 'backup');
}

function flagsOf(link: readonly TopSubflow[]): string {
  const counts = new Map<string, number>();
  for (const { fallback, marks } of link) {
    for (const mark of fallback ? ['fell back to TCP', ...marks] : marks) {
      counts.set(mark, (counts.get(mark) ?? 0) + 1);
    }
  }
  return [...counts].map(([mark, count]) => (count === link.length ? mark : `${mark} (${count})`)).join(', ') || '-';
}

/** Of those that are known; null when none is. */
function sum(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((total, value) => total + value, 0);
}

function sizePerSecond(values: readonly (number | null)[]): string {
  const total = sum(values);
  return total === null ? '-' : `${formatSize(total)}/s`;
}
