import { NvbraidError } from '@nvbraid/base';
import {
  type BlockDevice,
  measureDevice,
  openDevice,
  type PreparedDevice,
  prepareDevice,
  releaseDevice,
  stackFilters,
} from '@nvbraid/blockdev';
import type { Namespace, Subsystem, Target as TargetCore } from '@nvbraid/target';
import { isOpenDevice } from './data-plane.ts';
import type { ProtectionService } from './protection-service.ts';
import type { ReservationService } from './reservation-service.ts';
import type { SharedFiles } from './shared-files.ts';
import type { NamespaceConfig } from './target-config.ts';
import { zonedOrNot, zonesOf } from './target-zones.ts';

export interface TargetNamespacesOptions {
  readonly core: TargetCore;
  readonly reactorCount: number;
  readonly sharedFiles: SharedFiles;
  readonly reservations: ReservationService;
  readonly protection: ProtectionService;
  /** Fulfilled when no thread uses a device that is out of service any more. */
  settled(): Promise<unknown>;
}

/** The namespaces of a running target, with the devices that were prepared for them. */
export class TargetNamespaces {
  readonly #options: TargetNamespacesOptions;
  readonly #core: TargetCore;
  /** As they were made; what was measured later shares everything with them. */
  readonly #prepared = new Map<string, PreparedDevice>();
  /** Changes of one namespace that wait for threads follow each other. */
  readonly #last = new Map<string, Promise<unknown>>();

  constructor(options: TargetNamespacesOptions) {
    this.#options = options;
    this.#core = options.core;
  }

  /** Devices by `NQN/NSID`. */
  get prepared(): ReadonlyMap<string, PreparedDevice> {
    return this.#prepared;
  }

  /** @throws NvbraidError ENOENT, EACCES, EINVAL, EBUSY */
  async add(nqn: string, config: NamespaceConfig): Promise<number> {
    const subsystem = this.#subsystem(nqn);
    const { device, filters, zoned, readOnly, reservations, ...options } = config;
    let prepared: PreparedDevice | BlockDevice;
    if (isOpenDevice(device)) {
      if ((filters ?? []).length > 0) {
        throw new NvbraidError('EINVAL', 'filters stand on a device spec, not on a device that is open');
      }
      if (this.#options.reactorCount > 0) {
        throw new NvbraidError(
          'EINVAL',
          'a device object works only without reactors: give a device spec, or reactors: 0',
        );
      }
      prepared = device;
    } else prepared = await prepareDevice(zonedOrNot(stackFilters(device, filters ?? []), zoned));
    try {
      // What a reactor could not open is refused here, where somebody can read why.
      if (this.#options.reactorCount > 0)
        await openDevice(prepared as PreparedDevice, { threads: this.#options.reactorCount }).close();
      if (!isOpenDevice(prepared)) await this.#options.sharedFiles.enter(subsystem, prepared);
      const namespace = subsystem.addNamespace({
        ...options,
        device: prepared,
        blockSize: prepared.blockSize,
        blockCount: prepared.blockCount,
        readOnly: readOnly ?? prepared.readOnly,
        thin: prepared.thin,
        volatileWriteCache: prepared.volatileWriteCache,
        compareAndWrite: prepared.compareAndWrite ?? false,
        writeUncorrectable: isOpenDevice(prepared) ? prepared.marks != null : prepared.uncorrectable === true,
        ...zonesOf(prepared),
        reservations: await this.#options.reservations.options(prepared, reservations),
        ...(await this.#options.protection.options(prepared)),
      });
      if (!isOpenDevice(prepared)) this.#prepared.set(keyOf(nqn, namespace.nsid), prepared);
      return namespace.nsid;
    } catch (error) {
      if (!isOpenDevice(prepared)) await this.#giveBack(prepared);
      throw error;
    }
  }

  /** Fulfilled when no thread uses its device any more. @throws NvbraidError ENOENT */
  async remove(nqn: string, nsid: number): Promise<void> {
    this.#subsystem(nqn).removeNamespace(nsid);
    await this.release(nqn, [nsid]);
  }

  /** Gives back what namespaces that are out of service had prepared. */
  async release(nqn: string, nsids: number[]): Promise<void> {
    const devices: PreparedDevice[] = [];
    for (const nsid of nsids) {
      const key = keyOf(nqn, nsid);
      const prepared = this.#prepared.get(key);
      if (prepared !== undefined) devices.push(prepared);
      this.#prepared.delete(key); // now: the number may have a new namespace before the old one has settled
    }
    await this.#options.settled();
    await Promise.all(devices.map((device) => this.#giveBack(device)));
  }

  /** No thread uses the device any more. */
  async #giveBack(device: PreparedDevice): Promise<void> {
    await releaseDevice(device);
    await this.#options.sharedFiles.leave(device);
  }

  /**
   * Takes a namespace out of service, or puts it back as what it was. Fulfilled when that holds in every thread; a
   * device that two calls want to close and to open is closed first. @throws NvbraidError ENOENT
   */
  async setEnabled(nqn: string, nsid: number, enabled: boolean): Promise<void> {
    this.#existing(nqn, nsid);
    return this.#inTurn(keyOf(nqn, nsid), async () => {
      this.#existing(nqn, nsid); // it may have been removed meanwhile
      this.#subsystem(nqn).setEnabled(nsid, enabled);
      await this.#options.settled();
    });
  }

  /**
   * Looks at the size of the namespace's file or block device again; hosts are told when it is another one.
   * @returns its blocks
   * @throws NvbraidError ENOENT, EINVAL when the size is not a whole number of blocks, EIO
   */
  async revalidate(nqn: string, nsid: number): Promise<number> {
    this.#existing(nqn, nsid);
    return this.#inTurn(keyOf(nqn, nsid), async () => {
      const namespace = this.#existing(nqn, nsid);
      const device = namespace.device as PreparedDevice | BlockDevice;
      const measured = isOpenDevice(device) ? device : await measureDevice(device);
      if (this.#existing(nqn, nsid) !== namespace) {
        throw new NvbraidError('ENOENT', `namespace ${nsid} of ${nqn} was removed meanwhile`);
      }
      this.#subsystem(nqn).resizeNamespace(nsid, measured.blockCount, measured);
      return measured.blockCount;
    });
  }

  /** Every device must be out of use. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#last.values());
    await Promise.all([...this.#prepared.values()].map((device) => this.#giveBack(device)));
    this.#prepared.clear();
  }

  #inTurn<T>(key: string, run: () => Promise<T>): Promise<T> {
    const result = (this.#last.get(key) ?? Promise.resolve()).then(run);
    const settled = result
      .catch(() => {})
      .then(() => {
        if (this.#last.get(key) === settled) this.#last.delete(key);
      });
    this.#last.set(key, settled);
    return result;
  }

  #subsystem(nqn: string): Subsystem {
    const subsystem = this.#core.subsystem(nqn);
    if (subsystem === undefined) throw new NvbraidError('ENOENT', `there is no subsystem ${nqn}`);
    return subsystem;
  }

  #existing(nqn: string, nsid: number): Namespace {
    const namespace = this.#subsystem(nqn).namespace(nsid);
    if (namespace === undefined) throw new NvbraidError('ENOENT', `${nqn} has no namespace ${nsid}`);
    return namespace;
  }
}

function keyOf(nqn: string, nsid: number): string {
  return `${nqn}/${nsid}`;
}
