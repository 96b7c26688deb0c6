import type { Bio } from './bio.ts';

/** First in, first out, linked through the bios themselves: queueing never allocates and never fails. */
export class RequeueList<B extends Bio> {
  #first: B | null = null;
  #last: B | null = null;
  length = 0;

  push(bio: B): void {
    if (this.#last === null) this.#first = bio;
    else this.#last.next = bio;
    this.#last = bio;
    this.length++;
  }

  shift(): B | null {
    const bio = this.#first;
    if (bio === null) return null;
    this.#first = bio.next;
    if (this.#first === null) this.#last = null;
    bio.next = null;
    this.length--;
    return bio;
  }

  /** Appends everything that `other` holds, in its order. */
  takeAll(other: RequeueList<B>): void {
    if (other.#first === null) return;
    if (this.#last === null) this.#first = other.#first;
    else this.#last.next = other.#first;
    this.#last = other.#last;
    this.length += other.length;
    other.#first = null;
    other.#last = null;
    other.length = 0;
  }

  /** From oldest to youngest, for people and tests. */
  *[Symbol.iterator](): Generator<B> {
    for (let bio = this.#first; bio !== null; bio = bio.next) yield bio;
  }
}
