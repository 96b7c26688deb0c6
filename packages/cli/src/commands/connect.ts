import { ControlClient, ControlServer, ownSocketPath, runningProcesses } from '@nvbraid/manage';
import { connectController, type HostController, NvbraidError } from 'nvbraid';
import { advised } from '../advice.ts';
import { type Address, connectOptions, formatAddress, onlySubsystem } from '../association.ts';
import { command } from '../command.ts';
import { controllerMethods } from '../control-methods.ts';
import { sentence } from '../explain.ts';
import { describeNamespaces } from '../host-session.ts';
import {
  addressOptions,
  associationOptions,
  outputOptions,
  ownSocketOptions,
  queueOptions,
  recoveryOptions,
  verboseOption,
} from '../options.ts';
import { processStatus } from '../process-session.ts';
import { formatCount, formatDuration, formatMicroseconds, formatSize, plural } from '../size.ts';
import type { ConnectStatus } from '../status.ts';
import { StopSignal } from '../stop-signal.ts';
import type { Terminal } from '../terminal.ts';
import { UsageError } from '../usage-error.ts';
import { version } from '../version.ts';

export const connect = command({
  name: 'connect',
  summary: 'Connect to a subsystem and stay connected, in the foreground',
  description: [
    'Keeps the association, connects again when it is lost, prints every change of state, and answers nvbraid id-ctrl, id-ns, read, write, list and disconnect by its control socket. Ctrl-C disconnects.',
    'The namespaces are used by these commands and by programs that use the library; they do not become block devices of the system.',
  ],
  options: {
    ...addressOptions,
    ...associationOptions,
    ...queueOptions,
    ...recoveryOptions,
    'duplicate-connect': {
      type: 'flag',
      short: 'D',
      help: 'Connect although another nvbraid connect is connected to the same subsystem at the same address',
    },
    ...ownSocketOptions,
    ...outputOptions,
    ...verboseOption,
  },
  examples: [
    {
      line: 'nvbraid connect -t tcp -a 192.168.0.7 -s 4420 -n nqn.2026-01.io.nvbraid:box:disk',
      help: 'as with nvme-cli',
    },
    {
      line: 'nvbraid connect -a 192.168.0.7 -i 4 -g -G',
      help: 'four I/O queues and both digests, to the only subsystem there',
    },
  ],
  async run({ options, terminal }) {
    const { transport, traddr, trsvcid = 4420 } = options;
    if (traddr === undefined) throw new UsageError('-a is missing: the address of the target');
    using stop = new StopSignal(() => terminal.note('disconnecting; once more stops at once'));
    const { signal } = stop;
    const nqn = options.nqn ?? (await onlySubsystem({ transport, traddr, trsvcid }, options, signal));
    const address: Address = { transport, traddr, trsvcid, nqn };
    if (!options['duplicate-connect']) await refuseDuplicate(address);
    const controller = await advised(address, connectController({ ...connectOptions(options), ...address, signal }));
    const foreground = new Foreground(controller, address, terminal, options['output-format'] === 'json');
    return await foreground.run(options.socket, stop, options.verbose > 0);
  },
});

/** As the kernel does without duplicate_connect. */
async function refuseDuplicate(address: Address): Promise<void> {
  for (const process of await runningProcesses()) {
    if (process.role !== 'connect') continue;
    const client = await ControlClient.connect(process.socket).catch(() => null);
    if (client === null) continue;
    try {
      const status = await processStatus(client);
      if (status.role !== 'connect') continue;
      const { traddr, trsvcid, nqn } = status.address;
      if (nqn !== address.nqn || traddr !== address.traddr || trsvcid !== address.trsvcid) continue;
      throw new NvbraidError(
        'EBUSY',
        `process ${process.pid} is connected to ${nqn} at ${formatAddress(traddr, trsvcid)} already; -D connects once more`,
      );
    } finally {
      client.close();
    }
  }
}

/** A controller kept in the foreground. */
class Foreground {
  readonly #controller: HostController;
  readonly #address: Address;
  readonly #terminal: Terminal;
  readonly #json: boolean;
  readonly #startedMs = performance.now();
  #error: NvbraidError | null = null;

  constructor(controller: HostController, address: Address, terminal: Terminal, json: boolean) {
    this.#controller = controller;
    this.#address = address;
    this.#terminal = terminal;
    this.#json = json;
  }

  async run(socket: string | undefined, stop: StopSignal, verbose: boolean): Promise<number> {
    const controller = this.#controller;
    controller.on('state', (state, error) => {
      if (stop.stopped) return;

      this.#event('state', stateText(state, error), { state, error: error?.message });
    });
    controller.on('namespaces', (nsids) =>
      this.#event('namespaces', `namespaces changed: ${nsids.join(', ')}`, { nsids }),
    );
    if (verbose)
      controller.on('aen', (event) => this.#event('aen', `asynchronous event ${JSON.stringify(event)}`, { event }));
    controller.once('closed', (error) => {
      this.#error = error;
      stop.stop();
    });
    let server: ControlServer;
    try {
      server = await ControlServer.listen({ path: socket ?? ownSocketPath('connect'), methods: this.#methods(stop) });
    } catch (error) {
      await controller.disconnect();
      throw error;
    }
    this.#announce(server.path);
    const ticker = setInterval(() => this.#terminal.status(this.#statusLine()), 1000);
    await stop.wait();
    clearInterval(ticker);
    this.#terminal.endStatus();
    await controller.disconnect();
    await server.close();
    if (this.#error !== null) throw this.#error;
    const { readBytes, writtenBytes } = controller.stats();
    const moved = `${formatSize(readBytes)} read, ${formatSize(writtenBytes)} written`;
    this.#event('disconnected', `disconnected after ${formatDuration(performance.now() - this.#startedMs)}: ${moved}`, {
      stats: controller.stats(),
    });
    return 0;
  }

  #methods(stop: StopSignal) {
    return {
      ...controllerMethods(this.#controller),
      status: () => this.#status(),
      disconnect: () => {
        // After the answer is on its way.
        setImmediate(() => stop.stop());
      },
    };
  }

  #status(): ConnectStatus {
    const controller = this.#controller;
    const { sn, mn, fr } = controller.identify;
    return {
      role: 'connect',
      pid: process.pid,
      version: version(),
      uptimeSeconds: Math.round((performance.now() - this.#startedMs) / 1000),
      state: controller.state,
      cntlid: controller.cntlid,
      hostnqn: controller.hostnqn,
      hostid: controller.hostid,
      address: this.#address,
      serial: sn,
      model: mn,
      firmware: fr,
      nrIoQueues: controller.nrIoQueues,
      queueSize: controller.queueSize,
      namespaces: describeNamespaces(controller),
      stats: { ...controller.stats() },
    };
  }

  #announce(socket: string): void {
    const controller = this.#controller;
    const terminal = this.#terminal;
    const namespaces = describeNamespaces(controller);
    if (this.#json) {
      this.#event('connected', '', { ...this.#status(), socket });
      return;
    }
    const { traddr, trsvcid, nqn } = this.#address;
    terminal.line(
      `connected to ${terminal.style('bold', nqn)} at ${formatAddress(traddr, trsvcid)}, controller ${controller.cntlid}`,
    );
    terminal.line(
      `  ${plural(controller.nrIoQueues, 'I/O queue')} of ${controller.queueSize} entries, at most ${formatSize(controller.maxTransferBytes)} per command`,
    );
    for (const { nsid, blockSize, blockCount, readOnly } of namespaces) {
      const size = formatSize(blockSize * blockCount);
      terminal.line(`  namespace ${nsid}: ${size} in blocks of ${blockSize} bytes${readOnly ? ', read-only' : ''}`);
    }
    if (namespaces.length === 0) terminal.line('  no namespaces');
    terminal.line(`  control socket ${socket}`);
    terminal.line('Ctrl-C disconnects.');
  }

  #statusLine(): string {
    const { state } = this.#controller;
    const { readCommands, writeCommands, inFlight, latency } = this.#controller.stats();
    const colour = state === 'live' ? 'green' : 'yellow';
    const counts = `${formatCount(readCommands)} reads, ${formatCount(writeCommands)} writes, ${inFlight} in flight`;
    const times = latency.count === 0 ? '' : `, p99 ${formatMicroseconds(latency.p99Us)}`;
    return `${this.#terminal.style(colour, state)}  ${counts}${times}`;
  }

  #event(event: string, text: string, fields: object): void {
    if (this.#json) this.#terminal.json({ event, time: new Date().toISOString(), ...fields }, 0);
    else this.#terminal.line(`${new Date().toTimeString().slice(0, 8)} ${text}`);
  }
}

function stateText(state: string, error: NvbraidError | null): string {
  return error === null ? state : `${state}: ${sentence(error)}`;
}
