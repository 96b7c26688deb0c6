import { type Io, IoOp } from '../block-device.ts';
import { WAIT_RETRIES, WAIT_RETRY_MS, WAIT_SCAN } from '../limits.ts';
import { Start, type Task } from './file-task.ts';

/** What the line asks of its device. */
export interface WaitLineOwner {
  /** Tries to start a task. */
  start(task: Task): Start;
  /** The task is over and its `io` has the result. */
  end(task: Task): void;
  /** A task has waited so long for another thread that this one must be dead. Sets the result. */
  abandon(task: Task): void;
}

/**
 * The operations of one thread that found a stripe taken, in the order they came. They hold nothing while they wait,
 * and one that overlaps another (unless both read) does not overtake it. Only the first WAIT_SCAN are tried in one go;
 * a longer line is served strictly in order, which bounds the work for whoever fills it.
 */
export class WaitLine {
  readonly #tasks: Task[] = [];
  readonly #owner: WaitLineOwner;
  /** True when other threads hold stripes too, who do not tell when they give them back. */
  readonly #shared: boolean;
  #timer: NodeJS.Timeout | null = null;

  constructor(owner: WaitLineOwner, shared: boolean) {
    this.#owner = owner;
    this.#shared = shared;
  }

  /** Whether a new operation must get in line behind one that is there. */
  blocks(io: Io): boolean {
    return this.#tasks.length > 0 && this.#overlaps(io, this.#tasks.length);
  }

  add(task: Task): void {
    task.looks = 0;
    this.#tasks.push(task);
    if (this.#shared && this.#timer === null) this.#lookLater();
  }

  /**
   * Tries those in line again, since stripes have been given back.
   * @param looks how much longer they have waited for other threads
   */
  run(looks = 0): void {
    const tasks = this.#tasks;
    if (tasks.length === 0) return;
    const over: Task[] = [];
    let progress = true;
    while (progress && tasks.length > 0) {
      const scan = Math.min(tasks.length, WAIT_SCAN);
      let kept = 0;
      for (let i = 0; i < scan; i++) {
        const task = tasks[i]!;
        const start = this.#overlaps(task.io, kept) ? Start.Busy : this.#owner.start(task);
        if (start === Start.Done) over.push(task);
        else if (start === Start.Busy) tasks[kept++] = task;
      }
      tasks.splice(kept, scan - kept);
      // Who stood behind those that were tried has come forward.
      progress = kept < scan;
    }
    if (looks > 0) this.#abandonOld(looks, over);
    for (const task of over) this.#owner.end(task);
  }

  #abandonOld(looks: number, over: Task[]): void {
    for (let i = this.#tasks.length - 1; i >= 0; i--) {
      const task = this.#tasks[i]!;
      task.looks += looks;
      if (task.looks <= WAIT_RETRIES) continue;
      this.#owner.abandon(task);
      over.push(task);
      this.#tasks.splice(i, 1);
    }
  }

  #lookLater(): void {
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.run(1);
      if (this.#tasks.length > 0 && this.#timer === null) this.#lookLater();
    }, WAIT_RETRY_MS);
  }

  /** Whether the operation overlaps one of the first `count` in line and one of the two changes something. */
  #overlaps(io: Io, count: number): boolean {
    if (count >= WAIT_SCAN) return true;
    const end = io.offset + io.length;
    for (let i = 0; i < count; i++) {
      const other = this.#tasks[i]!.io;
      const apart = other.offset >= end || other.offset + other.length <= io.offset;
      if (!apart && (io.op !== IoOp.Read || other.op !== IoOp.Read)) return true;
    }
    return false;
  }
}
