import { EventEmitter } from 'node:events';
import type { Subflow, SubflowReport } from '@nvbraid/transport';
import { SUBFLOW_WATCH_MS } from './limits.ts';

/** The subflows of the connection behind one queue. */
export interface QueueSubflows extends SubflowReport {
  /** 0 is the admin queue. */
  readonly qid: number;
}

/**
 * What becomes of a subflow: `added`, `lost` (closed, by whichever end), `stale` and `recovered` (see `Subflow.stale`). Or of
 * a whole connection: `fallback`, it is plain TCP.
 */
export type SubflowEvent = 'added' | 'lost' | 'stale' | 'recovered' | 'fallback';

export interface SubflowChange<Q extends QueueSubflows = QueueSubflows> {
  readonly event: SubflowEvent;
  /** How the queue stands after it. */
  readonly queue: Q;
  /** As it was seen last; null for `fallback`. */
  readonly subflow: Subflow | null;
  /** Subflows of the connection that are established and not stale. */
  readonly working: number;
}

/** When to look again; a stand-in for the clock of the system in tests. */
export interface WatchTimers {
  set(ms: number, call: () => void): unknown;
  clear(timer: unknown): void;
}

const systemTimers: WatchTimers = {
  set: (ms, call) => setTimeout(call, ms).unref(),
  clear: (timer) => clearTimeout(timer as NodeJS.Timeout),
};

/** What every emitter tells of its listeners. */
interface ListenerEvents {
  newListener: [name: string];
  removeListener: [name: string];
}

interface WatchEvents<Q extends QueueSubflows> {
  /** All that happened between two looks. */
  changes: [changes: readonly SubflowChange<Q>[]];
}

/**
 * Tells what becomes of subflows, for as long as somebody listens; nobody listening, nothing is looked at. It compares what
 * the kernel says now with what it said a second ago: what came and went between is not seen, nor is a link that has
 * failed while nothing was to be sent by it. Subflows that a connection has when it is first looked at count as added,
 * except for the one that it was made by.
 */
export class SubflowWatch<Q extends QueueSubflows = QueueSubflows> extends EventEmitter<WatchEvents<Q>> {
  readonly #read: () => Promise<readonly Q[]>;
  readonly #timers: WatchTimers;
  #known = new Map<string, Q>();
  #timer: unknown = null;
  /** Which run of looks this is; looks of earlier ones have been stopped. */
  #run = 0;
  #closed = false;

  constructor(read: () => Promise<readonly Q[]>, timers: WatchTimers = systemTimers) {
    super();
    this.#read = read;
    this.#timers = timers;
    const events = this as unknown as EventEmitter<ListenerEvents>;
    events.on('newListener', (name) => {
      if (name === 'changes' && this.listenerCount('changes') === 0) this.#start();
    });
    events.on('removeListener', (name) => {
      if (name === 'changes' && this.listenerCount('changes') === 0) this.#stop();
    });
  }

  /** What it watches is gone. */
  close(): void {
    this.#closed = true;
    this.#stop();
  }

  #start(): void {
    if (this.#closed) return;
    this.#known = new Map();
    void this.#look(++this.#run);
  }

  #stop(): void {
    this.#run++;
    if (this.#timer !== null) this.#timers.clear(this.#timer);
    this.#timer = null;
  }

  async #look(run: number): Promise<void> {
    const queues = await this.#read();
    if (run !== this.#run) return;
    const changes = queues.flatMap((queue) => compareSubflows(this.#known.get(queue.connection), queue));
    this.#known = new Map(queues.map((queue) => [queue.connection, queue]));
    this.#timer = this.#timers.set(SUBFLOW_WATCH_MS, () => void this.#look(run));
    if (changes.length > 0) this.emit('changes', changes);
  }
}

/** What has happened to a connection. @param before undefined when it is new */
export function compareSubflows<Q extends QueueSubflows>(
  before: QueueSubflows | undefined,
  queue: Q,
): SubflowChange<Q>[] {
  const there = queue.subflows.filter(established);
  const working = there.filter(({ stale }) => !stale).length;
  const change = (event: SubflowEvent, subflow: Subflow | null): SubflowChange<Q> => ({
    event,
    queue,
    subflow,
    working,
  });
  if (queue.fallback === true) return before?.fallback === true ? [] : [change('fallback', null)];
  // All at once: the connection is coming to its end, or has not begun.
  if (there.length === 0) return [];
  const known = new Map((before?.subflows ?? there.slice(0, 1)).filter(established).map((one) => [key(one), one]));
  const changes: SubflowChange<Q>[] = [];
  for (const subflow of there) {
    const old = known.get(key(subflow));
    known.delete(key(subflow));
    if (old === undefined) changes.push(change('added', subflow));
    if (subflow.stale !== (before === undefined ? false : (old?.stale ?? false))) {
      changes.push(change(subflow.stale ? 'stale' : 'recovered', subflow));
    }
  }
  for (const subflow of known.values()) changes.push(change('lost', subflow));
  return changes;
}

function established({ state }: Subflow): boolean {
  return state === 'established';
}

function key({ local, remote }: Subflow): string {
  return `${local.address} ${local.port} ${remote.address} ${remote.port}`;
}
