import type { BlockDevice, UncorrectableMarks } from '@nvbraid/blockdev';
import { Csi } from '@nvbraid/wire';
import { type IoCommandRows, ioCommandRows } from './io/command-sets.ts';
import { ReservationGate } from './reservations/reservation-access.ts';
import type { NamespaceSnapshot, SubsystemSnapshot } from './snapshot.ts';

/** One namespace as the I/O queues of one thread see it. */
export interface NamespaceEntry {
  readonly snapshot: NamespaceSnapshot;
  readonly device: BlockDevice;
  /** Blocks that are marked uncorrectable; null where there can be none. */
  readonly marks: UncorrectableMarks | null;
  readonly nsid: number;
  readonly blockSize: number;
  readonly blockShift: number;
  readonly blockCount: number;
  readonly readOnly: boolean;
  readonly pathStatus: number;
  /** Every write ends on stable storage. */
  readonly writeThrough: boolean;
  readonly csi: number;
  /** Hosts for which the namespace is there; null for all. */
  readonly hosts: ReadonlySet<string> | null;
  /** The commands of its command set. */
  readonly commands: IoCommandRows;
  /** Null while nothing is reserved. */
  readonly reservation: ReservationGate | null;
}

/** Opens the device of a namespace for this thread, or answers the one that is open. */
export type DeviceOpener = (namespace: NamespaceSnapshot) => BlockDevice;

/**
 * The namespaces of one subsystem behind one port, in one thread. `update` replaces the whole table at once, so a
 * command sees either the old or the new state, and the first command after the update sees the new one.
 */
export class NamespaceTable {
  readonly #open: DeviceOpener;
  #entries = new Map<number, NamespaceEntry>();
  #last: NamespaceEntry | null = null;
  #version = -1;

  constructor(open: DeviceOpener) {
    this.#open = open;
  }

  get version(): number {
    return this.#version;
  }

  get empty(): boolean {
    return this.#entries.size === 0;
  }

  /** A snapshot older than the one in force is ignored. */
  update(snapshot: SubsystemSnapshot): void {
    if (snapshot.version < this.#version) return;
    const entries = new Map<number, NamespaceEntry>();
    for (const namespace of snapshot.namespaces) {
      const device = this.#open(namespace);
      entries.set(namespace.nsid, {
        snapshot: namespace,
        device,
        marks: device.marks ?? null,
        nsid: namespace.nsid,
        blockSize: namespace.blockSize,
        blockShift: 31 - Math.clz32(namespace.blockSize),
        blockCount: namespace.blockCount,
        readOnly: namespace.readOnly,
        pathStatus: namespace.pathStatus,
        writeThrough: namespace.writeThrough === true,
        csi: namespace.csi ?? Csi.Nvm,
        hosts: namespace.hosts === undefined ? null : new Set(namespace.hosts),
        commands: ioCommandRows(namespace.csi ?? Csi.Nvm),
        reservation: namespace.reservation === undefined ? null : new ReservationGate(namespace.reservation),
      });
    }
    this.#entries = entries;
    this.#last = null;
    this.#version = snapshot.version;
  }

  /** No namespace any more, for good. */
  clear(): void {
    this.#entries = new Map();
    this.#last = null;
    this.#version = Number.POSITIVE_INFINITY;
  }

  find(nsid: number): NamespaceEntry | undefined {
    if (this.#last !== null && this.#last.nsid === nsid) return this.#last;
    const entry = this.#entries.get(nsid);
    if (entry !== undefined) this.#last = entry;
    return entry;
  }

  entries(): IterableIterator<NamespaceEntry> {
    return this.#entries.values();
  }
}

/** The table as one host sees it: what is not shown to the host is not there. */
export class NamespaceView {
  readonly #table: NamespaceTable;
  readonly #hostnqn: string;

  constructor(table: NamespaceTable, hostnqn: string) {
    this.#table = table;
    this.#hostnqn = hostnqn;
  }

  find(nsid: number): NamespaceEntry | undefined {
    const entry = this.#table.find(nsid);
    if (entry === undefined || entry.hosts === null) return entry;
    return entry.hosts.has(this.#hostnqn) ? entry : undefined;
  }

  entries(): NamespaceEntry[] {
    return [...this.#table.entries()].filter(({ hosts }) => hosts === null || hosts.has(this.#hostnqn));
  }
}
