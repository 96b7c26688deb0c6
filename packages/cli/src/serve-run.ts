import { ControlServer, ownSocketPath } from '@nvbraid/manage';
import type { TargetPort, TargetStats } from 'nvbraid';
import { nvmeConnectLine } from './association.ts';
import { faultMethods } from './fault-methods.ts';
import { describePort, reachableAddresses } from './listening.ts';
import { type Served, serveStatus } from './serve-status.ts';
import { formatCount, formatDuration, formatSize, plural } from './size.ts';
import type { StopSignal } from './stop-signal.ts';
import type { Terminal } from './terminal.ts';

const STATUS_MS = 1000;

/** The life of `nvbraid serve` from the moment it listens. */
export class ServeRun {
  readonly #served: Served;
  readonly #terminal: Terminal;
  readonly #json: boolean;
  readonly #startedMs = performance.now();
  #last: TargetStats;
  #lastMs = performance.now();

  constructor(served: Served, terminal: Terminal, json: boolean) {
    this.#served = served;
    this.#terminal = terminal;
    this.#json = json;
    this.#last = served.target.stats();
  }

  /** Until it is told to stop. The target is closed by the caller. */
  async run(socket: string | undefined, stop: StopSignal): Promise<void> {
    const { target } = this.#served;
    const server = await ControlServer.listen({
      path: socket ?? ownSocketPath('serve'),
      methods: { status: () => serveStatus(this.#served, this.#startedMs), ...faultMethods(target) },
    });
    try {
      target.on('log', (message) => this.#log(message));
      target.on('controller-created', (controller) => {
        this.#log(`controller ${controller.cntlid} created for ${controller.hostnqn}`);
      });
      target.on('controller-gone', (controller, reason) =>
        this.#log(`controller ${controller.cntlid} is gone: ${reason}`),
      );
      this.#announce(server.path);
      const ticker = setInterval(() => this.#terminal.status(this.#statusLine()), STATUS_MS);
      await stop.wait();
      clearInterval(ticker);
      this.#terminal.endStatus();
    } finally {
      await server.close();
    }
  }

  /** Says what was done, when everything is closed. */
  summary(): void {
    const { target } = this.#served;
    const stats = target.stats();
    if (this.#json) {
      this.#terminal.json({ event: 'stopped', time: new Date().toISOString(), stats }, 0);
      return;
    }
    const reads = `${plural(stats.readCommands, 'read')} (${formatSize(stats.readBytes)})`;
    const writes = `${plural(stats.writeCommands, 'write')} (${formatSize(stats.writtenBytes)})`;
    const inFiles = this.#served.devices.some((device) => device.name !== 'memory');
    const kept = !inFiles
      ? ' What was in memory is gone.'
      : stats.writeCommands > 0
        ? ' Everything that was written is on disk.'
        : '';
    const time = formatDuration(performance.now() - this.#startedMs);
    this.#terminal.line(`Stopped after ${time}: ${reads}, ${writes}, ${plural(stats.errors, 'error')}.${kept}`);
  }

  #announce(socket: string): void {
    const { target, nqn, devices, ports, noDiscovery } = this.#served;
    const terminal = this.#terminal;
    if (this.#json) {
      terminal.json(
        {
          event: 'serving',
          time: new Date().toISOString(),
          ...serveStatus(this.#served, this.#startedMs),
          socket,
          noDiscovery,
        },
        0,
      );
      return;
    }
    const [io, discovery] = ports as [TargetPort, TargetPort | undefined];
    terminal.line(`serving ${terminal.style('bold', nqn)} on ${describePort(io)}`);
    target.core.subsystem(nqn)!.namespaces.forEach(({ nsid, blockSize, blockCount, readOnly }, i) => {
      const { name, made } = devices[i]!;
      const notes = `${made && name !== 'memory' ? ', made now' : ''}${readOnly ? ', read-only' : ''}`;
      terminal.line(
        `  namespace ${nsid}: ${name}, ${formatSize(blockSize * blockCount)} in blocks of ${blockSize} bytes${notes}`,
      );
    });
    terminal.line(`  discovery: ${discovery === undefined ? noDiscovery : describePort(discovery)}`);
    terminal.line(`  control socket: ${socket}`);
    terminal.line('On a Linux host:');
    for (const address of reachableAddresses(io.address)) terminal.line(`  ${nvmeConnectLine(address, io.port, nqn)}`);
    terminal.line('Ctrl-C stops.');
  }

  #log(message: string): void {
    if (this.#json) this.#terminal.json({ event: 'log', time: new Date().toISOString(), message }, 0);
    else this.#terminal.line(`${new Date().toTimeString().slice(0, 8)} ${message}`);
  }

  #statusLine(): string {
    const stats = this.#served.target.stats();
    const now = performance.now();
    const seconds = (now - this.#lastMs) / 1000;
    const rate = (key: keyof TargetStats): number => (stats[key] - this.#last[key]) / seconds;
    const reads = `read ${formatCount(rate('readCommands'))} IOPS ${(rate('readBytes') / 1e6).toFixed(1)} MB/s`;
    const writes = `write ${formatCount(rate('writeCommands'))} IOPS ${(rate('writtenBytes') / 1e6).toFixed(1)} MB/s`;
    const who = `${plural(stats.controllers, 'controller')}, ${plural(stats.queues, 'queue')}`;
    this.#last = stats;
    this.#lastMs = now;
    return `${this.#terminal.style('green', 'serving')}  ${who}  ${reads}  ${writes}  ${plural(stats.errors, 'error')}`;
  }
}
