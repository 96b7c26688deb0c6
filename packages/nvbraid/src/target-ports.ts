import { NvbraidError } from '@nvbraid/base';
import type { Port, Target as TargetCore } from '@nvbraid/target';
import type { Connection, Endpoint, Listener } from '@nvbraid/transport';
import { ADRFAM_NAMES } from '@nvbraid/wire';
import type { AddPortOptions, ListenConfig, TargetPort } from './target-config.ts';
import { usableRow } from './transport-row.ts';

export interface TargetPortsOptions {
  readonly core: TargetCore;
  readonly reactorCount: number;
  accept(port: Port, transportName: string, connection: Connection): void;
  /** The system has nothing left for another connection. */
  refused(error: NvbraidError): void;
  /** A peer spoke plain TCP to a port of Multipath TCP. */
  otherProtocol(port: Port, remote: Endpoint, taken: boolean): void;
  /** The port does not listen any more: connections that came in by it are to be ended. */
  closed(port: Port): void;
}

/** How a port listens. */
export interface PortListening {
  /** Name of the row in the transport table; the port's trtype unless it was told another. */
  readonly transport: string;
  readonly allowFallback: boolean;
}

/** What is known of one port beside the core's part. */
interface ListeningPort extends PortListening {
  listener: Listener | null;
}

/**
 * The ports of a running target and their listeners. A port listens while it is enabled; as in Linux the first link
 * enables it and the last one that goes disables it. Changes follow each other.
 */
export class TargetPorts {
  readonly #options: TargetPortsOptions;
  readonly #ports = new Map<number, ListeningPort>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: TargetPortsOptions) {
    this.#options = options;
  }

  /**
   * A port that does not listen yet. @param transportName row of the transport table, default: trtype
   * @throws NvbraidError EINVAL, ENOTSUP, EBUSY
   */
  add({ allowFallback = false, ...options }: AddPortOptions, transportName = options.trtype): Port {
    this.#row(transportName);
    const port = this.#options.core.addPort({ ...options, enabled: false });
    this.#ports.set(port.portId, { transport: transportName, allowFallback, listener: null });
    return port;
  }

  /** @throws NvbraidError ENOENT */
  listeningOf(portId: number): PortListening {
    this.#existing(portId);
    return this.#ports.get(portId)!;
  }

  /** Listens. @throws NvbraidError ENOENT, EADDRINUSE, EACCES, EINVAL */
  enable(portId: number): Promise<void> {
    return this.#inTurn(() => this.#enable(portId));
  }

  /** Links, controllers and connections of the port are gone. @throws NvbraidError ENOENT */
  disable(portId: number): Promise<void> {
    return this.#inTurn(() => this.#disable(portId));
  }

  /** Makes a subsystem reachable by the port, which listens from then on. @throws as `enable` and `Target.link` */
  link(portId: number, nqn: string): Promise<void> {
    return this.#inTurn(async () => {
      const { core } = this.#options;
      if (core.subsystem(nqn) === undefined) throw new NvbraidError('ENOENT', `there is no subsystem ${nqn}`);
      const before = this.#existing(portId).enabled;
      await this.#enable(portId);
      try {
        core.link(portId, nqn);
      } catch (error) {
        if (!before) await this.#disable(portId);
        throw error;
      }
    });
  }

  /** The port does not listen any more when this was its last subsystem. @throws NvbraidError ENOENT */
  unlink(portId: number, nqn: string): Promise<void> {
    return this.#inTurn(async () => {
      this.#options.core.unlink(portId, nqn);
      if (this.#existing(portId).subsystems.size === 0) await this.#disable(portId);
    });
  }

  /** @throws NvbraidError ENOENT */
  remove(portId: number): Promise<void> {
    return this.#inTurn(async () => {
      await this.#disable(portId);
      this.#options.core.removePort(portId);
      this.#ports.delete(portId);
    });
  }

  /** Adds, enables and links at once, or leaves nothing behind. */
  async listen(config: ListenConfig): Promise<TargetPort> {
    const { transport: name = 'tcp', address, port: number, subsystems = [], portid, ...parameters } = config;
    const port = this.add(
      {
        ...parameters,
        ...(portid === undefined ? {} : { portId: portid }),
        trtype: this.#row(name).trtype,
        adrfam: name === 'loop' ? 'loop' : address.includes(':') ? 'ipv6' : 'ipv4',
        traddr: address,
        trsvcid: String(number),
      },
      name,
    );
    const { portId } = port;
    try {
      await this.enable(portId);
      for (const nqn of subsystems) this.#options.core.link(portId, nqn);
    } catch (error) {
      await this.remove(portId);
      throw error;
    }
    return {
      portid: portId,
      transport: name,
      address: port.traddr,
      port: Number(port.trsvcid),
      close: () => this.#inTurn(() => this.#closed(port)),
    };
  }

  /** Listeners are gone; the core's ports stay. */
  async close(): Promise<void> {
    await this.#last;
    const listeners = [...this.#ports.values()].map(({ listener }) => listener);
    for (const port of this.#ports.values()) port.listener = null;
    await Promise.all(listeners.map((listener) => listener?.close()));
  }

  /** Of a port that may be gone already. */
  async #closed(port: Port): Promise<void> {
    if (this.#options.core.port(port.portId) !== port) return;
    await this.#disable(port.portId);
    this.#options.core.removePort(port.portId);
    this.#ports.delete(port.portId);
  }

  async #enable(portId: number): Promise<void> {
    const port = this.#existing(portId);
    const entry = this.#ports.get(portId);
    if (port.enabled || entry === undefined) return;
    const row = this.#row(entry.transport);
    // Connections wait until the port is there: the system has already chosen the number that the port tells.
    const early: Connection[] = [];
    const number = Number(port.trsvcid);
    if (!(Number.isInteger(number) && number >= 0 && number <= 0xffff)) {
      throw new NvbraidError('EINVAL', `port ${portId}: trsvcid is a number from 0 to 65535: "${port.trsvcid}"`);
    }
    const refused = (error: NvbraidError): void => this.#options.refused(error);
    const otherProtocol = (remote: Endpoint, taken: boolean): void => this.#options.otherProtocol(port, remote, taken);
    const { allowFallback } = entry;
    const options = { address: port.traddr, port: number, refused, allowFallback, otherProtocol };
    const listener = await row.listen(options, (connection) => {
      if (port.enabled) this.#options.accept(port, entry.transport, connection);
      else early.push(connection);
    });
    try {
      const { family, address, port: chosen } = listener.local;
      const told = ADRFAM_NAMES[port.adrfam];
      if (address === port.traddr && family !== told) {
        throw new NvbraidError('EINVAL', `port ${portId}: traddr ${address} is no ${told} address`);
      }
      if (number === 0 || address !== port.traddr || entry.transport === 'loop') {
        port.configure({ adrfam: family, traddr: address, trsvcid: String(chosen) });
      }
      this.#options.core.enablePort(portId);
    } catch (error) {
      await listener.close();
      for (const connection of early) connection.destroy(null);
      throw error;
    }
    entry.listener = listener;
    for (const connection of early) this.#options.accept(port, entry.transport, connection);
  }

  async #disable(portId: number): Promise<void> {
    const port = this.#existing(portId);
    const entry = this.#ports.get(portId);
    const listener = entry?.listener ?? null;
    if (entry !== undefined) entry.listener = null;
    await listener?.close();
    this.#options.core.disablePort(portId);
    this.#options.closed(port);
  }

  #row(name: string) {
    const row = usableRow(name);
    if (this.#options.reactorCount > 0 && !row.canHandOff) {
      throw new NvbraidError(
        'ENOTSUP',
        `transport '${row.name}' works without reactors only: create the target with 0 reactors`,
      );
    }
    return row;
  }

  #existing(portId: number): Port {
    const port = this.#options.core.port(portId);
    if (port === undefined) throw new NvbraidError('ENOENT', `there is no port ${portId}`);
    return port;
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#last.then(run);
    this.#last = result.catch(() => {});
    return result;
  }
}
