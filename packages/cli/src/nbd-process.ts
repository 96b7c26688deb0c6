import { ControlServer, ownSocketPath } from '@nvbraid/manage';
import { type NbdHeads, type NbdOffer, NvbraidError, type PathOptions } from 'nvbraid';
import { NbdControl } from './nbd-control.ts';
import { formatBound, formatSize } from './size.ts';
import type { StopSignal } from './stop-signal.ts';
import type { Terminal } from './terminal.ts';

/** What the process offers. */
export interface Offered {
  readonly nqn: string;
  /** By which it was connected; none for what is served here. */
  readonly paths: readonly PathOptions[];
  /** Of what is served here, by nsid; null for what was connected. */
  readonly names: readonly string[] | null;
}

/** Exports in the foreground, with a control socket. */
export class NbdProcess {
  readonly #heads: NbdHeads;
  readonly #what: Offered;
  readonly #terminal: Terminal;
  readonly #json: boolean;
  readonly #verbose: boolean;

  constructor(
    heads: NbdHeads,
    what: Offered,
    terminal: Terminal,
    how: { readonly json: boolean; readonly verbose: boolean },
  ) {
    this.#heads = heads;
    this.#what = what;
    this.#terminal = terminal;
    this.#json = how.json;
    this.#verbose = how.verbose;
  }

  /** Fulfilled with the exit code, when all is flushed and disconnected. */
  async run(socket: string | undefined, stop: StopSignal): Promise<number> {
    const heads = this.#heads;
    let failure: Error | null = null;
    heads.on('changed', () => {
      if (!stop.stopped) this.#event('exports', `exports now: ${this.#names()}`, { exports: heads.offers });
    });
    heads.on('path', (thread, path, state) => {
      if (this.#verbose) this.#event('path', `${path} of thread ${thread}: ${state}`, { thread, path, state });
    });
    heads.once('closed', (error) => {
      failure = error;
      stop.stop();
    });
    const control = new NbdControl(heads, this.#what.paths, {
      stop: () => stop.stop(),
      log: (message) => this.#event('log', message, { message }),
    });
    let server: ControlServer;
    try {
      server = await ControlServer.listen({ path: socket ?? ownSocketPath('nbd'), methods: control.methods() });
    } catch (error) {
      await heads.close();
      throw error;
    }
    this.#announce(server.path);
    heads.on('log', (message) => this.#event('log', message, { message }));
    await stop.wait();
    const stable = await heads.close();
    await server.close();
    if (failure !== null) throw failure;
    if (!stable) throw new NvbraidError('EIO', 'not everything that clients have written is stable: see above');
    this.#event('closed', 'flushed and disconnected', {});
    return 0;
  }

  #names(): string {
    return (
      this.#heads.offers
        .map(
          ({ name, blockCount, blockSize, readOnly }) =>
            `${name} (${formatSize(blockCount * blockSize)}${readOnly ? ', read-only' : ''})`,
        )
        .join(', ') || 'none'
    );
  }

  #announce(socket: string): void {
    const { offers, stallBound } = this.#heads;
    const { nqn, names } = this.#what;
    if (this.#json) return this.#event('listening', '', { nqn, pid: process.pid, exports: offers, stallBound, socket });
    const terminal = this.#terminal;
    terminal.line(`offering ${terminal.style('bold', names?.join(', ') ?? nqn)} by NBD`);
    for (const { nsid, name, blockSize, blockCount, readOnly, uri } of offers) {
      const size = `${formatSize(blockSize * blockCount)} in blocks of ${blockSize} bytes`;
      const file = names === null || names.length === 1 ? '' : ` (${names[nsid - 1]})`;
      terminal.line(`  ${name}${file}: ${size}${readOnly ? ', read-only' : ''}`);
      terminal.line(`    ${uri}`);
    }
    if (names === null) terminal.line(`  ${formatBound(stallBound)}`);
    terminal.line(`  control socket ${socket}`);
    if (offers.length === 0) terminal.line('  no namespaces yet: exports come as they do');
    else for (const line of exampleLines(offers[0]!)) terminal.line(line);
    terminal.line('Ctrl-C stops.');
  }

  #event(event: string, text: string, fields: object): void {
    this.#terminal.event(this.#json, event, text, fields);
  }
}

function exampleLines({ uri, server, name }: NbdOffer): string[] {
  const { hostname, port, searchParams } = new URL(server);
  const socket = searchParams.get('socket');
  const where = socket === null ? `${hostname.replace(/[[\]]/g, '')} ${port}` : `-unix ${socket}`;
  return [
    'For example:',
    `  nbdcopy '${uri}' disk.img`,
    `  qemu-system-x86_64 -drive 'file=${uri},format=raw,if=virtio'`,
    `  nbd-client ${where} -N ${name} /dev/nbd0`,
  ];
}
