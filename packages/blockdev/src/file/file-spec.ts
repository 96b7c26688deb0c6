import type { DeviceSpec, PreparedDevice } from '../block-device.ts';
import { checkBlockSize, checkGeometry } from '../geometry.ts';
import { ASYNC_WRITE_BYTES } from '../limits.ts';

export interface FileDeviceOptions {
  /** A regular file or a Linux block device. */
  path: string;
  /** Default 4096. */
  blockSize?: number;
  /** Bytes of a file that is made; must equal the size of one that exists and is not empty. */
  size?: number;
  /** Makes a missing file (sparse), and gives an empty one its `size`. Default false. */
  create?: boolean;
  readOnly?: boolean;
  /** Serve it although somebody else has it open too. Default false: the file is locked (flock) or the call fails. */
  shared?: boolean;
  /** Where a block device's state is kept (see `statePath`); a file's lies beside it. Default: nowhere. */
  stateDirectory?: string;
  /** Writes longer than this many bytes run on the thread pool. Default 256 KiB; 0 sends all of them there. */
  asyncWriteBytes?: number;
  /** False keeps to node:fs even where koffi loads. */
  native?: boolean;
}

export interface FileDeviceSpec extends DeviceSpec {
  readonly kind: 'file';
  readonly path: string;
  readonly blockSize: number;
  readonly size: number | null;
  readonly create: boolean;
  readonly readOnly: boolean;
  readonly shared: boolean;
  readonly stateDirectory: string | null;
  readonly asyncWriteBytes: number;
  readonly native: boolean;
}

/** Words of `state` before the table of stripe locks. */
export const FileState = {
  /** 1 after a failed fdatasync. */
  Failed: 0,
  /** The locks begin here, on a cache line of their own. */
  Locks: 16,
} as const;

export interface PreparedFileDevice extends FileDeviceSpec, PreparedDevice {
  readonly kind: 'file';
  readonly readOnly: boolean;
  readonly fd: number;
  readonly blockDevice: boolean;
  /** See FileState: shared by all threads. */
  readonly state: SharedArrayBuffer;
  /** See UncorrectableMarks; null when there can be none. */
  readonly marks: SharedArrayBuffer | null;
}

/**
 * A device kept in a regular file or on a Linux block device.
 * @throws NvbraidError EINVAL for a wrong block size or size
 */
export function fileDevice(options: FileDeviceOptions): FileDeviceSpec {
  const { path, blockSize = 4096, size, create = false, readOnly = false, shared = false } = options;
  checkBlockSize(blockSize);
  if (size !== undefined) checkGeometry(path, size, blockSize);
  return {
    kind: 'file',
    path,
    blockSize,
    size: size ?? null,
    create,
    readOnly,
    shared,
    stateDirectory: options.stateDirectory ?? null,
    asyncWriteBytes: options.asyncWriteBytes ?? ASYNC_WRITE_BYTES,
    native: options.native ?? true,
  };
}
