import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const BIN = join(import.meta.dirname, '../../bin/nvbraid.js');
const WAIT_MS = 60_000;

/** A directory of its own for a test file, with control sockets apart from those of the machine. */
export class Sandbox {
  readonly path = mkdtempSync(join(tmpdir(), 'nvbraid-cli-'));
  readonly #running = new Set<Cli>();

  /** The environment of every process of the test. */
  get env(): Record<string, string> {
    const { NVBRAID_SOCKET: _socket, NVBRAID_OUTPUT: _output, ...env } = process.env;
    return { ...(env as Record<string, string>), NVBRAID_RUNTIME_DIR: join(this.path, 'run') };
  }

  file(name: string): string {
    return join(this.path, name);
  }

  /** Starts `nvbraid ARGV…`. @param through a command that runs another one, with its arguments */
  start(argv: readonly string[], through: readonly string[] = []): Cli {
    const [program, ...rest] = [...through, process.execPath, BIN, ...argv];
    const child = spawn(program!, rest, { cwd: this.path, env: this.env });
    const cli = new Cli(child);
    this.#running.add(cli);
    void cli.exit().then(() => this.#running.delete(cli));
    return cli;
  }

  /** Runs it to its end. */
  async run(
    argv: readonly string[],
    input?: Buffer | string,
  ): Promise<{ code: number | null; out: string; err: string; data: Buffer }> {
    const cli = this.start(argv);
    cli.child.stdin!.end(input);
    const code = await cli.exit();
    return { code, out: cli.out, err: cli.err, data: cli.data };
  }

  async close(): Promise<void> {
    for (const cli of this.#running) cli.child.kill('SIGKILL');
    await Promise.all([...this.#running].map((cli) => cli.exit()));
    rmSync(this.path, { recursive: true, force: true });
  }
}

export class Cli {
  readonly child: ChildProcess;
  err = '';
  readonly #chunks: Buffer[] = [];
  readonly #exited: Promise<number | null>;
  #changed: () => void = () => {};

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdin!.on('error', () => {});
    child.stdout!.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#changed();
    });
    child.stderr!.on('data', (chunk: Buffer) => {
      this.err += chunk.toString();
      this.#changed();
    });
    this.#exited = new Promise((resolve) => child.on('close', (code) => resolve(code)));
    void this.#exited.then(() => this.#changed());
  }

  get data(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  get out(): string {
    return this.data.toString();
  }

  exit(): Promise<number | null> {
    return this.#exited;
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  /** Waits until the process has printed something that matches; answers the match. */
  async printed(pattern: RegExp): Promise<RegExpExecArray> {
    const deadline = performance.now() + WAIT_MS;
    for (;;) {
      const match = pattern.exec(this.out) ?? pattern.exec(this.err);
      if (match !== null) return match;
      const said = `${this.out}\n${this.err}`;
      if (this.child.exitCode !== null || this.child.signalCode !== null)
        throw new Error(`ended without ${pattern}:\n${said}`);
      if (performance.now() > deadline) throw new Error(`did not print ${pattern}:\n${said}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 200);
        this.#changed = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}
