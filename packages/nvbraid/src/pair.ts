import { assert, FakeClock, Memory, NvbraidError, Outbox, Rng, SlabPool } from '@nvbraid/base';
import { type BlockDevice, memoryDevice, openDevice } from '@nvbraid/blockdev';
import {
  type AsyncEvent,
  HostController,
  type HostControllerEvents,
  type HostControllerOptions,
  type HostPlatform,
  type HostQueue,
  HostRequest,
  type HostSubsystem,
} from '@nvbraid/host';
import {
  type CommandQueue,
  type Controller,
  IoCommands,
  IoCounters,
  NamespaceTable,
  type Port,
  type QueueEnvironment,
  type QueueOptions,
  QueuePair,
  runForwarded,
  type Subsystem,
  type SubsystemOptions,
  Target,
} from '@nvbraid/target';
import { IoOpcode, RwSqe } from '@nvbraid/wire';
import { PairLink } from './pair-link.ts';

export { type Direction, PairLink, Wire } from './pair-link.ts';

export interface PairOptions {
  /** Cuts all deliveries at random points and chooses their order; everything follows from the seed. */
  readonly seed?: number;
  readonly nqn?: string;
  readonly subsystem?: Partial<SubsystemOptions>;
  /** Namespace 1; default: 4 MiB of memory in blocks of 512 bytes. Null: no namespace. */
  readonly device?: BlockDevice | null;
  /** Of the first host. */
  readonly host?: Partial<HostControllerOptions>;
  /** Of the target's end of every queue. */
  readonly queue?: QueueOptions;
  /** Payload memory of the target. */
  readonly poolBytes?: number;
  /** Called for every new connection before its first byte: the place to arm faults. */
  readonly onLink?: (link: PairLink) => void;
}

const STEPS_MAX = 2_000_000;
const HOSTID = '6f1d7ab4-93c1-4f4c-8d05-7f25a0a1c0de';

/** A command of a test: says how it ended. */
export class PairRequest extends HostRequest {
  ended = false;

  /** The bytes of its data. */
  get data(): Uint8Array {
    return this.memory.bytes.subarray(this.offset, this.offset + this.length);
  }

  override done = (): void => {
    assert(!this.ended, 'a command ended twice');
    this.ended = true;
  };
}

/** One host of a pair, and what has happened to it. */
export class PairHost implements HostPlatform {
  readonly clock: FakeClock;
  readonly core: HostController;
  readonly events: AsyncEvent[] = [];
  /** Every state it has had, in order. */
  readonly states: string[] = [];
  /** Connections are refused while true. */
  unreachable = false;
  /** Queues that wait for a connection. */
  readonly connecting: HostQueue[] = [];

  /** Where it connects to. */
  readonly port: Port;

  constructor(
    options: HostControllerOptions,
    clock: FakeClock,
    port: Port,
    make: (options: HostControllerOptions, platform: HostPlatform, events: HostControllerEvents) => HostController,
  ) {
    this.clock = clock;
    this.port = port;
    this.core = make(options, this, {
      stateChanged: (state) => this.states.push(state),
      namespacesScanned: () => {},
      anaRead: () => {},
      asyncEvent: (event) => this.events.push(event),
    });
  }

  connect(queue: HostQueue): void {
    this.connecting.push(queue);
  }

  wantTransmit(): void {}
}

/**
 * Host cores and a target core joined by byte queues and one fake clock: every handshake and every failure without a
 * socket, in one thread, the same way each time. Nothing happens but in `drive` and `run`.
 */
export class Pair implements QueueEnvironment {
  readonly clock = new FakeClock(1000);
  readonly rng: Rng | null;
  readonly pool: SlabPool;
  readonly target: Target;
  readonly subsystem: Subsystem;
  readonly port: Port;
  readonly hosts: PairHost[] = [];
  /** All connections there have been, oldest first. */
  readonly links: PairLink[] = [];
  readonly counters = new IoCounters(new ArrayBuffer(IoCounters.BYTES));
  readonly #options: PairOptions;
  readonly #out = new Outbox();
  /** By port. */
  readonly #tables = new Map<number, NamespaceTable>();
  /** What else has deadlines: subsystems of hosts. */
  readonly driven: { readonly nextDeadlineMs: number; tick(nowMs: number): void }[] = [];
  readonly #starved = new Set<QueuePair>();
  readonly #bound = new Map<CommandQueue, { controller: Controller; qid: number }>();

  constructor(options: PairOptions = {}) {
    this.#options = options;
    this.rng = options.seed === undefined ? null : new Rng(options.seed);
    this.pool = new SlabPool(options.poolBytes ?? 16 << 20);
    this.target = new Target(this.clock, {
      ioCommands: (_queue, controller) =>
        new IoCommands(this.#tableOf(controller.port), this.counters, {
          host: { hostnqn: controller.hostnqn, hostid: controller.hostid, cntlid: controller.cntlid },
          failed: (error) => controller.errors.record(error),
          forward: ({ nsid, snapshot }, command, done) =>
            runForwarded(controller, nsid, snapshot.instance, command, done),
        }),
      queueBound: (queue, controller, qid) => void this.#bound.set(queue, { controller, qid }),
      closeQueue: (queue) => this.links.find((link) => link.open && link.target === queue)?.drop(),
      namespacesChanged: (subsystem) => {
        for (const port of subsystem.ports) this.#tableOf(port).update(subsystem.snapshot(port.portId));
      },
    });
    const nqn = options.nqn ?? 'nqn.2014-08.org.nvmexpress:uuid:1b4e28ba-2fa1-11d2-883f-0016d3cca427';
    this.subsystem = this.target.addSubsystem({ nqn, ...options.subsystem });
    this.port = this.target.addPort({ trtype: 'tcp', adrfam: 'ipv4', traddr: '192.0.2.1', trsvcid: '4420' });
    this.target.link(this.port.portId, nqn);
    if (options.device !== null) this.addNamespace(options.device ?? pairDevice());
    this.addHost(options.host);
  }

  #tableOf({ portId }: Port): NamespaceTable {
    let table = this.#tables.get(portId);
    if (table === undefined) {
      table = new NamespaceTable((namespace) => namespace.device as BlockDevice);
      this.#tables.set(portId, table);
    }
    return table;
  }

  /** Another way to the subsystem. */
  addPort(): Port {
    const trsvcid = String(4420 + this.links.length + this.#tables.size);
    const port = this.target.addPort({ trtype: 'tcp', adrfam: 'ipv4', traddr: '192.0.2.1', trsvcid });
    this.target.link(port.portId, this.subsystem.nqn);
    return port;
  }

  /** The first host's controller. */
  get host(): HostController {
    return this.hosts[0]!.core;
  }

  /** @param place the port it connects to; a subsystem of the host's that its controller is to join */
  addHost(
    options: Partial<HostControllerOptions> = {},
    place: { readonly port?: Port; readonly subsystem?: HostSubsystem } = {},
  ): PairHost {
    const { port = this.port, subsystem } = place;
    const host = new PairHost(
      {
        nqn: this.subsystem.nqn,
        hostnqn: `nqn.2014-08.org.nvmexpress:uuid:${HOSTID}`,
        hostid: HOSTID,
        nrIoQueues: 1,
        queueSize: 32,
        keepAliveMs: 5000,
        hdrDigest: false,
        dataDigest: false,
        disableSqflow: false,
        ioTimeoutMs: 30_000,
        adminTimeoutMs: 60_000,
        reconnectDelayMs: 10_000,
        ctrlLossTmoMs: 600_000,
        ...options,
      },
      this.clock,
      port,
      (given, platform, events) =>
        subsystem === undefined
          ? new HostController(given, platform, events)
          : subsystem.addController(given, platform, events),
    );
    this.hosts.push(host);
    return host;
  }

  /** Puts a device into service; answers its nsid. */
  addNamespace(device: BlockDevice): number {
    return this.subsystem.addNamespace({
      device,
      blockSize: device.blockSize,
      blockCount: device.blockCount,
      readOnly: device.readOnly,
      thin: device.thin,
      volatileWriteCache: device.volatileWriteCache,
      compareAndWrite: device.compareAndWrite === true,
      writeUncorrectable: device.marks != null,
    }).nsid;
  }

  /** Starts a host and lets everything come to rest; the host is live then, unless something is in the way. */
  connect(host: PairHost = this.hosts[0]!): this {
    host.core.start();
    this.drive();
    return this;
  }

  /** The open connection of a queue of a host. */
  link(qid: number, host: PairHost = this.hosts[0]!): PairLink {
    const queue = qid === 0 ? host.core.admin : host.core.ioQueues[qid - 1];
    const link = this.links.find((candidate) => candidate.open && candidate.host === queue);
    assert(link !== undefined, `there is no connection of queue ${qid}`);
    return link;
  }

  // ---------------------------------------------------------------- commands

  /** Submits a read; it ends during `drive` or `run`. */
  read(slba: number, blocks: number, host: HostController = this.host): PairRequest {
    const request = this.#request(IoOpcode.Read, slba, blocks);
    const length = blocks * this.#blockSize;
    request.receives(Memory.alloc(length), 0, length);
    request.exact = true;
    host.submitIo(request);
    return request;
  }

  /** Submits a write of whole blocks. The bytes are copied. */
  write(slba: number, data: Uint8Array, host: HostController = this.host): PairRequest {
    const request = this.#request(IoOpcode.Write, slba, data.length / this.#blockSize);
    request.sends(Memory.over(data.slice()), 0, data.length);
    request.exact = true;
    host.submitIo(request);
    return request;
  }

  get #blockSize(): number {
    return this.subsystem.namespace(1)!.blockSize;
  }

  #request(opcode: number, slba: number, blocks: number): PairRequest {
    const request = new PairRequest().reset(opcode, 1);
    RwSqe.slba.set(request.sqe.view, 0, slba);
    RwSqe.nlb.set(request.sqe.view, 0, blocks - 1);
    return request;
  }

  // ---------------------------------------------------------------- the world

  /** Delivers bytes until no end has anything to say that can arrive. Time stands still. */
  drive(): void {
    for (let steps = 0; this.#step(); steps++) assert(steps < STEPS_MAX, 'the pair does not come to rest');
  }

  /** Lets `ms` milliseconds pass, stopping at every deadline on the way. */
  run(ms: number): void {
    const until = this.clock.nowMs() + ms;
    this.drive();
    for (let steps = 0; this.clock.nowMs() < until; steps++) {
      assert(steps < STEPS_MAX, 'a deadline does not move');
      const next = Math.min(until, this.#nextDeadlineMs());
      this.clock.advance(Math.max(0, next - this.clock.nowMs()));
      this.#tick();
      this.drive();
    }
  }

  /** As `run`, until `reached` holds; false when `ms` have passed before. */
  runUntil(reached: () => boolean, ms = 3_600_000): boolean {
    const until = this.clock.nowMs() + ms;
    this.drive();
    while (!reached()) {
      const next = this.#nextDeadlineMs();
      if (next > until) return false;
      this.run(Math.max(0.001, next - this.clock.nowMs()));
    }
    return true;
  }

  #nextDeadlineMs(): number {
    let next = this.target.nextDeadlineMs();
    for (const { core } of this.hosts) next = Math.min(next, core.nextDeadlineMs);
    for (const one of this.driven) next = Math.min(next, one.nextDeadlineMs);
    return Math.max(next, this.clock.nowMs());
  }

  #tick(): void {
    const now = this.clock.nowMs();
    this.target.tick(now);
    for (const { core } of this.hosts) core.tick(now);
    for (const one of this.driven) one.tick(now);
  }

  #step(): boolean {
    let moved = this.#makeConnections();
    // Before the ends speak: memory that they gave back in the last step lets commands go on.
    const starved = [...this.#starved];
    this.#starved.clear();
    for (const queue of starved) queue.retryStarved();
    for (const link of this.links) if (link.open && link.pump(this.#out)) moved = true;
    if (this.#deliver()) moved = true;
    for (const link of this.links) if (link.open && link.closeIfFinished()) moved = true;
    return moved;
  }

  #deliver(): boolean {
    const { rng } = this;
    if (rng === null) {
      let moved = false;
      for (const link of this.links) {
        for (const direction of link.deliverable()) {
          if (!link.open) break;
          link.deliver(direction, null);
          moved = true;
        }
      }
      return moved;
    }
    const choices = this.links.flatMap((link) => link.deliverable().map((direction) => ({ link, direction })));
    if (choices.length === 0) return false;
    const { link, direction } = rng.pick(choices);
    link.deliver(direction, rng);
    return true;
  }

  #makeConnections(): boolean {
    let made = false;
    for (const host of this.hosts) {
      for (let queue = host.connecting.shift(); queue !== undefined; queue = host.connecting.shift()) {
        made = true;
        if (queue.state !== 'new') continue;
        if (host.unreachable) queue.closed(new NvbraidError('ECONNREFUSED', 'connection refused by the test'));
        else this.#makeLink(queue, host.port);
      }
    }
    return made;
  }

  #makeLink(queue: HostQueue, port: Port): void {
    const local = { traddr: port.traddr, trsvcid: port.trsvcid };
    const target = new QueuePair(this, (made) => this.target.acceptQueue(made, port, local), this.#options.queue);
    const link = new PairLink(queue, target, (closed) => this.#linkClosed(closed));
    this.links.push(link);
    this.#options.onLink?.(link);
    queue.start();
  }

  #linkClosed(link: PairLink): void {
    const { target } = link;
    target.closed();
    this.#starved.delete(target);
    if (target.outstanding === 0) this.idle(target);
  }

  // ---------------------------------------------------------------- the environment of the target's queues

  wantTransmit(): void {}

  starved(queue: QueuePair): void {
    this.#starved.add(queue);
  }

  idle(queue: QueuePair): void {
    const bound = this.#bound.get(queue);
    if (bound === undefined) return;
    this.#bound.delete(queue);
    bound.controller.ioQueueClosed(bound.qid);
  }
}

/** A device in memory of this thread alone: 4 MiB in blocks of 512 bytes unless told otherwise. */
export function pairDevice(size = 4 << 20, blockSize = 512): BlockDevice {
  return openDevice(memoryDevice({ size, blockSize }), {
    threads: 1,
    background: { started() {}, finished() {} },
    log() {},
  });
}
