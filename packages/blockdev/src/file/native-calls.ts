import { Memory } from '@nvbraid/base';
import { EOPNOTSUPP, type FileCalls, ZeroMode } from './file-calls.ts';
import { addressOf, type Libc } from './native.ts';
import { nodeCalls } from './node-calls.ts';

const RWF_NOWAIT = 8;
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
const FALLOC_FL_ZERO_RANGE = 0x10;

/** Linux' own calls. One object per thread: it owns scratch memory. */
export function nativeCalls(library: Libc): FileCalls {
  const iov = Memory.alloc(16);
  const iovWords = new Uint32Array(iov.bytes.buffer);
  const iovAddress = addressOf(library, iov);
  return {
    readNow(fd, memory, memoryOffset, length, position) {
      if (library.preadv2 === null) return EOPNOTSUPP;
      const address = addressOf(library, memory) + memoryOffset;
      iovWords[0] = address >>> 0;
      iovWords[1] = (address / 0x100000000) >>> 0;
      iovWords[2] = length;
      const count = library.preadv2(fd, iovAddress, 1, position, RWF_NOWAIT);
      return count >= 0 ? count : library.error();
    },

    writeNow(fd, memory, memoryOffset, length, position) {
      const count = library.pwrite(fd, addressOf(library, memory) + memoryOffset, length, position);
      return count >= 0 ? count : library.error();
    },

    // node:fs runs on the same thread pool as koffi's asynchronous calls would, and tells the error number.
    readLater: nodeCalls.readLater,
    writeLater: nodeCalls.writeLater,
    syncLater: nodeCalls.syncLater,

    zeroLater(fd, mode, position, length, done) {
      const flags = zeroFlags(mode);
      library.fallocate.async(fd, flags, position, length, (error, result) => {
        if (error === null && result === 0) return done(null, 0);
        // The error number stayed behind in the pool's thread. A call that failed there fails here as well, at once.
        const again = library.fallocate(fd, flags, position, length);
        done(again === 0 ? null : { errno: library.error() }, 0);
      });
    },
  };
}

function zeroFlags(mode: ZeroMode): number {
  return FALLOC_FL_KEEP_SIZE | (mode === ZeroMode.Punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
}
