import { type CaseResult, IOPOLICIES, LOSS_TEXT, LOSSES, type Op, type Transport } from './cases.ts';

const COLUMNS: readonly (readonly [Transport, Op])[] = [
  ['tcp', 'read'],
  ['tcp', 'write'],
  ['mptcp', 'read'],
  ['mptcp', 'write'],
];

/** A table in Markdown for each kind of link, as the published ones: MiB/s, and MPTCP to TCP. */
export function tables(results: readonly CaseResult[]): string[] {
  const lines: string[] = [];
  for (const loss of LOSSES) {
    const some = results.filter((one) => one.loss === loss);
    if (some.length === 0) continue;
    if (lines.length > 0) lines.push('');
    const { rate_mbit, queues, depth, shaper } = some[0]!;
    lines.push(
      `4 x ${rate_mbit} Mbit/s (${shaper}), ${LOSS_TEXT[loss]}; ${queues} x queue per path, depth ${depth}`,
      '',
    );
    lines.push(...table(some));
    for (const { transport, paths, iopolicy, op, failed } of some) {
      if (failed !== null) lines.push('', `* failed: ${transport} ${paths} ${iopolicy} ${op}: ${failed}`);
    }
  }
  return lines;
}

function table(results: readonly CaseResult[]): string[] {
  const header = ['paths', 'iopolicy', 'TCP read', 'write', 'MPTCP read', 'write', 'ratio read', 'write'];
  const rows = [header, header.map(() => '')];
  for (const paths of [...new Set(results.map((one) => one.paths))].sort()) {
    for (const iopolicy of IOPOLICIES) {
      const found = COLUMNS.map(([transport, op]) =>
        results.find(
          (one) => one.paths === paths && one.iopolicy === iopolicy && one.transport === transport && one.op === op,
        ),
      );
      if (found.every((one) => one === undefined)) continue;
      const [tcpRead, tcpWrite, mptcpRead, mptcpWrite] = found;
      rows.push([
        String(paths),
        paths === 1 ? 'any' : iopolicy,
        ...found.map(cell),
        ratio(mptcpRead, tcpRead),
        ratio(mptcpWrite, tcpWrite),
      ]);
    }
  }
  return aligned(rows);
}

function cell(one: CaseResult | undefined): string {
  if (one === undefined) return '-';
  return `${one.mib_s.toFixed(1)}${one.failed === null ? '' : ' *'}`;
}

function ratio(a: CaseResult | undefined, b: CaseResult | undefined): string {
  return a === undefined || b === undefined || b.mib_s === 0 ? '-' : `${(a.mib_s / b.mib_s).toFixed(2)}x`;
}

/** Rows of Markdown with columns of one width; the second row becomes the line under the header. */
export function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, i) => Math.max(3, ...rows.map((row) => row[i]!.length)));
  return rows.map((row, index) => {
    const cells = row.map((cell, i) => {
      if (index === 1) return i < 2 ? '-'.repeat(widths[i]!) : `${'-'.repeat(widths[i]! - 1)}:`;
      return i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!);
    });
    return `| ${cells.join(' | ')} |`;
  });
}
