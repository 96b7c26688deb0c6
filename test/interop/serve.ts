/* `nvbraid serve` as a child process, for stories that need a target as people run it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
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
    const kill = (): void => void child.kill('SIGKILL');
    process.once('exit', kill);
    child.once('close', () => process.off('exit', kill));
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

  /**
   * What Ctrl-C does to the server; answers the exit code. Shells and npm in front of it are left out, since a shell that
   * gets the signal too ends with it, whatever the server says.
   */
  async stop(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null)
      process.kill(innermost(this.#child.pid!), 'SIGINT');
    return await this.#exited;
  }
}

/** The process at the end of a chain of children. */
function innermost(pid: number): number {
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      // pid (command) state ppid …
      const parent = Number(
        readFileSync(`/proc/${name}/stat`, 'latin1')
          .replace(/^.*\) \S /s, '')
          .split(' ')[0],
      );
      if (parent === pid) return innermost(Number(name));
    } catch {
      // it has just ended
    }
  }
  return pid;
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
