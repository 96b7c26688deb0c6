import { join } from 'node:path';
import { makeRuntimeDirectory } from '@nvbraid/manage';
import { NbdHeads, type NbdOffer, type NbdPlace } from 'nvbraid';
import { advised } from '../advice.ts';
import { connectOptions } from '../association.ts';
import { command } from '../command.ts';
import { givenPaths, nqnByAny } from '../given-paths.ts';
import {
  addressOptions,
  associationOptions,
  multipathOptions,
  outputOptions,
  PORT_MAX,
  queueOptions,
  recoveryOptions,
  verboseOption,
} from '../options.ts';
import { formatSize } from '../size.ts';
import { StopSignal } from '../stop-signal.ts';
import type { Terminal } from '../terminal.ts';
import { UsageError } from '../usage-error.ts';

const NBD_PORT = 10809;
const THREADS_MAX = 64;

export const nbd = command({
  name: 'nbd',
  summary: 'Offer the namespaces of a subsystem to NBD clients: qemu, nbdcopy, fio, the kernel',
  description: [
    'Connects by one or more paths, as connect does, and offers each namespace as an NBD export by the name nvme0n1 and by NQN/NSID. The loss of a path is not seen by clients while another one lives or may come back.',
    'The server listens on a unix socket that its user alone can open, or with --listen on TCP, where NBD knows neither passwords nor encryption. With --threads the namespaces are spread over threads, each of which connects for itself and listens beside the first: PATH.1, PATH.2, or on the ports that follow.',
    'Ctrl-C takes nothing new, answers what is under way, flushes, and disconnects.',
  ],
  options: {
    ...addressOptions,
    ...associationOptions,
    ...queueOptions,
    ...recoveryOptions,
    ...multipathOptions,
    'unix-socket': {
      type: 'text',
      short: 'U',
      value: 'PATH',
      completes: 'file',
      help: 'Unix socket to listen on; else one in the runtime directory',
    },
    listen: {
      type: 'text',
      short: 'L',
      value: 'ADDR[:PORT]',
      help: `TCP address to listen on instead, e.g. 127.0.0.1:${NBD_PORT}; port 0 lets the system choose`,
    },
    threads: {
      type: 'number',
      value: 'NUMBER',
      min: 1,
      max: THREADS_MAX,
      default: 1,
      help: 'Threads that the namespaces are spread over',
    },
    ...outputOptions,
    ...verboseOption,
  },
  examples: [
    { line: 'nvbraid nbd -a 192.168.0.7 --path 192.168.1.7', help: 'two paths to the only subsystem there' },
    {
      line: 'nvbraid nbd -a 192.168.0.7 -U /run/disk.nbd',
      help: 'on a socket of your choice, for nbdcopy disk.img "nbd+unix:///?socket=/run/disk.nbd"',
    },
  ],
  async run({ options, terminal }) {
    const place = placeOf(options['unix-socket'], options.listen);
    const paths = givenPaths({ ...options, 'duplicate-connect': false });
    using stop = new StopSignal(() => terminal.note('closing; once more stops at once'));
    const { signal } = stop;
    const nqn = options.nqn ?? (await nqnByAny(paths, options, signal));
    warn(place, terminal);
    const work = NbdHeads.start({
      ...connectOptions(options),
      nqn,
      paths,
      iopolicy: options.iopolicy,
      safeFailover: options['safe-failover'] === 'on',
      delayedRemovalSecs: options['delayed-removal-secs'],
      place,
      threads: options.threads,
    });
    const heads = await advised({ ...paths[0]!, nqn }, work);
    const how = { json: options['output-format'] === 'json', verbose: options.verbose > 0 };
    return await new NbdProcess(heads, nqn, terminal, how).run(stop);
  },
});

/** @throws UsageError */
function placeOf(path: string | undefined, listen: string | undefined): NbdPlace {
  if (path !== undefined && listen !== undefined) {
    throw new UsageError('--unix-socket and --listen exclude each other');
  }
  if (listen === undefined) return { path: path ?? join(makeRuntimeDirectory(), `nbd-${process.pid}.nbd`) };
  const match = /^(?:\[([0-9a-f:.%a-z]+)\]|([^:[\]]+))(?::([0-9]{1,5}))?$/i.exec(listen);
  const port = Number(match?.[3] ?? NBD_PORT);
  if (match === null || port > PORT_MAX) {
    throw new UsageError(`--listen: '${listen}' is not an address, as 127.0.0.1:${NBD_PORT} or [::1]:${NBD_PORT}`);
  }
  return { address: (match[1] ?? match[2])!, port };
}

function warn(place: NbdPlace, terminal: Terminal): void {
  if ('path' in place || /^(127\.|::1$|localhost$)/.test(place.address)) return;
  terminal.note(
    `warning: whoever reaches ${place.address} can read and write these disks: NBD has no passwords and no encryption here`,
  );
}

/** Exports in the foreground. */
class NbdProcess {
  readonly #heads: NbdHeads;
  readonly #nqn: string;
  readonly #terminal: Terminal;
  readonly #json: boolean;
  readonly #verbose: boolean;

  constructor(
    heads: NbdHeads,
    nqn: string,
    terminal: Terminal,
    how: { readonly json: boolean; readonly verbose: boolean },
  ) {
    this.#heads = heads;
    this.#nqn = nqn;
    this.#terminal = terminal;
    this.#json = how.json;
    this.#verbose = how.verbose;
  }

  /** Fulfilled with the exit code, when all is flushed and disconnected. */
  async run(stop: StopSignal): Promise<number> {
    const heads = this.#heads;
    let failure: Error | null = null;
    heads.on('log', (message) => this.#event('log', message, { message }));
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
    this.#announce();
    await stop.wait();
    await heads.close();
    if (failure !== null) throw failure;
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

  #announce(): void {
    const { offers, stallBound } = this.#heads;
    if (this.#json)
      return this.#event('listening', '', { nqn: this.#nqn, pid: process.pid, exports: offers, stallBound });
    const terminal = this.#terminal;
    terminal.line(`offering ${terminal.style('bold', this.#nqn)} by NBD`);
    for (const offer of offers) {
      const { name, blockSize, blockCount, readOnly, uri } = offer;
      const size = `${formatSize(blockSize * blockCount)} in blocks of ${blockSize} bytes`;
      terminal.line(`  ${name}: ${size}${readOnly ? ', read-only' : ''}`);
      terminal.line(`    ${uri}`);
    }
    terminal.line(`  a write waits for a lost path at most ${stallBound.formula}`);
    if (offers.length === 0) terminal.line('  no namespaces yet: exports come as they do');
    else for (const line of exampleLines(offers[0]!)) terminal.line(line);
    terminal.line('Ctrl-C stops.');
  }

  #event(event: string, text: string, fields: object): void {
    if (this.#json) this.#terminal.json({ event, time: new Date().toISOString(), ...fields }, 0);
    else this.#terminal.line(`${new Date().toTimeString().slice(0, 8)} ${text}`);
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
