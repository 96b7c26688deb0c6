import type { LossUnit } from './topology.ts';

export const TRANSPORTS = ['tcp', 'mptcp'] as const;
export type Transport = (typeof TRANSPORTS)[number];

export const IOPOLICIES = ['numa', 'round-robin', 'queue-depth', 'service-time'] as const;
export type IopolicyName = (typeof IOPOLICIES)[number];

export const OPS = ['read', 'write'] as const;
export type Op = (typeof OPS)[number];

/** What the links do. */
export const LOSSES = ['0', '1', 'packet'] as const;
export type Loss = (typeof LOSSES)[number];

/** What is meant by each, for people. */
export const LOSS_TEXT: Readonly<Record<Loss, string>> = {
  '0': 'clean links',
  '1': '5 ms and 0.5 % loss each way, as netem has it: what TCP hands to its device is lost whole',
  packet: '5 ms and 0.5 % loss each way, of packets of 1500 bytes',
};

export const LOSS_UNIT: Readonly<Record<Loss, LossUnit>> = { '0': 'segments', '1': 'segments', packet: 'packet' };

/** One configuration of the selftest. */
export interface Case {
  readonly transport: Transport;
  readonly paths: number;
  readonly iopolicy: IopolicyName;
  readonly loss: Loss;
}

export interface CaseLists {
  readonly transport: readonly Transport[];
  readonly paths: readonly number[];
  readonly iopolicy: readonly IopolicyName[];
  readonly loss: readonly Loss[];
}

export const ALL: CaseLists = { transport: TRANSPORTS, paths: [1, 4], iopolicy: IOPOLICIES, loss: LOSSES };

/**
 * Every combination; those that share links, and then a target, stand together. Where there is one path there is nothing to
 * choose: only the first policy is measured.
 */
export function casesOf({ transport, paths, iopolicy, loss }: CaseLists): Case[] {
  const policies = (paths: number): readonly IopolicyName[] => (paths === 1 ? iopolicy.slice(0, 1) : iopolicy);
  return loss.flatMap((loss) =>
    paths.flatMap((paths) =>
      transport.flatMap((transport) => policies(paths).map((iopolicy) => ({ transport, paths, iopolicy, loss }))),
    ),
  );
}

/** What one operation of a configuration did. */
export interface CaseResult extends Case {
  readonly op: Op;
  readonly mib_s: number;
  /** What the criteria of failure have found; null when it passed. */
  readonly failed: string | null;
  /** To TCP with one path over the same links; null where that was not measured. */
  readonly ratio_to_tcp_1path: number | null;
  readonly rate_mbit: number;
  readonly delay_ms: number;
  readonly loss_percent: number;
  readonly shaper: string;
  /** How TCP controls congestion. */
  readonly congestion: string;
  readonly seconds: number;
  /** I/O queues of each path, and operations under way over all of them. */
  readonly queues: number;
  readonly depth: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
}

/** Fills in the ratios. */
export function withRatios(results: readonly Omit<CaseResult, 'ratio_to_tcp_1path'>[]): CaseResult[] {
  const find = (loss: Loss, op: Op) =>
    results.find((one) => one.transport === 'tcp' && one.paths === 1 && one.loss === loss && one.op === op);
  return results.map((result) => {
    const base = find(result.loss, result.op);
    const ratio = base === undefined ? null : Math.round((result.mib_s / base.mib_s) * 100) / 100;
    return { ...result, ratio_to_tcp_1path: ratio };
  });
}

/** A line of `--json`. */
export function jsonOf({
  transport,
  paths,
  iopolicy,
  loss,
  op,
  mib_s,
  ratio_to_tcp_1path,
  ...others
}: CaseResult): object {
  const unit = loss === '0' ? null : LOSS_UNIT[loss];
  const which = { transport, paths, iopolicy, loss: loss === '0' ? 0 : 1, loss_unit: unit, op };
  return { ...which, mib_s, ratio_to_tcp_1path, ...others };
}
