import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Memory, type NvbraidError, Outbox } from '@nvbraid/base';
import { memoryDevice } from '@nvbraid/blockdev';
import type { HostControllerOptions } from '@nvbraid/host';
import { type Connection, type ConnectionHandler, type ConnectOptions, loop, type Transport } from '@nvbraid/transport';
import { HostController } from '../src/host-controller.ts';
import { HostRuntime } from '../src/host-runtime.ts';
import { createTarget } from '../src/target.ts';

const NQN = 'nqn.2014-08.org.nvmexpress:uuid:5a6a3f0e-6c06-4bd4-8a39-d2b2a4c4e4a1';
const cleanups: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

/** A connection whose way to the target, and whose end, the test can hold up. */
class Held implements Connection {
  readonly lower: Connection;
  backlogBytes = 0;
  /** What is sent waits here, as in the buffers of a kernel whose peer does not read. */
  stuck = false;
  /** The host is not told of the end. */
  quiet = false;
  calls: string[] = [];
  handler: ConnectionHandler | null = null;
  #waiting: Uint8Array[] = [];
  #ends = false;
  #closed: (() => void) | null = null;

  constructor(lower: Connection) {
    this.lower = lower;
  }

  get local() {
    return this.lower.local;
  }

  get remote() {
    return this.lower.remote;
  }

  get waitingBytes(): number {
    return this.#waiting.reduce((sum, bytes) => sum + bytes.length, 0);
  }

  start(handler: ConnectionHandler): void {
    this.handler = handler;
    this.lower.start({
      received: (memory, start, end) => handler.received(memory, start, end),
      drained: () => handler.drained(),
      closed: (error) => this.#tell(error),
    });
  }

  #tell(error: NvbraidError | null): void {
    this.#closed = () => this.handler!.closed(error);
    if (!this.quiet) this.#closed();
  }

  tell(): void {
    this.quiet = false;
    this.#closed?.();
  }

  send(out: Outbox): void {
    if (!this.stuck) return this.lower.send(out);
    this.#waiting.push(out.toBytes());
    out.reset();
  }

  /** What waits arrives after all. */
  release(): void {
    this.stuck = false;
    for (const bytes of this.#waiting.splice(0)) sendBytes(this.lower, bytes);
    if (this.#ends) this.lower.end();
  }

  pause(): void {
    this.lower.pause();
  }

  resume(): void {
    this.lower.resume();
  }

  end(): void {
    this.calls.push('end');
    this.#ends = true;
    if (!this.stuck) this.lower.end();
  }

  destroy(error: NvbraidError | null): void {
    this.calls.push('destroy');
    this.#waiting.length = 0;
    this.lower.destroy(error);
  }

  readonly canDetach = false;

  detach(): number {
    return this.lower.detach();
  }
}

function sendBytes(connection: Connection, bytes: Uint8Array): void {
  const out = new Outbox();
  out.append(Memory.over(bytes), 0, bytes.length);
  connection.send(out);
}

interface Session {
  readonly controller: HostController;
  /** In the order in which they were made: admin queue, I/O queue, admin queue … */
  readonly connections: Held[];
}

async function session(options: Partial<HostControllerOptions> = {}): Promise<Session> {
  const target = await createTarget({ reactors: 0 });
  cleanups.push(() => target.close());
  target.addSubsystem({ nqn: NQN });
  await target.addNamespace(NQN, { device: memoryDevice({ size: 8 << 20, blockSize: 512 }) });
  const port = await target.listen({ transport: 'loop', address: '127.0.0.1', port: 0, subsystems: [NQN] });
  const connections: Held[] = [];
  const row: Transport = Object.assign(Object.create(loop), {
    connect: async (where: ConnectOptions) => {
      const connection = new Held(await loop.connect(where));
      connections.push(connection);
      return connection;
    },
  });
  const runtime = new HostRuntime(row, { address: port.address, port: port.port });
  const controller = new HostController(
    {
      nqn: NQN,
      hostnqn: 'nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555',
      hostid: '11111111-2222-4333-8444-555555555555',
      nrIoQueues: 1,
      queueSize: 32,
      keepAliveMs: 5000,
      hdrDigest: false,
      dataDigest: false,
      disableSqflow: false,
      ioTimeoutMs: 30,
      adminTimeoutMs: 5000,
      reconnectDelayMs: 1,
      ctrlLossTmoMs: 60_000,
      ...options,
    },
    runtime,
    5,
  );
  await controller.start();
  cleanups.push(() => controller.disconnect());
  return { controller, connections };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

test('a write that times out never arrives behind its repetition', async () => {
  for (const blocks of [8, 64]) {
    const { controller, connections } = await session();
    const namespace = controller.namespace(1);
    const length = blocks * 512;
    const old = connections[1]!;
    old.stuck = true;
    await namespace.write(0, Buffer.alloc(length, 1));
    assert.deepEqual([controller.stats().resets, controller.stats().retries], [1, 1]);
    assert.deepEqual([old.calls, old.waitingBytes], [['destroy'], 0]);
    await namespace.write(0, Buffer.alloc(length, 2));
    old.release();
    const back = Buffer.alloc(length);
    await namespace.read(0, back);
    assert.ok(
      back.every((byte) => byte === 2),
      `block 0 holds ${back[0]}`,
    );
    await controller.disconnect();
  }
});

test('a queue is ended in order only when nothing is under way on it', async () => {
  const { controller, connections } = await session({ ioTimeoutMs: 10_000 });
  await controller.namespace(1).write(0, Buffer.alloc(512));
  await controller.disconnect();
  assert.deepEqual(
    connections.map(({ calls }) => calls),
    [['end'], ['end']],
  );
  const busy = await session({ ioTimeoutMs: 10_000 });
  busy.connections[1]!.stuck = true;
  const pending = busy.controller.namespace(1).write(0, Buffer.alloc(512));
  await until(() => busy.connections[1]!.waitingBytes > 0);
  await Promise.all([assert.rejects(pending, { code: 'ENVME' }), busy.controller.disconnect()]);
  assert.deepEqual(
    busy.connections.map(({ calls }) => calls),
    [['end'], ['destroy']],
  );
});

test('a protocol error: TermReq goes out, and the next association begins when that connection has ended', async () => {
  const { controller, connections } = await session();
  const [admin, io] = connections as [Held, Held];
  io.quiet = true;
  const nonsense = Memory.over(Uint8Array.of(0xee, 0, 24, 0, 24, 0, 0, 0));
  io.handler!.received(nonsense, 0, nonsense.length);
  assert.deepEqual([controller.state, admin.calls, io.calls], ['connecting', ['destroy'], ['end']]);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(connections.length, 2);
  io.tell();
  await until(() => controller.state === 'live');
  assert.equal(connections.length, 4);
});

test('a protocol error on a connection that takes no bytes: reset at once', async () => {
  const { connections } = await session();
  const io = connections[1]!;
  io.backlogBytes = 1;
  const nonsense = Memory.over(Uint8Array.of(0xee, 0, 24, 0, 24, 0, 0, 0));
  io.handler!.received(nonsense, 0, nonsense.length);
  assert.deepEqual(io.calls, ['destroy']);
});
