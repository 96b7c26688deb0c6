import { NvbraidError } from '@nvbraid/base';
import type { AttributeGroup } from './attributes.ts';
import { controlRequest } from './control-request.ts';
import type { Head } from './head.ts';
import { MAX_NAME } from './limits.ts';
import { Opening } from './opening.ts';
import type { Geometry, IoctlCaller, PathDisk, Zone } from './path-disk.ts';
import { RateLimit } from './rate-limit.ts';
import type { ReservationOps } from './reservations.ts';

export interface HeadDiskOptions {
  name: string;
  /** What the disk hangs on in the driver's world; shown, never looked into. */
  parent: object;
  capacityBytes: number;
  /** Unit of offsets and lengths. */
  blockBytes?: number;
  /** Longer requests are split, which needs the driver's `splitBio`. */
  maxBytes?: number;
  /** NUMA node of its memory, as the driver tells it. */
  node?: number;
  /** Attributes of the disk besides the library's. */
  attributes?: AttributeGroup;
}

/**
 * The one disk that users see. Operations other than requests go down exactly one selected path; EWOULDBLOCK when
 * there is none.
 */
export class HeadDisk {
  readonly name: string;
  readonly parent: object;
  /** A driver that learns of a new size sets it and calls `revalidatePaths`. */
  capacityBytes: number;
  readonly blockBytes: number;
  readonly maxBytes: number;
  readonly node: number;
  readonly attributes: AttributeGroup | null;
  /** Shown to its users. */
  added = false;
  /** Removed for good. */
  removed = false;
  readonly reservations: ReservationOps;
  readonly #head: Head;
  readonly #nexusWarnings = new RateLimit();

  constructor(head: Head, options: HeadDiskOptions) {
    const { name, parent, capacityBytes, blockBytes = 512, maxBytes = Number.POSITIVE_INFINITY, node = 0 } = options;
    const invalid = (message: string): NvbraidError => new NvbraidError('EINVAL', `head disk ${name}: ${message}`);
    if (typeof name !== 'string' || name.length === 0 || name.length > MAX_NAME) throw invalid('bad name');
    if (typeof parent !== 'object' || parent === null) throw invalid('it needs a parent');
    if (!Number.isSafeInteger(capacityBytes) || capacityBytes < 0) throw invalid('its capacity is not a size');
    if (!Number.isSafeInteger(blockBytes) || blockBytes < 1) throw invalid('its block size is not a size');
    if (!(maxBytes >= blockBytes)) throw invalid('a request must hold a block');
    this.name = name;
    this.parent = parent;
    this.capacityBytes = capacityBytes;
    this.blockBytes = blockBytes;
    this.maxBytes = maxBytes === Number.POSITIVE_INFINITY ? maxBytes : maxBytes - (maxBytes % blockBytes);
    this.node = node;
    this.attributes = options.attributes ?? null;
    this.#head = head;
    this.reservations = this.#reservationOps();
  }

  /** Keeps the head until it is closed. ENXIO when the head is going away. */
  open(): Opening {
    return new Opening(this.#head);
  }

  /**
   * A control request. ENOIOCTLCMD through a partition without the right to raw commands, ENOTTY when the path's disk
   * has no control requests.
   */
  async ioctl(command: number, argument: unknown, caller: Partial<IoctlCaller> = {}): Promise<unknown> {
    const { write = false, partition = false, rawIo = false } = caller;
    if (partition && !rawIo) {
      throw new NvbraidError('ENOIOCTLCMD', `${this.name}: a partition may not control the whole disk`);
    }
    return controlRequest(this.#head, command, ({ disk }) => {
      if (disk?.ioctl === undefined) throw new NvbraidError('ENOTTY', `${this.name} has no control requests`);
      return disk.ioctl(command, argument, { write, partition, rawIo });
    });
  }

  /** ENOTTY when the path's disk has no geometry. */
  getGeometry(): Geometry {
    const { disk } = this.#head.pathOrThrow();
    if (disk?.getGeometry === undefined) throw new NvbraidError('ENOTTY', `${this.name} has no geometry`);
    return disk.getGeometry();
  }

  /** Writes the identifier of kind `type` and answers its length; 0 when there is none of that kind. */
  getUniqueId(id: Uint8Array, type: number): number {
    return this.#head.pathOrThrow().disk?.getUniqueId?.(id, type) ?? 0;
  }

  /** EOPNOTSUPP when the disk has no zones. */
  reportZones(offset: number, count: number, report: (zone: Zone, index: number) => void): Promise<number> {
    return this.#head.callForDevice(({ disk }) => {
      if (disk?.reportZones === undefined) throw new NvbraidError('EOPNOTSUPP', `${this.name} has no zones`);
      return disk.reportZones(offset, count, report);
    });
  }

  #reservationOps(): ReservationOps {
    return {
      register: (oldKey, newKey, ignoreExisting) =>
        this.#reservation('register', (ops) => ops.register?.bind(ops, oldKey, newKey, ignoreExisting)),
      reserve: (key, type) => this.#reservation('reserve', (ops) => ops.reserve?.bind(ops, key, type)),
      release: (key, type) => this.#reservation('release', (ops) => ops.release?.bind(ops, key, type)),
      preempt: (oldKey, newKey, type, abort) =>
        this.#reservation('preempt', (ops) => ops.preempt?.bind(ops, oldKey, newKey, type, abort)),
      clear: (key) => this.#reservation('clear', (ops) => ops.clear?.bind(ops, key)),
      readKeys: () => this.#reservation('readKeys', (ops) => ops.readKeys?.bind(ops)),
      readReservation: () => this.#reservation('readReservation', (ops) => ops.readReservation?.bind(ops)),
    };
  }

  /**
   * One operation, down one path, to that path's own reservations; EOPNOTSUPP when it lacks the operation. That is
   * enough where a registration is the host's. Where it is the nexus's, the other paths are not registered: said in
   * the log, since no answer could say it.
   */
  #reservation<T>(
    name: keyof ReservationOps,
    bound: (ops: NonNullable<PathDisk['reservations']>) => (() => T | Promise<T>) | undefined,
  ): Promise<T> {
    const head = this.#head;
    return head.callForDevice((path) => {
      const operation = path.disk?.reservations === undefined ? undefined : bound(path.disk.reservations);
      if (operation === undefined) throw new NvbraidError('EOPNOTSUPP', `${this.name} has no reservation ${name}`);
      const changes = name !== 'readKeys' && name !== 'readReservation';
      if (changes && head.template.reservationsPerNexus && head.paths.length > 1) {
        if (this.#nexusWarnings.allow(head.clock.nowMs())) {
          head.log(
            `reservation ${name} went down path ${path.name} only: here it holds for that path, not for the host`,
          );
        }
      }
      return operation();
    });
  }
}
