import { ControlServer, type Methods, ownSocketPath } from '@nvbraid/manage';
import { ANA_STATE_NAMES, statusName } from '@nvbraid/wire';
import type { HostController, HostHead, HostSubsystem, NvbraidError, PathDefaults } from 'nvbraid';
import { formatAddress } from './association.ts';
import { connectStatus } from './connect-status.ts';
import { controllerMethods } from './control-methods.ts';
import { sentence } from './explain.ts';
import { pathMethods } from './path-methods.ts';
import { formatBound, formatCount, formatDuration, formatMicroseconds, formatSize, plural } from './size.ts';
import type { ConnectStatus } from './status.ts';
import type { StopSignal } from './stop-signal.ts';
import { subflowLogLines } from './subflow-events.ts';
import { subsystemMethods } from './subsystem-methods.ts';
import type { Terminal } from './terminal.ts';

/** Failovers of one path within this time are one line: there may be as many as commands under way. */
const FAILOVER_LINE_MS = 200;

/** When to end: Ctrl-C, a command, or the loss of everything. */
export type Stop = Pick<StopSignal, 'signal' | 'stop' | 'wait'>;

interface Failovers {
  readonly path: string;
  readonly status: number;
  commands: number;
}

export interface ConnectProcessOptions {
  readonly json: boolean;
  readonly verbose: boolean;
  /** There are others in this process: paths are told of elsewhere, and there is no status line. */
  readonly oneOfMany?: boolean;
  /** Of paths that are added while it runs. */
  readonly pathDefaults: PathDefaults;
}

/** A subsystem kept in the foreground: says what happens to it, and answers by a control socket. */
export class ConnectProcess {
  readonly #subsystem: HostSubsystem;
  readonly #terminal: Terminal;
  readonly #json: boolean;
  readonly #verbose: boolean;
  readonly #oneOfMany: boolean;
  readonly #pathDefaults: PathDefaults;
  readonly #startedMs = performance.now();
  /** The controller that `status` describes when none is live. */
  readonly #first: HostController;
  readonly #watched = new WeakSet<HostController>();
  readonly #failovers = new Map<string, Failovers>();
  readonly #pathStates = new Map<string, string>();
  #failoverTimer: NodeJS.Timeout | null = null;
  #error: NvbraidError | null = null;
  #stopping = false;

  constructor(subsystem: HostSubsystem, terminal: Terminal, how: ConnectProcessOptions) {
    this.#subsystem = subsystem;
    this.#terminal = terminal;
    this.#json = how.json;
    this.#verbose = how.verbose;
    this.#oneOfMany = how.oneOfMany ?? false;
    this.#pathDefaults = how.pathDefaults;
    this.#first = subsystem.controllers[0]!;
  }

  /** Fulfilled with the exit code, when it is disconnected. */
  async run(socket: string | undefined, stop: Stop): Promise<number> {
    const subsystem = this.#subsystem;
    stop.signal.addEventListener('abort', () => (this.#stopping = true), { once: true });
    subsystem.on('log', (message) => this.#event('log', message, { message }));
    subsystem.once('closed', (error) => {
      this.#error = error;
      stop.stop();
    });
    for (const controller of subsystem.controllers) this.watch(controller);
    for (const head of subsystem.heads.values()) this.#watchHead(head);
    subsystem.on('head-added', (head) => {
      this.#watchHead(head);
      this.#event('head-added', `${head.name} has come: ${describeHead(head)}`, { head: head.name, nsid: head.nsid });
    });
    subsystem.on('head-removed', (head) =>
      this.#event('head-removed', `${head.name} is gone`, { head: head.name, nsid: head.nsid }),
    );
    let server: ControlServer;
    try {
      server = await ControlServer.listen({ path: socket ?? ownSocketPath('connect'), methods: this.#methods(stop) });
    } catch (error) {
      await subsystem.disconnect();
      throw error;
    }
    this.#announce(server.path);
    subsystem.subflowWatch.on('changes', (changes) => {
      const lines = subflowLogLines(
        changes,
        this.#json,
        ({ controller }) => controller,
        ({ controller }) => ({ controller }),
      );
      for (const { text, fields } of lines) this.#event('subflow', text, fields);
    });
    const ticker = setInterval(() => {
      if (!this.#oneOfMany) this.#terminal.status(this.#statusLine());
    }, 1000);
    await stop.wait();
    clearInterval(ticker);
    this.#terminal.endStatus();
    this.#tellFailovers();
    // The namespaces are gone after it.
    const stats = subsystem.stats();
    await subsystem.disconnect();
    await server.close();
    if (this.#error !== null) throw this.#error;
    const moved = `${formatSize(stats.readBytes)} read, ${formatSize(stats.writtenBytes)} written`;
    this.#stopping = false;
    this.#event('disconnected', `disconnected after ${formatDuration(performance.now() - this.#startedMs)}: ${moved}`, {
      stats,
    });
    return 0;
  }

  /** Tells of what happens to a controller. */
  watch(controller: HostController): void {
    if (this.#watched.has(controller)) return;
    this.#watched.add(controller);
    const subsystem = this.#subsystem;
    const name = subsystem.controllerName(controller);
    const { traddr, trsvcid } = controller.place!;
    const where = formatAddress(traddr, trsvcid);
    controller.on('state', (state, error) => {
      const why = error === null ? '' : `: ${sentence(error)}`;
      this.#event('state', `${name} at ${where} ${state}${why}`, {
        controller: name,
        address: where,
        state,
        error: error?.message,
      });
    });
    controller.on('namespaces', (nsids) =>
      this.#event('namespaces', `${name}: namespaces changed: ${nsids.join(', ')}`, { controller: name, nsids }),
    );
    if (this.#verbose) {
      controller.on('aen', (event) =>
        this.#event('aen', `${name}: asynchronous event ${JSON.stringify(event)}`, { controller: name, event }),
      );
    }
  }

  #pathAdded(controller: HostController): void {
    this.watch(controller);
    const name = this.#subsystem.controllerName(controller);
    const { traddr, trsvcid } = controller.place!;
    const address = formatAddress(traddr, trsvcid);
    const { cntlid } = controller;
    this.#event('path-added', `${name} at ${address} has come, controller ${cntlid}`, {
      controller: name,
      address,
      cntlid,
    });
  }

  #watchHead(head: HostHead): void {
    for (const path of head.core.paths) this.#pathStates.set(path.name, path.controller.state);
    head.on('path-state', (path, state) => {
      const there = head.core.paths.some(({ name }) => name === path);
      const now = there ? state : 'gone';
      if (this.#pathStates.get(path) === now) return;
      if (there) this.#pathStates.set(path, now);
      else this.#pathStates.delete(path);
      this.#event('path-state', `path ${path} ${now}`, { head: head.name, path, state: now });
    });
    head.on('ana-change', (path, before, after) =>
      this.#event('ana-change', `path ${path} ANA ${before} -> ${after}`, { head: head.name, path, before, after }),
    );
    head.on('failover', (path, status) => {
      const key = `${path} ${status}`;
      const known = this.#failovers.get(key);
      if (known !== undefined) known.commands++;
      else this.#failovers.set(key, { path, status, commands: 1 });
      this.#failoverTimer ??= setTimeout(() => this.#tellFailovers(), FAILOVER_LINE_MS);
    });
    head.on('changed', () =>
      this.#event('head-changed', `${head.name} has changed: ${describeHead(head)}`, {
        head: head.name,
        nsid: head.nsid,
        blocks: head.blockCount,
        blockSize: head.blockSize,
        readOnly: head.readOnly,
      }),
    );
  }

  #tellFailovers(): void {
    if (this.#failoverTimer !== null) clearTimeout(this.#failoverTimer);
    this.#failoverTimer = null;
    for (const { path, status, commands } of this.#failovers.values()) {
      const reason = statusName(status);
      this.#event('failover', `failover of ${plural(commands, 'command')} from ${path}: ${reason}`, {
        path,
        commands,
        status,
        reason,
      });
    }
    this.#failovers.clear();
  }

  #methods(stop: Stop): Methods {
    return {
      ...controllerMethods(this.#subsystem),
      ...subsystemMethods(this.#subsystem),
      ...pathMethods(this.#subsystem, this.#pathDefaults, (controller) => this.#pathAdded(controller)),
      status: () => this.#status(),
      disconnect: () => {
        // After the answer is on its way.
        setImmediate(() => stop.stop());
      },
    };
  }

  #status(): ConnectStatus {
    return connectStatus(this.#subsystem, this.#first, this.#startedMs);
  }

  #announce(socket: string): void {
    const subsystem = this.#subsystem;
    const terminal = this.#terminal;
    if (this.#json) {
      this.#event('connected', '', { ...this.#status(), socket });
      return;
    }
    if (this.#oneOfMany) {
      terminal.line(`${subsystem.name} ${subsystem.nqn}: control socket ${socket}`);
      return;
    }
    const nqn = terminal.style('bold', subsystem.nqn);
    for (const controller of subsystem.controllers) {
      const { traddr, trsvcid } = controller.place!;
      terminal.line(`connected to ${nqn} at ${formatAddress(traddr, trsvcid)}, controller ${controller.cntlid}`);
      terminal.line(
        `  ${plural(controller.nrIoQueues, 'I/O queue')} of ${controller.queueSize} entries, at most ${formatSize(controller.maxTransferBytes)} per command`,
      );
    }
    for (const head of subsystem.heads.values()) {
      terminal.line(`  namespace ${head.nsid}: ${describeHead(head)}`);
      const names = head.core.paths.map((path) => `${path.name} ${pathAna(path.anaState)}`.trimEnd());
      terminal.line(`    head ${head.name}, ${plural(names.length, 'path')}: ${names.join(', ')}`);
    }
    if (subsystem.heads.size === 0) terminal.line('  no namespaces');
    const safe = subsystem.core.fences.enabled ? '' : '; safe failover is off: an old write may replace a newer one';
    terminal.line(`  iopolicy ${subsystem.iopolicy}${safe}`);
    terminal.line(`  ${formatBound(subsystem.stallBound())}`);
    terminal.line(`  control socket ${socket}`);
    terminal.line('Ctrl-C disconnects.');
  }

  #statusLine(): string {
    const { controllers } = this.#subsystem;
    const live = controllers.filter(({ state }) => state === 'live').length;
    const state = live > 0 ? 'live' : (controllers[0]?.state ?? 'dead');
    const { readCommands, writeCommands, inFlight, latency } = this.#subsystem.stats();
    const colour = live === controllers.length ? 'green' : 'yellow';
    const of = controllers.length > 1 ? ` (${live} of ${controllers.length} paths)` : '';
    const counts = `${formatCount(readCommands)} reads, ${formatCount(writeCommands)} writes, ${inFlight} in flight`;
    const times = latency.count === 0 ? '' : `, p99 ${formatMicroseconds(latency.p99Us)}`;
    return `${this.#terminal.style(colour, state)}${of}  ${counts}${times}`;
  }

  /** One line. What follows from our own disconnecting is not told. */
  #event(event: string, text: string, fields: object): void {
    if (!this.#stopping) this.#terminal.event(this.#json, event, text, fields);
  }
}

function describeHead(head: HostHead): string {
  return `${formatSize(head.size)} in blocks of ${head.blockSize} bytes${head.readOnly ? ', read-only' : ''}`;
}

function pathAna(state: number | null): string {
  return state === null ? '' : (ANA_STATE_NAMES[state] ?? 'unknown');
}
