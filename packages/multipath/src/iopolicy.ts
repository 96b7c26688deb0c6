import { NvbraidError } from '@nvbraid/base';
import type { Head } from './head.ts';
import type { Selector } from './selector.ts';
import { SELECTORS } from './selectors/index.ts';

export interface IopolicyOptions {
  /** Name of the policy to begin with. */
  initial?: string;
  /** More policies besides the built-in ones. */
  selectors?: readonly Selector[];
  /** Told of each change, as one sentence. */
  log?: (message: string) => void;
}

/**
 * The policy variable. A driver has one for all heads that change together, a subsystem say, and hands it to each of
 * them. A change empties the slots of those heads and moves what they have queued.
 */
export class Iopolicy {
  /** The policy in force. */
  selector: Selector;
  readonly #known = new Map<string, Selector>();
  readonly #heads = new Set<Head>();
  readonly #log: (message: string) => void;

  constructor(options: IopolicyOptions = {}) {
    for (const selector of [...SELECTORS, ...(options.selectors ?? [])]) {
      if (this.#known.has(selector.name)) {
        throw new NvbraidError('EINVAL', `there are two policies named ${selector.name}`);
      }
      this.#known.set(selector.name, selector);
    }
    const initial = this.#known.get(options.initial ?? SELECTORS[0]!.name);
    if (initial === undefined) {
      throw new NvbraidError('EINVAL', `unknown iopolicy '${options.initial}': ${this.names().join(', ')}`);
    }
    this.selector = initial;
    this.#log = options.log ?? (() => {});
  }

  /** The names that `store` accepts. */
  names(): string[] {
    return [...this.#known.keys()];
  }

  show(): string {
    return this.selector.name;
  }

  /** Changes the policy. False when no policy has exactly this name: nothing has changed. */
  store(name: string): boolean {
    const selector = this.#known.get(name);
    if (selector === undefined) return false;
    const old = this.selector;
    if (selector === old) return true;
    this.selector = selector;
    this.#log(`iopolicy changed from ${old.name} to ${selector.name}`);
    for (const head of this.#heads) {
      head.clearPaths();
      head.kickRequeue();
    }
    return true;
  }

  /** Called by the head. */
  attach(head: Head): void {
    this.#heads.add(head);
  }

  detach(head: Head): void {
    this.#heads.delete(head);
  }
}
