import { createRequire } from 'node:module';
import type { Memory } from '@nvbraid/base';
import { EIO } from './file-calls.ts';

type Koffi = typeof import('koffi');

/** The functions of the C library that node:fs lacks. Addresses and 64-bit numbers are plain numbers. */
export interface Libc {
  /** Null where the C library does not have it (musl before 1.2.5). */
  preadv2: ((fd: number, iov: number, count: number, position: number, flags: number) => number) | null;
  pwrite(fd: number, address: number, length: number, position: number): number;
  fallocate: {
    (fd: number, mode: number, position: number, length: number): number;
    async(
      fd: number,
      mode: number,
      position: number,
      length: number,
      done: (error: unknown, result: number) => void,
    ): void;
  };
  flock(fd: number, operation: number): number;
  lseek(fd: number, offset: number, whence: number): number;
  ioctl(fd: number, request: number, address: number): number;
  /** The negative error number of the call that just failed in this thread. */
  error(): number;
  addressOf(array: Uint8Array): number;
}

let loaded: Libc | null | undefined;

/** The C library, or null where koffi does not load or the system is not Linux. */
export function libc(): Libc | null {
  if (loaded === undefined) loaded = load();
  return loaded;
}

function load(): Libc | null {
  if (process.platform !== 'linux') return null;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as Koffi;
    // The C library that Node itself runs on, be it glibc or musl.
    const library = koffi.load(null);
    let preadv2: Libc['preadv2'] = null;
    try {
      preadv2 = library.func('preadv2', 'long', ['int', 'uintptr_t', 'int', 'int64_t', 'int']);
    } catch {
      // Reads then all go through the thread pool.
    }
    return {
      preadv2,
      pwrite: library.func('pwrite', 'long', ['int', 'uintptr_t', 'size_t', 'int64_t']),
      fallocate: library.func('fallocate', 'int', ['int', 'int', 'int64_t', 'int64_t']),
      flock: library.func('flock', 'int', ['int', 'int']),
      lseek: library.func('lseek', 'int64_t', ['int', 'int64_t', 'int']),
      ioctl: library.func('ioctl', 'int', ['int', 'ulong', 'uintptr_t']),
      error: () => -koffi.errno() || EIO,
      addressOf: (array) => Number(koffi.address(array)),
    };
  } catch {
    return null;
  }
}

/** The native address of a memory, looked up once. */
export function addressOf(library: Libc, memory: Memory): number {
  if (memory.address === 0) memory.address = library.addressOf(memory.bytes);
  return memory.address;
}
