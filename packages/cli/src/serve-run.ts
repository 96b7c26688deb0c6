import { ControlServer, ownSocketPath } from '@nvbraid/manage';
import {
  nodesOf,
  type SubflowChange,
  type Target,
  type TargetConfig,
  type TargetQueueSubflows,
  type TargetStats,
} from 'nvbraid';
import { faultMethods } from './fault-methods.ts';
import { serveStatus } from './serve-status.ts';
import { formatCount, formatDuration, formatSize, plural } from './size.ts';
import type { StopSignal } from './stop-signal.ts';
import { subflowLogLines } from './subflow-events.ts';
import { targetMethods } from './target-methods.ts';
import type { Terminal } from './terminal.ts';

const STATUS_MS = 1000;

/** What runs, and how it is announced. */
export interface Serving {
  readonly target: Target;
  readonly config: TargetConfig;
  /** The file that it was configured by, or null. */
  readonly file: string | null;
  /** Lines about what is served, for people. @param socket path of the control socket */
  describe(socket: string): string[];
  /** What stands beside the status in the event `serving`. */
  readonly facts: object;
}

/** The life of `nvbraid serve` from the moment it listens. */
export class ServeRun {
  readonly #served: Serving;
  readonly #terminal: Terminal;
  readonly #json: boolean;
  readonly #startedMs = performance.now();
  #last: TargetStats;
  #lastMs = performance.now();

  constructor(served: Serving, terminal: Terminal, json: boolean) {
    this.#served = served;
    this.#terminal = terminal;
    this.#json = json;
    this.#last = served.target.stats();
  }

  /** Until it is told to stop. The target is closed by the caller. */
  async run(socket: string | undefined, stop: StopSignal): Promise<void> {
    const { target, config } = this.#served;
    const server = await ControlServer.listen({
      path: socket ?? ownSocketPath('serve'),
      methods: {
        status: () => serveStatus(target, this.#startedMs),
        ...faultMethods(target),
        ...targetMethods(config, {
          file: this.#served.file,
          changed: (edits) => {
            for (const edit of edits) this.log(edit);
          },
        }),
      },
    });
    try {
      target.on('log', (message) => this.log(message));
      target.on('controller-created', (controller) => {
        this.log(`controller ${controller.cntlid} created for ${controller.hostnqn}`);
      });
      target.on('controller-gone', (controller, reason) =>
        this.log(`controller ${controller.cntlid} is gone: ${reason}`),
      );
      target.subflowWatch.on('changes', (changes) => this.#subflows(changes));
      await this.#announce(server.path);
      const ticker = setInterval(() => this.#terminal.status(this.#statusLine()), STATUS_MS);
      await stop.wait();
      clearInterval(ticker);
      this.#terminal.endStatus();
      if (!(await target.drain())) this.log('some commands, or hosts, took too long: they are disconnected');
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
    const inFiles = [...nodesOf(this.#served.config.tree)].some(
      (node) => node.kind.name === 'namespace' && node.get('device_path') !== '',
    );
    const kept = !inFiles
      ? ' What was in memory is gone.'
      : stats.writeCommands > 0
        ? ' Everything that was written is on disk.'
        : '';
    const time = formatDuration(performance.now() - this.#startedMs);
    this.#terminal.line(`Stopped after ${time}: ${reads}, ${writes}, ${plural(stats.errors, 'error')}.${kept}`);
  }

  async #announce(socket: string): Promise<void> {
    const { target, facts } = this.#served;
    const terminal = this.#terminal;
    if (this.#json) {
      const time = new Date().toISOString();
      const status = await serveStatus(target, this.#startedMs);
      terminal.json({ event: 'serving', time, ...status, socket, ...facts }, 0);
      return;
    }
    for (const line of this.#served.describe(socket)) terminal.line(line);
  }

  log(message: string): void {
    this.#event('log', message, { message });
  }

  #subflows(changes: readonly SubflowChange<TargetQueueSubflows>[]): void {
    const lines = subflowLogLines(
      changes,
      this.#json,
      ({ cntlid, hostnqn }) => `controller ${cntlid} of ${hostnqn}`,
      ({ subnqn, hostnqn, cntlid }) => ({ subnqn, hostnqn, cntlid }),
    );
    for (const { text, fields } of lines) this.#event('subflow', text, fields);
  }

  #event(event: string, text: string, fields: object): void {
    this.#terminal.event(this.#json, event, text, fields);
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
