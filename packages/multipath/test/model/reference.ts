/*
 * What the library is to do, written once more: lists are searched and filtered anew for every question, nothing is
 * remembered that could be found out, and no code is shared with the library.
 */

export type State = 'optimized' | 'non-optimized' | 'other';
export type Policy = 'numa' | 'round-robin' | 'queue-depth' | 'service-time';
export type End = 'ok' | 'path error' | 'retryable' | 'final';

export interface RefPath {
  id: number;
  state: State;
  disabled: boolean;
  hopeful: boolean;
  /** -1: none. */
  node: number;
  /** Which of the shared counters. */
  counter: number;
  latency: number;
  sampled: number;
  bytes: number;
}

export interface RefBio {
  id: number;
  node: number;
  bytes: number;
  noRetry: boolean;
  path: RefPath | null;
  retries: number;
  counted: boolean;
  timed: boolean;
  started: number;
}

const MAX_RETRIES = 5;
const smallest = <T>(items: T[], size: (item: T) => number): T | undefined => {
  let best: T | undefined;
  for (const item of items) if (best === undefined || size(item) < size(best)) best = item;
  return best;
};

export class Reference {
  readonly nodes: number;
  readonly distance: (from: number, to: number) => number;
  paths: RefPath[] = [];
  slots: (RefPath | null)[];
  policy: Policy = 'numa';
  readonly counters: number[];
  now: number;
  usual = 1;
  measured = 0;
  live = true;
  queueing = false;
  kicked = false;
  secs = 0;
  removalDue: number | null = null;
  queue: RefBio[] = [];
  flying: RefBio[] = [];
  requeued = 0;
  failed = 0;
  /** What happened since it was last looked at: `bio id > path id`, `bio id = status`. */
  events: string[] = [];

  constructor(nodes: number, counters: number, now: number, distance: (from: number, to: number) => number) {
    this.nodes = nodes;
    this.slots = new Array<RefPath | null>(nodes).fill(null);
    this.counters = new Array<number>(counters).fill(0);
    this.now = now;
    this.distance = distance;
  }

  find(node: number): RefPath | null {
    const far = (path: RefPath): number =>
      this.policy === 'numa' && path.node !== -1 ? this.distance(node, path.node) : 10;
    return (this.slots[node] = this.#best(far));
  }

  select(node: number, bytes: number): RefPath | null {
    const slot = this.slots[node]!;
    switch (this.policy) {
      case 'numa':
        return slot !== null && !slot.disabled && slot.state === 'optimized' ? slot : this.find(node);
      case 'queue-depth':
        return this.#best((path) => this.counters[path.counter]!);
      case 'service-time':
        return this.#best((path) => {
          const old = path.sampled < this.measured - 2000;
          const latency = old ? Math.min(path.latency, this.usual) : path.latency;
          return latency * (path.bytes + Math.max(bytes, 4096));
        });
      case 'round-robin':
        return slot === null ? this.find(node) : this.#next(node, slot);
    }
  }

  submit(bio: RefBio): void {
    bio.retries = 0;
    bio.path = null;
    const path = this.live ? this.select(bio.node, bio.bytes) : null;
    if (path !== null) this.#send(bio, path);
    else if (this.live && (this.queueing || this.paths.some(({ hopeful }) => hopeful))) {
      this.requeued++;
      this.queue.push(bio);
    } else {
      if (this.live) this.failed++;
      this.events.push(`${bio.id} = failed`);
    }
  }

  /** Answers whether the driver is to send it again. */
  end(bio: RefBio, how: End): boolean {
    const path = bio.path!;
    const over = how === 'ok' || how === 'final' || bio.noRetry || bio.retries >= MAX_RETRIES;
    const again = !over && how === 'retryable' && this.paths.includes(path);
    if (bio.timed) {
      this.measured = this.now;
      if (how === 'ok') {
        const took = Math.max(this.now - bio.started, 0.001);
        path.latency = path.latency === Infinity ? took : path.latency + (took - path.latency) * 0.125;
        path.sampled = this.now;
        this.usual += (took - this.usual) * 0.125;
      }
      bio.started = this.now;
    }
    if (again) {
      bio.retries++;
      return true;
    }
    if (bio.timed) path.bytes -= bio.bytes;
    if (bio.counted) this.counters[path.counter] = Math.max(0, this.counters[path.counter]! - 1);
    this.flying = this.flying.filter((other) => other !== bio);
    bio.path = null;
    if (over) this.events.push(`${bio.id} = ${how === 'ok' ? 'ok' : 'failed'}`);
    else {
      this.empty(path);
      this.queue.push(bio);
      this.kicked = true;
    }
    return false;
  }

  empty(path: RefPath): void {
    this.slots = this.slots.map((slot) => (slot === path ? null : slot));
  }

  emptyAll(): void {
    this.slots.fill(null);
  }

  kick(): void {
    if (this.queue.length > 0) this.kicked = true;
  }

  add(path: RefPath): void {
    this.paths.push(path);
    this.removalDue = null;
  }

  delete(path: RefPath): void {
    this.paths = this.paths.filter((other) => other !== path);
    this.empty(path);
    if (this.paths.length === 0 && this.queueing) this.removalDue = this.now + this.secs * 1000;
  }

  setLive(path: RefPath): void {
    if (!path.disabled && path.state === 'optimized') for (let node = 0; node < this.nodes; node++) this.find(node);
    this.kick();
  }

  setSecs(secs: number): void {
    this.secs = secs;
    this.queueing = secs > 0;
    if (secs === 0 && this.removalDue !== null) this.removalDue = this.now;
  }

  setPolicy(policy: Policy): void {
    if (policy === this.policy) return;
    this.policy = policy;
    this.emptyAll();
    this.kick();
  }

  tick(): void {
    if (this.removalDue !== null && this.now >= this.removalDue) {
      this.removalDue = null;
      this.queueing = false;
      for (const bio of this.queue.splice(0)) this.events.push(`${bio.id} = failed`);
      this.kicked = false;
      this.events.push('removed');
    }
    if (!this.kicked) return;
    this.kicked = false;
    for (const bio of this.queue.splice(0)) this.submit(bio);
  }

  #best(size: (path: RefPath) => number): RefPath | null {
    const usable = this.paths.filter(({ disabled }) => !disabled);
    const of = (state: State): RefPath[] => usable.filter((path) => path.state === state);
    return smallest(of('optimized'), size) ?? smallest(of('non-optimized'), size) ?? null;
  }

  #next(node: number, old: RefPath): RefPath | null {
    if (this.paths.length === 1) return old.disabled ? null : old;
    const at = this.paths.indexOf(old);
    const others = [...this.paths.slice(at + 1), ...this.paths.slice(0, at)].filter(({ disabled }) => !disabled);
    const optimized = others.find(({ state }) => state === 'optimized');
    if (optimized !== undefined) return (this.slots[node] = optimized);
    const other = others.findLast(({ state }) => state === 'non-optimized');
    const stays = old.state === 'optimized' || (other === undefined && old.state === 'non-optimized');
    if (stays && !old.disabled) return old;
    if (other !== undefined) this.slots[node] = other;
    return other ?? null;
  }

  #send(bio: RefBio, path: RefPath): void {
    bio.path = path;
    bio.counted = this.policy === 'queue-depth';
    bio.timed = this.policy === 'service-time';
    if (bio.counted) this.counters[path.counter]!++;
    if (bio.timed) {
      bio.started = this.measured = this.now;
      path.bytes += bio.bytes;
    }
    this.flying.push(bio);
    this.events.push(`${bio.id} > ${path.id}`);
  }
}
