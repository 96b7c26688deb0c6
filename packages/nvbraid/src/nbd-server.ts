import { EventEmitter } from 'node:events';
import { SlabPool } from '@nvbraid/base';
import { type BlockDevice, IoOp, IoResult, runIo } from '@nvbraid/blockdev';
import { type NbdEnvironment, type NbdExport, NbdExports, NbdSession } from '@nvbraid/nbd';
import { type Connection, type Listener, listenUnix, transports } from '@nvbraid/transport';
import { LINGER_MS, NBD_FLUSH_MS } from './host-limits.ts';
import { NBD_CONNECTIONS_MAX, NBD_HANDSHAKE_MS, POOL_BYTES } from './limits.ts';
import { QueueDriver } from './queue-driver.ts';

/** Where an NBD server listens: a unix socket, or an address. */
export type NbdPlace =
  | { readonly path: string; readonly mode?: number }
  | { readonly address: string; readonly port: number };

interface NbdServerEventMap {
  connected: [exportName: string | null];
  log: [message: string];
}

/** Offers block devices by NBD: heads of this process, files, or whatever is a block device. */
export class NbdServer extends EventEmitter<NbdServerEventMap> {
  readonly #exports = new NbdExports();
  readonly #devices = new Set<BlockDevice>();
  readonly #drivers = new Map<NbdSession, QueueDriver>();
  readonly #paused = new Set<QueueDriver>();
  readonly #starved = new Set<NbdSession>();
  /** Connections that are gone, while devices still work for them. */
  readonly #finishing = new Set<NbdSession>();
  readonly #listeners: Listener[] = [];
  readonly #environment: NbdEnvironment;
  #retrying = false;
  #closed = false;
  #emptied: (() => void) | null = null;

  /** @param poolBytes payload memory of all connections, in bytes */
  constructor(poolBytes = POOL_BYTES) {
    super();
    this.#environment = {
      pool: new SlabPool(poolBytes),
      wantTransmit: (session) => this.#drivers.get(session)?.schedule(),
      starved: (session) => void this.#starved.add(session),
      idle: (session) => {
        this.#finishing.delete(session);
        this.#checkEmpty();
      },
    };
  }

  /** @throws NvbraidError EINVAL, EBUSY */
  add(one: NbdExport): void {
    this.#exports.add(one);
    this.#devices.add(one.device);
  }

  /** Clients that use it keep it; nobody gets it anew. Its device is the caller's again, who closes it. */
  remove(name: string): boolean {
    const removed = this.#exports.remove(name);
    if (removed !== undefined) this.#devices.delete(removed.device);
    return removed !== undefined;
  }

  /** How many connections use each export. */
  clients(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { exportName } of this.#drivers.keys()) {
      if (exportName !== null) counts.set(exportName, (counts.get(exportName) ?? 0) + 1);
    }
    return counts;
  }

  get connections(): number {
    return this.#drivers.size;
  }

  /**
   * @returns where it listens, as a URI that NBD clients take
   * @throws NvbraidError EADDRINUSE, EACCES, EINVAL, ENOENT
   */
  async listen(place: NbdPlace): Promise<string> {
    const accept = (connection: Connection): void => this.#accept(connection);
    const row = transports.tcp!.unsupported() === null ? transports.tcp! : transports.net!;
    const listener = 'path' in place ? await listenUnix(place, accept) : await row.listen(place, accept);
    this.#listeners.push(listener);
    const { address, port, family } = listener.local;
    if (family === 'unix') return `nbd+unix:///?socket=${address}`;
    return `nbd://${family === 'ipv6' ? `[${address}]` : address}:${port}`;
  }

  #accept(connection: Connection): void {
    if (this.#closed || this.#drivers.size >= NBD_CONNECTIONS_MAX) {
      connection.start({ received() {}, drained() {}, closed() {} });
      connection.destroy(null);
      if (!this.#closed) this.emit('log', `refused an NBD connection: ${NBD_CONNECTIONS_MAX} are open`);
      return;
    }
    const session = new NbdSession(this.#environment, this.#exports);
    const driver = new QueueDriver(session, connection, {
      afterFlush: () => this.#retry(),
      paused: (paused) => void this.#paused.add(paused),
      closed: () => this.#connectionClosed(session, driver),
    });
    this.#drivers.set(session, driver);
    driver.start();
    setTimeout(() => {
      if (this.#drivers.has(session) && session.exportName === null) connection.destroy(null);
    }, NBD_HANDSHAKE_MS).unref();
  }

  #connectionClosed(session: NbdSession, driver: QueueDriver): void {
    this.#drivers.delete(session);
    this.#paused.delete(driver);
    this.#starved.delete(session);
    if (session.trouble !== '') this.emit('log', `NBD: ${session.trouble}`);
    if (session.outstanding > 0) this.#finishing.add(session);
    session.closed();
    this.#retry();
    this.#checkEmpty();
  }

  /** Memory may have come back. */
  #retry(): void {
    for (const driver of this.#paused) if (driver.resume()) this.#paused.delete(driver);
    if (this.#starved.size === 0 || this.#retrying) return;
    this.#retrying = true;
    const waiting = [...this.#starved];
    this.#starved.clear();
    for (const session of waiting) session.retryStarved();
    this.#retrying = false;
  }

  /**
   * Takes nothing new, answers what is under way, makes it stable, and closes. What a device does not end in time, e.g. a
   * namespace whose paths are lost, it ends later, and nobody is answered.
   * @param waitMs for what is under way, and once more for the last Flush. Default 10 s
   * @returns false when not everything has ended and is stable; `log` has said why
   */
  async close(waitMs = NBD_FLUSH_MS): Promise<boolean> {
    if (this.#closed) return true;
    this.#closed = true;
    await Promise.all(this.#listeners.map((listener) => listener.close()));
    for (const session of this.#drivers.keys()) session.close();
    const gone = new Promise<true>((resolve) => {
      this.#emptied = () => resolve(true);
      this.#checkEmpty();
    });
    let ended = await within(waitMs, gone);
    if (!ended) {
      // A client that does not take its replies is one thing, a device that has none another.
      for (const { connection } of this.#drivers.values()) connection.destroy(null);
      ended = await within(LINGER_MS, gone);
    }
    if (!ended) this.emit('log', 'what was under way has not ended in time: whether it was executed is not known');
    const stable = await Promise.all([...this.#devices].map((device) => this.#settle(device, waitMs)));
    return ended === true && !stable.includes(false);
  }

  /** The last word: clients may have left without a Flush. */
  async #settle(device: BlockDevice, waitMs: number): Promise<boolean> {
    let stable = true;
    if (device.volatileWriteCache && !device.readOnly) {
      const result = await within(waitMs, runIo(device, IoOp.Flush));
      if (result === null) this.emit('log', 'the last Flush has not ended in time: what was not flushed may be lost');
      else if (result !== IoResult.Ok) this.emit('log', 'the last Flush failed: what was not flushed may be lost');
      // Nothing to wait for: what is under way ends when its connection does.
      if (result === null) return false;
      stable = result === IoResult.Ok;
    }
    // Nor for longer than that where there is no Flush.
    const closed = await within(
      waitMs,
      device.close().then(() => true),
    );
    return closed === true && stable;
  }

  #checkEmpty(): void {
    if (this.#drivers.size === 0 && this.#finishing.size === 0) this.#emptied?.();
  }
}

/** What the promise is fulfilled with; null when it takes too long. */
async function within<T>(waitMs: number, promise: Promise<T>): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), waitMs);
  });
  const result = await Promise.race([promise, late]);
  clearTimeout(timer);
  return result;
}
