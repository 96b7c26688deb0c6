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

  /** Takes one out of the middle; false when it is not here. */
  remove(bio: B): boolean {
    let before: B | null = null;
    for (let at = this.#first; at !== null; before = at, at = at.next) {
      if (at !== bio) continue;
      if (before === null) this.#first = at.next;
      else before.next = at.next;
      if (this.#last === at) this.#last = before;
      at.next = null;
      this.length--;
      return true;
    }
    return false;
  }
}
