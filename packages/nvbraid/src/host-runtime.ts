import { NEVER, NvbraidError } from '@nvbraid/base';
import type { HostController, HostPlatform, HostQueue } from '@nvbraid/host';
import type { ConnectOptions, Transport } from '@nvbraid/transport';
import { LINGER_MS, TIMER_MS_MAX } from './host-limits.ts';
import { type DriverHooks, QueueDriver } from './queue-driver.ts';
import type { QueueSubflows } from './subflow-watch.ts';
import { systemClock } from './system-clock.ts';

/** Drives one controller core: a connection for each of its queues, one timer for all its deadlines. */
export class HostRuntime implements HostPlatform {
  readonly clock = systemClock;
  /** What the system refused that its connections do without. */
  readonly notes = new Set<string>();
  readonly #row: Transport;
  readonly #options: ConnectOptions;
  readonly #drivers = new Map<HostQueue, QueueDriver>();
  readonly #lingering = new Map<HostQueue, NodeJS.Timeout>();
  readonly #hooks: DriverHooks;
  #core: HostController | null = null;
  #connecting = 0;
  /** Waits until the connections of its predecessor are gone. */
  #next: HostQueue | null = null;
  #timer: NodeJS.Timeout | null = null;
  #armedMs = NEVER;
  #whenIdle: (() => void) | null = null;

  constructor(row: Transport, options: ConnectOptions) {
    this.#row = row;
    this.#options = { ...options, note: (sentence) => this.notes.add(sentence) };
    this.#hooks = {
      afterFlush: () => this.arm(),
      closed: (driver, error) => this.#closed(driver, error),
    };
  }

  /** To be called once, before the core is started. */
  drive(core: HostController): void {
    this.#core = core;
  }

  connect(queue: HostQueue): void {
    if (this.#lingering.size > 0) {
      this.#next = queue;
      return;
    }
    this.#connecting++;
    this.#row.connect(this.#options).then(
      (connection) => {
        this.#connecting--;
        if (queue.state !== 'new') {
          // The controller has given up meanwhile.
          connection.start({ received: ignore, drained: ignore, closed: ignore });
          connection.destroy(null);
        } else {
          const driver = new QueueDriver(queue, connection, this.#hooks);
          this.#drivers.set(queue, driver);
          queue.start();
          driver.start();
        }
        this.#settled();
      },
      (error: unknown) => {
        this.#connecting--;
        queue.closed(error instanceof NvbraidError ? error : new NvbraidError('EIO', String(error), { cause: error }));
        this.#settled();
      },
    );
  }

  wantTransmit(queue: HostQueue): void {
    const driver = this.#drivers.get(queue);
    if (driver === undefined) return;
    if (queue.state === 'closing' || queue.state === 'closed') this.#end(queue, driver);
    else driver.schedule();
  }

  /** The subflows of the queues that are connected, where the transport can have several. */
  subflows(backup: boolean): QueueSubflows[] {
    const found: QueueSubflows[] = [];
    for (const [{ qid }, { connection }] of this.#drivers) {
      const report = connection.subflows?.(backup) ?? null;
      if (report !== null) found.push({ qid, ...report });
    }
    return found.sort((a, b) => a.qid - b.qid);
  }

  /** Sets the timer to the core's next deadline. An earlier timer stays: it will find nothing to do and set the next. */
  arm(): void {
    const atMs = this.#core!.nextDeadlineMs;
    if (atMs >= this.#armedMs) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#armedMs = atMs;
    const waitMs = Math.min(Math.max(0, Math.ceil(atMs - this.clock.nowMs())), TIMER_MS_MAX);
    this.#timer = setTimeout(this.#tick, waitMs);
  }

  /** Fulfilled when no connection is left. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#whenIdle = resolve;
      this.#checkIdle();
    });
  }

  readonly #tick = (): void => {
    this.#timer = null;
    this.#armedMs = NEVER;
    this.#core!.tick(this.clock.nowMs());
    this.arm();
  };

  #closed(driver: QueueDriver, error: NvbraidError | null): void {
    const queue = driver.core as HostQueue;
    this.#drivers.delete(queue);
    clearTimeout(this.#lingering.get(queue));
    this.#lingering.delete(queue);
    queue.closed(error);
    if (this.#next !== null && this.#lingering.size === 0) {
      const next = this.#next;
      this.#next = null;
      if (next.state === 'new') this.connect(next);
    }
    this.#settled();
  }

  /** A peer that does not close its end, or takes no bytes, does not keep a connection for ever. */
  #end(queue: HostQueue, driver: QueueDriver): void {
    // A TermReq that stands behind commands would bring them to the target, too.
    if (queue.mustReset || driver.connection.backlogBytes > 0) return driver.connection.destroy(null);
    driver.schedule();
    if (this.#lingering.has(queue)) return;
    this.#lingering.set(
      queue,
      setTimeout(() => driver.connection.destroy(null), LINGER_MS),
    );
  }

  #settled(): void {
    this.arm();
    this.#checkIdle();
  }

  #checkIdle(): void {
    if (this.#drivers.size > 0 || this.#connecting > 0 || this.#whenIdle === null) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#armedMs = NEVER;
    this.#whenIdle();
    this.#whenIdle = null;
  }
}

function ignore(): void {}
