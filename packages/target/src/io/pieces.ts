import { Memory, Ring } from '@nvbraid/base';
import { MAX_PIECES, PIECE_BYTES } from '../limits.ts';
import type { IoTask } from './io-task.ts';

/**
 * Memory that data passes through inside a thread, when it is compared, verified or copied. There are a few pieces,
 * made when they are needed; a command that finds none goes on as soon as another has ended.
 */
export class Pieces {
  readonly #free: Memory[] = [];
  readonly #waiting = new Ring<IoTask>();
  #made = 0;
  #handing = false;

  /** Sees to `task.piece`; false when the task goes on later, by `commands.proceed`. */
  take(task: IoTask): boolean {
    if (this.#free.length === 0 && this.#made < MAX_PIECES) {
      this.#made++;
      this.#free.push(Memory.alloc(PIECE_BYTES));
    }
    const piece = this.#waiting.length === 0 ? this.#free.pop() : undefined;
    if (piece === undefined) {
      this.#waiting.push(task);
      return false;
    }
    task.piece = piece;
    return true;
  }

  give(piece: Memory): void {
    this.#free.push(piece);
    if (this.#handing) return;
    // A loop, since a command that gets a piece may be over, and give it back, at once.
    this.#handing = true;
    while (this.#waiting.length > 0 && this.#free.length > 0) {
      const task = this.#waiting.shift()!;
      task.piece = this.#free.pop()!;
      task.commands.proceed(task);
    }
    this.#handing = false;
  }
}
