import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { afterEach, describe, test } from 'node:test';
import type { NvbraidError } from '@nvbraid/base';
import {
  type Connection,
  mptcpOps,
  mptcp as mptcpRow,
  type SocketOps,
  socketTransport,
  tcpOps,
  tcp as tcpRow,
} from '@nvbraid/transport';
import { libc, libcUnsupported } from '../src/libc.ts';
import {
  IP_TOS,
  IPPROTO_IP,
  IPPROTO_TCP,
  SO_PRIORITY,
  SO_PROTOCOL,
  SOL_SOCKET,
  TCP_NODELAY,
} from '../src/tcp/constants.ts';
import { protocolUnsupported } from '../src/tcp/create-socket.ts';
import { getInt } from '../src/tcp/socket-ops.ts';
import { closeAll, ended, link, Recorder, send, tracked } from './harness.ts';
import { Namespaces, noMptcpNamespaces } from './support/namespaces.ts';

const mptcp = tracked(mptcpRow);
const tcp = tracked(tcpRow);
const ENOPROTOOPT = 92;

/** A table that writes down what is asked of it. */
function recording(base: SocketOps, calls: string[]): SocketOps {
  const note = (call: string, errno: number): number => {
    calls.push(call);
    return errno;
  };
  return {
    ...base,
    setReuseaddr: (fd) => note('reuseaddr', base.setReuseaddr(fd)),
    setNodelay: (fd) => note('nodelay', base.setNodelay(fd)),
    setPriority: (fd, priority) => note(`priority ${priority}`, base.setPriority(fd, priority)),
    noLinger: (fd) => note('no linger', base.noLinger(fd)),
    setTos: (fd, tos) => note(`tos ${tos}`, base.setTos(fd, tos)),
    setSyncnt: (fd, count) => note(`syncnt ${count}`, base.setSyncnt(fd, count)),
  };
}

/** How a connection ends that is reset, perhaps before the system has said that it stands. */
async function resetOf(connecting: Promise<Connection>): Promise<NvbraidError | null> {
  const a = new Recorder();
  try {
    (await connecting).start(a);
  } catch (error) {
    return error as NvbraidError;
  }
  await ended(a);
  return a.error;
}

test('row 3: the rows of tcp and mptcp differ in their table of data, and in nothing else', () => {
  const differing = Object.keys(mptcpOps).filter(
    (key) => mptcpOps[key as keyof SocketOps] !== tcpOps[key as keyof SocketOps],
  );
  assert.deepEqual(differing.sort(), ['name', 'protocol', 'refusals', 'subflows', 'trtype']);
  assert.deepEqual([tcpOps.protocol, mptcpOps.protocol], [6, 262]);
});

test('where the kernel has no Multipath TCP the row says why', { skip: libcUnsupported() ?? false }, () => {
  const table = libc();
  const { socket, errno } = table;
  table.socket = () => -1;
  try {
    for (const [number, reason] of [
      [93, 'this kernel has no Multipath TCP'],
      [22, 'this kernel has no Multipath TCP'],
      [ENOPROTOOPT, 'Multipath TCP is switched off here: sysctl net.mptcp.enabled=1 switches it on'],
      [24, null], // too many open files: passes, and is told by the call that needs a socket
    ] as const) {
      table.errno = () => number;
      // Another protocol number: that of the row has been found to work, or will be.
      assert.equal(protocolUnsupported({ ...mptcpOps, protocol: 9999 }), reason);
    }
  } finally {
    Object.assign(table, { socket, errno });
  }
});

describe('mptcp', { skip: mptcp.unsupported() ?? false, timeout: 60_000 }, () => {
  afterEach(closeAll);

  for (const base of [tcpOps, mptcpOps]) {
    test(`row 12: ${base.name}: a host makes its socket in the order of Linux`, async () => {
      const calls: string[] = [];
      const row = tracked(socketTransport(recording(base, calls)));
      const accepted = Promise.withResolvers<Connection>();
      const listener = await row.listen({ address: '127.0.0.1', port: 0 }, (connection) =>
        accepted.resolve(connection),
      );
      const table = libc();
      const { socket, bind, connect, setsockopt } = table;
      calls.length = 0;
      Object.assign(table, {
        socket: (...args: Parameters<typeof socket>) => {
          calls.push(`socket ${args[2]}`);
          return socket(...args);
        },
        bind: (...args: Parameters<typeof bind>) => {
          calls.push('bind');
          return bind(...args);
        },
        connect: (...args: Parameters<typeof connect>) => {
          calls.push('connect');
          return connect(...args);
        },
        setsockopt: (...args: Parameters<typeof setsockopt>) => {
          if (args[1] === SOL_SOCKET && args[2] === 25) calls.push('device');
          return setsockopt(...args);
        },
      });
      try {
        const how = { priority: 5, tos: 0x10, hostTraddr: '127.0.0.1', hostIface: 'lo' };
        await row.connect({ ...listener.local, ...how });
      } finally {
        Object.assign(table, { socket, bind, connect, setsockopt });
      }
      await accepted.promise;
      const before = calls.slice(0, calls.indexOf('connect') + 1);
      assert.deepEqual(before, [
        `socket ${base.protocol}`,
        ...['syncnt 1', 'nodelay', 'no linger', 'priority 5', 'tos 16', 'priority 5'],
        ...['bind', 'device', 'connect'],
      ]);
    });
  }

  test('the options are those of the connection', async () => {
    const { client, server } = await link(
      { ...mptcp, connect: (options) => mptcp.connect({ ...options, priority: 5, tos: 0x10 }) },
      '127.0.0.1',
    );
    const fd = client.detach();
    assert.equal(getInt(fd, SOL_SOCKET, SO_PROTOCOL), 262);
    assert.equal(getInt(fd, SOL_SOCKET, SO_PRIORITY), 5);
    assert.equal(getInt(fd, IPPROTO_IP, IP_TOS), 0x10);
    assert.equal(getInt(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    const taken = mptcp.adopt(fd);
    assert.equal(taken.subflows?.(false)?.fallback, false);
    const [a, b] = [new Recorder(), new Recorder()];
    taken.start(a);
    server.start(b);
    taken.end();
    await ended(a, b);
    assert.deepEqual([a.error, b.error], [null, null]);
  });

  test('an option that the kernel refuses, and that can be done without, is told of', async () => {
    const refusing = tracked(socketTransport({ ...mptcpOps, setSyncnt: () => ENOPROTOOPT }));
    const listener = await refusing.listen({ address: '127.0.0.1', port: 0 }, () => {});
    const notes: string[] = [];
    await refusing.connect({ ...listener.local, note: (sentence) => notes.push(sentence) });
    assert.deepEqual(notes, [
      'this kernel does not limit the attempts to connect by mptcp: only the time limit ends them',
    ]);
  });

  for (const [name, loopback, any] of [
    ['IPv4', '127.0.0.1', '0.0.0.0'],
    ['IPv6', '::1', '::'],
    ['IPv4-mapped IPv6', '::ffff:127.0.0.1', '::'],
  ] as const) {
    for (const row of [tcp, mptcp]) {
      test(`row 27: ${row.name} over ${name}`, async () => {
        for (const address of [loopback, any]) {
          const [a, b] = [new Recorder(), new Recorder()];
          const listener = await row.listen({ address, port: 0 }, (connection) => connection.start(b));
          const client = await row.connect({ address: loopback, port: listener.local.port });
          assert.equal(client.remote.address, loopback);
          client.start(a);
          send(client, 'hello');
          await b.untilBytes(5);
          client.end();
          await ended(a, b);
          await listener.close();
        }
      });
    }
  }

  test('a listener resets plain TCP, tells of it, and takes it where it may', async () => {
    const told: [string, boolean][] = [];
    for (const allowFallback of [false, true]) {
      const b = new Recorder();
      const taken: (boolean | null)[] = [];
      const otherProtocol = ({ address }: { address: string }, taken: boolean): void =>
        void told.push([address, taken]);
      const options = { address: '127.0.0.1', port: 0, allowFallback, otherProtocol };
      const listener = await mptcp.listen(options, (connection) => {
        if (taken.push(connection.subflows?.(false)?.fallback ?? null) === 1) connection.start(b);
        else connection.start(new Recorder());
      });
      if (allowFallback) {
        const plain = await tcp.connect(listener.local);
        const a = new Recorder();
        plain.start(a);
        send(plain, 'hello');
        await b.untilBytes(5);
        plain.end();
        await ended(a, b);
      } else {
        const error = await resetOf(tcp.connect(listener.local));
        assert.equal(error?.code, 'ECONNRESET');
      }
      // The listener goes on.
      const multi = await mptcp.connect(listener.local);
      assert.equal(multi.subflows?.(false)?.fallback, false);
      multi.destroy(null);
      await listener.close();
      if (allowFallback) assert.equal(taken[0], true);
    }
    assert.deepEqual(told, [
      ['127.0.0.1', false],
      ['127.0.0.1', true],
    ]);
  });

  test('a connection to a listener of plain TCP falls back, and says so', async () => {
    const b = new Recorder();
    const listener = await tcp.listen({ address: '127.0.0.1', port: 0 }, (connection) => connection.start(b));
    const client = await mptcp.connect(listener.local);
    assert.equal(client.subflows?.(false)?.fallback, true);
    const a = new Recorder();
    client.start(a);
    send(client, 'hello');
    await b.untilBytes(5);
    client.end();
    await ended(a, b);
  });
});

describe('mptcp between two machines', { skip: noMptcpNamespaces, timeout: 120_000 }, () => {
  afterEach(closeAll);

  test('row 4: options hold for a subflow that joins later', async () => {
    const machines = new Namespaces(2, 1);
    try {
      machines.enter(machines.target);
      const b = new Recorder();
      const accepted = Promise.withResolvers<Connection>();
      const listener = await mptcp.listen({ address: '10.77.1.1', port: 4420, priority: 4 }, (connection) => {
        connection.start(b);
        accepted.resolve(connection);
      });
      machines.enter(machines.host);
      const client = await mptcp.connect({ ...listener.local, tos: 0x10 });
      const a = new Recorder();
      client.start(a);
      const server = await accepted.promise;
      send(client, 'one');
      send(server, 'one');
      await Promise.all([a.untilBytes(3), b.untilBytes(3)]);
      assert.equal(client.subflows?.(false)?.count, 1);
      machines.addPath(2);
      const there = (): boolean => (client.subflows?.(false)?.count ?? 0) >= 2;
      for (let bytes = 3; !there(); bytes++) {
        send(client, '.');
        send(server, '.');
        await Promise.all([a.untilBytes(bytes + 1), b.untilBytes(bytes + 1)]);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      // Where a type of service is set, the kernel derives the priority of a subflow from it: 0x10 makes 6.
      for (const [name, wanted] of [
        [machines.host, /\btos:0x10 class_id:0x6\b/],
        [machines.target, /\bclass_id:0x4\b/],
      ] as const) {
        const args = ['-N', name, '-tinH', '--tos', 'state', 'established'];
        const text = execFileSync('ss', args, { encoding: 'utf8' }).replace(/\n\s+/g, ' ');
        const subflows = text.split('\n').filter((line) => line.includes('tcp-ulp-mptcp'));
        assert.ok(subflows.length >= 2, text);
        for (const line of subflows) assert.match(line, wanted, text);
      }
      client.end();
      await ended(a, b);
      await listener.close();
    } finally {
      machines.close();
    }
  });
});
