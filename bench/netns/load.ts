import { type ChildProcess, spawn } from 'node:child_process';
import type { IopolicyName } from './cases.ts';
import { NetnsError, remember } from './own.ts';
import { type Listening, NVBRAID, type Served } from './served.ts';
import type { Topology } from './topology.ts';

/** Of a load on all paths to a target. */
export interface LoadOptions {
  readonly iopolicy: IopolicyName;
  readonly rw: 'randread' | 'randwrite' | 'randrw';
  readonly verify?: 'history' | 'crc32c';
  readonly blockBytes: number;
  readonly depth: number;
  readonly queues: number;
  readonly seconds: number;
  readonly rampSeconds?: number;
  readonly sizeBytes?: number;
  readonly sampleMs?: number;
  readonly keepAliveTmo?: number;
  readonly reconnectDelay?: number;
  readonly seed: number;
}

interface LoadDirection {
  readonly bytes: number;
  readonly errors: number;
  readonly latency_us: { readonly p50: number; readonly p99: number; readonly max: number };
}

/** What is used of the result of `nvbraid bench -o json`. */
export interface LoadResult {
  readonly seconds: number;
  readonly read: LoadDirection;
  readonly write: LoadDirection;
  readonly total: { readonly ios: number; readonly errors: number };
  readonly longest_gap_ms: number;
  readonly samples: { readonly start: string; readonly every_ms: number; readonly bytes: readonly number[] } | null;
  readonly verify: { readonly checked_blocks: number; readonly violation: { readonly message: string } | null };
  readonly failover: {
    readonly stall_ms: number;
    readonly failed_over: number;
    readonly paths: readonly LoadPath[];
  };
  readonly error: string | null;
}

export interface LoadPath {
  readonly name: string;
  readonly address: string;
  readonly state: string;
  readonly commands: number;
  readonly failovers: number;
  readonly resets: number;
  readonly reconnects: number;
}

/** `nvbraid bench` in the host's namespace. */
export class Load {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #out = '';
  #err = '';
  #running = false;
  #wake: () => void = () => {};

  constructor(topology: Topology, served: Served, options: LoadOptions) {
    const argv = [NVBRAID, ...argumentsOf(topology, served, options)];
    const [file, args] = topology.inside('host', process.execPath, argv);
    this.#child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    remember(this.#child);
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#out += text;
    });
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#err += text;
      if (!this.#running && / for .* on /.test(this.#err)) {
        this.#running = true;
        this.#wake();
      }
    });
    this.#ended = new Promise((resolve) => {
      this.#child.once('error', (error) => {
        this.#err += error.message;
        resolve();
      });
      this.#child.once('close', () => resolve());
    });
  }

  /** Fulfilled when all paths are connected and operations are under way. @throws NetnsError */
  async started(): Promise<void> {
    const running = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    if (!this.#running) await Promise.race([running, this.#ended]);
    if (!this.#running) throw new NetnsError(`nvbraid bench did not start: ${this.#err.trim()}`);
  }

  /** What it has said about its paths and controllers, without the line that it began with. */
  get log(): string[] {
    return this.#err.split('\n').filter((line) => line !== '' && !/ for .* on .*, seed /.test(line));
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** @throws NetnsError when it could not load at all; errors of operations are in the result */
  async result(): Promise<LoadResult> {
    await this.#ended;
    try {
      const result = JSON.parse(this.#out) as LoadResult;
      if (result.failover === undefined) throw new Error('no result');
      return result;
    } catch {
      throw new NetnsError(`nvbraid bench failed: ${this.#err.trim() || this.#out.trim()}`);
    }
  }
}

function argumentsOf(topology: Topology, served: Served, options: LoadOptions): string[] {
  const { iopolicy, rw, verify, blockBytes, depth, queues, seconds, rampSeconds = 0, sizeBytes, sampleMs } = options;
  const { keepAliveTmo, reconnectDelay, seed } = options;
  // Each path takes all of it when the others are lost.
  const queueSize = Math.min(1024, Math.max(128, 2 ** Math.ceil(Math.log2(depth / queues + 1))));
  const numbers = { bs: blockBytes, iodepth: depth, runtime: seconds, 'ramp-time': rampSeconds, seed };
  return [
    ...['bench', '-n', served.nqn, ...served.listening.flatMap((where) => ['--path', pathOf(topology, where)])],
    ...['--rw', rw, '--verify', verify ?? 'none', '--iopolicy', iopolicy, '-i', String(queues), '-o', 'json'],
    ...['-Q', String(queueSize), ...Object.entries(numbers).flatMap(([name, value]) => [`--${name}`, String(value)])],
    ...(sizeBytes === undefined ? [] : ['--size', String(sizeBytes)]),
    ...(sampleMs === undefined ? [] : ['--bwavgtime', String(sampleMs)]),
    ...(keepAliveTmo === undefined ? [] : ['-k', String(keepAliveTmo)]),
    ...(reconnectDelay === undefined ? [] : ['--reconnect-delay', String(reconnectDelay)]),
  ];
}

function pathOf(topology: Topology, { transport, link, trsvcid }: Listening): string {
  const traddr = topology.address('target', link ?? 1);
  const place = traddr.includes(':') ? `[${traddr}]` : traddr;
  return `${place}:${trsvcid},transport=${transport}`;
}

/** What the failure criteria of the selftest find: errors, reconnects, keep-alives that failed. Empty when it passed. */
export function failures(result: LoadResult, host: readonly string[], target: readonly string[]): string[] {
  const out: string[] = [];
  if (result.error !== null) out.push(result.error);
  if (result.total.errors > 0) out.push(`${result.total.errors} operations ended with an error`);
  for (const { name, resets, reconnects, failovers } of result.failover.paths) {
    if (resets + reconnects + failovers > 0) {
      out.push(`${name} was lost ${resets} times, reconnected ${reconnects} times, ${failovers} commands failed over`);
    }
  }
  for (const line of [...host, ...target]) if (/keep.?alive|fatal|fault/i.test(line)) out.push(line);
  return out;
}
