import { Memory, Ring } from '@nvbraid/base';
import type { Io } from '../block-device.ts';
import { MAX_FALLOCATES } from '../limits.ts';
import { type Done, ECANCELED, EOPNOTSUPP, type FileCalls, ZeroMode } from './file-calls.ts';
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
  const queue = new FallocateQueue(library);
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

    zeroLater(fd, mode, position, length, done, io) {
      queue.add({ fd, mode: zeroFlags(mode), position, length, done, io });
    },
  };
}

function zeroFlags(mode: ZeroMode): number {
  return FALLOC_FL_KEEP_SIZE | (mode === ZeroMode.Punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
}

interface Fallocate {
  fd: number;
  mode: number;
  position: number;
  length: number;
  done: Done;
  io: Io;
}

/** fallocate on the thread pool, few at a time: the pool is small and reads wait for it too. */
class FallocateQueue {
  readonly #library: Libc;
  readonly #waiting = new Ring<Fallocate>();
  #running = 0;

  constructor(library: Libc) {
    this.#library = library;
  }

  add(call: Fallocate): void {
    this.#waiting.push(call);
    if (this.#running < MAX_FALLOCATES) this.#next();
  }

  #next(): void {
    let call = this.#waiting.shift();
    for (; call?.io.revoked === true; call = this.#waiting.shift()) call.done({ errno: ECANCELED });
    if (call === undefined) return;
    this.#run(call);
  }

  #run(call: Fallocate): void {
    this.#running++;
    const { fd, mode, position, length, done } = call;
    this.#library.fallocate.async(fd, mode, position, length, (error, result) => {
      this.#running--;
      this.#next();
      done(this.#outcome(error, result, call), 0);
    });
  }

  #outcome(error: unknown, result: number, call: Fallocate): { errno: number } | null {
    if (error === null && result === 0) return null;
    // The error number stayed behind in the pool's thread. A call that failed there fails here as well, at once.
    const again = this.#library.fallocate(call.fd, call.mode, call.position, call.length);
    return again === 0 ? null : { errno: this.#library.error() };
  }
}
