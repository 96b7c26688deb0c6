import { fdatasync, read, write, writeSync } from 'node:fs';
import type { Memory } from '@nvbraid/base';
import { type Done, EIO, EOPNOTSUPP, type FileCalls, type ZeroMode } from './file-calls.ts';

/** The calls through node:fs alone, for systems without koffi and without Linux' calls. */
export const nodeCalls: FileCalls = {
  readNow(): number {
    // node:fs cannot read the page cache alone, and a synchronous read of cold data would stop the thread.
    return EOPNOTSUPP;
  },

  writeNow(fd: number, memory: Memory, memoryOffset: number, length: number, position: number): number {
    try {
      return writeSync(fd, memory.bytes, memoryOffset, length, position);
    } catch (error) {
      return (error as NodeJS.ErrnoException).errno ?? EIO;
    }
  },

  readLater(fd: number, memory: Memory, memoryOffset: number, length: number, position: number, done: Done): void {
    read(fd, memory.bytes, memoryOffset, length, position, done);
  },

  writeLater(fd: number, memory: Memory, memoryOffset: number, length: number, position: number, done: Done): void {
    write(fd, memory.bytes, memoryOffset, length, position, done);
  },

  syncLater(fd: number, done: Done): void {
    fdatasync(fd, done);
  },

  zeroLater(_fd: number, _mode: ZeroMode, _position: number, _length: number, done: Done): void {
    process.nextTick(done, { errno: EOPNOTSUPP });
  },
};
