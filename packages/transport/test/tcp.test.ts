import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createServer, connect as netConnect } from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Memory, NvbraidError, Outbox, Rng } from '@nvbraid/base';
import {
  type Connection,
  currentEventLoop,
  net,
  type SocketOps,
  socketTransport,
  tcpOps,
  tcp as tcpRow,
} from '@nvbraid/transport';
import { koffi, libc } from '../src/libc.ts';
import {
  AF_INET,
  IP_TOS,
  IPPROTO_IP,
  IPPROTO_TCP,
  SO_LINGER,
  SO_PRIORITY,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_STREAM,
  SOL_SOCKET,
  TCP_NODELAY,
} from '../src/tcp/constants.ts';
import { ioVector } from '../src/tcp/io-vector.ts';
import { localEndpoint, socketAddress } from '../src/tcp/sockaddr.ts';
import { getInt } from '../src/tcp/socket-ops.ts';
import { closeAll, DirectRecorder, ended, link, Recorder, send, sleep, tracked, turns } from './harness.ts';

const SEED = Number(process.env.NVBRAID_SEED ?? 20262);
console.log(`# seed ${SEED}`);

const tcp = tracked(tcpRow);
const EINTR = 4;
const EAGAIN = 11;
const EMFILE = 24;

function rejects(code: string, message: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof NvbraidError, String(error));
    assert.match(error.message, message);
    assert.equal(error.code, code, error.message);
    return true;
  };
}

function run(fixture: string) {
  const file = fileURLToPath(new URL(`./fixtures/${fixture}`, import.meta.url));
  return spawnSync(process.execPath, [file], { encoding: 'utf8', timeout: 20_000 });
}

/** Puts `fake` in the place of a system call until the answered function is called. */
function replace<K extends 'recv' | 'sendmsg' | 'accept4' | 'readv' | 'epoll_wait'>(
  name: K,
  fake: (...args: number[]) => number,
) {
  const table = libc();
  const real = table[name] as (...args: number[]) => number;
  const realErrno = table.errno;
  let forced = 0;
  const fail = (errno: number) => {
    forced = errno;
    return -1;
  };
  table.errno = (() => {
    const errno = forced === 0 ? realErrno() : forced;
    forced = 0;
    return errno;
  }) as typeof table.errno;
  (table as unknown as Record<string, unknown>)[name] = fake;
  return {
    real,
    fail,
    restore: () => {
      (table as unknown as Record<string, unknown>)[name] = real;
      table.errno = realErrno;
    },
  };
}

describe('tcp', { skip: tcp.unsupported() ?? false, timeout: 30_000 }, () => {
  afterEach(closeAll);

  test('the table of socket operations decides everything that differs per protocol', async () => {
    const calls: string[] = [];
    const note = (call: string, errno: number) => {
      calls.push(call);
      return errno;
    };
    const recording: SocketOps = {
      ...tcpOps,
      name: 'recorded',
      trtype: 'other',
      setReuseaddr: (fd) => note('reuseaddr', tcpOps.setReuseaddr(fd)),
      setNodelay: (fd) => note('nodelay', tcpOps.setNodelay(fd)),
      setPriority: (fd, priority) => note(`priority ${priority}`, tcpOps.setPriority(fd, priority)),
      noLinger: (fd) => note('no linger', tcpOps.noLinger(fd)),
      setTos: (fd, tos) => note(`tos ${tos}`, tcpOps.setTos(fd, tos)),
      setSyncnt: (fd, count) => note(`syncnt ${count}`, tcpOps.setSyncnt(fd, count)),
    };
    const took = () => calls.splice(0);
    const row = tracked(socketTransport(recording));
    assert.deepEqual([row.name, row.trtype, row.canHandOff], ['recorded', 'other', true]);
    const b = new Recorder();
    const accepted = Promise.withResolvers<string[]>();
    const listener = await row.listen({ address: '127.0.0.1', port: 0, priority: 3, tos: 0x20 }, (connection) => {
      accepted.resolve(took());
      connection.start(b);
    });
    assert.deepEqual(took(), ['reuseaddr', 'nodelay', 'priority 3', 'tos 32', 'priority 3']);
    const connecting = row.connect({ ...listener.local, priority: 5, tos: 0x10, timeoutMs: 2500 });
    assert.deepEqual(took(), [], 'not before the address is known');
    const client = await connecting;
    assert.deepEqual(await accepted.promise, [
      ...['syncnt 1', 'nodelay', 'no linger', 'priority 5', 'tos 16', 'priority 5'],
      ...['no linger', 'nodelay', 'priority 3', 'tos 32', 'priority 3'],
    ]);
    const a = new Recorder();
    client.start(a);
    client.destroy(null);
    await ended(a, b);
    await listener.close();
    assert.deepEqual(took(), []);
  });

  test('an operation that the system refuses is a sentence, not a silence', async () => {
    const stubborn = socketTransport({ ...tcpOps, setTos: () => 92, setPriority: () => 1 });
    await assert.rejects(
      stubborn.listen({ address: '127.0.0.1', port: 0, tos: 1 }, () => {}),
      rejects('ENOTSUP', /^cannot listen on 127.0.0.1:0 with its type of service: the socket option is not supported/),
    );
    await assert.rejects(
      stubborn.connect({ address: '127.0.0.1', port: 9, priority: 1 }),
      rejects('EACCES', /^cannot connect to 127.0.0.1:9 with its priority: permission denied$/),
    );
  });

  test('the options are really set', async () => {
    const accepted = Promise.withResolvers<number>();
    const listener = await tcp.listen({ address: '127.0.0.1', port: 0, priority: 3, tos: 0x20 }, (connection) => {
      accepted.resolve(connection.detach());
    });
    const client = await tcp.connect({ ...listener.local, priority: 5, tos: 0x10 });
    const [ours, theirs] = [client.detach(), await accepted.promise];
    for (const [fd, priority, tos] of [
      [ours, 5, 0x10],
      [theirs, 3, 0x20],
    ] as const) {
      assert.equal(getInt(fd, SOL_SOCKET, SO_PRIORITY), priority);
      assert.equal(getInt(fd, IPPROTO_IP, IP_TOS), tos);
      assert.equal(getInt(fd, IPPROTO_TCP, TCP_NODELAY), 1);
      assert.equal(getInt(fd, SOL_SOCKET, SO_LINGER), 1, 'a process that is killed resets');
    }
    assert.equal(getInt(theirs, SOL_SOCKET, SO_REUSEADDR), 1);
    const [a, b] = [new Recorder(), new Recorder()];
    const [one, two] = [tcp.adopt(ours), tcp.adopt(theirs)];
    assert.deepEqual([one.local, one.remote], [client.local, client.remote]);
    one.start(a);
    two.start(b);
    one.end();
    await ended(a, b);
    await listener.close();
  });

  test('interrupted calls are made again, refused ones wait, short writes keep the order', async () => {
    const rng = new Rng(SEED);
    const { client, server, listener } = await link(tcp, '127.0.0.1');
    const [a, b] = [new Recorder(), new Recorder()];
    client.start(a);
    server.start(b);
    let shorts = 0;
    // Cuts what is asked at a random segment and inside of it, as a socket whose buffer is nearly full does.
    const sendmsg = replace('sendmsg', (fd, message, flags): number => {
      if (rng.chance(0.1)) return sendmsg.fail(EINTR);
      if (rng.chance(0.2)) return sendmsg.fail(EAGAIN);
      if (rng.chance(0.5)) return sendmsg.real(fd!, message!, flags!);
      shorts++;
      return shortSend(sendmsg.real, fd!, message!, flags!, rng);
    });
    const recv = replace('recv', (fd, at, length, flags): number => {
      if (rng.chance(0.1)) return recv.fail(rng.pick([EINTR, EAGAIN]));
      return recv.real(fd!, at!, rng.chance(0.3) ? rng.between(1, 5000) : length!, flags!);
    });
    const sent: Uint8Array[] = [];
    for (let i = 0; i < 300; i++) {
      const parts = Array.from({ length: rng.between(1, 12) }, () => {
        const part = new Uint8Array(rng.between(1, rng.chance(0.1) ? 150_000 : 2000));
        rng.fill(part, 0, Math.min(part.length, 64));
        return part;
      });
      sent.push(...parts);
      send(client, ...parts);
      for (const part of parts) assert.ok(part.length > 0);
      if (rng.chance(0.3)) await turns(1);
    }
    const whole = Buffer.concat(sent);
    await b.untilBytes(whole.length);
    recv.restore();
    sendmsg.restore();
    assert.ok(shorts > 20);
    assert.ok(a.drainedCalls > 5);
    assert.ok(whole.equals(b.bytes));
    client.end();
    await ended(a, b);
    await listener.close();
  });

  test('an outbox of more segments than one call takes', async () => {
    const { client, server, listener } = await link(tcp, '127.0.0.1');
    const [a, b] = [new Recorder(), new Recorder()];
    client.start(a);
    server.start(b);
    const out = new Outbox(4096, 5000);
    const memory = Memory.shared(5000);
    for (let i = 0; i < 5000; i++) {
      memory.bytes[i] = i % 251;
      out.append(memory, i, 1);
    }
    client.send(out);
    await b.untilBytes(5000);
    assert.ok(Buffer.from(memory.bytes).equals(b.bytes));
    client.end();
    await ended(a, b);
    await listener.close();
  });

  test('no descriptor left: accepting pauses instead of spinning, and goes on later', async () => {
    let tries = 0;
    const accept = replace('accept4', (): number => {
      tries++;
      return accept.fail(EMFILE);
    });
    const accepted = Promise.withResolvers<void>();
    const b = new Recorder();
    const listener = await tcp.listen({ address: '127.0.0.1', port: 0 }, (connection) => {
      connection.start(b);
      accepted.resolve();
    });
    const client = await tcp.connect(listener.local);
    const a = new Recorder();
    client.start(a);
    await sleep(250);
    assert.ok(tries >= 1 && tries <= 4, `${tries} tries`);
    accept.restore();
    await accepted.promise;
    client.end();
    await ended(a, b);
    await listener.close();
  });

  test('a connection that fails while it waits to be accepted takes no other with it', async () => {
    const ECONNABORTED = 103;
    let first = true;
    const accept = replace('accept4', (...args): number => {
      if (!first) return accept.real(...args);
      first = false;
      return accept.fail(ECONNABORTED);
    });
    const { client, server, listener } = await link(tcp, '127.0.0.1');
    accept.restore();
    assert.equal(first, false);
    const [a, b] = [new Recorder(), new Recorder()];
    client.start(a);
    server.start(b);
    server.end();
    await ended(a, b);
    await listener.close();
  });

  test('a listener closed inside its own callback accepts no more', async () => {
    const got: Recorder[] = [];
    const listener = await tcp.listen({ address: '127.0.0.1', port: 0 }, (connection) => {
      const recorder = new Recorder();
      got.push(recorder);
      connection.start(recorder);
      void listener.close();
    });
    const clients = [netConnect(listener.local.port, '127.0.0.1'), netConnect(listener.local.port, '127.0.0.1')];
    for (const client of clients) client.on('error', () => {});
    await sleep(20);
    assert.equal(got.length, 1);
    for (const client of clients) client.destroy();
    await ended(...got);
  });

  test('the peer sends its end and goes on reading: what is kept still reaches it', async () => {
    let server: Connection;
    const b = new Recorder();
    const listener = await tcp.listen({ address: '127.0.0.1', port: 0 }, (connection) => {
      server = connection;
      connection.start(b);
    });
    const peer = netConnect({ port: listener.local.port, host: '127.0.0.1', allowHalfOpen: true });
    peer.pause();
    peer.write('give me all');
    await b.untilBytes(11);
    let total = 0;
    for (; server!.backlogBytes === 0; total += 1 << 20) send(server!, new Uint8Array(1 << 20));
    peer.end();
    await sleep(10);
    let got = 0;
    peer.on('data', (chunk) => {
      got += chunk.length;
    });
    peer.resume();
    await Promise.all([ended(b), new Promise((resolve) => peer.on('end', resolve))]);
    assert.equal(b.error, null);
    assert.equal(got, total);
    peer.destroy();
    await listener.close();
  });

  test('a paused connection whose peer resets is told so and costs nothing', async () => {
    const loop = currentEventLoop();
    const { client, server, listener } = await link(tcp, '127.0.0.1');
    const [a, b] = [new Recorder(), new Recorder()];
    client.start(a);
    server.start(b);
    server.pause();
    client.destroy(null);
    await ended(a, b);
    assert.equal(b.error?.code, 'ECONNRESET');
    await listener.close();
    assert.equal(loop.watched, 0);
  });

  test('a loop with nothing to do waits, whatever its connections were through', async () => {
    const links = [await link(tcp, '127.0.0.1'), await link(tcp, '127.0.0.1')] as const;
    const [kept, paused] = links;
    const recorders = links.flatMap(({ client, server }) => {
      const [a, b] = [new Recorder(), new Recorder()];
      client.start(a);
      server.start(b);
      return [a, b];
    });
    // One has had a backlog that is gone; one has bytes waiting that it does not want.
    kept.server.pause();
    while (kept.client.backlogBytes === 0) send(kept.client, new Uint8Array(1 << 20));
    kept.server.resume();
    await recorders[0]!.until(() => recorders[0]!.drainedCalls === 1);
    paused.server.pause();
    send(paused.client, 'wait');
    await sleep(20);
    let waits = 0;
    const wait = replace('epoll_wait', (...args): number => {
      waits++;
      return wait.real(...args);
    });
    await sleep(60);
    wait.restore();
    assert.ok(waits <= 4, `${waits} calls`);
    for (const { client, listener } of links) {
      client.destroy(null);
      await listener.close();
    }
    await ended(...recorders);
  });

  test('direct receive asks for a destination and reads to its end in one call', async () => {
    const { client, server, listener } = await link(tcp, '127.0.0.1');
    const a = new Recorder();
    const direct = new DirectRecorder(1 << 20);
    client.start(a);
    send(client, new Uint8Array((1 << 20) + 100).fill(9));
    await sleep(20); // all of it lies in the kernel
    let reads = 0;
    const readv = replace('readv', (...args): number => {
      reads++;
      return readv.real(...args);
    });
    server.start(direct);
    await direct.untilBytes((1 << 20) + 100);
    readv.restore();
    assert.equal(direct.receivedBytes, (1 << 20) + 100);
    assert.ok(direct.destination.bytes.every((byte) => byte === 9));
    assert.ok(reads >= 1 && direct.directCalls >= 1 && direct.directCalls <= reads);
    client.end();
    await ended(a, direct);
    await listener.close();
  });

  test('destroyed while bytes go to their destination, a connection delivers nothing more', async () => {
    const { client, server, listener } = await link(tcp, '127.0.0.1');
    const a = new Recorder();
    const direct = new DirectRecorder(8192);
    direct.onDirect = () => server.destroy(null);
    client.start(a);
    send(client, new Uint8Array(10_000));
    await sleep(5);
    server.start(direct);
    await ended(a, direct);
    assert.equal(direct.receivedBytes, 8192);
    await listener.close();
  });

  test('detach with bytes that nobody has taken is a broken promise', async () => {
    const { client, server, listener } = await link(tcp, '127.0.0.1');
    const [a, b] = [new Recorder(), new Recorder()];
    client.start(a);
    server.start(b);
    server.pause();
    while (client.backlogBytes === 0) send(client, new Uint8Array(1 << 20));
    assert.throws(() => client.detach(), /unsent/);
    client.destroy(null);
    assert.throws(() => client.detach(), /closed/);
    await ended(a, b);
    await listener.close();
  });

  test('the source address', async () => {
    const seen = Promise.withResolvers<Connection>();
    const listener = await tcp.listen({ address: '127.0.0.1', port: 0 }, (connection) => seen.resolve(connection));
    const client = await tcp.connect({ ...listener.local, hostTraddr: '127.0.0.9' });
    assert.equal(client.local.address, '127.0.0.9');
    const server = await seen.promise;
    assert.equal(server.remote.address, '127.0.0.9');
    server.destroy(null);
    client.destroy(null);
    const to = { ...listener.local };
    const where = `127\\.0\\.0\\.1:${to.port}`;
    for (const [hostTraddr, why] of [
      [
        '203.0.113.1',
        new RegExp(`^cannot connect to ${where} from 203.0.113.1: the address is not one of this machine$`),
      ],
      ['::1', new RegExp(`^cannot connect to ${where}: ::1 is of another address family$`)],
      ['here', new RegExp(`^cannot connect to ${where}: here is not a numeric address$`)],
    ] as const) {
      await assert.rejects(tcp.connect({ ...to, hostTraddr }), rejects('EINVAL', why));
    }
    await assert.rejects(tcp.connect({ ...to, hostIface: 'no-such-dev' }), (error: NvbraidError) => {
      assert.match(error.message, /through no-such-dev: (no such network device|permission denied)$/);
      return true;
    });
    await listener.close();
  });

  test('an address that is not local, a port without permission', async () => {
    await assert.rejects(
      tcp.listen({ address: '203.0.113.1', port: 4420 }, () => {}),
      rejects('EINVAL', /^cannot listen on 203.0.113.1:4420: the address is not one of this machine$/),
    );
    await assert.rejects(
      tcp.listen({ address: 'name.invalid', port: 4420 }, () => {}),
      rejects('EINVAL', /^cannot listen on name.invalid:4420: the name is not known$/),
    );
  });

  test('a peer that does not answer: timed out, in a sentence, on tcp and on net', async () => {
    // A listener whose queue is full and that never accepts answers no further connection.
    const c = libc();
    const fd = c.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
    assert.ok(socketAddress.pack('127.0.0.1', 0));
    assert.equal(c.bind(fd, socketAddress.address, socketAddress.length), 0);
    assert.equal(c.listen(fd, 0), 0);
    const { address, port } = localEndpoint(fd);
    const fillers = [netConnect(port, address), netConnect(port, address)];
    for (const filler of fillers) filler.on('error', () => {});
    await sleep(20);
    for (const row of [tcp, net]) {
      await assert.rejects(
        row.connect({ address, port, timeoutMs: 60 }),
        rejects('ETIMEDOUT', new RegExp(`^cannot connect to 127.0.0.1:${port}: no answer within 60 ms$`)),
      );
    }
    for (const filler of fillers) filler.destroy();
    c.close(fd);
    assert.equal(currentEventLoop().watched, 0);
  });

  test('a name is resolved, and every address of it is tried', async () => {
    const seen = Promise.withResolvers<Connection>();
    const listener = await tcp.listen({ address: '127.0.0.1', port: 0 }, (connection) => seen.resolve(connection));
    const client = await tcp.connect({ address: 'localhost', port: listener.local.port });
    assert.equal(client.remote.address, '127.0.0.1');
    (await seen.promise).destroy(null);
    client.destroy(null);
    await listener.close();
  });

  test('talks to a server of Node', async () => {
    const server = createServer((socket) => socket.pipe(socket));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const client = await tcp.connect({ address: '127.0.0.1', port });
    const a = new Recorder();
    client.start(a);
    send(client, 'to and fro');
    await a.untilBytes(10);
    client.end();
    await ended(a);
    assert.equal(a.error, null);
    server.close();
  });

  test('a process that has closed everything ends by itself', () => {
    const { status, stdout, stderr } = run('exits.ts');
    assert.deepEqual([status, stdout], [0, 'all closed\n'], stderr);
  });

  test('SIGPIPE does not kill, whatever its action', () => {
    const { status, stdout, stderr } = run('sigpipe.ts');
    assert.deepEqual([status, stdout], [0, 'survived: the peer has closed the connection\n'], stderr);
  });

  test('an error thrown by a handler is an uncaught exception, and the loop lives on', () => {
    const { status, stdout, stderr } = run('throws.ts');
    assert.deepEqual([status, stdout], [0, 'uncaught: handler broke\nthen: y\n'], stderr);
  });

  test('one recv and one sendmsg per batch, as strace sees it', (t) => {
    if (spawnSync('strace', ['-V']).status !== 0) return t.skip('strace is not installed');
    const file = fileURLToPath(new URL('./fixtures/batches.ts', import.meta.url));
    const traced = ['-f', '-qq', '-e', 'trace=recvfrom,sendmsg,recvmsg,sendto,writev', process.execPath, file];
    const { status, stdout, stderr } = spawnSync('strace', traced, { encoding: 'utf8', timeout: 20_000 });
    if (status !== 0 && /ptrace|PTRACE/.test(stderr)) return t.skip('strace may not trace here');
    assert.equal(status, 0, stderr);
    const { batches, answered } = JSON.parse(stdout) as { batches: number; answered: number };
    const calls = stderr.split('\n').filter((line) => /\b(recvfrom|sendmsg)\(/.test(line));
    const received = calls.filter((line) => line.includes('recvfrom('));
    const sent = calls.filter((line) => line.includes('sendmsg('));
    t.diagnostic(`${answered} answers in ${batches} batches: ${received.length} recv, ${sent.length} sendmsg`);
    assert.equal(answered, 40 * 32);
    assert.ok(batches < answered / 4, 'requests come in batches');
    assert.equal(received.length, batches + 1, 'one more for the end of the stream');
    assert.ok(received.at(-1)!.endsWith('= 0'));
    assert.equal(sent.length, batches);
  });

  test('a batch allocates next to nothing', async (t) => {
    const { client, server, listener } = await link(tcp, '127.0.0.1');
    const request = Memory.alloc(72);
    const payload = Memory.shared(4096);
    const out = new Outbox();
    let got = 0;
    server.start({
      received: () => {
        out.reserve(24);
        out.append(payload, 0, 4096);
        out.reserve(24);
        server.send(out);
      },
      drained: () => {},
      closed: () => {},
    });
    client.start({ received: (_memory, start, end) => (got += end - start), drained: () => {}, closed: () => {} });
    // Straight calls, so that only the connection's own garbage is seen.
    const events = 1;
    const ends = [server, client] as unknown as { ready(events: number): void }[];
    const rounds = (count: number) => {
      for (let i = 0; i < count; i++) {
        out.append(request, 0, 72);
        client.send(out);
        ends[0]!.ready(events);
        ends[1]!.ready(events);
      }
    };
    rounds(5000);
    const before = process.memoryUsage().heapUsed;
    rounds(4000);
    const perRound = (process.memoryUsage().heapUsed - before) / 4000;
    t.diagnostic(`${perRound.toFixed(0)} bytes of heap per round of two sends and two receives`);
    assert.ok(got >= 9000 * 4144);
    assert.ok(perRound < 400, `${perRound}`);
    client.destroy(null);
    server.destroy(null);
    await turns(2);
    await listener.close();
  });
});

/** Sends a random part of what is asked, by shortening the thread's vector for the call. */
function shortSend(real: (...args: number[]) => number, fd: number, message: number, flags: number, rng: Rng): number {
  const vector = ioVector();
  assert.equal(message, vector.messageAddress);
  const { count } = vector;
  const words = new Uint32Array(koffi().view(BigInt(vector.address), count * 16));
  const kept = rng.between(1, count);
  const last = (kept - 1) * 4 + 2;
  const length = words[last]!;
  vector.count = kept;
  vector.finishMessage();
  words[last] = rng.between(1, length);
  const n = real(fd, message, flags);
  words[last] = length;
  vector.count = count;
  return n;
}
