import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Memory, Rng } from '@nvbraid/base';
import { type Connection, loopTransport, splitAt, splitRandomly } from '@nvbraid/transport';
import { ByteQueue } from '../src/loop/byte-queue.ts';
import { DirectRecorder, Recorder, send } from './harness.ts';

/* What only the in-memory links promise: nothing happens but when the test says so, and the same every time. */

class Steps {
  readonly tasks: (() => void)[] = [];
  readonly schedule = (task: () => void): void => {
    this.tasks.push(task);
  };

  step(): boolean {
    const task = this.tasks.shift();
    task?.();
    return task !== undefined;
  }

  drive(): number {
    let steps = 0;
    while (this.step()) steps++;
    return steps;
  }
}

async function driven(options: Parameters<typeof loopTransport>[0] = {}) {
  const steps = new Steps();
  const transport = loopTransport({ schedule: steps.schedule, ...options });
  let server: Connection | undefined;
  await transport.listen({ address: 'disk', port: 4420 }, (connection) => {
    server = connection;
  });
  const client = await transport.connect({ address: 'disk', port: 4420, hostTraddr: 'host' });
  assert.equal(server, undefined, 'accepted only when driven');
  steps.drive();
  return { steps, client, server: server! };
}

test('nothing moves until it is driven, then one thing at a time', async () => {
  const { steps, client, server } = await driven({ windowBytes: 4 });
  const [a, b] = [new Recorder(), new Recorder()];
  client.start(a);
  server.start(b);
  steps.drive();
  send(client, 'abcdefghij');
  assert.equal(client.backlogBytes, 6);
  assert.equal(b.text, '');
  const seen: string[] = [];
  while (steps.step()) seen.push(`${b.text}/${client.backlogBytes}/${a.drainedCalls}`);
  assert.deepEqual(seen, ['abcd/2/0', 'abcdefgh/0/0', 'abcdefghij/0/0', 'abcdefghij/0/1']);
  client.end();
  steps.drive();
  assert.deepEqual([a.closedCalls, b.closedCalls, a.error, b.error], [1, 1, null, null]);
});

test('deliveries end where they are told', async () => {
  const { steps, client, server } = await driven({ split: splitAt([1, 8, 9, 24]) });
  const [a, b] = [new Recorder(), new Recorder()];
  client.start(a);
  server.start(b);
  send(client, 'x'.repeat(30));
  steps.drive();
  assert.deepEqual(
    b.chunks.map((chunk) => chunk.length),
    [1, 7, 1, 15, 6],
  );
});

test('one seed, one sequence of deliveries', async () => {
  const run = async (seed: number) => {
    const { steps, client, server } = await driven({ split: splitRandomly(new Rng(seed), 100), windowBytes: 777 });
    const [a, b] = [new Recorder(), new Recorder()];
    client.start(a);
    server.start(b);
    for (let i = 0; i < 20; i++) {
      send(client, new Uint8Array(500).fill(i));
      if (i % 3 === 0) steps.step();
    }
    steps.drive();
    assert.equal(b.receivedBytes, 10_000);
    return b.chunks.map((chunk) => chunk.length).join();
  };
  assert.equal(await run(1), await run(1));
  assert.notEqual(await run(1), await run(2));
});

test('bytes go straight to a handler that takes them so, unless told not to', async () => {
  for (const direct of [true, false]) {
    const { steps, client, server } = await driven({ direct, split: (available) => Math.min(available, 1000) });
    const a = new Recorder();
    const b = new DirectRecorder(5000);
    client.start(a);
    server.start(b);
    send(client, new Uint8Array(6000).fill(3));
    steps.drive();
    assert.equal(b.directCalls, direct ? 5 : 0);
    assert.equal(b.receivedBytes, 6000);
    assert.ok(b.destination.bytes.every((byte) => byte === 3));
  }
});

test('two networks do not know each other', async () => {
  const [one, two] = [loopTransport(), loopTransport()];
  await one.listen({ address: 'disk', port: 1 }, () => {});
  await assert.rejects(two.connect({ address: 'disk', port: 1 }), { code: 'ECONNREFUSED' });
  assert.throws(() => one.adopt(3), { code: 'ENOTSUP' });
});

test('the byte queue wraps around and grows without losing a byte', () => {
  const rng = new Rng(7);
  const queue = new ByteQueue();
  const other = new ByteQueue();
  const memory = Memory.alloc(9000);
  let pushed = 0;
  let shifted = 0;
  for (let i = 0; i < 2000; i++) {
    const n = rng.below(rng.chance(0.02) ? 9000 : 600);
    for (let k = 0; k < n; k++) memory.bytes[k] = (pushed + k) % 251;
    queue.push(memory, 0, n);
    pushed += n;
    queue.moveTo(other, rng.below(queue.length + 1));
    const m = rng.below(Math.min(other.length, 9000) + 1);
    other.shift(memory, 0, m);
    for (let k = 0; k < m; k++) assert.equal(memory.bytes[k], (shifted + k) % 251);
    shifted += m;
  }
  assert.equal(queue.length + other.length, pushed - shifted);
  assert.throws(() => other.shift(memory, 0, other.length + 1));
});
