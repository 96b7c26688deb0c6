import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { createTarget, type Target } from 'nvbraid';
import { nvbraid, type Result } from './in-process.ts';
import { Sandbox } from './process.ts';

type NamespaceOptions = Parameters<Target['addNamespace']>[1];

/** The commands of one kind, against a target of this process with one namespace. */
export class BothWays {
  readonly sandbox = new Sandbox();
  readonly nqn: string;
  /** Where the running connect listens. */
  socket = '';
  #address: string[] = [];

  /** @param name of the subsystem */
  constructor(name: string, namespace: NamespaceOptions) {
    const nqn = `nqn.2026-01.io.nvbraid:test:${name}`;
    this.nqn = nqn;
    let target: Target;
    process.env.NVBRAID_RUNTIME_DIR = this.sandbox.env.NVBRAID_RUNTIME_DIR;
    before(async () => {
      target = await createTarget({ reactors: 0 });
      target.addSubsystem({ nqn });
      await target.addNamespace(nqn, namespace);
      const { port } = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [nqn] });
      this.#address = ['-a', '127.0.0.1', '-s', String(port), '-n', nqn];
      const cli = this.sandbox.start(['connect', ...this.#address]);
      this.socket = (await cli.printed(/control socket (.*)\n/))[1]!;
    });
    after(async () => {
      await this.sandbox.close();
      await target.close();
    });
  }

  /** The same tests through a running connect and through an association of the command's own. */
  describe(prefix: readonly string[], tests: (run: Run, ok: (...argv: string[]) => Promise<string>) => void): void {
    for (const [name, address] of [
      ['a running connect', (): string[] => []],
      ['an association of its own', (): string[] => this.#address],
    ] as const) {
      const run: Run = (...argv) => nvbraid([...prefix, ...argv, ...address()]);
      const ok = async (...argv: string[]): Promise<string> => {
        const { code, out, err } = await run(...argv);
        assert.equal(code, 0, err);
        return out + err;
      };
      describe(`through ${name}`, { concurrency: false }, () => tests(run, ok));
    }
  }
}

type Run = (...argv: string[]) => Promise<Result>;
