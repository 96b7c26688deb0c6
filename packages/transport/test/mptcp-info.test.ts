import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, describe, test } from 'node:test';
import { Memory } from '@nvbraid/base';
import { type Connection, mptcp } from '@nvbraid/transport';
import { addressOf, libc, libcUnsupported } from '../src/libc.ts';
import { SUBFLOWS_MAX } from '../src/limits.ts';
import { MPTCP_FULL_INFO, mptcpSubflows, type ReadOption, readOption, SOL_MPTCP } from '../src/mptcp/mptcp-info.ts';
import { parseBackup } from '../src/mptcp/parse-diag.ts';
import { parseFullInfo, parseInfo, parseTwoArrays } from '../src/mptcp/parse-info.ts';
import { AF_INET, AF_INET6, IPPROTO_MPTCP, IPPROTO_TCP, SOCK_STREAM } from '../src/tcp/constants.ts';
import { localEndpoint, socketAddress } from '../src/tcp/sockaddr.ts';

/*
 * What Linux 6.18 answered about a connection by two links, 10.1.1.x and 10.1.2.x, the second one a backup, after 3 MB
 * each way.
 */
const recorded = JSON.parse(readFileSync(new URL('./fixtures/mptcp-info.json', import.meta.url), 'utf8')) as Record<
  string,
  string
>;

function bytes(name: string): DataView {
  const copy = Uint8Array.from(Buffer.from(recorded[name]!, 'hex'));
  return new DataView(copy.buffer);
}

function answer(name: string, length?: number) {
  const view = bytes(name);
  return { view, length: length ?? view.byteLength };
}

const zero = { retransmits: 0, bytesSent: 0, bytesReceived: 0, bytesRetransmitted: 0 };
const plain = { state: 'established', stale: false, backup: null };
const at = (address: string, port: number) => ({ address, port, family: 'ipv4' });
const SUBFLOWS = [
  {
    ...plain,
    id: 1,
    local: at('10.1.1.2', 48340),
    remote: at('10.1.1.1', 4420),
    bytesSent: 3000360,
    bytesReceived: 3000000,
    bytesRetransmitted: 360,
    retransmits: 1,
    rttUs: 179,
  },
  { ...plain, ...zero, id: 2, local: at('10.1.2.2', 51095), remote: at('10.1.2.1', 4420), rttUs: 24 },
  { ...plain, ...zero, id: 3, local: at('10.1.2.2', 51515), remote: at('10.1.1.1', 4420), rttUs: 16 },
];

describe('answers of the kernel', { skip: libcUnsupported() ?? false }, () => {
  test('MPTCP_FULL_INFO', () => {
    const info = parseFullInfo(answer('full'), bytes('subflowInfos'), bytes('tcpInfos'));
    assert.deepEqual(info, { fallback: false, count: 3, subflows: SUBFLOWS });
  });

  test('MPTCP_INFO, MPTCP_SUBFLOW_ADDRS and MPTCP_TCPINFO, of older kernels', () => {
    assert.equal(parseInfo(answer('info')), false);
    const subflows = SUBFLOWS.map((subflow) => ({ ...subflow, id: null }));
    assert.deepEqual(parseTwoArrays(answer('addrs'), answer('tcpinfo')), { count: 3, subflows });
  });

  test('the fallback flag is the lowest one', () => {
    const info = answer('info');
    info.view.setUint8(8, info.view.getUint8(8) | 1);
    assert.equal(parseInfo(info), true);
    assert.equal(parseInfo({ ...info, length: 8 }), null);
  });

  test('more subflows than there is room for are counted', () => {
    const full = answer('full');
    full.view.setUint32(16, 0xffffffff, true);
    const info = parseFullInfo(full, bytes('subflowInfos'), bytes('tcpInfos'))!;
    assert.deepEqual([info.count, info.subflows.length], [0xffffffff, 3]);
    full.view.setUint32(20, 0xffffffff, true);
    const cut = (name: string, length: number): DataView => new DataView(bytes(name).buffer, 0, length);
    assert.equal(parseFullInfo(full, cut('subflowInfos', 2 * 264), bytes('tcpInfos'))?.subflows.length, 2);
    assert.equal(parseFullInfo(full, bytes('subflowInfos'), cut('tcpInfos', 2 * 216 - 1))?.subflows.length, 1);
    const addrs = answer('addrs');
    const tcp = answer('tcpinfo');
    for (const { view } of [addrs, tcp]) view.setUint32(4, 1000, true);
    assert.deepEqual(parseTwoArrays(addrs, tcp)?.subflows.length, 3);
  });

  test('sizes that cannot be are no answer', () => {
    for (const [offset, value] of [
      [4, 0],
      [4, 215],
      [12, 8],
    ] as const) {
      const full = answer('full');
      full.view.setUint32(offset, value, true);
      assert.equal(parseFullInfo(full, bytes('subflowInfos'), bytes('tcpInfos')), null, `${offset}: ${value}`);
    }
    for (const [offset, value] of [
      [0, 0],
      [0, 8],
      [12, 0],
      [12, 255],
    ] as const) {
      const addrs = answer('addrs');
      addrs.view.setUint32(offset, value, true);
      assert.equal(parseTwoArrays(addrs, answer('tcpinfo')), null, `${offset}: ${value}`);
    }
    const far = answer('addrs');
    far.view.setUint32(0, 0xfffffff0, true);
    assert.deepEqual(parseTwoArrays(far, answer('tcpinfo'))?.subflows, []);
  });

  test('two calls that saw different subflows do not belong together', () => {
    const addrs = answer('addrs');
    addrs.view.setUint32(4, 2, true);
    assert.equal(parseTwoArrays(addrs, answer('tcpinfo')), null);
  });

  test('whatever is cut off, or is no address, is left out', () => {
    for (let length = 0; length < bytes('addrs').byteLength; length++) {
      const found = parseTwoArrays(answer('addrs', length), answer('tcpinfo'));
      assert.equal(found?.subflows.length ?? -1, length < 16 ? -1 : Math.floor((length - 16) / 256));
    }
    for (let length = 0; length < 40; length++) {
      assert.equal(parseFullInfo(answer('full', length), bytes('subflowInfos'), bytes('tcpInfos')), null);
    }
    const none = bytes('subflowInfos');
    none.setUint16(8, 0, true); // the family of the first
    const info = parseFullInfo(answer('full'), none, bytes('tcpInfos'))!;
    assert.deepEqual([info.count, info.subflows], [3, SUBFLOWS.slice(1)]);
  });

  test('a subflow is stale after two timeouts in a row', () => {
    for (const [offset, count, stale] of [
      [2, 1, false],
      [2, 2, true],
      [3, 1, false],
      [3, 2, true],
    ] as const) {
      const tcpInfos = bytes('tcpInfos');
      tcpInfos.setUint8(offset, count);
      const [first, second] = parseFullInfo(answer('full'), bytes('subflowInfos'), tcpInfos)!.subflows;
      assert.deepEqual([first!.stale, second!.stale], [stale, false]);
    }
  });

  test('the backup flag of sock_diag', () => {
    const ask = (name: string, length?: number) => parseBackup(bytes(name), length ?? bytes(name).byteLength);
    assert.equal(ask('diagPlain'), false);
    assert.equal(ask('diagBackup'), true);
    assert.equal(ask('diagNoDevice'), null);
  });

  test('a damaged answer of sock_diag neither hangs nor reads beyond its end', () => {
    const whole = bytes('diagBackup').byteLength;
    for (let length = 0; length < whole; length++) {
      const said = parseBackup(bytes('diagBackup'), length);
      assert.ok(said === null || said === true);
    }
    for (let offset = 0; offset < whole; offset++) {
      for (const value of [0, 1, 3, 0xff]) {
        const view = bytes('diagBackup');
        view.setUint8(offset, value);
        parseBackup(view, 1e9);
      }
    }
  });
});

const socketFd = libcUnsupported() === null ? libc().socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP) : -1;
if (socketFd >= 0) libc().close(socketFd);
const skip = libcUnsupported() ?? (socketFd < 0 ? 'no Multipath TCP here' : false);

describe('real sockets', { skip }, () => {
  const open: number[] = [];
  after(() => {
    for (const fd of open) libc().close(fd);
  });

  /** Connects, and moves some bytes each way. @returns the descriptors of both ends */
  function pair(address: string, hostProtocol: number, targetProtocol: number): [number, number] {
    const c = libc();
    const family = address.includes(':') ? AF_INET6 : AF_INET;
    const [listener, host] = [
      c.socket(family, SOCK_STREAM, targetProtocol),
      c.socket(family, SOCK_STREAM, hostProtocol),
    ];
    socketAddress.pack(address, 0);
    assert.equal(c.bind(listener, socketAddress.address, socketAddress.length), 0);
    assert.equal(c.listen(listener, 1), 0);
    socketAddress.pack(address, localEndpoint(listener).port);
    assert.equal(c.connect(host, socketAddress.address, socketAddress.length), 0);
    socketAddress.prepare();
    const target = c.accept4(listener, socketAddress.address, socketAddress.lengthAddress, 0);
    open.push(listener, host, target);
    const memory = Memory.alloc(1000);
    for (const [from, to, length] of [
      [host, target, 1000],
      [target, host, 300],
    ] as const) {
      assert.equal(c.send(from, addressOf(memory), length, 0), length);
      assert.equal(c.recv(to, addressOf(memory), 1000, 0), length);
    }
    return [host, target];
  }

  const refusing =
    (refused: (level: number, name: number) => boolean): ReadOption =>
    (fd, level, name, value, length) =>
      refused(level, name) ? -1 : readOption(fd, level, name, value, length);

  for (const address of ['127.0.0.1', '::1']) {
    test(`a connection with one subflow, from both ends, ${address}`, () => {
      const [host, target] = pair(address, IPPROTO_MPTCP, IPPROTO_MPTCP);
      const [a, b] = [mptcpSubflows(host, true)!, mptcpSubflows(target, true)!];
      assert.deepEqual([a.fallback, a.count, b.fallback, b.count], [false, 1, false, 1]);
      assert.notEqual(a.connection, b.connection);
      assert.equal(a.connection, mptcpSubflows(host, false)!.connection);
      const [one, other] = [a.subflows[0]!, b.subflows[0]!];
      assert.deepEqual([one.local, one.remote], [other.remote, other.local]);
      assert.equal(one.local.address, address);
      assert.deepEqual([one.bytesSent, one.bytesReceived], [1000, 300]);
      assert.deepEqual([other.bytesSent, other.bytesReceived], [300, 1000]);
      assert.deepEqual([one.state, one.stale], ['established', false]);
      // Older kernels do not have the one or the other; what they have is the same.
      const old = mptcpSubflows(
        host,
        true,
        refusing((_, name) => name === MPTCP_FULL_INFO),
      )!;
      assert.deepEqual(
        { ...old, subflows: [{ ...old.subflows[0], rttUs: 0 }] },
        {
          ...a,
          subflows: [{ ...one, id: null, rttUs: 0 }],
        },
      );
      const oldest = mptcpSubflows(
        host,
        true,
        refusing((level) => level === SOL_MPTCP),
      )!;
      assert.deepEqual(oldest, { connection: a.connection, fallback: null, count: 0, subflows: [] });
    });
  }

  test('a connection that fell back, from both ends, whichever does not speak it', () => {
    for (const [hostProtocol, targetProtocol] of [
      [IPPROTO_MPTCP, IPPROTO_TCP],
      [IPPROTO_TCP, IPPROTO_MPTCP],
    ] as const) {
      const [host, target] = pair('127.0.0.1', hostProtocol, targetProtocol);
      for (const [fd, sent, received] of [
        [host, 1000, 300],
        [target, 300, 1000],
      ] as const) {
        const { fallback, count, subflows } = mptcpSubflows(fd, true)!;
        assert.deepEqual([fallback, count, subflows.length], [true, 1, 1]);
        assert.deepEqual([subflows[0]!.bytesSent, subflows[0]!.bytesReceived], [sent, received]);
        assert.deepEqual(subflows[0]!.local, localEndpoint(fd));
      }
    }
  });

  test('a connection that is closed or given away tells nothing', async () => {
    const accepted = Promise.withResolvers<Connection>();
    const listener = await mptcp.listen({ address: '127.0.0.1', port: 0 }, accepted.resolve);
    const host = await mptcp.connect({ address: '127.0.0.1', port: listener.local.port });
    const target = await accepted.promise;
    for (const connection of [host, target]) assert.equal(connection.subflows?.(false)?.count, 1);
    const moved = mptcp.adopt(target.detach());
    assert.equal(target.subflows?.(false), null);
    assert.equal(moved.subflows?.(false)?.count, 1);
    for (const connection of [host, moved]) {
      const closed = Promise.withResolvers<void>();
      connection.start({ received() {}, drained() {}, closed: () => closed.resolve() });
      connection.destroy(null);
      assert.equal(connection.subflows?.(false), null);
      await closed.promise;
    }
    await listener.close();
  });

  test('what is no socket has no subflows', () => {
    for (const fd of [-1, 1 << 20]) assert.equal(mptcpSubflows(fd, true), null);
  });

  test('there is room for as many subflows as are asked for', () => {
    const [host] = pair('127.0.0.1', IPPROTO_MPTCP, IPPROTO_MPTCP);
    let asked = 0;
    mptcpSubflows(host, false, (fd, level, name, value, length) => {
      if (name === MPTCP_FULL_INFO) asked = value.view.getUint32(20, true);
      return readOption(fd, level, name, value, length);
    });
    assert.equal(asked, SUBFLOWS_MAX);
  });
});
