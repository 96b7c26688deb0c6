import { assert } from './assert.ts';

/** event -> the states it may happen in -> the state it leads to */
export type Transitions<S extends string, E extends string> = Readonly<Record<E, Readonly<Partial<Record<S, S>>>>>;

/**
 * A state machine declared as one table. The same table runs the code, answers "may this happen now?" and prints the
 * transition matrix that is kept as a snapshot in the tests.
 */
export class StateTable<S extends string, E extends string> {
  readonly name: string;
  readonly initial: S;
  readonly transitions: Transitions<S, E>;

  constructor(name: string, initial: S, transitions: Transitions<S, E>) {
    this.name = name;
    this.initial = initial;
    this.transitions = transitions;
  }

  may(state: S, event: E): boolean {
    return this.transitions[event][state] !== undefined;
  }

  /** The state after `event`; an event that may not happen in `state` is a programmer error. */
  next(state: S, event: E): S {
    const to = this.transitions[event][state];
    assert(to !== undefined, `${this.name}: ${event} in state ${state}`);
    return to;
  }

  /** A line per event: `event: from -> to, from -> to`. */
  describe(): string {
    const lines: string[] = [`${this.name} (starts in ${this.initial})`];
    for (const [event, moves] of Object.entries(this.transitions) as [E, Partial<Record<S, S>>][]) {
      const pairs = Object.entries(moves).map(([from, to]) => `${from} -> ${to}`);
      lines.push(`  ${event}: ${pairs.join(', ')}`);
    }
    return lines.join('\n');
  }
}
