import { readFileSync, realpathSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { type DeviceSpec, fileDevice, memoryDevice, prepareDevice, releaseDevice } from '@nvbraid/blockdev';
import type { ConfigNode } from './tree.ts';

/** As nvmet: blocks of files are those of the file system, 4096 bytes at most. */
const FILE_BLOCK_SIZE = 4096;

/**
 * Makes device specs of namespaces. What is in memory stays as long as the namespace is in the tree, also while it is
 * disabled, and until the end of the transaction that deletes it: taking that back brings the contents back.
 */
export class Devices {
  /** By namespace and geometry. */
  readonly #memory = new Map<string, Map<string, DeviceSpec>>();
  readonly #deleted = new Set<string>();

  /** @throws NvbraidError ENOENT, EINVAL, EACCES */
  async specOf(node: ConfigNode): Promise<DeviceSpec> {
    return node.get('nvbraid_memory') === '' ? fileSpec(node) : this.#memorySpec(node);
  }

  #memorySpec(node: ConfigNode): DeviceSpec {
    const size = Number(node.get('nvbraid_memory'));
    const blockSize = Number(node.get('nvbraid_block_size') || FILE_BLOCK_SIZE);
    const key = keyOf(node);
    const geometry = `${size} ${blockSize}`;
    const kept = this.#memory.get(key) ?? new Map<string, DeviceSpec>();
    const spec = kept.get(geometry) ?? memoryDevice({ size, blockSize });
    kept.delete(geometry);
    kept.set(geometry, spec); // the last one is the one in use
    this.#memory.set(key, kept);
    return spec;
  }

  /** A namespace in memory that was not made from the tree. */
  adopt(node: ConfigNode, spec: DeviceSpec, blockSize: number): void {
    const geometry = `${node.get('nvbraid_memory')} ${blockSize}`;
    this.#memory.set(keyOf(node), new Map([[geometry, spec]]));
  }

  created(node: ConfigNode): void {
    this.#deleted.delete(keyOf(node));
  }

  deleted(node: ConfigNode): void {
    this.#deleted.add(keyOf(node));
  }

  /** Nothing will be taken back any more. */
  settled(): void {
    for (const key of this.#deleted) this.#memory.delete(key);
    this.#deleted.clear();
    for (const kept of this.#memory.values()) {
      for (const geometry of [...kept.keys()].slice(0, -1)) kept.delete(geometry);
    }
  }
}

function keyOf(node: ConfigNode): string {
  return node.names.join('/');
}

async function fileSpec(node: ConfigNode): Promise<DeviceSpec> {
  const path = node.get('device_path');
  const size = node.get('nvbraid_size');
  return fileDevice({
    path,
    blockSize: Number(node.get('nvbraid_block_size')) || (await blockSizeOf(path)),
    ...(size === '' ? {} : { size: Number(size) }),
    create: node.get('nvbraid_create') === '1',
    readOnly: node.get('nvbraid_read_only') === '1',
    shared: node.get('nvbraid_shared') === '1',
  });
}

/** That of a block device; of a file 4096, since nvmet gives its hosts the same. */
async function blockSizeOf(path: string): Promise<number> {
  try {
    if (!(await stat(path)).isBlockDevice()) return FILE_BLOCK_SIZE;
    const name = basename(realpathSync(path));
    for (const queue of [`/sys/class/block/${name}/queue`, `/sys/class/block/${name}/../queue`]) {
      try {
        return Number(readFileSync(`${queue}/logical_block_size`, 'latin1'));
      } catch {
        // A partition's queue is its disk's.
      }
    }
  } catch {
    // Whoever opens it says what is wrong.
  }
  return FILE_BLOCK_SIZE;
}

/**
 * Opens a file and closes it again: what would stand in the way is found before anything is taken away. Of a file that
 * is to be made, nothing can be found out without making it. @throws NvbraidError as opening it does
 */
export async function checkFile(node: ConfigNode): Promise<void> {
  if (node.get('device_path') === '' || node.get('nvbraid_create') === '1') return;
  await releaseDevice(await prepareDevice(await fileSpec(node)));
}
