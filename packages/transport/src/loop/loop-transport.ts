import { NvbraidError } from '@nvbraid/base';
import { formatAddress, systemError } from '../errors.ts';
import { checkPort } from '../resolve.ts';
import type { Connection, ConnectOptions, Endpoint, Listener, ListenOptions, Transport } from '../transport.ts';
import { LoopConnection } from './loop-connection.ts';
import { type LoopOptions, type LoopSettings, loopSettings } from './loop-link.ts';

const FIRST_FREE_PORT = 49152;

/** Links inside one process: an address is any name, and every transport made here is a network of its own. */
class LoopTransport implements Transport {
  readonly name = 'loop';
  readonly trtype = 'loop';
  readonly canHandOff = false;
  readonly #settings: LoopSettings;
  readonly #listeners = new Map<string, (connection: Connection) => void>();
  #nextPort = FIRST_FREE_PORT;

  constructor(options: LoopOptions) {
    this.#settings = loopSettings(options);
  }

  unsupported(): null {
    return null;
  }

  async listen(options: ListenOptions, onConnection: (connection: Connection) => void): Promise<Listener> {
    const where = formatAddress(options.address, options.port);
    checkPort(options.port, `cannot listen on ${where}`);
    const local: Endpoint = {
      address: options.address,
      port: options.port === 0 ? this.#freePort(options.address) : options.port,
      family: 'loop',
    };
    const key = formatAddress(local.address, local.port);
    if (this.#listeners.has(key)) throw systemError('EADDRINUSE', `cannot listen on ${where}`);
    this.#listeners.set(key, onConnection);
    return {
      local,
      close: async () => {
        if (this.#listeners.get(key) === onConnection) this.#listeners.delete(key);
      },
    };
  }

  async connect(options: ConnectOptions): Promise<Connection> {
    const where = formatAddress(options.address, options.port);
    checkPort(options.port, `cannot connect to ${where}`);
    const onConnection = this.#listeners.get(where);
    if (onConnection === undefined) throw systemError('ECONNREFUSED', `cannot connect to ${where}`);
    const source = options.hostTraddr ?? 'loop';
    const [ours, theirs] = LoopConnection.pair(
      this.#settings,
      { address: source, port: this.#freePort(source), family: 'loop' },
      { address: options.address, port: options.port, family: 'loop' },
    );
    this.#settings.schedule(() => onConnection(theirs));
    return ours;
  }

  adopt(): Connection {
    throw new NvbraidError('ENOTSUP', 'a loop connection cannot be handed to another thread: use 0 reactors');
  }

  identify(): string {
    return '';
  }

  #freePort(address: string): number {
    do {
      this.#nextPort = this.#nextPort >= 65535 ? FIRST_FREE_PORT : this.#nextPort + 1;
    } while (this.#listeners.has(formatAddress(address, this.#nextPort)));
    return this.#nextPort;
  }
}

/** A network of in-memory links that a test can drive. */
export function loopTransport(options: LoopOptions = {}): Transport {
  return new LoopTransport(options);
}

/** The network of this process. */
export const loop: Transport = loopTransport();
