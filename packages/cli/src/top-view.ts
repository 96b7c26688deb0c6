import { formatAddress } from './association.ts';
import type { Found } from './process-list.ts';
import { formatCount, formatMicroseconds, formatSize } from './size.ts';
import type { ConnectStatus } from './status.ts';
import { type Column, table } from './table.ts';
import type { Terminal } from './terminal.ts';
import { subflowTable, type TopSubflow, topSubflows } from './top-subflows.ts';

type Head = ConnectStatus['heads'][number];
type Path = Head['paths'][number];

/** What all processes said at one time. */
export interface Sample {
  readonly found: readonly Found<ConnectStatus>[];
  /** Of a clock that is never set. */
  readonly atMs: number;
}

/** What happened between two samples; null where there was no sample before. */
export interface TopSubsystem {
  readonly subsystem: string;
  readonly nqn: string;
  readonly pid: number;
  readonly iopolicy: string;
  readonly safeFailover: boolean;
  readonly heads: readonly TopHead[];
  /** Controllers that no namespace is reached by are told of here, too. */
  readonly controllers: ConnectStatus['controllers'];
  /** Of Multipath TCP. */
  readonly subflows: readonly TopSubflow[];
}

interface TopHead {
  readonly name: string;
  readonly nsid: number;
  readonly readsPerSecond: number | null;
  readonly writesPerSecond: number | null;
  readonly readBytesPerSecond: number | null;
  readonly writtenBytesPerSecond: number | null;
  /** Mean of the calls that ended since; null when there was none. */
  readonly latencyUs: number | null;
  readonly inFlight: number;
  readonly queued: number;
  readonly requeues: number;
  readonly failures: number;
  readonly errors: number;
  readonly failoverLatency: Head['failoverLatency'];
  readonly paths: readonly TopPath[];
}

interface TopPath {
  readonly name: string;
  readonly controller: string;
  readonly address: string;
  readonly state: string;
  readonly anaState: string | null;
  readonly usable: boolean;
  readonly depth: number;
  readonly iops: number | null;
  readonly latencyUs: number | null;
  readonly failovers: number;
  readonly retries: number;
  readonly errors: number;
  readonly resets: number;
  readonly reconnects: number;
}

export function compareSamples(before: Sample | null, now: Sample): TopSubsystem[] {
  const seconds = before === null ? 0 : (now.atMs - before.atMs) / 1000;
  return now.found.map(({ socket, status }) => {
    const old = before?.found.find((one) => one.socket === socket && one.status.pid === status.pid)?.status ?? null;
    return {
      subsystem: status.subsystem,
      nqn: status.address.nqn,
      pid: status.pid,
      iopolicy: status.iopolicy,
      safeFailover: status.safeFailover,
      heads: status.heads.map((head) =>
        topHead(old?.heads.find(({ name }) => name === head.name) ?? null, head, seconds),
      ),
      controllers: status.controllers,
      subflows: topSubflows(old, status, seconds),
    };
  });
}

function topHead(old: Head | null, head: Head, seconds: number): TopHead {
  const { stats } = head;
  const rate = (name: 'readCommands' | 'writeCommands' | 'readBytes' | 'writtenBytes'): number | null =>
    perSecond(old?.stats[name], stats[name], seconds);
  return {
    name: head.name,
    nsid: head.nsid,
    readsPerSecond: rate('readCommands'),
    writesPerSecond: rate('writeCommands'),
    readBytesPerSecond: rate('readBytes'),
    writtenBytesPerSecond: rate('writtenBytes'),
    latencyUs: meanSince(old?.stats.latency, stats.latency),
    inFlight: stats.inFlight,
    queued: head.queued,
    requeues: head.requeues,
    failures: head.failures,
    errors: stats.errors,
    failoverLatency: head.failoverLatency,
    paths: head.paths.map((path) =>
      topPath(
        old?.paths.find(({ name }) => name === path.name),
        path,
        seconds,
      ),
    ),
  };
}

function topPath(old: Path | undefined, path: Path, seconds: number): TopPath {
  const { name, controller, traddr, trsvcid, state, anaState, usable, depth, latencyUs } = path;
  const { failovers, retries, errors, resets, reconnects } = path;
  return {
    name,
    controller,
    address: formatAddress(traddr, Number(trsvcid)),
    state,
    anaState,
    usable,
    depth,
    iops: perSecond(old?.commands, path.commands, seconds),
    latencyUs,
    failovers,
    retries,
    errors,
    resets,
    reconnects,
  };
}

function perSecond(old: number | undefined, now: number, seconds: number): number | null {
  // Less than before: an object of the same name that is a new one.
  if (old === undefined || seconds <= 0 || now < old) return null;
  return Math.round(((now - old) / seconds) * 10) / 10;
}

function meanSince(old: Head['stats']['latency'] | undefined, now: Head['stats']['latency']): number | null {
  if (old === undefined || now.count <= old.count) return null;
  return Math.max(0, (now.meanUs * now.count - old.meanUs * old.count) / (now.count - old.count));
}

const HEADS: readonly Column[] = [
  { title: 'Head' },
  { title: 'Reads/s', right: true },
  { title: 'Writes/s', right: true },
  { title: 'Read', right: true },
  { title: 'Written', right: true },
  { title: 'Latency', right: true },
  { title: 'Flying', right: true },
  { title: 'Waiting', right: true },
  { title: 'Requeues', right: true },
  { title: 'Failed', right: true },
  { title: 'Failover p99', right: true },
];

const PATHS: readonly Column[] = [
  { title: 'Path' },
  { title: 'Address' },
  { title: 'State' },
  { title: 'ANA' },
  { title: 'Depth', right: true },
  { title: 'IOPS', right: true },
  { title: 'Latency', right: true },
  { title: 'Failovers', right: true },
  { title: 'Retries', right: true },
  { title: 'Errors', right: true },
  { title: 'Resets', right: true },
  { title: 'Back', right: true },
];

/** Lines for a person. */
export function topLines(subsystems: readonly TopSubsystem[], terminal: Terminal): string[] {
  return subsystems.flatMap((one, i) => [
    ...(i > 0 ? [''] : []),
    `${terminal.style('bold', one.subsystem)} ${one.nqn}  iopolicy ${one.iopolicy}, safe failover ${one.safeFailover ? 'on' : 'off'}, process ${one.pid}`,
    ...(one.heads.length === 0
      ? one.controllers.map(({ name, state }) => `  ${name} ${state}, no namespaces`)
      : [...headTable(one.heads), '', ...pathTable(one.heads, terminal)]),
    ...(one.subflows.length === 0 ? [] : ['', ...subflowTable(one.subflows, terminal).map((line) => `  ${line}`)]),
  ]);
}

function headTable(heads: readonly TopHead[]): string[] {
  const rows = heads.map((head) => [
    head.name,
    orDash(head.readsPerSecond, formatCount),
    orDash(head.writesPerSecond, formatCount),
    orDash(head.readBytesPerSecond, (bytes) => `${formatSize(bytes)}/s`),
    orDash(head.writtenBytesPerSecond, (bytes) => `${formatSize(bytes)}/s`),
    orDash(head.latencyUs, formatMicroseconds),
    String(head.inFlight),
    String(head.queued),
    String(head.requeues),
    String(head.failures),
    head.failoverLatency.count === 0 ? '-' : formatMicroseconds(head.failoverLatency.p99Us),
  ]);
  return table(HEADS, rows).map((line) => `  ${line}`);
}

function pathTable(heads: readonly TopHead[], terminal: Terminal): string[] {
  const paths = heads.flatMap((head) => head.paths);
  const rows = paths.map((path) => [
    path.name,
    path.address,
    path.state,
    path.anaState ?? '-',
    String(path.depth),
    orDash(path.iops, formatCount),
    orDash(path.latencyUs, formatMicroseconds),
    String(path.failovers),
    String(path.retries),
    String(path.errors),
    String(path.resets),
    String(path.reconnects),
  ]);
  const [title, rule, ...lines] = table(PATHS, rows);
  return [title!, rule!, ...lines.map((line, i) => (paths[i]!.usable ? line : terminal.style('yellow', line)))].map(
    (line) => `  ${line}`,
  );
}

function orDash(value: number | null, show: (value: number) => string): string {
  return value === null ? '-' : show(value);
}
