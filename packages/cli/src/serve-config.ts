import { resolve } from 'node:path';
import { transports } from '@nvbraid/transport';
import { configOf, createTarget, editText, nodesOf, parseConfig, readConfig, type TargetConfig } from 'nvbraid';
import { KeptFiles } from './kept-files.ts';
import { describeConfigured } from './serve-greeting.ts';
import { ServeRun } from './serve-run.ts';
import { plural } from './size.ts';
import { StopSignal } from './stop-signal.ts';
import type { Terminal } from './terminal.ts';
import { UsageError } from './usage-error.ts';

export interface ServeConfigOptions {
  readonly config: string;
  readonly transport: string;
  readonly reactors: number | undefined;
  readonly socket: string | undefined;
  readonly 'output-format': string;
}

/** Threads that a command line asks for. @throws UsageError */
export function reactorsOf(
  options: Pick<ServeConfigOptions, 'reactors' | 'transport'>,
  others: readonly { readonly transport: string }[] = [],
): number {
  const cannot = [options, ...others].find(({ transport }) => !handsOff(transport));
  const reactors = options.reactors ?? (cannot === undefined ? 1 : 0);
  if (reactors > 0 && cannot !== undefined) {
    throw new UsageError(`-t ${cannot.transport} works with --reactors 0 only`);
  }
  return reactors;
}

/** Whether the connections of a transport can be given to threads. */
export function handsOff(name: string): boolean {
  return transports[name]?.canHandOff ?? false;
}

/** `nvbraid serve --config FILE`: fulfilled with the exit code when it has been told to stop. */
export async function serveConfig(options: ServeConfigOptions, terminal: Terminal): Promise<number> {
  const { config: file, transport } = options;
  const json = options['output-format'] === 'json';
  const reactors = reactorsOf(options);
  const reload = new Reload();
  using stop = new StopSignal(
    () => {
      if (!json) terminal.note('stopping; once more stops at once');
    },
    () => reload.want(),
  );
  const { tree } = parseConfig(await readConfig(file));
  // These can be had only when the target is made; a reload that changes them is refused.
  const limits = tree.get('nvbraid_limits');
  const stateDirectory = tree.get('nvbraid_state_directory');
  const target = await createTarget({
    reactors,
    ...(limits === '' ? {} : { limits: JSON.parse(limits) }),
    ...(stateDirectory === '' ? {} : { stateDirectory }),
  });
  const start = { nvbraid_limits: limits, nvbraid_state_directory: stateDirectory };
  const config = configOf(target, { transport, start });
  const kept = new KeptFiles();
  let run: ServeRun;
  try {
    const { warnings } = await config.restore(file);
    await keep(config, kept);
    run = new ServeRun(
      {
        ...{ target, config, file: resolve(file), facts: { file, warnings } },
        describe: (socket) => [
          ...describeConfigured(target, file, socket, terminal),
          ...warnings.map((warning) => `warning: ${warning}`),
        ],
      },
      terminal,
      json,
    );
    reload.start(async () => {
      await reloaded(config, file, run);
      await keep(config, kept);
    });
    await run.run(options.socket, stop);
    await reload.ended();
  } finally {
    await target.close();
    await kept.settle();
  }
  run.summary();
  return 0;
}

/** Reads the file again and applies what has changed; a file that cannot be applied changes nothing. */
async function reloaded(config: TargetConfig, file: string, run: ServeRun): Promise<void> {
  try {
    const { edits, warnings } = await config.restore(file);
    run.log(`${file} was read again: ${edits.length === 0 ? 'nothing has changed' : plural(edits.length, 'change')}`);
    for (const edit of edits) run.log(`  ${editText(edit)}`);
    for (const warning of warnings) run.log(`  warning: ${warning}`);
  } catch (error) {
    run.log(`${file} was read again and is not applied: ${(error as Error).message}`);
  }
}

/** The last word on what was written to a file is asked of a descriptor that was open all the time. */
async function keep(config: TargetConfig, kept: KeptFiles): Promise<void> {
  const paths = new Set<string>();
  for (const node of nodesOf(config.tree)) {
    if (node.kind.name === 'namespace' && node.enabled && node.get('device_path') !== '')
      paths.add(node.get('device_path'));
  }
  await kept.keepOnly(paths);
}

/** Signals ask for it; it runs one at a time, and once more when asked for while it runs. */
class Reload {
  #wanted = false;
  #running: Promise<void> | null = null;
  #run: (() => Promise<void>) | null = null;

  want(): void {
    this.#wanted = true;
    if (this.#run !== null) this.#running ??= this.#loop(this.#run);
  }

  /** From here on; what was asked for earlier is done now. */
  start(run: () => Promise<void>): void {
    this.#run = run;
    if (this.#wanted) this.want();
  }

  async ended(): Promise<void> {
    this.#run = null;
    await this.#running;
  }

  async #loop(run: () => Promise<void>): Promise<void> {
    while (this.#wanted) {
      this.#wanted = false;
      await run();
    }
    this.#running = null;
  }
}
