import { type Crc32c, Memory, useNativeCrc32c } from '@nvbraid/base';
import { addressOf, koffi, libcUnsupported } from './libc.ts';

/** Names under which distributions install Intel's storage library. */
const LIBRARIES = ['libisal.so.2', 'libisal.so'];
const PROBE_BYTES = 4099;

let installed: boolean | null = null;

/**
 * Lets base compute long CRC32C with libisal where the system has it; once per thread. Without the library, or when its
 * results differ from ours, nothing changes.
 * @returns whether the native implementation is in use
 */
export function installNativeCrc32c(): boolean {
  installed ??= install();
  return installed;
}

function install(): boolean {
  if (libcUnsupported() !== null) return false;
  for (const library of LIBRARIES) {
    const candidate = load(library);
    if (candidate !== null) return useNativeCrc32c(candidate, probe());
  }
  return false;
}

function load(library: string): Crc32c | null {
  try {
    const raw: (buffer: number, length: number, crc: number) => number = koffi()
      .load(library)
      .func('crc32_iscsi', 'uint', ['uintptr_t', 'int', 'uint']);
    // The library continues a bare register; CRC32C inverts it before and after.
    return (memory, offset, length, seed) => ~raw(addressOf(memory) + offset, length, ~seed >>> 0) >>> 0;
  } catch {
    return null;
  }
}

function probe(): Memory {
  const memory = Memory.alloc(PROBE_BYTES);
  for (let i = 0; i < PROBE_BYTES; i++) memory.bytes[i] = (i * 167 + (i >>> 5)) & 0xff;
  return memory;
}
