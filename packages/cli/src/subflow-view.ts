import type { QueueSubflows } from 'nvbraid';
import { formatAddress } from './association.ts';
import { formatMicroseconds, formatSize, plural } from './size.ts';
import type { Terminal } from './terminal.ts';

type Subflow = QueueSubflows['subflows'][number];

/** `10.1.2.2:40962 -> 10.1.2.1:4420` */
export function subflowEnds({ local, remote }: Subflow): string {
  return `${formatAddress(local.address, local.port)} -> ${formatAddress(remote.address, remote.port)}`;
}

/** What is not as it should be, or is good to know; empty for most. */
export function subflowMarks({ state, stale, backup }: Subflow): string[] {
  return [
    ...(state === 'established' ? [] : [state]),
    ...(stale ? ['stale'] : []),
    ...(backup === true ? ['backup'] : []),
  ];
}

/** The queues of a controller with their subflows, for people. @param name e.g. `queue`, `I/O queue` */
export function subflowLines(queues: readonly QueueSubflows[], terminal: Terminal): string[] {
  const all = queues.flatMap(({ subflows }) => subflows);
  const width = Math.max(0, ...all.map((subflow) => subflowEnds(subflow).length));
  return queues.flatMap((queue) => [
    `queue ${queue.qid}: ${queueText(queue, terminal)}`,
    ...queue.subflows.map((subflow) => `  ${subflowEnds(subflow).padEnd(width)}  ${subflowText(subflow, terminal)}`),
  ]);
}

function queueText({ fallback, count, subflows }: QueueSubflows, terminal: Terminal): string {
  if (fallback === true) return terminal.style('yellow', 'fell back to TCP');
  if (fallback === null) return 'this kernel does not tell of subflows';
  return `${plural(count, 'subflow')}${count > subflows.length ? `, ${subflows.length} of them shown` : ''}`;
}

function subflowText(subflow: Subflow, terminal: Terminal): string {
  const { bytesSent, bytesReceived, rttUs, retransmits, bytesRetransmitted, stale } = subflow;
  const again =
    retransmits === 0 ? '' : `, sent again ${plural(retransmits, 'segment')} (${formatSize(bytesRetransmitted)})`;
  const marks = subflowMarks(subflow);
  const shown = marks.length === 0 ? '' : `, ${terminal.style(stale ? 'yellow' : 'bold', marks.join(', '))}`;
  return `sent ${formatSize(bytesSent)}, received ${formatSize(bytesReceived)}, rtt ${formatMicroseconds(rttUs)}${again}${shown}`;
}

/** The same for scripts, named as nvme-cli names things. */
export function subflowsJson(queues: readonly QueueSubflows[]): object[] {
  return queues.map(({ qid, fallback, count, subflows }) => ({
    QID: qid,
    Fallback: fallback,
    SubflowCount: count,
    Subflows: subflows.map((subflow) => ({
      ID: subflow.id,
      Local: formatAddress(subflow.local.address, subflow.local.port),
      Remote: formatAddress(subflow.remote.address, subflow.remote.port),
      State: subflow.state,
      Backup: subflow.backup,
      Stale: subflow.stale,
      BytesSent: subflow.bytesSent,
      BytesReceived: subflow.bytesReceived,
      BytesRetransmitted: subflow.bytesRetransmitted,
      Retransmits: subflow.retransmits,
      RTTMicroseconds: subflow.rttUs,
    })),
  }));
}
