import { NvbraidError } from '@nvbraid/base';
import { anaStatus } from './ana.ts';
import type { Controller } from './controller.ts';
import { ControllerTable } from './controller-table.ts';
import {
  DEFAULT_FIRMWARE,
  FIRMWARE_BYTES,
  MAX_ALLOWED_HOSTS,
  MAX_CNTLID,
  MAX_CONTROLLERS,
  MAX_IO_QUEUES,
  MAX_NAMESPACES,
  MIN_CNTLID,
  MODEL_BYTES,
  SERIAL_BYTES,
} from './limits.ts';
import { checkAnaGroupId, checkBlockCount, digest128, hexOf, Namespace, type NamespaceOptions } from './namespace.ts';
import { checkNqn } from './nqn.ts';
import type { Port } from './port.ts';
import type { NamespaceSnapshot, SubsystemSnapshot } from './snapshot.ts';
import type { Target } from './target.ts';

export interface SubsystemOptions {
  readonly nqn: string;
  /** Up to 20 ASCII characters; made from the NQN when absent. */
  readonly serial?: string;
  readonly model?: string;
  readonly firmware?: string;
  /** Default true. */
  readonly allowAnyHost?: boolean;
  readonly allowedHosts?: readonly string[];
  readonly cntlidMin?: number;
  readonly cntlidMax?: number;
  /** I/O queues of one controller, 1 … MAX_IO_QUEUES. */
  readonly maxIoQueues?: number;
  /** Controllers at a time, 1 … MAX_CONTROLLERS. */
  readonly maxControllers?: number;
}

/** An NVM subsystem: namespaces, who may use them, and the controllers through which hosts do. */
export class Subsystem {
  readonly target: Target;
  readonly nqn: string;
  readonly serial: string;
  readonly model: string;
  readonly firmware: string;
  readonly maxIoQueues: number;
  readonly controllers: ControllerTable;
  readonly ports = new Set<Port>();
  #version: number;
  #allowAnyHost: boolean;
  readonly #allowedHosts: Set<string>;
  readonly #namespaces = new Map<number, Namespace>();
  #sorted: readonly Namespace[] = [];

  /** Made by `Target.addSubsystem`. @throws NvbraidError EINVAL */
  constructor(target: Target, options: SubsystemOptions) {
    this.target = target;
    this.#version = target.nextVersion();
    this.nqn = options.nqn;
    this.serial = options.serial ?? hexOf(digest128(options.nqn)).slice(0, SERIAL_BYTES);
    this.model = options.model ?? 'nvbraid';
    this.firmware = options.firmware ?? DEFAULT_FIRMWARE;
    checkText(this.serial, SERIAL_BYTES, 'serial number');
    checkText(this.model, MODEL_BYTES, 'model number');
    checkText(this.firmware, FIRMWARE_BYTES, 'firmware revision');
    const min = options.cntlidMin ?? MIN_CNTLID;
    const max = options.cntlidMax ?? MAX_CNTLID;
    if (!(Number.isInteger(min) && Number.isInteger(max) && min >= MIN_CNTLID && min <= max && max <= MAX_CNTLID)) {
      throw new NvbraidError('EINVAL', `cntlid range ${min} to ${max} is not within ${MIN_CNTLID} to ${MAX_CNTLID}`);
    }
    const most = options.maxControllers ?? MAX_CONTROLLERS;
    if (!(Number.isInteger(most) && most >= 1 && most <= MAX_CONTROLLERS)) {
      throw new NvbraidError('EINVAL', `a subsystem has 1 to ${MAX_CONTROLLERS} controllers (maxControllers): ${most}`);
    }
    this.controllers = new ControllerTable(min, max, most);
    this.maxIoQueues = options.maxIoQueues ?? MAX_IO_QUEUES;
    if (!(Number.isInteger(this.maxIoQueues) && this.maxIoQueues >= 1 && this.maxIoQueues <= MAX_IO_QUEUES)) {
      throw new NvbraidError('EINVAL', `the number of I/O queues is 1 to ${MAX_IO_QUEUES}`);
    }
    this.#allowAnyHost = options.allowAnyHost ?? true;
    this.#allowedHosts = new Set();
    for (const hostnqn of options.allowedHosts ?? []) this.#allow(hostnqn);
  }

  /** Rises with every change that snapshots, or the ANA log, show. */
  get version(): number {
    return this.#version;
  }

  // ---------------------------------------------------------------- hosts

  get allowAnyHost(): boolean {
    return this.#allowAnyHost;
  }

  get allowedHosts(): ReadonlySet<string> {
    return this.#allowedHosts;
  }

  allows(hostnqn: string): boolean {
    return this.#allowAnyHost || this.#allowedHosts.has(hostnqn);
  }

  /** Controllers of hosts that are not allowed any more are gone at once. */
  setAllowAnyHost(allow: boolean): void {
    if (allow === this.#allowAnyHost) return;
    this.#allowAnyHost = allow;
    this.#accessChanged();
  }

  /** @throws NvbraidError EINVAL */
  allowHost(hostnqn: string): void {
    if (this.#allowedHosts.has(hostnqn)) return;
    this.#allow(hostnqn);
    this.#accessChanged();
  }

  removeHost(hostnqn: string): void {
    if (this.#allowedHosts.delete(hostnqn)) this.#accessChanged();
  }

  #allow(hostnqn: string): void {
    checkNqn(hostnqn, 'host NQN');
    if (this.#allowedHosts.size >= MAX_ALLOWED_HOSTS) {
      throw new NvbraidError('EINVAL', `a subsystem lists at most ${MAX_ALLOWED_HOSTS} hosts`);
    }
    this.#allowedHosts.add(hostnqn);
  }

  #accessChanged(): void {
    for (const controller of [...this.controllers.values()]) {
      if (!this.allows(controller.hostnqn)) controller.remove('host not allowed');
    }
    if (this.ports.size > 0) this.target.discoveryChanged();
  }

  // ---------------------------------------------------------------- namespaces

  /** Active namespaces, nsid ascending. */
  get namespaces(): readonly Namespace[] {
    return this.#sorted;
  }

  namespace(nsid: number): Namespace | undefined {
    return this.#namespaces.get(nsid);
  }

  /** @throws NvbraidError EINVAL, or EBUSY when the nsid or all of them are in use */
  addNamespace(options: NamespaceOptions): Namespace {
    const nsid = options.nsid ?? this.#freeNsid();
    if (this.#namespaces.has(nsid)) {
      throw new NvbraidError('EBUSY', `namespace ${nsid} of ${this.nqn} exists`, { retryable: false });
    }
    const namespace = new Namespace(this.nqn, nsid, this.target.nextInstance(), options);
    this.#namespaces.set(nsid, namespace);
    this.#namespacesChanged(nsid);
    return namespace;
  }

  /** @throws NvbraidError ENOENT */
  removeNamespace(nsid: number): void {
    this.#existing(nsid);
    this.#namespaces.delete(nsid);
    this.#namespacesChanged(nsid);
  }

  /** The device has another size now. @throws NvbraidError EINVAL, ENOENT */
  resizeNamespace(nsid: number, blockCount: number): void {
    const namespace = this.#existing(nsid);
    checkBlockCount(blockCount, namespace.blockSize);
    if (namespace.blockCount === blockCount) return;
    namespace.blockCount = blockCount;
    this.#namespacesChanged(nsid);
  }

  /** @throws NvbraidError ENOENT */
  setReadOnly(nsid: number, readOnly: boolean): void {
    const namespace = this.#existing(nsid);
    if (namespace.readOnly === readOnly) return;
    namespace.readOnly = readOnly;
    this.#namespacesChanged(nsid);
  }

  /** Moves a namespace to another ANA group. @throws NvbraidError EINVAL, ENOENT */
  setAnaGroup(nsid: number, grpid: number): void {
    const namespace = this.#existing(nsid);
    checkAnaGroupId(grpid);
    if (namespace.anaGroupId === grpid) return;
    namespace.anaGroupId = grpid;
    this.#namespacesChanged(nsid);
    for (const controller of this.controllers.values()) controller.anaChanged();
  }

  #existing(nsid: number): Namespace {
    const namespace = this.#namespaces.get(nsid);
    if (namespace === undefined) throw new NvbraidError('ENOENT', `${this.nqn} has no namespace ${nsid}`);
    return namespace;
  }

  #freeNsid(): number {
    for (let nsid = 1; nsid <= MAX_NAMESPACES; nsid++) if (!this.#namespaces.has(nsid)) return nsid;
    throw new NvbraidError('EBUSY', `${this.nqn} has ${MAX_NAMESPACES} namespaces already`, { retryable: false });
  }

  /** The snapshot goes out before hosts are told: a host that acts on the event meets the new state. */
  #namespacesChanged(nsid: number): void {
    this.#version = this.target.nextVersion();
    this.#sorted = [...this.#namespaces.values()].sort((a, b) => a.nsid - b.nsid);
    this.target.hooks.namespacesChanged?.(this);
    for (const controller of this.controllers.values()) controller.namespaceChanged(nsid);
  }

  /** Called by a port when the state of a group has changed on it. */
  anaChanged(port: Port): void {
    this.#version = this.target.nextVersion();
    this.target.hooks.namespacesChanged?.(this);
    for (const controller of this.controllers.values()) if (controller.port === port) controller.anaChanged();
  }

  // ---------------------------------------------------------------- for the data plane

  /** The subsystem as I/O queues that came in by this port see it. */
  snapshot(portId: number): SubsystemSnapshot {
    const port = this.target.port(portId);
    const namespaces = this.#sorted.map(
      (namespace): NamespaceSnapshot => ({
        nsid: namespace.nsid,
        instance: namespace.instance,
        blockSize: namespace.blockSize,
        blockCount: namespace.blockCount,
        readOnly: namespace.readOnly,
        volatileWriteCache: namespace.volatileWriteCache,
        thin: namespace.thin,
        anaGroupId: namespace.anaGroupId,
        pathStatus: port === undefined ? 0 : anaStatus(port.anaState(namespace.anaGroupId)),
        device: namespace.device,
      }),
    );
    return { nqn: this.nqn, portId, version: this.#version, namespaces };
  }

  /** Controllers of this subsystem on this port. */
  controllersOn(port: Port): Controller[] {
    return [...this.controllers.values()].filter((controller) => controller.port === port);
  }
}

function checkText(text: string, bytes: number, what: string): void {
  if (text.length > bytes || !/^[\x20-\x7e]*$/.test(text)) {
    throw new NvbraidError(
      'EINVAL',
      `${what} is more than ${bytes} printable ASCII characters: ${JSON.stringify(text)}`,
    );
  }
}
