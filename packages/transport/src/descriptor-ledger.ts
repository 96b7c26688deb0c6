import { libc } from './libc.ts';

/** Descriptors beyond it are not entered; more than systems let a process have by default. */
const DESCRIPTORS_MAX = 1 << 20;

/**
 * Which descriptors a thread has open, where another thread can see it: those of raw sockets outlive a thread that dies,
 * and with them connections that nobody answers.
 */
export class DescriptorLedger {
  /** Can be posted to another thread. */
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(buffer = new SharedArrayBuffer(DESCRIPTORS_MAX / 8)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  opened(fd: number): void {
    if (fd < DESCRIPTORS_MAX) Atomics.or(this.#words, fd >> 5, 1 << (fd & 31));
  }

  /** To be called before the descriptor is closed: its number may be somebody else's right after. */
  closing(fd: number): void {
    if (fd < DESCRIPTORS_MAX) Atomics.and(this.#words, fd >> 5, ~(1 << (fd & 31)));
  }

  /**
   * Closes what is still open. Only once the thread has ended: until then native calls of it may use them.
   * @returns how many there were
   */
  closeAll(): number {
    let count = 0;
    for (let word = 0; word < this.#words.length; word++) {
      let bits = Atomics.exchange(this.#words, word, 0);
      for (; bits !== 0; bits &= bits - 1) {
        libc().close((word << 5) | (31 - Math.clz32(bits & -bits)));
        count++;
      }
    }
    return count;
  }
}
