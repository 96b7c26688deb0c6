import { ownSocketPath } from '@nvbraid/manage';
import {
  type ConnectAllOptions,
  HostConnections,
  type HostSubsystem,
  NvbraidError,
  type PathDefaults,
  type PathOutcome,
  readNvmeFiles,
} from 'nvbraid';
import { connectOptions, formatAddress } from '../association.ts';
import { command, type Values } from '../command.ts';
import { ConnectProcess, type Stop } from '../connect-process.ts';
import { sentence } from '../explain.ts';
import {
  addressOptions,
  associationOptions,
  multipathOptions,
  outputOptions,
  queueOptions,
  recoveryOptions,
  verboseOption,
} from '../options.ts';
import { plural } from '../size.ts';
import { StopSignal } from '../stop-signal.ts';
import type { Terminal } from '../terminal.ts';
import { UsageError } from '../usage-error.ts';

const { path: _path, ...subsystemOptions } = multipathOptions;
const { nqn, ...address } = addressOptions;

const OPTIONS = {
  ...address,
  nqn: { ...nqn, help: 'Discovery subsystem; else the well-known one' },
  ...associationOptions,
  ...queueOptions,
  ...recoveryOptions,
  ...subsystemOptions,
  persistent: {
    type: 'flag',
    short: 'p',
    help: 'Stay connected to the discovery controllers, and connect what they tell of later',
  },
  'disconnect-removed': { type: 'flag', help: 'With --persistent: disconnect what they do not tell of any more' },
  quiet: { type: 'flag', help: 'Say nothing of paths that could not be connected' },
  ...outputOptions,
  ...verboseOption,
} as const;

export const connectAll = command({
  name: 'connect-all',
  summary: 'Connect to every subsystem that discovery leads to, in the foreground',
  description: [
    'Asks a discovery controller, follows its referrals, and connects each subsystem by all its paths. A path that fails is told of; the others go on. Without -a: what discovery.conf, config.json and nvme-fabrics.conf in /etc/nvme (or $NVBRAID_NVME_DIR) say, as nvme-cli has it.',
    'Every subsystem answers by a control socket of its own, so that list, list-subsys, read, write, disconnect -n and the like work as with nvbraid connect. Ctrl-C disconnects all.',
  ],
  options: OPTIONS,
  examples: [
    { line: 'nvbraid connect-all -a 192.168.0.7', help: 'all that the discovery controller on port 8009 tells of' },
    { line: 'nvbraid connect-all --persistent', help: 'what the files in /etc/nvme say, also what comes later' },
  ],
  async run({ options, given, terminal }) {
    if (options['disconnect-removed'] && !options.persistent) {
      throw new UsageError('--disconnect-removed needs --persistent: without it nobody tells what is removed');
    }
    using stop = new StopSignal(() => terminal.note('disconnecting; once more stops at once'));
    const work = new ConnectAll({ ...wanted(options, given, terminal), signal: stop.signal }, terminal, stop, {
      json: options['output-format'] === 'json',
      quiet: options.quiet,
      pathDefaults: connectOptions(options),
      verbose: options.verbose > 0,
    });
    return await work.run(options.persistent);
  },
});

/** What is to be connected. @throws NvbraidError ENOENT when nothing is named anywhere */
function wanted(options: Values<typeof OPTIONS>, given: ReadonlySet<string>, terminal: Terminal): ConnectAllOptions {
  // A default of the command line must not hide what a file says.
  const said = Object.fromEntries(Object.entries(options).filter(([name]) => given.has(name))) as typeof options;
  const common: ConnectAllOptions = {
    ...connectOptions(said),
    ...(given.has('transport') ? { transport: options.transport } : {}),
    iopolicy: options.iopolicy,
    safeFailover: options['safe-failover'] === 'on',
    delayedRemovalSecs: options['delayed-removal-secs'],
    persistent: options.persistent,
    disconnectRemoved: options['disconnect-removed'],
  };
  const { traddr, trsvcid = 8009, nqn } = options;
  if (traddr !== undefined) return { ...common, traddr, trsvcid, ...(nqn === undefined ? {} : { nqn }) };
  const { discovery, subsystems, notes } = readNvmeFiles();
  if (!options.quiet) for (const note of notes) terminal.note(`nvbraid connect-all: ${note}`);
  if (discovery.length + subsystems.length > 0) return { ...common, discovery, subsystems };
  throw new NvbraidError(
    'ENOENT',
    'there is nothing to connect: name a discovery controller with -a, or write /etc/nvme/discovery.conf',
  );
}

interface How {
  /** Of paths that are added by hand. */
  readonly pathDefaults: PathDefaults;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
}

/** A process that keeps several subsystems. */
class ConnectAll {
  readonly #all: HostConnections;
  readonly #terminal: Terminal;
  readonly #stop: StopSignal;
  readonly #how: How;
  readonly #running = new Map<HostSubsystem, { readonly process: ConnectProcess; readonly ended: Promise<void> }>();
  #sockets = 0;
  #started = false;
  #failed = 0;

  constructor(options: ConnectAllOptions, terminal: Terminal, stop: StopSignal, how: How) {
    this.#all = new HostConnections(options);
    this.#terminal = terminal;
    this.#stop = stop;
    this.#how = how;
  }

  async run(persistent: boolean): Promise<number> {
    const all = this.#all;
    const terminal = this.#terminal;
    all.on('path', (path) => this.#path(path));
    all.on('subsystem', (subsystem) => this.#subsystem(subsystem));
    all.on('subsystem-closed', (subsystem) => {
      if (!persistent && this.#started && all.subsystems.size === 0) this.#stop.stop();
      this.#event('subsystem-closed', `${subsystem.nqn} is disconnected`, { nqn: subsystem.nqn });
    });
    all.on('log', (message) => this.#event('log', message, { message }));
    all.on('discovery', ({ traddr, trsvcid, depth, state, records, error }) => {
      const where = formatAddress(traddr, trsvcid);
      const text = error === null ? `${state}, ${plural(records, 'record')}` : `${state}: ${sentence(error)}`;
      if (error !== null || this.#how.verbose || this.#how.json)
        this.#event('discovery', `discovery at ${where} ${text}`, {
          traddr,
          trsvcid,
          depth,
          state,
          error: error?.message,
        });
    });
    await all.start();
    this.#started = true;
    if (all.subsystems.size === 0 && !persistent) {
      await all.disconnect();
      if (this.#failed > 0) throw new NvbraidError('EIO', `none of ${plural(this.#failed, 'path')} could be connected`);
      throw new NvbraidError('ENOENT', 'discovery tells of no subsystem that this host may use');
    }
    if (this.#how.json) this.#event('started', '', { subsystems: [...all.subsystems.keys()] });
    else terminal.line(`${plural(all.subsystems.size, 'subsystem')} connected. Ctrl-C disconnects.`);
    await this.#stop.wait();
    await all.disconnect();
    await Promise.all([...this.#running.values()].map(({ ended }) => ended));
    return 0;
  }

  #path({ nqn, traddr, trsvcid, outcome, controller, subsystem, error }: PathOutcome): void {
    const where = formatAddress(traddr, trsvcid);
    if (controller !== null) {
      this.#running.get(subsystem!)?.process.watch(controller);
      const text = `connected to ${this.#terminal.style('bold', nqn)} at ${where}, controller ${controller.cntlid}`;
      this.#event('path', text, { nqn, traddr, trsvcid, outcome, cntlid: controller.cntlid });
      return;
    }
    this.#failed++;
    if (this.#how.quiet) return;
    const why = error === null ? '' : sentence(error);
    if (this.#how.json) this.#event('path', '', { nqn, traddr, trsvcid, outcome, error: why });
    else this.#terminal.note(`${outcome}: ${why.startsWith(nqn) ? '' : `${nqn} at ${where}: `}${why}`);
  }

  #subsystem(subsystem: HostSubsystem): void {
    const { json, verbose, pathDefaults } = this.#how;
    const process = new ConnectProcess(subsystem, this.#terminal, { json, verbose, pathDefaults, oneOfMany: true });
    const socket = ownSocketPath('connect', undefined, this.#sockets++);
    // One that is lost, or disconnected by a command, does not end the others.
    const ended = process.run(socket, stopOf(this.#stop)).then(
      () => {},
      (error: unknown) => this.#terminal.note(`nvbraid connect-all: ${subsystem.nqn}: ${sentence(error)}`),
    );
    this.#running.set(subsystem, { process, ended: ended.finally(() => this.#running.delete(subsystem)) });
  }

  #event(event: string, text: string, fields: object): void {
    if (this.#stop.stopped) return;
    if (this.#how.json) this.#terminal.json({ event, time: new Date().toISOString(), ...fields }, 0);
    else this.#terminal.line(text);
  }
}

/** Ends when `all` does, or by itself. */
function stopOf(all: StopSignal): Stop {
  const own = new AbortController();
  const signal = AbortSignal.any([all.signal, own.signal]);
  return {
    signal,
    stop: () => own.abort(),
    wait: () =>
      new Promise((resolve) => {
        if (signal.aborted) resolve();
        else signal.addEventListener('abort', () => resolve(), { once: true });
      }),
  };
}
