import { NvbraidError } from '@nvbraid/base';
import type { BlockDevice } from '@nvbraid/blockdev';
import { NbdExportFlag } from '@nvbraid/wire';
import { MAX_EXPORTS, MAX_NAME_BYTES } from './limits.ts';

/** A stretch of a device. */
export interface Extent {
  /** Bytes. */
  readonly length: number;
  /** No space is taken. */
  readonly hole: boolean;
  /** Reads as zeroes. */
  readonly zero: boolean;
}

/** What clients get at: a block device under a name. */
export interface NbdExport {
  readonly name: string;
  /** Other names by which clients find it; listings show the first alone. */
  readonly aliases?: readonly string[];
  /** For people. */
  readonly description?: string;
  readonly device: BlockDevice;
  /** False where zeroes can only be written as data: clients do that themselves. Default true. */
  readonly writesZeroes?: boolean;
  /**
   * What is allocated from `offset` on, in order, at most `length` bytes of it, at least one extent. Absent where nobody
   * knows: everything counts as allocated then.
   */
  readonly allocation?: (offset: number, length: number) => Promise<readonly Extent[]>;
}

/** The exports of one server by name; the first one is also the one without a name. */
export class NbdExports {
  readonly #exports = new Map<string, NbdExport>();
  readonly #names = new Map<string, NbdExport>();

  /** @throws NvbraidError EINVAL, EBUSY when a name is taken */
  add(one: NbdExport): void {
    const names = [one.name, ...(one.aliases ?? [])];
    for (const name of names) {
      if (new TextEncoder().encode(name).length > MAX_NAME_BYTES) {
        throw new NvbraidError('EINVAL', `the name of an NBD export has at most ${MAX_NAME_BYTES} bytes`);
      }
      if (this.#names.has(name)) {
        throw new NvbraidError('EBUSY', `there is an NBD export '${name}' already`, { retryable: false });
      }
    }
    if (this.#exports.size >= MAX_EXPORTS) {
      throw new NvbraidError('EINVAL', `a server has at most ${MAX_EXPORTS} NBD exports`);
    }
    this.#exports.set(one.name, one);
    for (const name of names) this.#names.set(name, one);
  }

  /** Clients that use it keep it; nobody gets it anew. */
  remove(name: string): NbdExport | undefined {
    const one = this.#exports.get(name);
    if (one === undefined) return undefined;
    this.#exports.delete(name);
    for (const known of [name, ...(one.aliases ?? [])]) this.#names.delete(known);
    return one;
  }

  find(name: string): NbdExport | undefined {
    const found = this.#names.get(name);
    if (found !== undefined || name !== '') return found;
    return this.#exports.values().next().value;
  }

  list(): IterableIterator<NbdExport> {
    return this.#exports.values();
  }
}

/**
 * What an export says of itself: it follows what its device can do. Several connections may be used at once: a device's
 * Flush covers what has ended on all of them.
 */
export function exportFlags({ device, writesZeroes = true }: NbdExport): number {
  let flags = NbdExportFlag.HasFlags | NbdExportFlag.CanMultiConn | NbdExportFlag.SendDf;
  if (device.volatileWriteCache) flags |= NbdExportFlag.SendFlush | NbdExportFlag.SendFua;
  if (device.readOnly) return flags | NbdExportFlag.ReadOnly;
  if (writesZeroes) flags |= NbdExportFlag.SendWriteZeroes;
  if (device.thin) flags |= NbdExportFlag.SendTrim;
  return flags;
}
