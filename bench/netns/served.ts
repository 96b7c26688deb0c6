import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Transport } from './cases.ts';
import { NetnsError, remember, removeDirectory, scratchDirectory, tool } from './own.ts';
import type { Topology } from './topology.ts';

export const NVBRAID = join(import.meta.dirname, '../../packages/cli/bin/nvbraid.js');

/** As the selftest's file. */
const NAMESPACE_SIZE = '512MiB';
export const PORT = 4420;

/** Where a target listens: a transport, and the links whose address it has; none means all. */
export interface Listening {
  readonly transport: Transport;
  readonly link: number | null;
  readonly trsvcid: number;
  /** Commands go there only when they can go nowhere else: its ANA state is non-optimized. */
  readonly standby?: boolean;
}

/** One path: all addresses. More: a port for each link. */
export function listeningOn(transport: Transport, paths: number): Listening[] {
  if (paths === 1) return [{ transport, link: null, trsvcid: PORT }];
  return Array.from({ length: paths }, (_, i) => ({ transport, link: i + 1, trsvcid: PORT }));
}

/** `nvbraid serve` in the target's namespace, with 512 MiB of memory. */
export class Served {
  readonly nqn: string;
  readonly listening: readonly Listening[];
  readonly #topology: Topology;
  readonly #child: ChildProcess;
  readonly #scratch: string;
  readonly #lines: string[] = [];

  private constructor(topology: Topology, listening: readonly Listening[]) {
    this.#topology = topology;
    this.listening = listening;
    const id = Math.floor(Math.random() * 1e9);
    this.nqn = `nqn.2014-08.org.nvmexpress.${listening[0]!.transport}dev.${process.pid}.${id}`;
    this.#scratch = scratchDirectory();
    const config = join(this.#scratch, 'config.json');
    writeFileSync(config, JSON.stringify(this.#configuration()));
    const argv = [NVBRAID, 'serve', '--config', config, '--socket', join(this.#scratch, 'serve.sock'), '-o', 'json'];
    const [file, args] = topology.inside('target', process.execPath, argv);
    this.#child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    remember(this.#child);
  }

  static async start(topology: Topology, listening: readonly Listening[]): Promise<Served> {
    const served = new Served(topology, listening);
    await served.#ready();
    return served;
  }

  /** `nvbraid discover` from the host: the subsystem must be where it is expected. @throws NetnsError */
  async discover(): Promise<void> {
    const { transport, trsvcid } = this.listening[0]!;
    const where = ['-t', transport, '-a', this.#topology.address('target', 1), '-s', String(trsvcid), '-o', 'json'];
    const [file, args] = this.#topology.inside('host', process.execPath, [NVBRAID, 'discover', ...where]);
    const { records } = JSON.parse(await tool(file, ...args)) as {
      records: { subnqn: string; traddr: string; trtype: string }[];
    };
    const found = records.filter(({ subnqn }) => subnqn === this.nqn);
    for (const { link, transport } of this.listening) {
      const traddr = this.#topology.address('target', link ?? 1);
      if (!found.some((record) => record.traddr === traddr && record.trtype === transport)) {
        throw new NetnsError(`discovery does not tell of ${this.nqn} at ${traddr} over ${transport}`);
      }
    }
  }

  /** `nvbraid flush` from the host. @throws NetnsError */
  async flush(): Promise<void> {
    const { transport, trsvcid } = this.listening[0]!;
    const where = ['-t', transport, '-a', this.#topology.address('target', 1), '-s', String(trsvcid), '-n', this.nqn];
    const [file, args] = this.#topology.inside('host', process.execPath, [NVBRAID, 'flush', ...where]);
    await tool(file, ...args);
  }

  /** What it has said, a line each. */
  get log(): readonly string[] {
    return this.#lines;
  }

  async stop(): Promise<void> {
    const gone = this.#child.exitCode === null && this.#child.signalCode === null ? once(this.#child, 'exit') : null;
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 8000);
    await gone;
    clearTimeout(timer);
    removeDirectory(this.#scratch);
  }

  #ready(): Promise<void> {
    return new Promise((resolve, reject) => {
      let complaints = '';
      this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
        complaints += text;
      });
      this.#child.once('error', (error) => reject(new NetnsError(`nvbraid serve cannot be started: ${error.message}`)));
      this.#child.once('exit', () => reject(new NetnsError(`nvbraid serve has ended: ${complaints.trim()}`)));
      createInterface({ input: this.#child.stdout! }).on('line', (line) => {
        // An error is an object of several lines, and a sentence on the standard error output.
        if (!line.startsWith('{"event"')) return;
        const { event, message } = JSON.parse(line) as { event: string; message?: string };
        if (event === 'serving') resolve();
        else if (message !== undefined) this.#lines.push(message);
      });
    });
  }

  #configuration(): object {
    const { adrfam } = this.#topology.options;
    const any = adrfam === 'ipv4' ? '0.0.0.0' : '::';
    return {
      hosts: [],
      ports: this.listening.map(({ transport, link, trsvcid, standby = false }, i) => ({
        ana_groups: [{ ana: { state: standby ? 'non-optimized' : 'optimized' }, grpid: 1 }],
        addr: {
          adrfam,
          traddr: link === null ? any : this.#topology.address('target', link),
          trsvcid: String(trsvcid),
          trtype: transport,
        },
        portid: i + 1,
        referrals: [],
        subsystems: [this.nqn],
      })),
      subsystems: [
        {
          allowed_hosts: [],
          attr: { allow_any_host: '1' },
          namespaces: [{ device: { path: '' }, enable: 1, nsid: 1, nvbraid: { memory: NAMESPACE_SIZE } }],
          nqn: this.nqn,
        },
      ],
    };
  }
}
