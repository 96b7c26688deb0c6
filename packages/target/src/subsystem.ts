import { NvbraidError } from '@nvbraid/base';
import { Csi } from '@nvbraid/wire';
import { anaStatus } from './ana.ts';
import type { Controller } from './controller.ts';
import { ControllerTable } from './controller-table.ts';
import {
  DEFAULT_CQT_MS,
  MAX_ALLOWED_HOSTS,
  MAX_CNTLID,
  MAX_CONTROLLERS,
  MAX_CQT_MS,
  MAX_IO_QUEUES,
  MAX_NAMESPACES,
  MIN_CNTLID,
} from './limits.ts';
import { Line } from './line.ts';
import { checkAnaGroupId, checkBlockCount, checkHosts, Namespace, type NamespaceOptions } from './namespace.ts';
import { checkNqn } from './nqn.ts';
import type { Port } from './port.ts';
import { reservationSnapshot } from './reservations/reservation-access.ts';
import type { NamespaceSnapshot, SubsystemSnapshot } from './snapshot.ts';
import { type IdentityOptions, identityOf, type SubsystemIdentity } from './subsystem-identity.ts';
import type { Target } from './target.ts';

export interface SubsystemOptions extends IdentityOptions {
  readonly nqn: string;
  /** Default: true unless hosts are listed. Both together are refused, as in Linux. */
  readonly allowAnyHost?: boolean;
  readonly allowedHosts?: readonly string[];
  /** Controller identifiers that this target hands out. Targets that serve one subsystem together share none. */
  readonly cntlidMin?: number;
  readonly cntlidMax?: number;
  /** I/O queues of one controller, 1 … MAX_IO_QUEUES. */
  readonly maxIoQueues?: number;
  /** Controllers at a time, 1 … MAX_CONTROLLERS. */
  readonly maxControllers?: number;
  /**
   * Command Quiesce Time in ms, 1 … 65535: how long after the end of an association its commands may still change blocks,
   * at the most. Default: DEFAULT_CQT_MS. To be raised for disks that may take longer to end a command.
   */
  readonly cqtMs?: number;
}

/** An NVM subsystem: namespaces, who may use them, and the controllers through which hosts do. */
export class Subsystem {
  readonly target: Target;
  readonly nqn: string;
  readonly controllers: ControllerTable;
  #cqtMs: number;
  readonly ports = new Set<Port>();
  #identity: SubsystemIdentity;
  #given: IdentityOptions;
  #maxIoQueues: number;
  #rangeHolds = 0;
  #version: number;
  #allowAnyHost: boolean;
  #allowedHosts: Set<string>;
  readonly #namespaces = new Map<number, Namespace>();
  #allocated: readonly Namespace[] = [];
  #active: readonly Namespace[] = [];
  #writeThrough = false;
  /** Changes of which namespaces are in which ANA group: in all, and by group. */
  #anaChanges = 0;
  readonly #groupChanges = new Map<number, number>();

  /** Made by `Target.addSubsystem`. @throws NvbraidError EINVAL */
  /** Changes of write protection that wait for storage follow each other. */
  readonly protections = new Line();

  constructor(target: Target, options: SubsystemOptions) {
    this.target = target;
    this.#version = target.nextVersion();
    this.nqn = options.nqn;
    this.#given = options;
    this.#identity = identityOf(this.nqn, options);
    const min = options.cntlidMin ?? MIN_CNTLID;
    const max = options.cntlidMax ?? MAX_CNTLID;
    checkCntlidRange(min, max);
    const most = checkControllers(options.maxControllers ?? MAX_CONTROLLERS);
    this.controllers = new ControllerTable(min, max, most);
    this.#cqtMs = checkCqt(options.cqtMs ?? DEFAULT_CQT_MS);
    this.#maxIoQueues = checkIoQueues(options.maxIoQueues ?? MAX_IO_QUEUES);
    const hosts = options.allowedHosts ?? [];
    this.#allowAnyHost = options.allowAnyHost ?? hosts.length === 0;
    this.#allowedHosts = checkAccess(this.nqn, this.#allowAnyHost, hosts);
  }

  /** Rises with every change that snapshots, or the ANA log, show. */
  get version(): number {
    return this.#version;
  }

  // ---------------------------------------------------------------- attributes

  get serial(): string {
    return this.#identity.serial;
  }

  get model(): string {
    return this.#identity.model;
  }

  get firmware(): string {
    return this.#identity.firmware;
  }

  get identity(): SubsystemIdentity {
    return this.#identity;
  }

  /**
   * Changes what hosts recognize the subsystem by; what is not given stays.
   * @throws NvbraidError EBUSY while a host is connected: it would meet another device under the old name. EINVAL
   */
  setIdentity(changes: IdentityOptions): void {
    if (this.controllers.size > 0) {
      throw new NvbraidError(
        'EBUSY',
        `hosts are connected to ${this.nqn}: disconnect them before you change what it is`,
      );
    }
    const given = { ...this.#given, ...changes };
    this.#identity = identityOf(this.nqn, given);
    this.#given = given;
  }

  /**
   * Controllers that exist keep their identifiers.
   * @throws NvbraidError EINVAL, EBUSY while other processes count on the range
   */
  setCntlidRange(min: number, max: number): void {
    checkCntlidRange(min, max);
    if (this.#rangeHolds > 0 && (min !== this.controllers.min || max !== this.controllers.max)) {
      throw new NvbraidError(
        'EBUSY',
        `other processes that share a file with ${this.nqn} count on its range of cntlids: remove the namespaces on ` +
          'shared files first',
        { retryable: false },
      );
    }
    this.controllers.setRange(min, max);
  }

  /** Other processes have been told of the range: it stays until what is returned is called. */
  holdCntlidRange(): () => void {
    this.#rangeHolds++;
    return () => {
      this.#rangeHolds--;
    };
  }

  get maxIoQueues(): number {
    return this.#maxIoQueues;
  }

  /** Command Quiesce Time, in ms. */
  get cqtMs(): number {
    return this.#cqtMs;
  }

  /** @throws NvbraidError EINVAL; EBUSY while a host could have been told another one */
  setCqt(ms: number): void {
    if (ms === this.#cqtMs) return;
    if (this.controllers.size > 0) {
      throw new NvbraidError('EBUSY', `hosts of ${this.nqn} know its command quiesce time: disconnect them first`, {
        retryable: false,
      });
    }
    this.#cqtMs = checkCqt(ms);
  }

  /** Controllers at a time; those that there are stay. @throws NvbraidError EINVAL */
  setMaxControllers(count: number): void {
    this.controllers.limit = checkControllers(count);
  }

  /** Hosts have agreed on the old number with their controllers, which go: they connect again. @throws NvbraidError EINVAL */
  setMaxIoQueues(count: number): void {
    checkIoQueues(count);
    if (count === this.#maxIoQueues) return;
    this.#maxIoQueues = count;
    for (const controller of [...this.controllers.values()]) controller.remove('reconfigured');
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

  /**
   * Controllers of hosts that are not allowed any more are gone at once.
   * @throws NvbraidError EINVAL for true while hosts are listed
   */
  setAllowAnyHost(allow: boolean): void {
    this.setAccess(allow, [...this.#allowedHosts]);
  }

  /** @throws NvbraidError EINVAL, also while any host is allowed */
  allowHost(hostnqn: string): void {
    if (!this.#allowedHosts.has(hostnqn)) this.setAccess(this.#allowAnyHost, [...this.#allowedHosts, hostnqn]);
  }

  removeHost(hostnqn: string): void {
    this.setAccess(
      this.#allowAnyHost,
      [...this.#allowedHosts].filter((allowed) => allowed !== hostnqn),
    );
  }

  /** Both at once, so that a change from any host to a list locks nobody out in between. @throws NvbraidError EINVAL */
  setAccess(allowAnyHost: boolean, allowedHosts: readonly string[]): void {
    const hosts = checkAccess(this.nqn, allowAnyHost, allowedHosts);
    const before = this.#allowedHosts;
    const same = hosts.size === before.size && [...hosts].every((hostnqn) => before.has(hostnqn));
    if (same && allowAnyHost === this.#allowAnyHost) return;
    this.#allowAnyHost = allowAnyHost;
    this.#allowedHosts = hosts;
    this.#accessChanged();
  }

  #accessChanged(): void {
    for (const controller of [...this.controllers.values()]) {
      if (!this.allows(controller.hostnqn)) controller.remove('host not allowed');
    }
    if (this.ports.size > 0) this.target.discoveryChanged();
  }

  // ---------------------------------------------------------------- namespaces

  /** Active namespaces, nsid ascending: those that are enabled. */
  get namespaces(): readonly Namespace[] {
    return this.#active;
  }

  /** All namespaces, nsid ascending, disabled ones included. */
  get allocated(): readonly Namespace[] {
    return this.#allocated;
  }

  /** Active or disabled. */
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
    this.#listChanged();
    if (namespace.enabled) this.#inventoryChanged(namespace);
    return namespace;
  }

  /** A zone has changed by itself: hosts that asked for it are told. @throws NvbraidError ENOENT */
  zoneChanged(nsid: number, zslba: number): void {
    this.#existing(nsid);
    for (const controller of this.controllers.values()) {
      if (controller.namespace(nsid) !== null) controller.zoneChanged(nsid, zslba);
    }
  }

  /** @throws NvbraidError ENOENT */
  removeNamespace(nsid: number): void {
    const namespace = this.#existing(nsid);
    this.#namespaces.delete(nsid);
    namespace.reservations?.removed();
    for (const controller of this.controllers.values()) controller.reservationLog.forget(namespace);
    this.#listChanged();
    if (namespace.enabled) this.#inventoryChanged(namespace);
  }

  /** A disabled namespace is there for nobody, and comes back as what it was. @throws NvbraidError ENOENT */
  setEnabled(nsid: number, enabled: boolean): void {
    const namespace = this.#existing(nsid);
    if (namespace.enabled === enabled) return;
    namespace.enabled = enabled;
    this.#listChanged();
    this.#inventoryChanged(namespace);
  }

  /**
   * Who sees the namespace: hosts by NQN, or null for all. To others it is inactive.
   * @throws NvbraidError EINVAL, ENOENT
   */
  setVisibility(nsid: number, hosts: readonly string[] | null): void {
    const namespace = this.#existing(nsid);
    const after = checkHosts(hosts);
    const before = namespace.hosts;
    namespace.hosts = after;
    if (!namespace.enabled) return;
    const differs = (hostnqn: string): boolean => (before?.has(hostnqn) ?? true) !== (after?.has(hostnqn) ?? true);
    this.#groupChanged(namespace.anaGroupId);
    this.#changed(nsid, differs);
  }

  /** @throws NvbraidError EINVAL, also while all hosts see it; ENOENT */
  attachHost(nsid: number, hostnqn: string): void {
    const { hosts } = this.#existing(nsid);
    if (hosts === null) {
      throw new NvbraidError('EINVAL', `all hosts see namespace ${nsid} of ${this.nqn}: set a list of hosts first`);
    }
    if (!hosts.has(hostnqn)) this.setVisibility(nsid, [...hosts, hostnqn]);
  }

  /** @throws NvbraidError EINVAL while all hosts see it; ENOENT, also when the host does not see it anyway */
  detachHost(nsid: number, hostnqn: string): void {
    const { hosts } = this.#existing(nsid);
    if (hosts === null) {
      throw new NvbraidError('EINVAL', `all hosts see namespace ${nsid} of ${this.nqn}: set a list of hosts first`);
    }
    if (!hosts.has(hostnqn))
      throw new NvbraidError('ENOENT', `${hostnqn} does not see namespace ${nsid} of ${this.nqn}`);
    this.setVisibility(
      nsid,
      [...hosts].filter((other) => other !== hostnqn),
    );
  }

  /**
   * The device has another size now. @param device as threads open it from now on; default: as before
   * @throws NvbraidError EINVAL, ENOENT
   */
  resizeNamespace(nsid: number, blockCount: number, device?: unknown): void {
    const namespace = this.#existing(nsid);
    checkBlockCount(blockCount, namespace.blockSize);
    if (device !== undefined) namespace.device = device;
    if (namespace.blockCount === blockCount) return;
    if (namespace.zones !== null) {
      throw new NvbraidError('EINVAL', `namespace ${nsid} is zoned: its size is that of its zones`);
    }
    namespace.blockCount = blockCount;
    this.#namespaceChanged(namespace);
  }

  /** @throws NvbraidError ENOENT */
  setReadOnly(nsid: number, readOnly: boolean): void {
    const namespace = this.#existing(nsid);
    if (namespace.readOnly === readOnly) return;
    namespace.readOnly = readOnly;
    this.#namespaceChanged(namespace);
  }

  /** The Namespace Write Protection feature: `WriteProtection`. @throws NvbraidError ENOENT */
  setWriteProtection(nsid: number, state: number): void {
    const namespace = this.#existing(nsid);
    if (namespace.writeProtection === state) return;
    namespace.writeProtection = state;
    this.#namespaceChanged(namespace);
  }

  /** Moves a namespace to another ANA group, which hosts are told as an ANA change. @throws NvbraidError EINVAL, ENOENT */
  setAnaGroup(nsid: number, grpid: number): void {
    const namespace = this.#existing(nsid);
    checkAnaGroupId(grpid);
    const before = namespace.anaGroupId;
    if (before === grpid) return;
    namespace.anaGroupId = grpid;
    if (!namespace.enabled) return;
    this.#groupChanged(before);
    this.#groupChanged(grpid);
    this.#anaChanges--; // one change of the log, of two groups
    this.#publish();
    for (const controller of this.controllers.values()) {
      if (namespace.visibleTo(controller.hostnqn)) controller.anaChanged();
    }
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

  #listChanged(): void {
    this.#allocated = [...this.#namespaces.values()].sort((a, b) => a.nsid - b.nsid);
    this.#active = this.#allocated.filter((namespace) => namespace.enabled);
  }

  /** A namespace has come or gone. */
  #inventoryChanged(namespace: Namespace): void {
    this.#groupChanged(namespace.anaGroupId);
    this.#changed(namespace.nsid, (hostnqn) => namespace.visibleTo(hostnqn));
  }

  #namespaceChanged(namespace: Namespace): void {
    if (namespace.enabled) this.#changed(namespace.nsid, (hostnqn) => namespace.visibleTo(hostnqn));
  }

  /** The snapshot goes out before hosts are told: a host that acts on the event meets the new state. */
  #changed(nsid: number, told: (hostnqn: string) => boolean): void {
    this.#publish();
    for (const controller of this.controllers.values()) {
      if (told(controller.hostnqn)) controller.namespaceChanged(nsid);
    }
  }

  #publish(): void {
    this.#version = this.target.nextVersion();
    this.target.hooks.namespacesChanged?.(this);
  }

  #groupChanged(grpid: number): void {
    this.#anaChanges++;
    this.#groupChanges.set(grpid, (this.#groupChanges.get(grpid) ?? 0) + 1);
  }

  /** Called by a namespace's reservations: what hosts may do has changed, the namespace itself has not. */
  reservationsChanged(): void {
    this.#publish();
  }

  /** Called by a port when the state of a group has changed on it. */
  anaChanged(port: Port): void {
    this.#publish();
    for (const controller of this.controllers.values()) if (controller.port === port) controller.anaChanged();
  }

  /** Change count of the ANA log on a port: rises whenever the log changes there. */
  anaChangeCount(port: Port): number {
    return this.#anaChanges + port.anaGroups.changes;
  }

  /** Change count of one group on a port: rises whenever its state there, or what is in it, changes. */
  anaGroupChangeCount(port: Port, grpid: number): number {
    return (this.#groupChanges.get(grpid) ?? 0) + port.anaGroups.changeCount(grpid);
  }

  /** True while any controller has switched the volatile write cache off: every write is then forced to the medium. */
  get writeThrough(): boolean {
    return this.#writeThrough;
  }

  /** A controller has switched the write cache on or off, or is gone. */
  writeCacheChanged(): void {
    let off = false;
    for (const controller of this.controllers.values()) off ||= !controller.features.writeCache;
    if (off === this.#writeThrough) return;
    this.#writeThrough = off;
    this.#publish();
  }

  // ---------------------------------------------------------------- for the data plane

  /** The subsystem as I/O queues that came in by this port see it. */
  snapshot(portId: number): SubsystemSnapshot {
    const port = this.target.port(portId);
    const namespaces = this.#active.map(
      (namespace): NamespaceSnapshot => ({
        nsid: namespace.nsid,
        instance: namespace.instance,
        ...(namespace.csi === Csi.Nvm ? {} : { csi: namespace.csi }),
        blockSize: namespace.blockSize,
        blockCount: namespace.blockCount,
        readOnly: namespace.writeProtected,
        volatileWriteCache: namespace.volatileWriteCache,
        thin: namespace.thin,
        anaGroupId: namespace.anaGroupId,
        pathStatus: port === undefined ? 0 : anaStatus(port.anaState(namespace.anaGroupId)),
        device: namespace.device,
        ...reservationOf(namespace),
        ...(this.#writeThrough ? { writeThrough: true } : {}),
        ...(namespace.hosts === null ? {} : { hosts: [...namespace.hosts] }),
      }),
    );
    return { nqn: this.nqn, portId, version: this.#version, namespaces };
  }

  /** Controllers of this subsystem on this port. */
  controllersOn(port: Port): Controller[] {
    return [...this.controllers.values()].filter((controller) => controller.port === port);
  }
}

function reservationOf({ reservations }: Namespace): Pick<NamespaceSnapshot, 'reservation'> {
  const reservation = reservations === null ? null : reservationSnapshot(reservations.state);
  return reservation === null ? {} : { reservation };
}

function checkCntlidRange(min: number, max: number): void {
  if (!(Number.isInteger(min) && Number.isInteger(max) && min >= MIN_CNTLID && min <= max && max <= MAX_CNTLID)) {
    throw new NvbraidError('EINVAL', `cntlid range ${min} to ${max} is not within ${MIN_CNTLID} to ${MAX_CNTLID}`);
  }
}

function checkIoQueues(count: number): number {
  if (Number.isInteger(count) && count >= 1 && count <= MAX_IO_QUEUES) return count;
  throw new NvbraidError('EINVAL', `the number of I/O queues is 1 to ${MAX_IO_QUEUES}`);
}

/** As in Linux either any host is allowed or some are listed: a list that has no effect is a mistake waiting to be made. */
function checkAccess(nqn: string, allowAnyHost: boolean, allowedHosts: readonly string[]): Set<string> {
  for (const hostnqn of allowedHosts) checkNqn(hostnqn, 'host NQN');
  const hosts = new Set(allowedHosts);
  if (hosts.size > MAX_ALLOWED_HOSTS) {
    throw new NvbraidError('EINVAL', `a subsystem lists at most ${MAX_ALLOWED_HOSTS} hosts`);
  }
  if (allowAnyHost && hosts.size > 0) {
    throw new NvbraidError('EINVAL', `${nqn} allows any host or those on its list, not both: change one of them first`);
  }
  return hosts;
}

function checkCqt(ms: number): number {
  if (Number.isInteger(ms) && ms >= 1 && ms <= MAX_CQT_MS) return ms;
  throw new NvbraidError('EINVAL', `the command quiesce time (cqtMs) is 1 to ${MAX_CQT_MS} ms: ${ms}`);
}

function checkControllers(count: number): number {
  if (Number.isInteger(count) && count >= 1 && count <= MAX_CONTROLLERS) return count;
  throw new NvbraidError('EINVAL', `a subsystem has 1 to ${MAX_CONTROLLERS} controllers (maxControllers): ${count}`);
}
