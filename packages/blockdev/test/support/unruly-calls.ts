import type { Memory, Rng } from '@nvbraid/base';
import { type Done, EAGAIN, EOPNOTSUPP, type FileCalls } from '../../src/file/file-calls.ts';
import { libc } from '../../src/file/native.ts';
import { nativeCalls } from '../../src/file/native-calls.ts';
import { nodeCalls } from '../../src/file/node-calls.ts';

/** System calls as the worst file system would do them: short, late, in any order, and cold half of the time. */
export function unruly(rng: Rng, blockSize: number): FileCalls {
  const library = libc();
  const real = library === null ? nodeCalls : nativeCalls(library);
  const short = (length: number) => (rng.chance(0.3) ? rng.between(1, Math.min(length, 2 * blockSize)) : length);
  const late = (start: () => void) => {
    if (rng.chance(0.3)) setTimeout(start, rng.below(3));
    else if (rng.chance(0.5)) setImmediate(start);
    else start();
  };
  type Arguments = [fd: number, memory: Memory, memoryOffset: number, length: number, position: number];
  return {
    readNow: (...[fd, memory, memoryOffset, length, position]: Arguments) =>
      rng.chance(0.5) ? EAGAIN : real.readNow(fd, memory, memoryOffset, short(length), position),
    writeNow: (...[fd, memory, memoryOffset, length, position]: Arguments) =>
      real.writeNow(fd, memory, memoryOffset, short(length), position),
    readLater: (...[fd, memory, memoryOffset, length, position, done]: [...Arguments, Done]) =>
      late(() => real.readLater(fd, memory, memoryOffset, short(length), position, done)),
    writeLater: (...[fd, memory, memoryOffset, length, position, done]: [...Arguments, Done]) =>
      late(() => real.writeLater(fd, memory, memoryOffset, short(length), position, done)),
    syncLater: (_fd, done) => late(() => process.nextTick(done, null)),
    zeroLater: (fd, mode, position, length, done) =>
      late(() => {
        if (rng.chance(0.05)) process.nextTick(done, { errno: EOPNOTSUPP });
        else real.zeroLater(fd, mode, position, length, done);
      }),
  };
}
