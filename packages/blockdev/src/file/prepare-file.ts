import * as fs from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { assert, Memory, NvbraidError } from '@nvbraid/base';
import type { OpenOptions } from '../block-device.ts';
import { checkGeometry } from '../geometry.ts';
import { MAX_TRANSFER_BYTES } from '../limits.ts';
import { StripeLocks } from '../stripe-locks.ts';
import { EAGAIN, EOPNOTSUPP } from './file-calls.ts';
import { FileDevice } from './file-device.ts';
import { type FileDeviceSpec, FileState, type PreparedFileDevice } from './file-spec.ts';
import { prepareMarks } from './marks-file.ts';
import { addressOf, type Libc, libc } from './native.ts';
import { nativeCalls } from './native-calls.ts';
import { nodeCalls } from './node-calls.ts';

const openFile = promisify(fs.open);
const closeFile = promisify(fs.close);
const stat = promisify(fs.stat);
const fstat = promisify(fs.fstat);
const truncate = promisify(fs.ftruncate);
const sync = promisify(fs.fsync);
const { O_CREAT, O_EXCL, O_RDONLY, O_RDWR } = fs.constants;

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const SEEK_END = 2;
/** Linux uapi/linux/fs.h */
const BLKROGET = 0x125e;
const BLKSSZGET = 0x1268;
const FALLOC_PUNCH = 3;

/**
 * Opens (or makes) the file, checks and locks it, and allocates what its threads share.
 * @throws NvbraidError ENOENT, EACCES, EBUSY, EINVAL, EIO with a sentence that names the file
 */
export async function prepareFile(spec: FileDeviceSpec): Promise<PreparedFileDevice> {
  assert(!('fd' in spec), 'the device is prepared already');
  const library = spec.native ? libc() : null;
  const { fd, made, blockDevice } = await openOrMake(spec);
  try {
    if (!spec.shared && !blockDevice) lock(spec, fd, library);
    const size = blockDevice ? blockDeviceBytes(spec, fd, library) : await fileBytes(spec, fd, made);
    const blockCount = blocksOf(spec, size, blockDevice);
    if (blockDevice && library !== null) checkBlockDevice(spec, fd, library);
    const marks = await prepareMarks(spec, blockDevice, made);
    return {
      ...spec,
      size,
      blockCount,
      volatileWriteCache: !spec.readOnly,
      thin: !spec.readOnly && library !== null && punches(fd, size, spec.blockSize, blockDevice, library),
      compareAndWrite: !spec.readOnly && !spec.shared,
      uncorrectable: marks !== null,
      marks,
      fd,
      blockDevice,
      native: library !== null,
      // A file may grow: the table always has room for the longest operation.
      state: new SharedArrayBuffer(
        (FileState.Locks + StripeLocks.words(Math.max(size, MAX_TRANSFER_BYTES * 2), spec.blockSize)) * 4,
      ),
    };
  } catch (error) {
    await closeFile(fd);
    if (made) fs.rmSync(spec.path, { force: true });
    throw error instanceof NvbraidError ? error : openError(spec, error);
  }
}

/**
 * The device with the size that the file has now.
 * @throws NvbraidError EINVAL when that is not a whole number of blocks, EIO
 */
export async function measureFile(prepared: PreparedFileDevice): Promise<PreparedFileDevice> {
  const { fd, blockDevice } = prepared;
  let size: number;
  try {
    size = blockDevice ? blockDeviceBytes(prepared, fd, prepared.native ? libc() : null) : (await fstat(fd)).size;
  } catch (error) {
    throw error instanceof NvbraidError ? error : openError(prepared, error);
  }
  return { ...prepared, size, blockCount: blocksOf(prepared, size, blockDevice) };
}

function blocksOf(spec: FileDeviceSpec, size: number, blockDevice: boolean): number {
  const what = blockDevice ? `block device ${spec.path}` : spec.path;
  return checkGeometry(what, size, spec.blockSize, (bytes, blockSize) =>
    blockDevice
      ? 'choose a smaller block size'
      : `use a block size that divides it, or enlarge it with \`truncate -s ${Math.ceil(bytes / blockSize) * blockSize}\``,
  );
}

/** Closes what `prepareFile` opened; the devices opened from it must be closed. */
export async function releaseFile(prepared: PreparedFileDevice): Promise<void> {
  await closeFile(prepared.fd);
}

/** @throws NvbraidError EINVAL when the spec is not prepared, EACCES when the file cannot be opened once more */
export function openFileDevice(prepared: PreparedFileDevice, options: OpenOptions): FileDevice {
  const library = prepared.native ? libc() : null;
  const calls = library === null ? nodeCalls : nativeCalls(library);
  if (options.threads === 1) return new FileDevice(prepared, prepared.fd, options, calls, () => {});
  const fd = openAgain(prepared);
  return new FileDevice(prepared, fd, options, calls, () => fs.closeSync(fd));
}

/**
 * Opens the same file again. The kernel reports a failed write-back once to each open file: with a common one, the
 * fdatasync of another thread would take the report away, and ours would succeed.
 */
function openAgain(prepared: PreparedFileDevice): number {
  const path = process.platform === 'linux' ? `/proc/self/fd/${prepared.fd}` : prepared.path;
  let fd: number;
  try {
    fd = fs.openSync(path, prepared.readOnly ? O_RDONLY : O_RDWR);
  } catch (error) {
    throw openError(prepared, error);
  }
  const ours = fs.fstatSync(fd);
  const first = fs.fstatSync(prepared.fd);
  if (ours.ino !== first.ino || ours.dev !== first.dev) {
    fs.closeSync(fd);
    throw new NvbraidError('EBUSY', `${prepared.path} was replaced by another file while it was being opened`);
  }
  return fd;
}

async function openOrMake(spec: FileDeviceSpec): Promise<{ fd: number; made: boolean; blockDevice: boolean }> {
  const { path } = spec;
  const access = spec.readOnly ? O_RDONLY : O_RDWR;
  let found: fs.Stats;
  try {
    found = await stat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || !spec.create) throw openError(spec, error);
    if (spec.size === null) {
      throw new NvbraidError('ENOENT', `${path} does not exist: give a size to make it`, { context: { path } });
    }
    try {
      return { fd: await openFile(path, O_CREAT | O_EXCL | O_RDWR, 0o644), made: true, blockDevice: false };
    } catch (cause) {
      throw openError(spec, cause);
    }
  }
  if (found.isDirectory()) {
    throw new NvbraidError('EINVAL', `${path} is a directory, not a file or a block device`, { context: { path } });
  }
  const blockDevice = found.isBlockDevice();
  if (!found.isFile() && !blockDevice) {
    throw new NvbraidError('EINVAL', `${path} is neither a regular file nor a block device`, { context: { path } });
  }
  try {
    // O_EXCL on a block device without O_CREAT: fails when it is mounted or claimed (open(2)).
    const fd = await openFile(path, access | (blockDevice && !spec.shared ? O_EXCL : 0));
    return { fd, made: false, blockDevice };
  } catch (error) {
    throw openError(spec, error);
  }
}

function lock(spec: FileDeviceSpec, fd: number, library: Libc | null): void {
  if (library === null) return;
  if (library.flock(fd, (spec.readOnly ? LOCK_SH : LOCK_EX) | LOCK_NB) === 0) return;
  const error = library.error();
  // Some file systems have no locks; serving from them is still better than not serving.
  if (error !== EAGAIN) return;
  throw new NvbraidError(
    'EBUSY',
    `${spec.path} is locked by another program, perhaps another target that serves it (\`shared\` allows it all the same)`,
    { context: { path: spec.path } },
  );
}

async function fileBytes(spec: FileDeviceSpec, fd: number, made: boolean): Promise<number> {
  const { size } = await fstat(fd);
  if (spec.size === null || size === spec.size) return size;
  if (!made && !(spec.create && size === 0 && !spec.readOnly)) {
    throw new NvbraidError(
      'EINVAL',
      `${spec.path} has ${size} bytes, not ${spec.size}: leave out the size, or change the file with \`truncate -s ${spec.size}\``,
      { context: { path: spec.path, size, wanted: spec.size } },
    );
  }
  await truncate(fd, spec.size);
  await sync(fd);
  if (made) await syncDirectory(dirname(spec.path));
  return spec.size;
}

/** A new name survives a crash only when its directory is on stable storage. */
async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const fd = await openFile(path, O_RDONLY);
  try {
    await sync(fd);
  } finally {
    await closeFile(fd);
  }
}

function blockDeviceBytes(spec: FileDeviceSpec, fd: number, library: Libc | null): number {
  if (library !== null) {
    const size = library.lseek(fd, 0, SEEK_END);
    if (size >= 0) return size;
  } else {
    const { rdev } = fs.fstatSync(fd);
    try {
      return Number(fs.readFileSync(`${sysfs(rdev)}/size`, 'latin1')) * 512;
    } catch {
      // Not Linux, or no sysfs.
    }
  }
  throw new NvbraidError('ENOTSUP', `cannot find out the size of block device ${spec.path} here`);
}

function checkBlockDevice(spec: FileDeviceSpec, fd: number, library: Libc): void {
  const { path } = spec;
  const answer = Memory.alloc(64);
  const ask = (request: number) =>
    library.ioctl(fd, request, addressOf(library, answer)) === 0 ? answer.view.getInt32(0, true) : 0;
  if (!spec.readOnly && ask(BLKROGET) !== 0) {
    throw new NvbraidError('EACCES', `block device ${path} is read-only: serve it read-only`, { context: { path } });
  }
  const sector = ask(BLKSSZGET);
  if (sector > spec.blockSize) {
    throw new NvbraidError(
      'EINVAL',
      `block device ${path} has blocks of ${sector} bytes, which are written whole: use that block size`,
      { context: { path, blockSize: sector } },
    );
  }
}

function sysfs(rdev: number): string {
  // The layout of dev_t in Linux: 12 bits of major, 20 of minor, in pieces (makedev(3)).
  const major = ((rdev >>> 8) & 0xfff) + Math.floor(rdev / 2 ** 44) * 4096;
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
  return `/sys/dev/block/${major}:${minor}`;
}

/** Whether space can be given back. Asked of a range behind the end of the file, where nothing can change. */
function punches(fd: number, size: number, blockSize: number, blockDevice: boolean, library: Libc): boolean {
  if (!blockDevice) return library.fallocate(fd, FALLOC_PUNCH, size, blockSize) === 0 || library.error() !== EOPNOTSUPP;
  const device = sysfs(fs.fstatSync(fd).rdev);
  for (const queue of [`${device}/queue`, `${device}/../queue`]) {
    try {
      return Number(fs.readFileSync(`${queue}/discard_max_bytes`, 'latin1')) > 0;
    } catch {
      // A partition's queue is its disk's.
    }
  }
  return false;
}

function openError(spec: FileDeviceSpec, cause: unknown): NvbraidError {
  const { path } = spec;
  const context = { path };
  const code = (cause as NodeJS.ErrnoException).code ?? '';
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new NvbraidError(
        'ENOENT',
        spec.create ? `${path}: its directory does not exist` : `${path} does not exist`,
        {
          cause,
          context,
        },
      );
    case 'EACCES':
    case 'EPERM':
      return new NvbraidError('EACCES', `no permission to ${spec.readOnly ? 'read' : 'read and write'} ${path}`, {
        cause,
        context,
      });
    case 'EROFS':
      return new NvbraidError('EACCES', `${path} lies on a read-only file system: serve it read-only`, {
        cause,
        context,
      });
    case 'EBUSY':
    case 'ETXTBSY':
      return new NvbraidError('EBUSY', `${path} is in use: mounted, or claimed by another program`, { cause, context });
    default: {
      const why = cause instanceof Error ? cause.message : String(cause);
      return new NvbraidError('EIO', `cannot open ${path}: ${why}`, { cause, context });
    }
  }
}
