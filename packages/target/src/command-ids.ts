/** The command identifiers that are in use on a queue: one bit each. */
export class CommandIds {
  readonly #words = new Uint32Array(2048);

  /** False when the identifier is in use. */
  take(cid: number): boolean {
    const bit = 1 << (cid & 31);
    if ((this.#words[cid >>> 5]! & bit) !== 0) return false;
    this.#words[cid >>> 5]! |= bit;
    return true;
  }

  give(cid: number): void {
    this.#words[cid >>> 5]! &= ~(1 << (cid & 31));
  }
}
