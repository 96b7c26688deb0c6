import { assert, type Clock, NEVER, NvbraidError } from '@nvbraid/base';
import { type Bio, BioStatus, type Disposition, type Outcome } from './bio.ts';
import { type Distance, distanceTable } from './distances.ts';
import { HeadDisk, type HeadDiskOptions } from './head-disk.ts';
import type { Iopolicy } from './iopolicy.ts';
import { DEFAULT_MAX_RETRIES, INITIAL_LATENCY_MS, MAX_NAME, MAX_NODES, MAX_PATHS } from './limits.ts';
import type { PassthroughDevice } from './passthrough.ts';
import type { Path } from './path.ts';
import { Publication } from './publication.ts';
import { Quarantine, type QuarantineOptions } from './quarantine.ts';
import { ReadSections } from './read-sections.ts';
import { DelayedRemoval } from './removal.ts';
import { findNearest } from './selectors/nearest.ts';
import { Submitter } from './submitter.ts';
import { type HeadTemplate, validateTemplate } from './template.ts';

export interface HeadOptions<P extends Path, B extends Bio> {
  name: string;
  template: HeadTemplate<P, B>;
  /** The policy variable, shared by the heads that change together. */
  iopolicy: Iopolicy;
  clock: Clock;
  /** NUMA nodes of the machine; nodes are 0 … nodeCount-1. */
  nodeCount?: number;
  /** Default: 10 to itself, 20 to others. */
  distance?: Distance;
  maxRetries?: number;
  /** Marginal paths are taken out of selection; needs `probePath`. */
  quarantine?: QuarantineOptions;
  /** What an operator should know, as one sentence. */
  log?: (message: string) => void;
  /** There is work: `tick` is to be called soon, but not from within this call. */
  wake?: () => void;
  /** Called for each request that is sent down a path. */
  traceRemap?: (path: P, bio: B) => void;
}

/**
 * One disk that is reached by several paths. Drivers extend it by what they know about the disk, or keep it in a field.
 * It does no I/O and has no timer: the owner calls `tick` at `nextDeadlineMs()` or when `wake` asks for it.
 */
export class Head<P extends Path = Path, B extends Bio = Bio> {
  readonly name: string;
  readonly template: HeadTemplate<P, B>;
  readonly iopolicy: Iopolicy;
  readonly clock: Clock;
  readonly nodeCount: number;
  readonly maxRetries: number;
  readonly traceRemap: { trace(path: P, bio: B): void }['trace'] | null;

  /** In the order of their coming. Never changed in place: who iterates keeps what it began with. */
  paths: readonly P[] = [];
  disk: HeadDisk | null = null;
  cdev: PassthroughDevice | null = null;

  /** The disk has been shown to its users, or is being shown. */
  diskLive = false;
  /** Requests wait although no path promises to come back. Set by a delayed removal above 0 seconds. */
  queueIfNoPath = false;
  /** The passthrough device has been made. */
  cdevLive = false;

  /** Requests that had to wait because no path was usable; requests that failed because none was available. */
  requeueNoUsablePathCount = 0;
  failNoAvailablePathCount = 0;

  readonly removal: DelayedRemoval;
  readonly quarantine: Quarantine | null;
  /** Paths in quarantine. */
  marginalCount = 0;
  /** Average over all paths, and when something was last measured. */
  latencyMs = INITIAL_LATENCY_MS;
  measuredMs = 0;

  readonly #io: Submitter<P, B>;
  readonly #publication: Publication;
  readonly #sections = new ReadSections();
  readonly #distances: Uint8Array;
  readonly #log: (message: string) => void;
  readonly #wake: () => void;
  #acceptMarginal = false;
  #requeueKicked = false;
  #awake = false;
  #refs = 1;
  #dying = false;
  #lastRefGone: (() => void) | null = null;

  /** The path that each node used last, as many slots as there are nodes. The last member, as the series' review asked. */
  readonly currentPath: (P | null)[];

  constructor(options: HeadOptions<P, B>) {
    const { name, template, iopolicy, clock, nodeCount = 1, maxRetries = DEFAULT_MAX_RETRIES } = options;
    const invalid = (message: string): NvbraidError => new NvbraidError('EINVAL', `head ${name}: ${message}`);
    if (typeof name !== 'string' || name.length === 0 || name.length > MAX_NAME) throw invalid('bad name');
    validateTemplate(template);
    if (iopolicy === undefined || clock === undefined) throw invalid('it needs an iopolicy and a clock');
    if (!Number.isInteger(nodeCount) || nodeCount < 1 || nodeCount > MAX_NODES) {
      throw invalid(`${nodeCount} nodes: 1 to ${MAX_NODES} are possible`);
    }
    if (!Number.isInteger(maxRetries) || maxRetries < 0)
      throw invalid(`maxRetries ${maxRetries} is not a number of times`);
    if (options.quarantine !== undefined && template.probePath === undefined) {
      throw invalid('quarantine needs probePath, or no path would ever come back');
    }
    this.name = name;
    this.template = template;
    this.iopolicy = iopolicy;
    this.clock = clock;
    this.nodeCount = nodeCount;
    this.maxRetries = maxRetries;
    this.traceRemap = options.traceRemap ?? null;
    this.#log = options.log ?? (() => {});
    this.#wake = options.wake ?? (() => {});
    this.#distances = distanceTable(nodeCount, options.distance);
    this.removal = new DelayedRemoval(this);
    this.quarantine = options.quarantine === undefined ? null : new Quarantine(this, options.quarantine);
    this.#publication = new Publication(this);
    this.#io = new Submitter<P, B>(this);
    this.currentPath = new Array<P | null>(nodeCount).fill(null);
    iopolicy.attach(this);
  }

  // --- Selection -------------------------------------------------------------------------------------------------

  /** Whether a policy may choose the path now. */
  usable(path: Path): boolean {
    return !(path.marginal && !this.#acceptMarginal) && !this.template.isDisabled(path as P);
  }

  /** From 1 to 255; 10 is a node to itself. */
  distance(from: number, to: number): number {
    return this.#distances[from * this.nodeCount + to]!;
  }

  /** For policies: fills the slot of a node. */
  setCurrentPath(node: number, path: Path | null): void {
    this.currentPath[node] = path as P | null;
  }

  /** The path for a request from `node`, by the policy in force; null when there is none. Allocates nothing. */
  findPath(node = 0, bytes = 0): P | null {
    const { selector } = this.iopolicy;
    const path = selector.select(this, node, bytes);
    if (path !== null || this.marginalCount === 0) return path as P | null;
    this.#acceptMarginal = true;
    try {
      return selector.select(this, node, bytes) as P | null;
    } finally {
      this.#acceptMarginal = false;
    }
  }

  /** Whether a request that finds no path should wait for one. */
  available(): boolean {
    if (!this.diskLive) return false;
    if (this.queueIfNoPath) return true;
    const { paths, template } = this;
    for (let i = 0; i < paths.length; i++) if (template.availablePath(paths[i]!)) return true;
    return false;
  }

  // --- Requests --------------------------------------------------------------------------------------------------

  /** Takes a request. `bio.end` will be called exactly once, possibly before this returns. */
  submitBio(bio: B, node = 0): void {
    this.#io.submit(bio, node);
  }

  /**
   * The driver's report that a bio which it was given by `submitBio` came back. `status` counts for errors.
   * @returns `Retry` when the driver is to send the bio down the same path again; otherwise the bio is no longer its.
   */
  endBio(bio: B, outcome: Outcome, status: BioStatus = BioStatus.IoError): Disposition {
    return this.#io.endBio(bio, outcome, status);
  }

  /** Something changed: what is queued is to be sent again, at the next `tick`. */
  kickRequeue(): void {
    if (this.#io.waiting === 0) return;
    this.#requeueKicked = true;
    this.wake();
  }

  /** Ends a request that waits for a path, with an I/O error; false when no such request waits. */
  cancelQueued(bio: B): boolean {
    return this.#io.cancel(bio);
  }

  /** Requests that wait, oldest first. */
  queued(): B[] {
    return [...this.#io.queued];
  }

  // --- Paths -----------------------------------------------------------------------------------------------------

  /** Puts a path behind the others; it is used once it is not disabled. Ends a delayed removal. */
  addPath(path: P): void {
    assert(path.head === null && path.refs === 0, 'the path belongs to a head, or its former use is not over');
    if (this.#dying) throw new NvbraidError('ENXIO', `head ${this.name} is being removed`);
    const invalid = (why: string): NvbraidError => new NvbraidError('EINVAL', `path ${path.name}: ${why}`);
    if (this.paths.length >= MAX_PATHS) throw invalid(`${this.name} has ${MAX_PATHS} paths already`);
    if (path.numaNode >= this.nodeCount) throw invalid(`node ${path.numaNode}, but there are ${this.nodeCount}`);
    if (this.paths.some((other) => other.name === path.name)) throw invalid(`${this.name} has a path of this name`);
    path.head = this;
    path.index = this.paths.length;
    this.paths = [...this.paths, path];
    this.quarantine?.forget(path);
    this.removal.cancel();
  }

  /**
   * Takes a path away. It is never selected again; what is under way on it ends as it ends. When `await path.idle()`
   * is over nothing uses it.
   * @returns whether it was the last one; then ask `canRemoveHead`.
   */
  deletePath(path: P): boolean {
    assert(path.head === this, 'the path does not belong to this head');
    path.head = null;
    this.paths = this.paths.filter((other) => other !== path);
    path.index = -1;
    this.paths.forEach((other, i) => {
      other.index = i;
    });
    this.quarantine?.forget(path);
    path.linked = false;
    this.clearCurrentPath(path);
    return this.paths.length === 0;
  }

  devicesEmpty(): boolean {
    return this.paths.length === 0;
  }

  /** A path works now, or works better now. The first time the head disk is shown to its users. */
  setLive(path: P): void {
    assert(path.head === this, 'the path does not belong to this head');
    if (this.disk !== null && !this.disk.removed && !this.diskLive && !this.#publication.publish()) return;
    this.updateLinks();
    this.refillSlots(path);
    this.kickRequeue();
  }

  /** Lets every node choose anew if `path` is optimized. */
  refillSlots(path: P): void {
    if (!this.template.isOptimized(path)) return;
    for (let node = 0; node < this.nodeCount; node++) findNearest(this, node);
  }

  /** Empties the slots that hold the path; answers whether there was one. */
  clearCurrentPath(path: P): boolean {
    const { currentPath } = this;
    let changed = false;
    for (let node = 0; node < currentPath.length; node++) {
      if (currentPath[node] !== path) continue;
      currentPath[node] = null;
      changed = true;
    }
    return changed;
  }

  /** Empties all slots. */
  clearPaths(): void {
    this.currentPath.fill(null);
  }

  /** Compares each path with the head's capacity and tells the driver of those that differ: it disables them. */
  revalidatePaths(notReady: (path: P) => void): void {
    const { disk, paths } = this;
    for (const path of paths) {
      if (disk !== null && path.disk !== null && path.disk.capacityBytes !== disk.capacityBytes) notReady(path);
    }
    this.clearPaths();
    this.kickRequeue();
  }

  /** Makes the links to those paths whose disk is registered, as the head's must be. Once per path. */
  updateLinks(): void {
    if (this.disk === null || !this.disk.added) return;
    for (const path of this.paths) if (path.disk?.added) path.linked = true;
  }

  removeLink(path: P): void {
    path.linked = false;
  }

  /** Runs `callback` on the path that a request from `node` would take. The path is held until the promise settles. */
  callForDevice<T>(callback: (path: P) => T | Promise<T>, node = 0): Promise<T> {
    return this.#sections.run(async () => {
      const path = this.pathOrThrow(node);
      path.get();
      try {
        return await callback(path);
      } finally {
        path.put();
      }
    });
  }

  /** Runs an operation that was handed a path as a read section: `synchronize` waits for it. */
  section<T>(operation: () => T | Promise<T>): Promise<T> {
    return this.#sections.run(operation);
  }

  /** EWOULDBLOCK when there is no path. */
  pathOrThrow(node = 0): P {
    const path = this.findPath(node);
    if (path === null) throw new NvbraidError('EWOULDBLOCK', `${this.name}: no path can take the request`);
    return path;
  }

  /** Resolves when all operations that were handed a path before this call are over. */
  synchronize(): Promise<void> {
    return this.#sections.synchronize();
  }

  /** After the last path went: true when the driver is to remove the head now, false when it will be told later. */
  canRemoveHead(): boolean {
    const now = this.removal.mayRemoveNow(this.clock.nowMs());
    if (!now) this.wake();
    return now;
  }

  // --- The head's disk and life ----------------------------------------------------------------------------------

  /** Makes the disk. It is shown to its users by the first `setLive`. */
  allocDisk(options: HeadDiskOptions): HeadDisk {
    if (this.disk !== null) throw new NvbraidError('EINVAL', `head ${this.name} has a disk`);
    if (options.maxBytes !== undefined && this.template.splitBio === undefined) {
      throw new NvbraidError('EINVAL', `head disk ${options.name}: a limit needs splitBio`);
    }
    this.disk = new HeadDisk(this, options);
    return this.disk;
  }

  /** Hides the disk. What is queued fails at the next `tick`, what comes fails at once. */
  removeDisk(): void {
    if (this.disk === null || this.disk.removed) return;
    this.disk.removed = true;
    this.disk.added = false;
    this.#publication.withdraw();
  }

  /** Fails what is still queued and drops the disk. */
  putDisk(): void {
    this.removeDisk();
    this.#requeueKicked = false;
    this.#io.runRequeue();
    this.disk = null;
  }

  /** Takes a reference; every open of the disk or of the passthrough device has one. ENXIO when the head is going. */
  get(): void {
    if (this.#dying) throw new NvbraidError('ENXIO', `head ${this.name} is being removed`);
    this.#refs++;
  }

  put(): void {
    assert(this.#refs > 0, 'a head was put more often than it was taken');
    if (--this.#refs > 0) return;
    this.iopolicy.detach(this);
    this.#lastRefGone?.();
  }

  /** Drops the owner's reference and waits for all others. All paths must be gone, and the disk. */
  async uninit(): Promise<void> {
    assert(!this.#dying, 'uninit twice');
    assert(this.paths.length === 0 && this.disk === null, 'a head goes after its paths and its disk');
    this.#dying = true;
    this.removal.cancel();
    const gone = new Promise<void>((resolve) => {
      this.#lastRefGone = resolve;
    });
    this.put();
    await gone;
    await this.#sections.synchronize();
  }

  // --- Work and time ---------------------------------------------------------------------------------------------

  /** When `tick` is to be called: minus infinity for at once, NEVER for not at all. May be years away. */
  nextDeadlineMs(): number {
    if (this.#requeueKicked || this.#publication.scanPending) return Number.NEGATIVE_INFINITY;
    return Math.min(this.removal.deadlineMs, this.quarantine === null ? NEVER : this.quarantine.deadlineMs);
  }

  /** Does what is due: delayed removal, probes, the requeue work, the scan for partitions. */
  tick(nowMs: number): void {
    this.#awake = false;
    this.removal.tick(nowMs);
    this.quarantine?.tick(nowMs);
    if (this.#requeueKicked) {
      this.#requeueKicked = false;
      this.#io.runRequeue();
    }
    if (this.#publication.scanPending) {
      this.#publication.scanPending = false;
      this.template.scanPartitions!(this);
    }
  }

  /** The end of a probe that `probePath` began. */
  endProbe(path: P, ok: boolean): void {
    this.quarantine?.endProbe(path, ok, this.clock.nowMs());
  }

  /** For the parts of the head: there is a new deadline. */
  wake(): void {
    if (this.#awake) return;
    // A deadline that lies ahead may be given up before it comes, and with it the tick that would end this.
    this.#awake = this.nextDeadlineMs() === Number.NEGATIVE_INFINITY;
    this.#wake();
  }

  /** For the parts of the head. */
  log(message: string): void {
    this.#log(`${this.disk?.name ?? this.name}: ${message}`);
  }
}
