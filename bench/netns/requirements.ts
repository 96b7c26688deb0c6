import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { newNames } from './names.ts';
import type { LossUnit } from './topology.ts';

/** What the machine must have. */
export interface Need {
  readonly mptcp: boolean;
  /** Links with a delay or a loss, and what it is that they lose; netem loses segments alone. */
  readonly impairment: LossUnit | null;
}

/** Why it cannot be done on this machine, as a sentence with the way out; null when it can. */
export function missingFor({ mptcp, impairment }: Need): string | null {
  if (process.platform !== 'linux') return 'network namespaces are there on Linux only';
  if (process.getuid!() !== 0) return 'making network namespaces needs root: run it with sudo';
  for (const name of ['ip', 'tc']) {
    if (!installed(name)) return `there is no ${name}: install iproute2`;
  }
  const network = probeNetwork();
  if (network.why !== null) return network.why;
  if (impairment === 'packet' || (impairment !== null && !network.netem)) {
    const why = impairment === 'packet' ? 'netem loses no single packets' : 'this kernel has no netem';
    if (!existsSync('/dev/net/tun')) return `${why}, and there is no /dev/net/tun for the relay that stands in for it`;
    if (!installed('gcc')) return `${why}, and the relay that stands in for it is compiled: install gcc`;
  }
  if (mptcp && !existsSync('/proc/sys/net/mptcp/enabled')) {
    return 'this kernel has no MPTCP (CONFIG_MPTCP); --transport tcp works without';
  }
  if (mptcp && spawnSync('ip', ['mptcp', 'limits']).status !== 0) {
    return `ip knows nothing of MPTCP (it is ${version()}): install a newer iproute2`;
  }
  return null;
}

/** Whether the kernel has netem. */
export function hasNetem(): boolean {
  return probeNetwork().netem;
}

function installed(name: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${name}`]).status === 0;
}

function version(): string {
  return spawnSync('ip', ['-V'], { encoding: 'utf8' }).stdout.trim();
}

interface Probed {
  readonly why: string | null;
  readonly netem: boolean;
}

let probed: Probed | null = null;

/** Tries out in a namespace of its own what containers often do not allow, and what kernels often do not have. */
function probeNetwork(): Probed {
  probed ??= tryNetwork();
  return probed;
}

function tryNetwork(): Probed {
  const name = newNames().target;
  const run = (...args: readonly string[]): string | null => {
    const { status, stderr } = spawnSync(args[0]!, args.slice(1), { encoding: 'utf8' });
    return status === 0 ? null : stderr.trim();
  };
  const refused = run('ip', 'netns', 'add', name);
  if (refused !== null) return { why: `network namespaces cannot be made here: ${refused}`, netem: false };
  try {
    const noVeth = run('ip', '-n', name, 'link', 'add', 'left', 'type', 'veth', 'peer', 'name', 'right');
    if (noVeth !== null) return { why: `this kernel makes no pairs of devices (veth): ${noVeth}`, netem: false };
    const netem = run('tc', '-n', name, 'qdisc', 'add', 'dev', 'left', 'root', 'netem', 'delay', '1ms') === null;
    const noTbf = run('tc', '-n', name, 'qdisc', 'add', 'dev', 'right', 'root', 'tbf', ...TBF_PROBE);
    if (!netem && noTbf !== null) return { why: `this kernel shapes no traffic (netem, tbf): ${noTbf}`, netem };
    return { why: null, netem };
  } finally {
    spawnSync('ip', ['netns', 'delete', name]);
  }
}

const TBF_PROBE = ['rate', '10mbit', 'burst', '70000', 'limit', '1500000'];

/** What the machine is, for the head of a table. */
export function describeMachine(): string {
  const release = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim();
  return `Linux ${release.replace(/^(\d+\.\d+).*/, '$1')}, Node ${process.version}`;
}
