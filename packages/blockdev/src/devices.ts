import { NvbraidError } from '@nvbraid/base';
import type { BlockDevice, DeviceSpec, OpenOptions, PreparedDevice } from './block-device.ts';
import type { FileDeviceSpec, PreparedFileDevice } from './file/file-spec.ts';
import { openFileDevice, prepareFile, releaseFile } from './file/prepare-file.ts';
import { MemoryDevice, type MemoryDeviceSpec, type PreparedMemoryDevice, prepareMemory } from './memory-device.ts';
import { NullDevice, type NullDeviceSpec, type PreparedNullDevice, prepareNull } from './null-device.ts';

/** What has to be known of a kind of device. */
interface Kind {
  prepare(spec: DeviceSpec): Promise<PreparedDevice> | PreparedDevice;
  open(prepared: PreparedDevice, options: OpenOptions): BlockDevice;
  release(prepared: PreparedDevice): Promise<void> | void;
}

/** The specs are told apart by `kind`, so each row may take its own for granted. */
function row<S extends DeviceSpec, P extends PreparedDevice & S>(kind: {
  prepare(spec: S): Promise<P> | P;
  open(prepared: P, options: OpenOptions): BlockDevice;
  release?(prepared: P): Promise<void> | void;
}): Kind {
  return {
    prepare: (spec) => kind.prepare(spec as S),
    open: (prepared, options) => kind.open(prepared as P, options),
    release: (prepared) => kind.release?.(prepared as P),
  };
}

const KINDS = new Map<string, Kind>([
  [
    'memory',
    row<MemoryDeviceSpec, PreparedMemoryDevice>({
      prepare: prepareMemory,
      open: (prepared, options) => new MemoryDevice(prepared, options),
    }),
  ],
  [
    'null',
    row<NullDeviceSpec, PreparedNullDevice>({ prepare: prepareNull, open: (prepared) => new NullDevice(prepared) }),
  ],
  [
    'file',
    row<FileDeviceSpec, PreparedFileDevice>({ prepare: prepareFile, open: openFileDevice, release: releaseFile }),
  ],
]);

/**
 * Makes a device ready to be opened by the threads of this process: opens or makes its file, checks it, allocates
 * what the threads share. Call it once, in the main thread, and `releaseDevice` at the end.
 * @throws NvbraidError with a sentence that names the file and says what to do
 */
export async function prepareDevice(spec: DeviceSpec): Promise<PreparedDevice> {
  return kindOf(spec).prepare(spec);
}

/**
 * Opens the view of one thread.
 * @throws NvbraidError EINVAL when `prepared` did not come from `prepareDevice`, ENOTSUP when the device cannot be
 * opened by so many threads
 */
export function openDevice(prepared: DeviceSpec, options: OpenOptions): BlockDevice {
  const kind = kindOf(prepared);
  if (!('blockCount' in prepared)) {
    throw new NvbraidError('EINVAL', `a ${prepared.kind} device must be prepared before it is opened`);
  }
  return kind.open(prepared as PreparedDevice, options);
}

/** Gives back what `prepareDevice` took. Every thread must have closed its view. */
export async function releaseDevice(prepared: PreparedDevice): Promise<void> {
  await kindOf(prepared).release(prepared);
}

function kindOf(spec: DeviceSpec): Kind {
  const kind = KINDS.get(spec.kind);
  if (kind === undefined) {
    const known = [...KINDS.keys()].join(', ');
    throw new NvbraidError('EINVAL', `unknown kind of device "${spec.kind}" (known: ${known})`);
  }
  return kind;
}
