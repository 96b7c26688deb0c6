import assert from 'node:assert/strict';
import { Memory, type NvbraidError, Outbox } from '@nvbraid/base';
import type { Connection, ConnectionHandler, Listener, Transport } from '@nvbraid/transport';

/** What a test sees of one end: everything that arrived, and how it ended. */
export class Recorder implements ConnectionHandler {
  readonly chunks: Uint8Array[] = [];
  receivedBytes = 0;
  drainedCalls = 0;
  closedCalls = 0;
  error: NvbraidError | null = null;
  onReceived: ((bytes: Uint8Array) => void) | null = null;
  onDrained: (() => void) | null = null;
  onClosed: (() => void) | null = null;
  readonly #waiting: { met: () => boolean; resolve: () => void }[] = [];

  received(memory: Memory, start: number, end: number): void {
    assert.equal(this.closedCalls, 0, 'received after closed');
    assert.ok(start >= 0 && end > start && end <= memory.length);
    this.take(memory.bytes.slice(start, end));
  }

  take(bytes: Uint8Array): void {
    this.chunks.push(bytes);
    this.receivedBytes += bytes.length;
    this.onReceived?.(bytes);
    this.#check();
  }

  drained(): void {
    assert.equal(this.closedCalls, 0, 'drained after closed');
    this.drainedCalls++;
    this.onDrained?.();
    this.#check();
  }

  closed(error: NvbraidError | null): void {
    this.closedCalls++;
    assert.equal(this.closedCalls, 1, 'closed twice');
    this.error = error;
    this.onClosed?.();
    this.#check();
  }

  get bytes(): Uint8Array {
    return Buffer.concat(this.chunks);
  }

  get text(): string {
    return Buffer.from(this.bytes).toString('latin1');
  }

  until(met: () => boolean): Promise<void> {
    if (met()) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push({ met, resolve });
    });
  }

  untilBytes(count: number): Promise<void> {
    return this.until(() => this.receivedBytes >= count);
  }

  untilClosed(): Promise<void> {
    return this.until(() => this.closedCalls > 0);
  }

  #check(): void {
    for (let i = this.#waiting.length - 1; i >= 0; i--) {
      if (this.#waiting[i]!.met()) this.#waiting.splice(i, 1)[0]!.resolve();
    }
  }
}

/** A recorder that takes long runs straight to their destination: `wanted` bytes from `at` on. */
export class DirectRecorder extends Recorder {
  readonly destination: Memory;
  at = 0;
  wanted: number;
  directCalls = 0;

  constructor(size: number) {
    super();
    this.destination = Memory.alloc(size);
    this.wanted = size;
  }

  directLength(): number {
    return this.wanted - this.at;
  }

  directMemory(): Memory {
    return this.destination;
  }

  directOffset(): number {
    return this.at;
  }

  directReceived(length: number): void {
    assert.equal(this.closedCalls, 0);
    assert.ok(length > 0 && this.at + length <= this.wanted);
    this.directCalls++;
    this.at += length;
    this.receivedBytes += length;
    this.onDirect?.(length);
  }

  onDirect: ((length: number) => void) | null = null;

  override received(memory: Memory, start: number, end: number): void {
    const here = Math.min(end - start, this.wanted - this.at);
    this.destination.bytes.set(memory.bytes.subarray(start, start + here), this.at);
    this.at += here;
    this.receivedBytes += here;
    if (start + here < end) super.received(memory, start + here, end);
  }
}

/** Two connected ends and the listener between them. */
export interface Link {
  readonly client: Connection;
  readonly server: Connection;
  readonly listener: Listener;
}

export async function link(transport: Transport, address: string): Promise<Link> {
  let accepted: (connection: Connection) => void;
  const server = new Promise<Connection>((resolve) => {
    accepted = resolve;
  });
  const listener = await transport.listen({ address, port: 0 }, (connection) => accepted(connection));
  const client = await transport.connect({ address, port: listener.local.port });
  return { client, server: await server, listener };
}

const outbox = new Outbox();

export function send(connection: Connection, ...parts: (string | Uint8Array)[]): void {
  for (const part of parts) {
    const bytes = typeof part === 'string' ? Buffer.from(part, 'latin1') : part;
    outbox.append(Memory.over(bytes), 0, bytes.length);
  }
  connection.send(outbox);
  assert.equal(outbox.count, 0, 'send takes everything');
}

export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await turn();
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

export async function ended(...recorders: Recorder[]): Promise<void> {
  await Promise.all(recorders.map((recorder) => recorder.untilClosed()));
}

const open = new Set<Connection | Listener>();

/** The same transport, but `closeAll` closes what a test has left open, so that a failed test does not keep its process. */
export function tracked(transport: Transport): Transport {
  return {
    name: transport.name,
    trtype: transport.trtype,
    canHandOff: transport.canHandOff,
    unsupported: () => transport.unsupported(),
    listen: async (options, onConnection) => {
      const listener = await transport.listen(options, (connection) => {
        open.add(connection);
        onConnection(connection);
      });
      open.add(listener);
      return listener;
    },
    connect: async (options) => {
      const connection = await transport.connect(options);
      open.add(connection);
      return connection;
    },
    adopt: (fd) => transport.adopt(fd),
    identify: (fd) => transport.identify(fd),
  };
}

export async function closeAll(): Promise<void> {
  for (const one of open) {
    if ('close' in one) await one.close();
    else one.destroy(null);
  }
  open.clear();
}
