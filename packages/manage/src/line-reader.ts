/** Cuts a byte stream into lines, and holds at most one unfinished line of bounded length. */
export class LineReader {
  readonly #limit: number;
  #pieces: Buffer[] = [];
  #length = 0;
  /** A line was longer than the limit: nothing more can be read. */
  overflow = false;

  /** @param limit longest line in bytes, without its newline. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The lines that `chunk` completes. */
  push(chunk: Buffer): string[] {
    const lines: string[] = [];
    let from = 0;
    while (!this.overflow && from < chunk.length) {
      const newline = chunk.indexOf(0x0a, from);
      const end = newline < 0 ? chunk.length : newline;
      if (this.#length + end - from > this.#limit) {
        this.overflow = true;
        this.#pieces = [];
        break;
      }
      this.#pieces.push(chunk.subarray(from, end));
      this.#length += end - from;
      if (newline < 0) break;
      lines.push(Buffer.concat(this.#pieces, this.#length).toString('utf8'));
      this.#pieces = [];
      this.#length = 0;
      from = newline + 1;
    }
    return lines;
  }
}
