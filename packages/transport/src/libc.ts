import { createRequire } from 'node:module';
import { endianness } from 'node:os';
import type { Memory } from '@nvbraid/base';
import { NvbraidError } from '@nvbraid/base';

/*
 * System calls without glue of our own: koffi calls the C library directly. Pointers are plain numbers (addresses in
 * user space lie below 2^47). A call that returns -1 leaves the reason in `errno()`, to be read at once.
 */

type Koffi = typeof import('koffi');

/** A number that C would call a pointer. */
export type Address = number;

export interface Libc {
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Address, length: number): number;
  listen(fd: number, backlog: number): number;
  accept4(fd: number, address: Address, lengthAddress: Address, flags: number): number;
  connect(fd: number, address: Address, length: number): number;
  shutdown(fd: number, how: number): number;
  close(fd: number): number;
  getsockname(fd: number, address: Address, lengthAddress: Address): number;
  getpeername(fd: number, address: Address, lengthAddress: Address): number;
  getsockopt(fd: number, level: number, name: number, value: Address, lengthAddress: Address): number;
  setsockopt(fd: number, level: number, name: number, value: Address, length: number): number;
  recv(fd: number, buffer: Address, length: number, flags: number): number;
  send(fd: number, buffer: Address, length: number, flags: number): number;
  readv(fd: number, iov: Address, count: number): number;
  sendmsg(fd: number, message: Address, flags: number): number;
  read(fd: number, buffer: Address, length: number): number;
  memcpy(to: Address, from: Address, length: number): void;
  epoll_create1(flags: number): number;
  epoll_ctl(epfd: number, op: number, fd: number, event: Address): number;
  epoll_wait(epfd: number, events: Address, maxEvents: number, timeoutMs: number): number;
  eventfd(initial: number, flags: number): number;
  eventfd_write(fd: number, value: number): number;
  inet_pton(family: number, text: string, address: Address): number;
  inet_ntop(family: number, address: Address, text: Address, length: number): Address;
  if_nametoindex(name: string): number;
  /** Why the call before failed. */
  errno(): number;
}

const PROTOTYPES: Readonly<Record<Exclude<keyof Libc, 'errno'>, readonly [result: string, parameters: string[]]>> = {
  socket: ['int', ['int', 'int', 'int']],
  bind: ['int', ['int', 'uintptr_t', 'uint']],
  listen: ['int', ['int', 'int']],
  accept4: ['int', ['int', 'uintptr_t', 'uintptr_t', 'int']],
  connect: ['int', ['int', 'uintptr_t', 'uint']],
  shutdown: ['int', ['int', 'int']],
  close: ['int', ['int']],
  getsockname: ['int', ['int', 'uintptr_t', 'uintptr_t']],
  getpeername: ['int', ['int', 'uintptr_t', 'uintptr_t']],
  getsockopt: ['int', ['int', 'int', 'int', 'uintptr_t', 'uintptr_t']],
  setsockopt: ['int', ['int', 'int', 'int', 'uintptr_t', 'uint']],
  // Results are ssize_t; no call asks for more than IO_MAX_BYTES, so their low 32 bits are the whole truth.
  recv: ['int', ['int', 'uintptr_t', 'size_t', 'int']],
  send: ['int', ['int', 'uintptr_t', 'size_t', 'int']],
  readv: ['int', ['int', 'uintptr_t', 'int']],
  sendmsg: ['int', ['int', 'uintptr_t', 'int']],
  read: ['int', ['int', 'uintptr_t', 'size_t']],
  memcpy: ['void', ['uintptr_t', 'uintptr_t', 'size_t']],
  epoll_create1: ['int', ['int']],
  epoll_ctl: ['int', ['int', 'int', 'int', 'uintptr_t']],
  epoll_wait: ['int', ['int', 'uintptr_t', 'int', 'int']],
  eventfd: ['int', ['uint', 'int']],
  eventfd_write: ['int', ['int', 'uint64_t']],
  inet_pton: ['int', ['int', 'str', 'uintptr_t']],
  inet_ntop: ['uintptr_t', ['int', 'uintptr_t', 'uintptr_t', 'uint']],
  if_nametoindex: ['uint', ['str']],
};

/** Where the numbers in tcp/constants.ts and the layouts of structures hold. */
const ARCHITECTURES = new Set(['x64', 'arm64', 'riscv64', 'loong64']);

let koffiModule: Koffi | null = null;
let functions: Libc | null = null;
let reason: string | null = null;

function load(): void {
  if (functions !== null || reason !== null) return;
  if (process.platform !== 'linux') {
    reason = `raw sockets need Linux, this is ${process.platform}`;
    return;
  }
  if (!ARCHITECTURES.has(process.arch) || endianness() !== 'LE') {
    reason = `raw sockets are not known to work on ${process.arch}`;
    return;
  }
  try {
    koffiModule = createRequire(import.meta.url)('koffi') as Koffi;
    functions = bindFunctions(koffiModule);
  } catch (error) {
    koffiModule = null;
    reason = `koffi cannot be loaded: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function bindFunctions(koffi: Koffi): Libc {
  const lib = loadLibrary(koffi);
  const table: Record<string, unknown> = { errno: koffi.errno };
  for (const [name, [result, parameters]] of Object.entries(PROTOTYPES)) {
    table[name] = lib.func(name, result, parameters);
  }
  return table as unknown as Libc;
}

function loadLibrary(koffi: Koffi) {
  try {
    return koffi.load('libc.so.6');
  } catch {
    // Not glibc: take the C library that Node itself is linked with.
    return koffi.load(null);
  }
}

/** Null when system calls can be made from here; otherwise a sentence that says why not. */
export function libcUnsupported(): string | null {
  load();
  return reason;
}

/** @throws NvbraidError ENOTSUP */
export function libc(): Libc {
  load();
  if (functions === null) throw new NvbraidError('ENOTSUP', reason ?? 'no C library');
  return functions;
}

/** @throws NvbraidError ENOTSUP */
export function koffi(): Koffi {
  load();
  if (koffiModule === null) throw new NvbraidError('ENOTSUP', reason ?? 'koffi is not loaded');
  return koffiModule;
}

/**
 * The native address of a memory, looked up once. It holds for as long as the memory is referenced.
 * @throws NvbraidError ENOTSUP
 */
export function addressOf(memory: Memory): Address {
  if (memory.address === 0) memory.address = Number(koffi().address(memory.bytes));
  return memory.address;
}
