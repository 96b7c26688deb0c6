import type { ReservationOps } from './reservations.ts';

export interface Geometry {
  heads: number;
  sectors: number;
  cylinders: number;
}

export interface Zone {
  startBytes: number;
  lengthBytes: number;
  capacityBytes: number;
  writePointerBytes: number;
  type: number;
  condition: number;
}

/** Who asks for a control request, and through what. */
export interface IoctlCaller {
  /** Opened for writing. */
  write: boolean;
  /** Asked through a partition of the head disk. */
  partition: boolean;
  /** May send raw commands to the whole device. */
  rawIo: boolean;
}

/**
 * The hidden disk of one path: what it can do besides requests. An operation that is absent has the error that the
 * head's method of the same name documents. Operations may be asynchronous; the path is held until they are over.
 */
export interface PathDisk {
  readonly name: string;
  capacityBytes: number;
  /** Registered with whoever lists disks: only then is a link to it made. */
  added: boolean;
  ioctl?(command: number, argument: unknown, caller: IoctlCaller): unknown;
  getGeometry?(): Geometry;
  /** Writes the identifier of kind `type` and answers its length, 0 when it has none of that kind. */
  getUniqueId?(id: Uint8Array, type: number): number;
  /** Calls `report` for up to `count` zones from the one at `offset`; answers how many there were. */
  reportZones?(offset: number, count: number, report: (zone: Zone, index: number) => void): number | Promise<number>;
  readonly reservations?: Partial<ReservationOps>;
}
