import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { afterEach, describe, test } from 'node:test';
import { Memory, NvbraidError, Outbox, Rng } from '@nvbraid/base';
import {
  type Connection,
  loop,
  loopTransport,
  mptcp,
  net,
  splitAt,
  splitRandomly,
  type Transport,
  tcp,
} from '@nvbraid/transport';
import { closeAll, DirectRecorder, ended, link, Recorder, send, tracked, turns } from './harness.ts';

/* What every row of the table promises, told once and run over all of them. */

const SEED = Number(process.env.NVBRAID_SEED ?? 20261);
console.log(`# seed ${SEED}`);

const ipv6 = Object.values(networkInterfaces()).some((all) => all?.some((one) => one.address === '::1'));

interface Row {
  readonly name: string;
  readonly transport: Transport;
  readonly address: string;
}

const rows: Row[] = [
  { name: 'tcp ipv4', transport: tcp, address: '127.0.0.1' },
  { name: 'mptcp ipv4', transport: mptcp, address: '127.0.0.1' },
  { name: 'net ipv4', transport: net, address: '127.0.0.1' },
  { name: 'loop', transport: loop, address: 'here' },
  {
    name: 'loop in pieces',
    transport: loopTransport({ split: splitRandomly(new Rng(SEED), 9000), windowBytes: 20_000 }),
    address: 'here',
  },
];
if (ipv6) {
  rows.push(
    { name: 'tcp ipv6', transport: tcp, address: '::1' },
    { name: 'mptcp ipv6', transport: mptcp, address: '::1' },
    { name: 'net ipv6', transport: net, address: '::1' },
  );
} else {
  console.log('# no IPv6 here: its rows are left out');
}

function randomBytes(rng: Rng, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const words = new Uint32Array(bytes.buffer, 0, length >> 2);
  for (let i = 0; i < words.length; i++) words[i] = rng.u32();
  return bytes;
}

function isCode(code: string, message?: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof NvbraidError, String(error));
    assert.equal(error.code, code, error.message);
    if (message !== undefined) assert.match(error.message, message);
    return true;
  };
}

for (const { name, transport: row, address } of rows) {
  const transport = tracked(row);
  const usable = transport.unsupported();
  describe(name, { skip: usable ?? false, timeout: 30_000 }, () => {
    afterEach(closeAll);

    test('both ends know each other', async () => {
      const { client, server, listener } = await link(transport, address);
      assert.deepEqual(client.remote, listener.local);
      assert.deepEqual(server.local, listener.local);
      assert.deepEqual(server.remote, client.local);
      assert.equal(client.remote.address, address);
      const [a, b] = [new Recorder(), new Recorder()];
      client.start(a);
      server.start(b);
      client.end();
      await ended(a, b);
      assert.deepEqual([a.error, b.error], [null, null]);
      await listener.close();
    });

    test('echo of random sizes, sent in random segments, in order', async () => {
      const rng = new Rng(SEED);
      const { client, server, listener } = await link(transport, address);
      const [a, b] = [new Recorder(), new Recorder()];
      b.onReceived = (bytes) => send(server, bytes);
      client.start(a);
      server.start(b);
      const sent: Uint8Array[] = [];
      let total = 0;
      for (let i = 0; i < 60; i++) {
        const parts = Array.from({ length: rng.between(1, 40) }, () => randomBytes(rng, rng.between(1, 3000)));
        sent.push(...parts);
        for (const part of parts) total += part.length;
        send(client, ...parts);
        if (rng.chance(0.3)) await turns(1);
      }
      await a.untilBytes(total);
      assert.ok(Buffer.concat(sent).equals(a.bytes));
      assert.ok(Buffer.concat(sent).equals(b.bytes));
      server.end();
      await ended(a, b);
      await listener.close();
    });

    test('16 MiB through a slow reader arrive whole while the sender keeps little', async () => {
      const total = 16 << 20;
      const step = 128 << 10;
      const { client, server, listener } = await link(transport, address);
      const a = new Recorder();
      const memory = Memory.alloc(step);
      const out = new Outbox();
      let sent = 0;
      let most = 0;
      const pump = () => {
        while (sent < total && client.backlogBytes === 0) {
          memory.bytes.fill((sent / step) & 0xff);
          out.append(memory, 0, step);
          client.send(out);
          sent += step;
          most = Math.max(most, client.backlogBytes);
        }
      };
      a.onDrained = pump;
      let got = 0;
      let wrong = 0;
      let pauses = 0;
      const reader = new Recorder();
      reader.take = (bytes) => {
        for (let i = 0; i < bytes.length; i += 997) {
          if (bytes[i] !== (Math.floor((got + i) / step) & 0xff)) wrong++;
        }
        got += bytes.length;
        if (++pauses % 8 === 0) {
          server.pause();
          setTimeout(() => server.resume(), 1);
        }
        if (got === total) server.end();
      };
      client.start(a);
      server.start(reader);
      pump();
      await ended(a, reader);
      assert.equal(got, total);
      assert.equal(wrong, 0);
      assert.ok(most > 0 && most <= step, `kept ${most}`);
      await listener.close();
    });

    test('a paused reader stops the sender, in both directions at once', async () => {
      const { client, server, listener } = await link(transport, address);
      const [a, b] = [new Recorder(), new Recorder()];
      client.start(a);
      server.start(b);
      client.pause();
      server.pause();
      const block = new Uint8Array(256 << 10).fill(7);
      let [fromA, fromB] = [0, 0];
      for (; client.backlogBytes === 0; fromA += block.length) send(client, block);
      for (; server.backlogBytes === 0; fromB += block.length) send(server, block);
      await turns(20);
      const [beforeA, beforeB] = [a.receivedBytes, b.receivedBytes];
      await turns(20);
      assert.deepEqual([a.receivedBytes, b.receivedBytes], [beforeA, beforeB], 'nothing arrives while paused');
      assert.ok(beforeA <= 64 << 10 && beforeB <= 64 << 10, 'at most what was under way');
      assert.deepEqual([a.drainedCalls, b.drainedCalls], [0, 0]);
      client.resume();
      await Promise.all([a.untilBytes(fromB), b.until(() => b.drainedCalls === 1)]);
      assert.equal(b.receivedBytes, beforeB, 'the other direction still stands');
      server.resume();
      await Promise.all([b.untilBytes(fromA), a.until(() => a.drainedCalls === 1)]);
      assert.deepEqual([client.backlogBytes, server.backlogBytes], [0, 0]);
      assert.deepEqual([a.drainedCalls, b.drainedCalls], [1, 1]);
      client.destroy(null);
      await ended(a, b);
      await listener.close();
    });

    test('bytes that were sent do not change with the memory they came from', async () => {
      const { client, server, listener } = await link(transport, address);
      const [a, b] = [new Recorder(), new Recorder()];
      client.start(a);
      server.start(b);
      server.pause();
      const memory = Memory.shared(1 << 20);
      const out = new Outbox();
      const lengths: number[] = [];
      let total = 0;
      for (let kept = 0; kept < 4; ) {
        const length = lengths.length % 4 === 0 ? memory.length : 50_000;
        const value = lengths.push(length) & 0xff;
        memory.bytes.fill(value);
        out.arena.bytes.fill(value, out.reserve(8), 8);
        out.append(memory, 0, length);
        client.send(out);
        memory.bytes.fill(0xee);
        out.arena.bytes.fill(0xdd);
        total += 8 + length;
        if (client.backlogBytes > 0) kept++;
        await turns(1);
      }
      server.resume();
      await b.untilBytes(total);
      const bytes = b.bytes;
      for (let i = 0, at = 0; i < lengths.length; at += 8 + lengths[i++]!) {
        const value = (i + 1) & 0xff;
        const whole = bytes.subarray(at, at + 8 + lengths[i]!);
        assert.ok(
          whole.every((byte) => byte === value),
          `what was sent as number ${i} is torn`,
        );
      }
      client.end();
      await ended(a, b);
      await listener.close();
    });

    test('end sends what is kept, then both ends close in order', async () => {
      const { client, server, listener } = await link(transport, address);
      const [a, b] = [new Recorder(), new Recorder()];
      client.start(a);
      server.start(b);
      server.pause();
      const block = new Uint8Array(1 << 20).fill(5);
      let total = 0;
      for (; client.backlogBytes === 0; total += block.length) send(client, block);
      client.end();
      send(client, 'too late');
      assert.equal(a.closedCalls, 0, 'closed is never told inside a call');
      server.resume();
      await ended(a, b);
      assert.deepEqual([a.error, b.error, b.receivedBytes], [null, null, total]);
      await listener.close();
    });

    test('an end that crosses an end', async () => {
      const { client, server, listener } = await link(transport, address);
      const [a, b] = [new Recorder(), new Recorder()];
      client.start(a);
      server.start(b);
      send(client, 'x');
      client.end();
      server.end();
      client.end();
      await ended(a, b);
      assert.deepEqual([a.error, b.error], [null, null]);
      await listener.close();
    });

    test('destroy tells the own side its reason and the peer a reset', async () => {
      const { client, server, listener } = await link(transport, address);
      const [a, b] = [new Recorder(), new Recorder()];
      client.start(a);
      server.start(b);
      send(client, 'hello');
      await b.untilBytes(5);
      const reason = new NvbraidError('EPROTO', 'enough');
      client.destroy(reason);
      client.destroy(null);
      assert.equal(a.closedCalls, 0, 'closed is never told inside a call');
      send(client, 'nobody reads this');
      client.pause();
      client.resume();
      client.end();
      await ended(a, b);
      assert.equal(a.error, reason);
      isCode('ECONNRESET', /^lost the connection with \S+:\d+: the peer reset the connection$/)(b.error);
      assert.equal(client.backlogBytes, 0);
      server.send(new Outbox());
      await listener.close();
    });

    test('a reset reaches a side that is paused with unsent bytes', async () => {
      const { client, server, listener } = await link(transport, address);
      const [a, b] = [new Recorder(), new Recorder()];
      client.start(a);
      server.start(b);
      server.pause();
      client.pause();
      while (server.backlogBytes === 0) send(server, new Uint8Array(1 << 20));
      client.destroy(null);
      await ended(a, b);
      assert.equal(a.error, null);
      isCode('ECONNRESET')(b.error);
      await listener.close();
    });

    test('destroyed before it was started, a connection still says that it is closed', async () => {
      const { client, server, listener } = await link(transport, address);
      client.destroy(null);
      const [a, b] = [new Recorder(), new Recorder()];
      client.start(a);
      assert.equal(a.closedCalls, 0);
      server.start(b);
      await ended(a, b);
      assert.equal(a.error, null);
      await listener.close();
    });

    test('bytes that arrive before start wait for it', async () => {
      const { client, server, listener } = await link(transport, address);
      const [a, b] = [new Recorder(), new Recorder()];
      client.start(a);
      send(client, 'early');
      await turns(5);
      server.start(b);
      await b.untilBytes(5);
      assert.equal(b.text, 'early');
      client.end();
      await ended(a, b);
      await listener.close();
    });

    for (const inside of ['received', 'drained'] as const) {
      for (const what of ['destroy', 'end'] as const) {
        test(`${what} inside ${inside}`, async () => {
          const { client, server, listener } = await link(transport, address);
          const [a, b] = [new Recorder(), new Recorder()];
          const reason = new NvbraidError('EPROTO', 'enough');
          const act = () => {
            if (what === 'end') server.end();
            else server.destroy(reason);
            send(server, 'after');
            server.pause();
            server.resume();
            assert.equal(b.closedCalls, 0);
          };
          if (inside === 'received') b.onReceived = act;
          else b.onDrained = act;
          client.start(a);
          server.start(b);
          if (inside === 'received') {
            send(client, 'x');
          } else {
            client.pause();
            while (server.backlogBytes === 0) send(server, new Uint8Array(1 << 20));
            client.resume();
          }
          await ended(a, b);
          assert.equal(b.error, what === 'end' ? null : reason);
          if (what === 'end') assert.equal(a.error, null);
          assert.ok(!a.text.endsWith('after'));
          await listener.close();
        });
      }
    }

    test('send inside received and inside drained keeps the order', async () => {
      const { client, server, listener } = await link(transport, address);
      const [a, b] = [new Recorder(), new Recorder()];
      let left = 3;
      let total = 0;
      const block = () => {
        const bytes = new Uint8Array(1 << 20).fill(left--);
        do {
          total += bytes.length;
          send(server, bytes);
        } while (server.backlogBytes === 0);
      };
      b.onReceived = block;
      b.onDrained = () => {
        if (left > 0) block();
        else server.end();
      };
      client.start(a);
      server.start(b);
      send(client, 'go');
      await ended(a, b);
      assert.equal(a.receivedBytes, total);
      const bytes = a.bytes;
      for (let i = 1; i < bytes.length; i++) if (bytes[i]! > bytes[i - 1]!) assert.fail(`order broken at ${i}`);
      await listener.close();
    });

    test('pause inside received holds, resume goes on', async () => {
      const { client, server, listener } = await link(transport, address);
      const [a, b] = [new Recorder(), new Recorder()];
      let open = false;
      b.onReceived = () => {
        assert.ok(!open, 'delivered while paused');
        open = true;
        server.pause();
        setTimeout(() => {
          open = false;
          server.resume();
        }, 2);
      };
      client.start(a);
      server.start(b);
      for (let i = 0; i < 4; i++) {
        send(client, 'abcd');
        await turns(3);
      }
      await b.untilBytes(16);
      client.end();
      await ended(a, b);
      await listener.close();
    });

    test('two connections that are ready together: the first to hear destroys the other', async () => {
      const [one, two] = [await link(transport, address), await link(transport, address)];
      const [a1, b1, a2, b2] = [new Recorder(), new Recorder(), new Recorder(), new Recorder()];
      const reason = new NvbraidError('EPROTO', 'the other one was first');
      b1.onReceived = () => two.server.destroy(reason);
      b2.onReceived = () => one.server.destroy(reason);
      one.client.start(a1);
      two.client.start(a2);
      one.server.start(b1);
      two.server.start(b2);
      send(one.client, 'x');
      send(two.client, 'x');
      await Promise.race([b1.untilClosed(), b2.untilClosed()]);
      await turns(5);
      assert.equal(b1.closedCalls + b2.closedCalls, 1);
      assert.equal(b1.receivedBytes + b2.receivedBytes, 1);
      one.client.destroy(null);
      two.client.destroy(null);
      await ended(a1, a2, b1, b2);
      await Promise.all([one.listener.close(), two.listener.close()]);
    });

    test('100 connections at once', async () => {
      const peers: Connection[] = [];
      const recorders: Recorder[] = [];
      const listener = await transport.listen({ address, port: 0, backlog: 128 }, (connection) => {
        const recorder = new Recorder();
        recorders.push(recorder);
        peers.push(connection);
        recorder.onReceived = (bytes) => send(connection, bytes);
        connection.start(recorder);
      });
      const clients = await Promise.all(
        Array.from({ length: 100 }, () => transport.connect({ address, port: listener.local.port })),
      );
      const heard = clients.map((client) => {
        const recorder = new Recorder();
        client.start(recorder);
        return recorder;
      });
      for (const [i, client] of clients.entries()) send(client, `I am number ${i}`);
      await Promise.all(heard.map((recorder, i) => recorder.untilBytes(`I am number ${i}`.length)));
      for (const [i, recorder] of heard.entries()) assert.equal(recorder.text, `I am number ${i}`);
      assert.equal(peers.length, 100);
      for (const [i, client] of clients.entries()) {
        if (i % 2 === 0) client.end();
        else peers[i]!.end();
      }
      for (const peer of peers) peer.end();
      await ended(...heard, ...recorders);
      await listener.close();
    });

    test('bytes received straight to their destination are the same bytes', async () => {
      const rng = new Rng(SEED + 1);
      const { client, server, listener } = await link(transport, address);
      const a = new Recorder();
      const size = 3 << 20;
      const direct = new DirectRecorder(size);
      client.start(a);
      server.start(direct);
      const payload = randomBytes(rng, size);
      const tail = randomBytes(rng, 5000);
      send(client, payload, tail);
      await direct.until(() => direct.receivedBytes === size + tail.length);
      assert.ok(Buffer.from(direct.destination.bytes).equals(payload));
      assert.ok(Buffer.from(tail).equals(direct.bytes));
      client.end();
      await ended(a, direct);
      await listener.close();
    });

    test('nobody listens: refused, in a sentence', async () => {
      const listener = await transport.listen({ address, port: 0 }, () => assert.fail('nobody calls'));
      const { port } = listener.local;
      await listener.close();
      await listener.close();
      await assert.rejects(
        transport.connect({ address, port }),
        isCode('ECONNREFUSED', /^cannot connect to \S+:\d+: connection refused$/),
      );
    });

    test('a port that is taken: in use, in a sentence', async () => {
      const listener = await transport.listen({ address, port: 0 }, () => {});
      const { port } = listener.local;
      await assert.rejects(
        transport.listen({ address, port }, () => {}),
        isCode('EADDRINUSE', /^cannot listen on \S+:\d+: the port is in use$/),
      );
      await listener.close();
      const again = await transport.listen({ address, port }, () => {});
      await again.close();
    });

    test('a port that is none', async () => {
      for (const port of [-1, 65536, 1.5, Number.NaN]) {
        await assert.rejects(
          transport.listen({ address, port }, () => {}),
          isCode('EINVAL', /from 0 to 65535/),
        );
        await assert.rejects(transport.connect({ address, port }), isCode('EINVAL', /from 0 to 65535/));
      }
    });

    test('connections outlive their listener', async () => {
      const { client, server, listener } = await link(transport, address);
      await listener.close();
      const [a, b] = [new Recorder(), new Recorder()];
      client.start(a);
      server.start(b);
      send(client, 'still here');
      await b.untilBytes(10);
      server.end();
      await ended(a, b);
    });
  });
}

test('splitAt cuts where it is told', () => {
  const split = splitAt([3, 4, 10]);
  assert.deepEqual([split(5), split(5), split(5), split(2), split(5)], [3, 1, 5, 1, 5]);
});
