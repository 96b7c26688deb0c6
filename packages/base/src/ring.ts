/** A first-in first-out queue over one array: no allocation once it has its working size. */
export class Ring<T> {
  #items: (T | undefined)[];
  #head = 0;
  #length = 0;

  /** @param capacity first size, a power of two; the ring grows by doubling. */
  constructor(capacity = 16) {
    this.#items = new Array(capacity).fill(undefined);
  }

  get length(): number {
    return this.#length;
  }

  push(item: T): void {
    if (this.#length === this.#items.length) this.#grow();
    this.#items[(this.#head + this.#length) & (this.#items.length - 1)] = item;
    this.#length++;
  }

  /** Puts an item before all others. */
  unshift(item: T): void {
    if (this.#length === this.#items.length) this.#grow();
    this.#head = (this.#head - 1) & (this.#items.length - 1);
    this.#items[this.#head] = item;
    this.#length++;
  }

  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#items.length - 1);
    this.#length--;
    return item;
  }

  peek(): T | undefined {
    return this.#length === 0 ? undefined : this.#items[this.#head];
  }

  at(index: number): T | undefined {
    return index < this.#length ? this.#items[(this.#head + index) & (this.#items.length - 1)] : undefined;
  }

  clear(): void {
    while (this.#length > 0) this.shift();
  }

  #grow(): void {
    const old = this.#items;
    const size = old.length;
    this.#items = new Array(size * 2).fill(undefined);
    for (let i = 0; i < size; i++) this.#items[i] = old[(this.#head + i) & (size - 1)];
    this.#head = 0;
  }
}
