/* `nvbraid serve` as a child process, for stories that need a target as people run it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createConnection } from 'node:net';
import { join } from 'node:path';

const BIN = join(import.meta.dirname, '../../packages/cli/bin/nvbraid.js');
const READY_TIMEOUT_MS = 60_000;

export interface ServeOptions {
  port: number;
  nqn: string;
  /** What is served, and further options. */
  args: readonly string[];
  /** Another program to run than the clone's own. */
  command?: readonly string[];
  cwd?: string;
  env?: NodeJS.ProcessEnv;
}

export class ServeProcess {
  output = '';
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | null>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    const take = (text: Buffer): void => {
      this.output += text.toString();
    };
    child.stdout!.on('data', take);
    child.stderr!.on('data', take);
    this.#exited = new Promise((resolve) => child.once('close', (code) => resolve(code)));
  }

  /** Resolves when the port takes connections. */
  static async start(options: ServeOptions): Promise<ServeProcess> {
    const [program, ...first] = options.command ?? [process.execPath, BIN];
    const args = [...first, 'serve', ...options.args, '-a', '127.0.0.1', '-s', String(options.port)];
    const child = spawn(program!, [...args, '--nqn', options.nqn], {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: options.cwd ?? process.cwd(),
      env: options.env ?? process.env,
      detached: true,
    });
    const serve = new ServeProcess(child);
    const deadline = performance.now() + READY_TIMEOUT_MS;
    while (!(await accepts(options.port))) {
      if (child.exitCode !== null || performance.now() > deadline) {
        if (child.exitCode === null) process.kill(-child.pid!, 'SIGKILL');
        throw new Error(`nvbraid serve does not listen (exit code ${child.exitCode}):\n${serve.output}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return serve;
  }

  /** Ctrl-C, which a terminal sends to the whole process group; answers the exit code. */
  async stop(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) process.kill(-this.#child.pid!, 'SIGINT');
    return await this.#exited;
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1' });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
