import type { HostSubsystem, StallBound } from 'nvbraid';
import { formatCount, formatDuration, formatMicroseconds, plural } from '../size.ts';

/** How a head of several paths stood its time. */
export interface FailoverResult {
  /** The longest time that one operation took, and what it may take at most when a path is lost. */
  readonly stall_ms: number;
  /** Null when there is none. */
  readonly bound_ms: number | null;
  readonly formula: string;
  /** Operations that met a failure of their path; how long they took from then on. */
  readonly failed_over: number;
  readonly failover_p50_us: number;
  readonly failover_max_us: number;
  /** Commands that were held back until the end of their association; fences that ended by proof, and by time. */
  readonly held: number;
  readonly proven: number;
  readonly timed_out: number;
  readonly paths: readonly {
    readonly name: string;
    readonly address: string;
    readonly state: string;
    readonly commands: number;
    readonly failovers: number;
    readonly resets: number;
    readonly reconnects: number;
  }[];
}

/** Watches the bound, which follows the controllers that are connected. */
export class FailoverWatch {
  readonly #subsystem: HostSubsystem;
  #bound: StallBound = { ms: 0, formula: '' };

  constructor(subsystem: HostSubsystem) {
    this.#subsystem = subsystem;
    this.look();
  }

  look(): void {
    const bound = this.#subsystem.stallBound();
    if ((bound.ms ?? Infinity) > (this.#bound.ms ?? Infinity)) this.#bound = bound;
  }

  /** @param longestUs the longest that one operation has taken */
  result(nsid: number, longestUs: number): FailoverResult {
    this.look();
    const { fences } = this.#subsystem.core;
    const status = this.#subsystem.status().find((head) => head.nsid === nsid);
    return {
      stall_ms: Math.round(longestUs / 100) / 10,
      bound_ms: this.#bound.ms,
      formula: this.#bound.formula,
      failed_over: status?.failoverLatency.count ?? 0,
      failover_p50_us: status?.failoverLatency.p50Us ?? 0,
      failover_max_us: status?.failoverLatency.maxUs ?? 0,
      held: fences.heldCount,
      proven: fences.proven,
      timed_out: fences.timedOut,
      paths: (status?.paths ?? []).map(({ name, traddr, trsvcid, state, commands, failovers, resets, reconnects }) => ({
        ...{ name, address: `${traddr} ${trsvcid}`, state, commands, failovers, resets, reconnects },
      })),
    };
  }
}

/** Why the run has failed although every operation ended well; null when it has not. */
export function tooLong({ stall_ms, bound_ms, formula }: FailoverResult): string | null {
  if (bound_ms === null || stall_ms <= bound_ms) return null;
  return `an operation took ${formatDuration(stall_ms)}, longer than the bound of ${formula}`;
}

export function describeFailover(result: FailoverResult): string[] {
  const lines = result.paths.map(
    ({ name, address, state, commands, failovers, resets, reconnects }) =>
      `${name} at ${address}: ${state}, ${formatCount(commands)} commands, ${plural(failovers, 'failover')}, ` +
      `lost ${resets} times, back ${reconnects} times`,
  );
  const { failed_over, failover_p50_us, failover_max_us, held, proven, timed_out } = result;
  const times =
    failed_over === 0
      ? ''
      : `, p50 ${formatMicroseconds(failover_p50_us)}, max ${formatMicroseconds(failover_max_us)} from the failure on`;
  lines.push(`failover: ${plural(failed_over, 'operation')}${times}`);
  lines.push(
    `held back: ${plural(held, 'command')}; ${plural(proven, 'association')} proven to be over, ${timed_out} by time alone`,
  );
  lines.push(`longest stall: ${result.stall_ms} ms; bound: ${result.formula}`);
  return lines;
}
