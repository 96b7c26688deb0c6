/** Counts the connections that have not been answered a Connect yet, by the address they come from. */
export class HalfOpen {
  readonly #most: number;
  readonly #mostPerAddress: number;
  readonly #counts = new Map<string, number>();
  #total = 0;

  constructor(most: number, mostPerAddress: number) {
    this.#most = most;
    this.#mostPerAddress = mostPerAddress;
  }

  get total(): number {
    return this.#total;
  }

  /** The limit that stands against another one from this address; null when it has been counted. */
  add(address: string): 'halfOpen' | 'halfOpenPerAddress' | null {
    const count = this.#counts.get(address) ?? 0;
    if (count >= this.#mostPerAddress) return 'halfOpenPerAddress';
    if (this.#total >= this.#most) return 'halfOpen';
    this.#counts.set(address, count + 1);
    this.#total++;
    return null;
  }

  /** One that was added is connected, or gone. */
  remove(address: string): void {
    const count = this.#counts.get(address) ?? 0;
    if (count === 0) return;
    this.#total--;
    if (count === 1) this.#counts.delete(address);
    else this.#counts.set(address, count - 1);
  }
}
