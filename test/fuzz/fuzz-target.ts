import { FakeClock, type Memory, Outbox, SlabPool } from '@nvbraid/base';
import { memoryDevice, openDevice, prepareDevice } from '@nvbraid/blockdev';
import {
  type CommandQueue,
  type Controller,
  IoCommands,
  IoCounters,
  NamespaceTable,
  type Port,
  type QueueOptions,
  QueuePair,
  Target,
  type TargetHooks,
} from '@nvbraid/target';

export const NQN = 'nqn.2026-01.io.nvbraid:fuzz';
export const BLOCK = 512;
export const BLOCKS = 4096;
const POOL_BYTES = 1 << 20;

/** A whole target without I/O: control plane, I/O queues and a memory namespace, all in this thread. */
export class FuzzTarget {
  readonly clock = new FakeClock();
  readonly pool = new SlabPool(POOL_BYTES);
  readonly core: Target;
  readonly port: Port;
  readonly #table: NamespaceTable;
  readonly #counters = new IoCounters();
  readonly connections = new Map<CommandQueue, FuzzConnection>();

  private constructor(table: NamespaceTable) {
    this.#table = table;
    const hooks: TargetHooks = {
      ioCommands: () => new IoCommands(this.#table, this.#counters),
      queueBound: (queue, controller, qid) => this.connections.get(queue)!.bound(controller, qid),
      closeQueue: (queue) => this.connections.get(queue)!.close(),
      flush: (_subsystem, done) => done(),
    };
    this.core = new Target(this.clock, hooks);
    this.port = this.core.addPort({ trtype: 'tcp', adrfam: 'ipv4', traddr: '192.0.2.1', trsvcid: '4420' });
  }

  static async make(): Promise<FuzzTarget> {
    const device = await prepareDevice(memoryDevice({ size: BLOCK * BLOCKS, blockSize: BLOCK }));
    const background = { started: () => {}, finished: () => {} };
    const table = new NamespaceTable(() => openDevice(device, { threads: 1, background, log: () => {} }));
    const target = new FuzzTarget(table);
    const subsystem = target.core.addSubsystem({ nqn: NQN });
    subsystem.addNamespace({ ...device, device });
    target.core.link(target.port.portId, NQN);
    table.update(subsystem.snapshot(target.port.portId));
    return target;
  }

  open(options: QueueOptions = {}): FuzzConnection {
    return new FuzzConnection(this, options);
  }
}

/** One connection to it. */
export class FuzzConnection {
  readonly queue: QueuePair;
  readonly #target: FuzzTarget;
  readonly #out = OUT;
  #controller: Controller | null = null;
  #starved = false;
  #closed = false;

  constructor(target: FuzzTarget, options: QueueOptions) {
    this.#target = target;
    const environment = {
      pool: target.pool,
      wantTransmit: () => {},
      starved: () => {
        this.#starved = true;
      },
    };
    this.queue = new QueuePair(environment, (queue) => target.core.acceptQueue(queue, target.port), options);
    target.connections.set(this.queue, this);
  }

  bound(controller: Controller, _qid: number): void {
    this.#controller = controller;
  }

  /** Bytes arrive. `direct`: as a transport does that receives payload straight to where it belongs. */
  give(memory: Memory, start: number, end: number, direct = false): void {
    const { queue } = this;
    let at = start;
    while (direct && at < end && queue.directLength > 0) {
      const length = Math.min(queue.directLength, end - at);
      queue.directMemory.bytes.set(memory.bytes.subarray(at, at + length), queue.directOffset);
      queue.directReceived(length);
      at += length;
    }
    if (at < end) queue.receive(memory, at, end);
  }

  /** Everything that the target has to say now. */
  take(): Uint8Array[] {
    const parts: Uint8Array[] = [];
    for (;;) {
      const more = this.queue.transmit(this.#out);
      if (this.#out.bytes > 0) parts.push(this.#out.toBytes());
      this.#out.reset();
      if (more) continue;
      if (!this.#starved) return parts;
      this.#starved = false;
      this.queue.retryStarved();
    }
  }

  /** The connection is gone. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.queue.closed();
    this.#target.connections.delete(this.queue);
    this.#controller?.ioQueueClosed(this.queue.qid);
  }
}

/** `send` always takes everything, so one outbox serves all. */
const OUT = new Outbox();
