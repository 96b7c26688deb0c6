import { type BlockDevice, type PreparedDevice, statePath } from '@nvbraid/blockdev';
import type { Namespace, NamespaceOptions } from '@nvbraid/target';
import { backingOf } from './backing.ts';
import { PROTECTION_FILE_BYTES } from './limits.ts';
import { readStateFile, writeStateFile } from './state-file.ts';
import type { StateWrites } from './state-writes.ts';

const FORMAT = 'nvbraid protection';
const VERSION = 1;

interface Body {
  readonly format: typeof FORMAT;
  readonly version: typeof VERSION;
  readonly uuid: string;
  readonly protected: boolean;
}

const WORDS = {
  what: 'write protection',
  danger: 'hosts could write what was protected',
  maxBytes: PROTECTION_FILE_BYTES,
};

function isBody(body: Partial<Body>): boolean {
  return (
    body.format === FORMAT &&
    body.version === VERSION &&
    typeof body.uuid === 'string' &&
    typeof body.protected === 'boolean'
  );
}

/**
 * Keeps what hosts have protected through a restart (Base 2.1, 8.1.16: write protection lasts over power cycles, until
 * power cycle does not): reads it when a namespace comes, writes it before it changes.
 */
export class ProtectionService {
  readonly #stateDirectory: string | null;
  readonly #log: (message: string) => void;
  readonly #writes: StateWrites;

  /** @param stateDirectory for the state of block devices */
  constructor(stateDirectory: string | null, writes: StateWrites, log: (message: string) => void) {
    this.#stateDirectory = stateDirectory;
    this.#writes = writes;
    this.#log = log;
  }

  /**
   * What a new namespace is to be made with.
   * @throws NvbraidError EINVAL, EACCES, EIO when it was kept and cannot be had
   */
  async options(device: PreparedDevice | BlockDevice): Promise<Pick<NamespaceOptions, 'protection'>> {
    const place = this.#place(device);
    const body = place === null ? null : await readStateFile<Body>(place, WORDS, isBody);
    return body?.protected === true ? { protection: { place: place!, uuid: body.uuid } } : {};
  }

  /** The hook of the control plane. */
  save(namespace: Namespace, writeProtected: boolean, done: (saved: boolean) => void): void {
    const place = this.#place(namespace.device as PreparedDevice | BlockDevice);
    if (place === null) {
      if (writeProtected) {
        this.#log(
          `the write protection of namespace ${namespace.nsid} ends with this process: there is no place to keep it`,
        );
      }
      return done(true);
    }
    const body: Body = { format: FORMAT, version: VERSION, uuid: namespace.uuid, protected: writeProtected };
    this.#writes.add(
      place,
      () => writeStateFile(place, body),
      (message) =>
        this.#log(
          `the write protection of namespace ${namespace.nsid} stays as it was, the host is told Internal Error: ${message}`,
        ),
      done,
    );
  }

  /** Null for memory, and for files that other processes serve too: they would not know. */
  #place(device: PreparedDevice | BlockDevice): string | null {
    const backing = backingOf(device);
    if (backing === null || backing.shared) return null;
    return statePath(backing.path, backing.blockDevice, 'protection', this.#stateDirectory);
  }
}
