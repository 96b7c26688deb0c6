import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Rng } from '@nvbraid/base';
import { FileDevice } from '../../src/file/file-device.ts';
import type { PreparedFileDevice } from '../../src/file/file-spec.ts';
import {
  type BlockDevice,
  type DeviceSpec,
  type FilterConfig,
  fileDevice,
  memoryDevice,
  openDevice,
  type PreparedDevice,
  prepareDevice,
  releaseDevice,
  stackFilters,
  volatileCache,
} from '../../src/index.ts';
import { MemoryDevice, prepareMemory } from '../../src/memory-device.ts';
import { ZeroLine } from '../../src/zero-line.ts';
import { unruly } from './unruly-calls.ts';

export interface Opened {
  device: BlockDevice;
  prepared: PreparedDevice;
  close(): Promise<void>;
}

/** A back end under test. `open` makes a device of zeroes. */
export interface Backend {
  name: string;
  /** Why it cannot be tested here. */
  skip?: string;
  open(size: number, blockSize: number, seed: number): Promise<Opened>;
}

export async function openSpec(spec: DeviceSpec, threads = 1): Promise<Opened> {
  const prepared = await prepareDevice(spec);
  const device = openDevice(prepared, { threads });
  return {
    device,
    prepared,
    close: async () => {
      await device.close();
      await releaseDevice(prepared);
    },
  };
}

/** A directory that goes away with the process. */
export function scratchDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'nvbraid-blockdev-'));
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const directory = scratchDirectory();
let files = 0;

export function freshPath(): string {
  return join(directory, `disk-${files++}.img`);
}

interface FileVariant {
  threads?: number;
  native?: boolean;
  asyncWriteBytes?: number;
}

/** A device in memory that zeroes a few blocks in a turn. */
function slowZeroes(name: string, threads: number): Backend {
  return {
    name,
    async open(size, blockSize) {
      const prepared = prepareMemory(memoryDevice({ size, blockSize }));
      const device = new MemoryDevice(prepared, { threads }, new ZeroLine(6 * blockSize, 2 * blockSize));
      return { device, prepared, close: () => device.close() };
    },
  };
}

function fileSpec(size: number, blockSize: number, variant: FileVariant): DeviceSpec {
  const { native = true, asyncWriteBytes } = variant;
  return fileDevice({
    path: freshPath(),
    size,
    blockSize,
    create: true,
    native,
    ...(asyncWriteBytes === undefined ? {} : { asyncWriteBytes }),
  });
}

function file(name: string, variant: FileVariant): Backend {
  return { name, open: (size, blockSize) => openSpec(fileSpec(size, blockSize, variant), variant.threads) };
}

/** A file whose system calls are short, slow and out of order. */
function unrulyFile(name: string, variant: FileVariant): Backend {
  return {
    name,
    async open(size, blockSize, seed) {
      const prepared = (await prepareDevice(fileSpec(size, blockSize, variant))) as PreparedFileDevice;
      const calls = unruly(new Rng(seed), blockSize);
      const device = new FileDevice(prepared, prepared.fd, { threads: variant.threads ?? 1 }, calls, () => {});
      return {
        device,
        prepared,
        close: async () => {
          await device.close();
          await releaseDevice(prepared);
        },
      };
    },
  };
}

function cached(name: string, lower: (size: number, blockSize: number) => DeviceSpec, maxBlocks: number): Backend {
  return { name, open: (size, blockSize) => openSpec(volatileCache(lower(size, blockSize), { maxBlocks })) };
}

/** Filters that change when things happen, or tell of them, and nothing else. */
function filtered(name: string, filters: FilterConfig[], variant: FileVariant | null = null): Backend {
  return {
    name,
    open: (size, blockSize) => {
      const device = variant === null ? memoryDevice({ size, blockSize }) : fileSpec(size, blockSize, variant);
      return openSpec(stackFilters(device, filters), variant?.threads);
    },
  };
}

/** Each with a file of its own. */
function overlaid(name: string, threads: number): Backend {
  return {
    name,
    open: (size, blockSize) =>
      openSpec(stackFilters(memoryDevice({ size, blockSize }), [{ kind: 'cow', path: freshPath() }]), threads),
  };
}

const WATCHING: FilterConfig[] = [{ kind: 'log', path: freshPath(), 'lines-per-second': 50 }, { kind: 'stats' }];
const IDLE: FilterConfig[] = [
  { kind: 'error', ops: 'none' },
  { kind: 'corrupt' },
  { kind: 'read-only', enabled: false },
  { kind: 'rate' },
];

function loopSkip(): string | null {
  if (process.platform !== 'linux') return 'loop devices exist on Linux only';
  if (process.getuid?.() !== 0) return 'needs root';
  if (!existsSync('/dev/loop-control')) return 'no /dev/loop-control';
  const path = freshPath();
  spawnSync('truncate', ['-s', '1M', path]);
  const attached = spawnSync('losetup', ['--find', '--show', path], { encoding: 'utf8' });
  if (attached.status !== 0) return `losetup: ${attached.error?.message ?? attached.stderr.trim()}`;
  spawnSync('losetup', ['-d', attached.stdout.trim()]);
  return null;
}

export const loopUnavailable = loopSkip();

/** Attaches a sparse file to a loop device. */
export function attachLoop(size: number, ...options: string[]): { path: string; detach(): void } {
  const backing = freshPath();
  spawnSync('truncate', ['-s', String(size), backing]);
  const attached = spawnSync('losetup', [...options, '--find', '--show', backing], { encoding: 'utf8' });
  if (attached.status !== 0) throw new Error(attached.stderr);
  const path = attached.stdout.trim();
  return { path, detach: () => void spawnSync('losetup', ['-d', path]) };
}

function loop(name: string, variant: FileVariant): Backend {
  return {
    name,
    ...(loopUnavailable === null ? {} : { skip: loopUnavailable }),
    async open(size, blockSize) {
      const { path, detach } = attachLoop(size);
      const { native = true } = variant;
      const opened = await openSpec(fileDevice({ path, blockSize, native }), variant.threads);
      return {
        ...opened,
        close: async () => {
          await opened.close();
          detach();
        },
      };
    },
  };
}

export const BACKENDS: Backend[] = [
  { name: 'memory', open: (size, blockSize) => openSpec(memoryDevice({ size, blockSize })) },
  { name: 'memory, shared', open: (size, blockSize) => openSpec(memoryDevice({ size, blockSize }), 2) },
  slowZeroes('memory, zeroing in turns', 1),
  slowZeroes('memory, zeroing in turns, shared', 2),
  file('file', {}),
  file('file, shared', { threads: 2 }),
  file('file, every write on the pool', { asyncWriteBytes: 0 }),
  file('file, node:fs alone', { native: false }),
  file('file, node:fs alone, shared', { native: false, threads: 2 }),
  unrulyFile('file, unruly calls', {}),
  unrulyFile('file, unruly calls, shared', { threads: 2 }),
  unrulyFile('file, unruly calls, every write on the pool', { asyncWriteBytes: 0 }),
  loop('block device', {}),
  loop('block device, node:fs alone, shared', { native: false, threads: 2 }),
  filtered('delays before over memory', [{ kind: 'delay', read: 'uniform 0 3ms', write: 'exponential 1ms', flush: 1 }]),
  filtered('delays after over file', [{ kind: 'delay', where: 'after', read: 'p50=0 p90=3ms', write: '1ms' }], {}),
  filtered('a rate over file, shared', [{ kind: 'rate', iops: 20_000, bandwidth: '400MiB' }], { threads: 2 }),
  filtered('log and stats over file', WATCHING, {}),
  filtered('log and stats over memory', WATCHING),
  filtered('filters at rest', IDLE),
  filtered('an overlay in memory over file', [{ kind: 'cow' }], {}),
  filtered('an overlay in memory over memory, shared', [{ kind: 'cow' }]),
  overlaid('an overlay in a file over memory', 1),
  overlaid('an overlay in a file over memory, shared', 2),
  filtered('everything that lets through', [...WATCHING, { kind: 'delay', write: 'uniform 0 2ms' }, ...IDLE], {}),
  cached('volatile-cache over memory', (size, blockSize) => memoryDevice({ size, blockSize }), 4096),
  cached('volatile-cache over file', (size, blockSize) => fileSpec(size, blockSize, {}), 4096),
  cached('volatile-cache of 8 blocks over file', (size, blockSize) => fileSpec(size, blockSize, {}), 8),
  cached(
    'volatile-cache over volatile-cache',
    (size, blockSize) => volatileCache(memoryDevice({ size, blockSize }), { maxBlocks: 16 }),
    32,
  ),
];
