import { type CaseResult, IOPOLICIES, LOSSES, type Loss, type Op, type Transport } from './cases.ts';

/* Drawn by hand: a panel for each kind of link, a group of four bars for each number of paths and policy. */

const TITLES: Readonly<Record<Loss, string>> = {
  '0': 'clean links',
  '1': '5 ms, 0.5 % loss of whole segments (as netem)',
  packet: '5 ms, 0.5 % loss of 1500-byte packets',
};

const BARS: readonly {
  readonly transport: Transport;
  readonly op: Op;
  readonly color: string;
  readonly name: string;
}[] = [
  { transport: 'tcp', op: 'read', color: '#9db2c9', name: 'TCP read' },
  { transport: 'tcp', op: 'write', color: '#5f7d9e', name: 'TCP write' },
  { transport: 'mptcp', op: 'read', color: '#f2b077', name: 'MPTCP read' },
  { transport: 'mptcp', op: 'write', color: '#d97a2b', name: 'MPTCP write' },
];

const BAR = 15;
const GAP = 32;
const GROUP = BAR * BARS.length + GAP;
const LEFT = 58;
const RIGHT = 16;
const PLOT = 150;
const HEAD = 64;
const PANEL = PLOT + 72;
const FONT = 'font-family="Helvetica, Arial, sans-serif"';

/** An SVG of `--all`. */
export function chart(results: readonly CaseResult[]): string {
  const losses = LOSSES.filter((loss) => results.some((one) => one.loss === loss));
  const groups = [1, 2, 3, 4]
    .flatMap((paths) => IOPOLICIES.map((iopolicy) => ({ paths, iopolicy })))
    .filter(({ paths, iopolicy }) => results.some((one) => one.paths === paths && one.iopolicy === iopolicy));
  // The title and the legend have to fit, too.
  const width = Math.max(560, LEFT + groups.length * GROUP + GAP + RIGHT);
  const height = HEAD + losses.length * PANEL;
  const rate = results[0]!.rate_mbit;
  const capacity = (4 * rate * 1e6) / 8 / 2 ** 20;
  const out = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" ${FONT}>`,
    `<title>NVMe over TCP and MPTCP on four links of ${rate} Mbit/s</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(LEFT, 22, `MiB/s of random 128 KiB over four links of ${rate} Mbit/s`, 14, 'start', '#222', true),
    ...legend(),
  ];
  losses.forEach((loss, i) => {
    const some = results.filter((one) => one.loss === loss);
    out.push(...panel(some, groups, TITLES[loss], HEAD + i * PANEL, width, capacity));
  });
  out.push('</svg>');
  return `${out.join('\n')}\n`;
}

type Group = { readonly paths: number; readonly iopolicy: string };

function panel(
  results: readonly CaseResult[],
  groups: readonly Group[],
  title: string,
  top: number,
  width: number,
  capacity: number,
): string[] {
  const bottom = top + 22 + PLOT;
  const scale = PLOT / (capacity * 1.12);
  const out = [text(LEFT, top + 12, title, 12, 'start', '#222', true)];
  const step = niceStep(capacity);
  for (let value = 0; value <= capacity * 1.1; value += step) {
    const y = bottom - value * scale;
    out.push(
      line(LEFT, y, width - RIGHT, y, value === 0 ? '#666' : '#e4e4e4'),
      text(LEFT - 6, y + 4, String(value), 10, 'end', '#666'),
    );
  }
  const limit = bottom - capacity * scale;
  out.push(line(LEFT, limit, width - RIGHT, limit, '#b04040', '4 3'));
  out.push(text(width - RIGHT, limit - 3, `the links: ${capacity.toFixed(1)}`, 9, 'end', '#b04040'));
  groups.forEach(({ paths, iopolicy }, i) => {
    const x = LEFT + GAP + i * GROUP;
    BARS.forEach(({ transport, op, color }, bar) => {
      const found = results.find(
        (one) => one.paths === paths && one.iopolicy === iopolicy && one.transport === transport && one.op === op,
      );
      if (found === undefined) return;
      const high = Math.max(1, found.mib_s * scale);
      const left = x + bar * BAR;
      out.push(
        `<rect x="${left}" y="${fixed(bottom - high)}" width="${BAR - 2}" height="${fixed(high)}" fill="${color}"/>`,
        text(
          left + BAR / 2 - 1,
          bottom - high - 3,
          `${found.mib_s.toFixed(0)}${found.failed === null ? '' : '*'}`,
          8,
          'middle',
          '#444',
        ),
      );
    });
    const middle = x + (BAR * BARS.length) / 2;
    out.push(text(middle, bottom + 13, paths === 1 ? '' : iopolicy, 10, 'middle', '#444'));
    out.push(text(middle, bottom + 25, paths === 1 ? '1 path' : `${paths} paths`, 10, 'middle', '#444'));
  });
  return out;
}

function legend(): string[] {
  return BARS.flatMap(({ name, color }, i) => {
    const x = LEFT + i * 110;
    return [
      `<rect x="${x}" y="34" width="11" height="11" fill="${color}"/>`,
      text(x + 16, 44, name, 11, 'start', '#444'),
    ];
  });
}

/** 1, 2 or 5 times a power of ten, so that there are three to seven lines. */
function niceStep(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most / 3));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => most / step <= 6)!;
}

function text(x: number, y: number, content: string, size: number, anchor: string, fill: string, bold = false): string {
  const weight = bold ? ' font-weight="bold"' : '';
  return `<text x="${fixed(x)}" y="${fixed(y)}" font-size="${size}" text-anchor="${anchor}" fill="${fill}"${weight}>${content}</text>`;
}

function line(x1: number, y1: number, x2: number, y2: number, color: string, dashes?: string): string {
  const dash = dashes === undefined ? '' : ` stroke-dasharray="${dashes}"`;
  return `<line x1="${x1}" y1="${fixed(y1)}" x2="${x2}" y2="${fixed(y2)}" stroke="${color}"${dash}/>`;
}

function fixed(value: number): string {
  return String(Math.round(value * 10) / 10);
}
