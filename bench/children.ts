import { type ChildProcess, type ChildProcessByStdio, execFile, spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { promisify } from 'node:util';
import type { CompiledBaseline } from './baseline.ts';
import { ADDRESS, BLOCK_SIZE, NAMESPACE_MIB, SUBSYSTEM_NQN } from './cases.ts';
import type { HostJob, HostPlace, HostWay } from './our-host.ts';
import type { LoadReport } from './statistics.ts';

/** A child process failed; the message is a sentence for the user. */
export class BenchError extends Error {}

const children = new Set<ChildProcess>();

/** Ends every child that still runs. */
export function killChildren(): void {
  for (const child of children) child.kill('SIGKILL');
}

function remember(child: ChildProcess): void {
  children.add(child);
  child.once('close', () => children.delete(child));
}

/** CPUs that servers and load are confined to; null: the scheduler decides. */
export interface Pinning {
  readonly server: number;
  readonly load: number;
}

/** Two CPUs that this process may use, where `taskset` is there to confine others to them. */
export function choosePinning(): Pinning | null {
  if (process.platform !== 'linux' || spawnSync('taskset', ['--version']).status !== 0) return null;
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
  const cpus = list.split(',').flatMap((range) => {
    const [first, last] = range.split('-').map(Number);
    return Array.from({ length: (last ?? first!) - first! + 1 }, (_, i) => first! + i);
  });
  return cpus.length >= 2 ? { server: cpus[1]!, load: cpus[0]! } : null;
}

function pinned(cpu: number | undefined, file: string, args: string[]): [string, string[]] {
  return cpu === undefined ? [file, args] : ['taskset', ['-c', String(cpu), file, ...args]];
}

export interface Server {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

/** Starts a server that prints "listening PORT", and waits until it does. */
export async function startServer(name: string, file: string, args: string[], cpu?: number): Promise<Server> {
  const { child: _child, ...server } = await start(name, file, args, cpu);
  return server;
}

type Child = ChildProcessByStdio<Writable, Readable, null>;

async function start(name: string, file: string, args: string[], cpu?: number): Promise<Server & { child: Child }> {
  const child: Child = spawn(...pinned(cpu, file, args), {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  remember(child);
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const port = await new Promise<number>((resolve, reject) => {
    let text = '';
    child.once('error', (error) => reject(new BenchError(`${name} cannot be started: ${error.message}`)));
    child.once('close', (code, signal) => reject(new BenchError(`${name} has ended with ${signal ?? `code ${code}`}`)));
    const read = (chunk: string): void => {
      text += chunk;
      const match = /^listening (\d+)$/m.exec(text);
      if (!match) return;
      child.stdout.off('data', read);
      resolve(Number(match[1]));
    };
    child.stdout.setEncoding('utf8').on('data', read);
  });
  return {
    child,
    name,
    port,
    pid: child.pid!,
    async stop() {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
      await gone;
      clearTimeout(timer);
    },
  };
}

/** A host in a process of its own that stays connected and measures when it is asked to. */
export interface Host extends Server {
  run(job: HostJob): Promise<LoadReport>;
}

/** Starts our host against a server. */
export async function startHost(server: Server, way: HostWay, place: HostPlace, cpu?: number): Promise<Host> {
  const name = `our host (${way}, ${place})`;
  const args = [join(import.meta.dirname, 'our-host.ts'), String(server.port), way, place];
  const { child, ...started } = await start(name, process.execPath, args, cpu);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    ...started,
    async run(job) {
      child.stdin.write(`${JSON.stringify(job)}\n`);
      const { value, done } = await lines.next();
      if (done === true) throw new BenchError(`${name} has ended`);
      return JSON.parse(value) as LoadReport;
    },
  };
}

export function startBaseline(baseline: CompiledBaseline, cpu?: number): Promise<Server> {
  const args = [SUBSYSTEM_NQN, ADDRESS, '0', String(NAMESPACE_MIB), String(BLOCK_SIZE)];
  return startServer('the C target', baseline.target, args, cpu);
}

export function startOurs(cpu?: number, nodeOptions: string[] = [], ownArgs: string[] = []): Promise<Server> {
  const args = [...nodeOptions, join(import.meta.dirname, 'our-target.ts'), ...ownArgs];
  return startServer('our target', process.execPath, args, cpu);
}

/** Runs the load generator against a server. `args`: see `load --help`. */
export async function runLoad(
  baseline: CompiledBaseline,
  server: Server,
  args: string[],
  cpu?: number,
  nqn = SUBSYSTEM_NQN,
  nice = 0,
): Promise<LoadReport> {
  const all = [ADDRESS, String(server.port), nqn, '--server-pid', String(server.pid), ...args];
  const [file, fileArgs] = pinned(cpu, baseline.load, all);
  const running = promisify(execFile)('nice', ['-n', String(nice), file, ...fileArgs]);
  remember(running.child);
  try {
    return JSON.parse((await running).stdout) as LoadReport;
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    throw new BenchError(`the load on ${server.name} failed: ${stderr?.trim() || message}`);
  }
}
