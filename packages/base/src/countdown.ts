/**
 * Takes one of what a word of shared memory has left, for any number of threads.
 * @returns false when nothing is left; a negative word has no end
 */
export function takeOne(words: Int32Array, at: number): boolean {
  for (;;) {
    const left = Atomics.load(words, at);
    if (left < 0) return true;
    if (left === 0) return false;
    if (Atomics.compareExchange(words, at, left, left - 1) === left) return true;
  }
}

/** Takes one of what is to be skipped. @returns false when nothing is left to skip */
export function skipOne(words: Int32Array, at: number): boolean {
  return Atomics.load(words, at) > 0 && Atomics.sub(words, at, 1) > 0;
}
