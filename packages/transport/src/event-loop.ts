import { isMainThread } from 'node:worker_threads';
import { assert, Memory, NvbraidError, Ring } from '@nvbraid/base';
import type koffiModule from 'koffi';
import type { DescriptorLedger } from './descriptor-ledger.ts';
import { EAGAIN, EINTR, systemError } from './errors.ts';
import { addressOf, koffi, type Libc, libc } from './libc.ts';
import {
  ATTACHED_WAIT_MS,
  DEDICATED_ROUNDS,
  DEDICATED_WAIT_MS,
  EVENTS_MAX,
  PENDING_WAIT_MS,
  RECEIVE_BYTES,
} from './limits.ts';
import { nodeLoopFd } from './node-loop.ts';

export const EPOLLIN = 0x1;
export const EPOLLOUT = 0x4;
export const EPOLLERR = 0x8;
export const EPOLLHUP = 0x10;

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const EFD_FLAGS = 0o2004000; // EFD_CLOEXEC | EFD_NONBLOCK

/** struct epoll_event is packed on x86-64 and padded elsewhere. In 32-bit words. */
const EVENT_WORDS = process.arch === 'x64' ? 3 : 4;
const EVENT_DATA = EVENT_WORDS - 2;

/** Gets the readiness of a descriptor. */
export interface FdHandler {
  /** @param events EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP */
  ready(events: number): void;
}

/** Work that must not run inside the call that asks for it. */
export interface Deferred {
  runDeferred(): void;
}

export interface DedicatedOptions {
  /**
   * True while asynchronous JavaScript work of this thread is under way (callbacks of fs, native calls, promises):
   * Node's event loop then gets a turn after every batch, and waits are short.
   */
  pendingWork(): boolean;
  /** Another thread called `wake` once or more. */
  onWake(): void;
  /** After every batch of events, at least every `waitMs`. */
  afterBatch?(): void;
  /** Longest time to wait now, in milliseconds; 0 when there is something to do without any event. */
  patienceMs?(): number;
  /** From `createWakeFd`, owned by the caller; without it the loop makes and owns one. */
  wakeFd?: number;
  /** Longest wait in one system call, in milliseconds, and so the delay of timers; default 100. */
  waitMs?: number;
}

/**
 * The event loop of a thread's descriptors: one epoll instance, level-triggered. Either Node's event loop watches it, or
 * it watches Node's:
 *
 * - Attached on the main thread, Node's event loop watches the epoll descriptor. Batches run as immediates, so that
 *   promises and ticks made by handlers run as after any other callback, and a thrown error is an uncaught exception.
 * - Dedicated (`runDedicated`), the thread blocks in `epoll_wait`, with the descriptor of Node's event loop among those
 *   it waits for. A turn of Node's loop is taken when it has something to do, and now and then.
 * - Attached in a worker thread, the second way is taken as well, with short waits: a thread that is terminated while
 *   a poll handle of koffi fires would take the whole process with it.
 */
export class EventLoop {
  /** One `recv` of whatever connection of this thread fills it, and all of it is taken before the next one. */
  readonly receiveMemory = Memory.alloc(RECEIVE_BYTES);
  readonly receiveAddress: number;
  readonly libc: Libc;
  readonly #epfd: number;
  readonly #events = new Uint32Array(new ArrayBuffer(EVENTS_MAX * EVENT_WORDS * 4));
  readonly #eventsAddress: number;
  readonly #control = new Uint32Array(new ArrayBuffer(EVENT_WORDS * 4));
  readonly #controlAddress: number;
  /** By descriptor. The generation tells an event of a closed descriptor from one of its successor. */
  readonly #handlers: (FdHandler | null)[] = [];
  readonly #generations: number[] = [];
  #generation = 0;
  #watched = 0;
  #ledger: DescriptorLedger | null = null;
  readonly #deferred = new Ring<Deferred>();
  #deferredScheduled = false;
  #dispatching = false;
  #closed = false;

  /** Node's loop watches this one. */
  #poll: ReturnType<typeof koffiModule.node.poll> | null = null;
  #referenced = false;
  #batchScheduled = false;

  /** This loop watches Node's. */
  #driving = false;
  #turnScheduled = false;
  /** Turns of Node's loop to be taken before this one may block. */
  #turnsDue = 0;
  #nodeFd = -1;
  #nodeReady = false;

  #dedicated: DedicatedOptions | null = null;
  #stopped: (() => void) | null = null;
  #wakeFd = -1;
  #ownsWakeFd = false;
  #woken = false;
  readonly #counter = Memory.alloc(8);

  constructor() {
    this.libc = libc();
    this.receiveAddress = addressOf(this.receiveMemory);
    this.#eventsAddress = Number(koffi().address(this.#events));
    this.#controlAddress = Number(koffi().address(this.#control));
    this.#epfd = this.libc.epoll_create1(EPOLL_CLOEXEC);
    if (this.#epfd < 0) throw systemError(this.libc.errno(), 'cannot create an event loop');
  }

  /** Descriptors that keep the loop alive. */
  get watched(): number {
    return this.#watched;
  }

  /** Enters its own descriptor, and what is watched from now on. To be called before anything is. */
  keep(ledger: DescriptorLedger): void {
    assert(this.#watched === 0 && this.#ledger === null, 'descriptors are watched already');
    this.#ledger = ledger;
    ledger.opened(this.#epfd);
  }

  /** Watches a descriptor; a loop that does not run yet is attached. */
  add(fd: number, events: number, handler: FdHandler): void {
    this.#register(fd, events, handler);
    this.#ledger?.opened(fd);
    this.#watched++;
    this.#arrange();
  }

  modify(fd: number, events: number): void {
    this.#epollCtl(EPOLL_CTL_MOD, fd, events, this.#generations[fd]!);
  }

  /** To be called before the descriptor is closed. */
  remove(fd: number): void {
    this.#unregister(fd);
    this.#ledger?.closing(fd);
    this.#watched--;
    this.#arrange();
  }

  /** Runs `task` once the current batch is done, or soon when there is none. */
  defer(task: Deferred): void {
    this.#deferred.push(task);
    if (!this.#dispatching) this.#scheduleDeferred();
  }

  /**
   * Gives the thread to its descriptors. Returns at once; the loop begins in the next turn of Node's event loop, and
   * the promise is fulfilled after `stop`.
   */
  runDedicated(options: DedicatedOptions): Promise<void> {
    assert(this.#dedicated === null && !this.#closed, 'event loop runs already');
    this.#ownsWakeFd = options.wakeFd === undefined;
    this.#wakeFd = options.wakeFd ?? createWakeFd();
    this.#register(this.#wakeFd, EPOLLIN, this.#wakeHandler);
    this.#dedicated = options;
    this.#arrange();
    return new Promise((resolve) => {
      this.#stopped = resolve;
    });
  }

  /** Ends `runDedicated`; descriptors that are still watched go on attached. */
  stop(): void {
    if (this.#dedicated === null) return;
    this.#dedicated = null;
    this.#unregister(this.#wakeFd);
    if (this.#ownsWakeFd) closeWakeFd(this.#wakeFd);
    this.#wakeFd = -1;
    this.#arrange();
    this.#stopped!();
    this.#stopped = null;
  }

  /** What other threads pass to `wake`; -1 unless dedicated. */
  get wakeFd(): number {
    return this.#wakeFd;
  }

  /** Gives everything back; nothing may be watched any more. */
  close(): void {
    if (this.#closed) return;
    this.stop();
    assert(this.#watched === 0, 'event loop closed with descriptors in use');
    this.#closed = true;
    this.#unpoll();
    this.#ledger?.closing(this.#epfd);
    this.libc.close(this.#epfd);
    if (current === this) current = null;
  }

  #register(fd: number, events: number, handler: FdHandler): void {
    const generation = (this.#generation = (this.#generation + 1) >>> 0);
    while (this.#handlers.length <= fd) {
      this.#handlers.push(null);
      this.#generations.push(0);
    }
    assert(this.#handlers[fd] === null, 'descriptor is watched already');
    this.#epollCtl(EPOLL_CTL_ADD, fd, events, generation);
    this.#handlers[fd] = handler;
    this.#generations[fd] = generation;
  }

  #unregister(fd: number): void {
    assert(this.#handlers[fd] !== null && this.#handlers[fd] !== undefined, 'descriptor is not watched');
    this.#handlers[fd] = null;
    this.libc.epoll_ctl(this.#epfd, EPOLL_CTL_DEL, fd, this.#controlAddress);
  }

  #epollCtl(op: number, fd: number, events: number, generation: number): void {
    const control = this.#control;
    control[0] = events;
    control[EVENT_DATA] = fd;
    control[EVENT_DATA + 1] = generation;
    const result = this.libc.epoll_ctl(this.#epfd, op, fd, this.#controlAddress);
    if (result < 0) throw systemError(this.libc.errno(), `cannot watch descriptor ${fd}`);
  }

  /** Sees to it that somebody drives this loop, and that the thread lives exactly while there is something to do. */
  #arrange(): void {
    const needed = this.#dedicated !== null || this.#watched > 0;
    if (this.#dedicated === null && isMainThread) {
      this.#stopDriving();
      if (needed || this.#poll !== null) this.#pollReferenced(needed);
    } else if (needed) {
      this.#drive();
    } else {
      this.#stopDriving();
    }
  }

  #pollReferenced(wanted: boolean): void {
    if (this.#poll === null) {
      // The handle must stay referenced from here: koffi closes it when it is collected.
      this.#poll = koffi().node.poll(this.#epfd, { readable: true }, this.#readable);
      this.#referenced = true;
    }
    if (wanted === this.#referenced) return;
    this.#referenced = wanted;
    if (wanted) this.#poll.ref();
    else this.#poll.unref();
  }

  #unpoll(): void {
    this.#poll?.close();
    this.#poll = null;
  }

  #drive(): void {
    if (!this.#driving) {
      this.#unpoll(); // two loops that watch each other would be a circle
      this.#driving = true;
      this.#nodeFd = nodeLoopFd();
      if (this.#nodeFd >= 0) this.#register(this.#nodeFd, EPOLLIN, this.#nodeHandler);
    }
    this.#scheduleTurn();
  }

  #stopDriving(): void {
    if (!this.#driving) return;
    this.#driving = false;
    if (this.#nodeFd >= 0) this.#unregister(this.#nodeFd);
    this.#nodeFd = -1;
  }

  /** Takes one batch of events; answers how many there were. */
  #batch(timeoutMs: number): number {
    const count = this.libc.epoll_wait(this.#epfd, this.#eventsAddress, EVENTS_MAX, timeoutMs);
    if (count < 0) {
      const errno = this.libc.errno();
      if (errno !== EINTR) throw systemError(errno, 'cannot wait for events');
      return 0;
    }
    const events = this.#events;
    this.#dispatching = true;
    try {
      for (let i = 0, at = 0; i < count; i++, at += EVENT_WORDS) {
        const fd = events[at + EVENT_DATA]!;
        const handler = this.#handlers[fd]!;
        // The descriptor may have been closed, and its number given out again, by a handler of this very batch.
        if (handler === null || this.#generations[fd] !== events[at + EVENT_DATA + 1]) continue;
        handler.ready(events[at]!);
      }
      if (this.#deferred.length > 0) this.#runDeferred();
    } finally {
      this.#dispatching = false;
    }
    if (this.#deferred.length > 0) this.#scheduleDeferred();
    return count;
  }

  #runDeferred(): void {
    for (let task = this.#deferred.shift(); task !== undefined; task = this.#deferred.shift()) task.runDeferred();
  }

  #scheduleDeferred(): void {
    if (this.#deferredScheduled) return;
    this.#deferredScheduled = true;
    setImmediate(this.#runDeferredSoon);
  }

  readonly #runDeferredSoon = (): void => {
    this.#deferredScheduled = false;
    try {
      this.#runDeferred();
    } finally {
      if (this.#deferred.length > 0) this.#scheduleDeferred();
    }
  };

  readonly #readable = (): void => {
    if (this.#batchScheduled) return;
    this.#batchScheduled = true;
    setImmediate(this.#runAttached);
  };

  readonly #runAttached = (): void => {
    this.#batchScheduled = false;
    // One batch: what it has ended must be heard, and answered, before the next one. Node's loop sees what is left.
    if (this.#poll !== null) this.#batch(0);
  };

  #scheduleTurn(): void {
    if (this.#turnScheduled) return;
    this.#turnScheduled = true;
    setImmediate(this.#turn);
  }

  /** The part of this loop in one turn of Node's. */
  readonly #turn = (): void => {
    this.#turnScheduled = false;
    if (!this.#driving) return;
    try {
      this.#spin();
    } finally {
      if (this.#driving) this.#scheduleTurn();
    }
  };

  /** Runs batches until Node's loop should have a turn. */
  #spin(): void {
    if (this.#turnsDue > 0) {
      this.#turnsDue--;
      this.#batch(0);
      this.#dedicated?.afterBatch?.();
      return;
    }
    for (let round = 0; round < DEDICATED_ROUNDS && this.#driving; round++) {
      if (this.#deferred.length > 0) this.#runDeferred();
      const count = this.#batch(this.#waitMs());
      this.#dedicated?.afterBatch?.();
      if (count > 0 && (this.#nodeReady || this.#woken || this.#dedicated?.pendingWork() === true)) {
        // The first turn runs what is ready; the second one lets Node's loop watch what that has started.
        this.#turnsDue = 1;
        break;
      }
      // Promises of the handlers' callers run between turns of Node's loop.
      if (this.#dedicated === null) break;
      // A wait that somebody's patience has cut short has found nothing, which is no reason to stop.
      if (count === 0 && (this.#dedicated.patienceMs?.() ?? 1) > 0) break;
    }
    this.#nodeReady = false;
    this.#woken = false;
  }

  #waitMs(): number {
    const options = this.#dedicated;
    if (options === null) return ATTACHED_WAIT_MS;
    const waitMs = Math.min(options.waitMs ?? DEDICATED_WAIT_MS, options.patienceMs?.() ?? DEDICATED_WAIT_MS);
    if (!options.pendingWork()) return waitMs;
    // Without Node's descriptor nothing but a turn shows whether the work is done.
    return this.#nodeFd < 0 ? 0 : Math.min(PENDING_WAIT_MS, waitMs);
  }

  readonly #nodeHandler: FdHandler = {
    ready: () => {
      this.#nodeReady = true;
    },
  };

  readonly #wakeHandler: FdHandler = {
    ready: () => {
      this.libc.read(this.#wakeFd, addressOf(this.#counter), 8);
      this.#woken = true;
      this.#dedicated?.onWake();
    },
  };
}

let current: EventLoop | null = null;

/**
 * The event loop of this thread, made at the first call.
 * @throws NvbraidError ENOTSUP where raw sockets do not work
 */
export function currentEventLoop(): EventLoop {
  current ??= new EventLoop();
  return current;
}

/**
 * A descriptor by which any thread wakes a dedicated loop. Whoever makes it closes it after that loop has ended: a
 * `wake` on a number that the system has given out again would write into a stranger.
 */
export function createWakeFd(): number {
  const c = libc();
  const fd = c.eventfd(0, EFD_FLAGS);
  if (fd < 0) throw systemError(c.errno(), 'cannot create a wake descriptor');
  return fd;
}

export function closeWakeFd(fd: number): void {
  libc().close(fd);
}

/** Wakes the dedicated loop of another thread; several calls may arrive as one. */
export function wake(fd: number): void {
  const c = libc();
  if (c.eventfd_write(fd, 1) < 0 && c.errno() !== EAGAIN) throw new NvbraidError('EINVAL', `${fd} wakes nobody`);
}
