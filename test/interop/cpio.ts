/*
 * Writes the archive format that the kernel unpacks as its first root ("newc"). The kernel takes several archives one
 * after the other, which is how a story's scripts join the prepared one.
 */
import { closeSync, openSync, writeSync } from 'node:fs';

export interface CpioEntry {
  /** Path without a leading slash; parents must come first. */
  path: string;
  /** Absent: a directory. */
  content?: Uint8Array | string;
  executable?: boolean;
}

const DIRECTORY = 0o040755;
const FILE = 0o100644;
const PROGRAM = 0o100755;

/** The archive's bytes, a multiple of 512 so that another one can follow. */
export function cpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = [];
  entries.forEach((entry, i) => {
    const content = entry.content === undefined ? Buffer.alloc(0) : Buffer.from(entry.content);
    const mode = entry.content === undefined ? DIRECTORY : entry.executable ? PROGRAM : FILE;
    parts.push(header(i + 1, mode, content.length, entry.path), content, padding(content.length, 4));
  });
  parts.push(header(0, 0, 0, 'TRAILER!!!'));
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([...parts, padding(length, 512)]);
}

function header(inode: number, mode: number, size: number, path: string): Buffer {
  // inode mode uid gid nlink mtime size devmajor devminor rdevmajor rdevminor namesize check
  const fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, path.length + 1, 0];
  const text = '070701' + fields.map((field) => field.toString(16).padStart(8, '0')).join('') + path + '\0';
  return Buffer.concat([Buffer.from(text, 'latin1'), padding(text.length, 4)]);
}

function padding(length: number, unit: number): Buffer {
  return Buffer.alloc((unit - (length % unit)) % unit);
}

export function writeParts(file: string, parts: readonly Uint8Array[]): void {
  const fd = openSync(file, 'w');
  try {
    for (const part of parts) writeSync(fd, part);
  } finally {
    closeSync(fd);
  }
}
