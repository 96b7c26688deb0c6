import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NvbraidError } from '@nvbraid/base';
import { loop, mptcp, net, tcp, transport, transports } from '@nvbraid/transport';
import { formatAddress, systemError } from '../src/errors.ts';
import { libcUnsupported } from '../src/libc.ts';
import { AF_INET6 } from '../src/tcp/constants.ts';
import { socketAddress } from '../src/tcp/sockaddr.ts';

test('rows are found by name and say what they can', () => {
  assert.equal(transport('net'), net);
  assert.equal(transports.mptcp, mptcp);
  assert.equal(transport('loop'), loop);
  const facts = Object.entries(transports).map(([name, row]) => [name, row.name, row.trtype, row.canHandOff]);
  assert.deepEqual(facts, [
    ['tcp', 'tcp', 'tcp', true],
    ['mptcp', 'mptcp', 'mptcp', true],
    ['net', 'net', 'tcp', false],
    ['loop', 'loop', 'loop', false],
  ]);
});

test('a name that is not in the table, a row that does not work here', () => {
  for (const name of ['rdma', '', 'toString', '__proto__']) {
    assert.throws(
      () => transport(name),
      new NvbraidError('EINVAL', `unknown transport '${name}': use one of tcp, mptcp, net, loop`),
    );
  }
  const row = tcp as { unsupported(): string | null };
  const real = row.unsupported;
  row.unsupported = () => 'raw sockets need Linux, this is plan9';
  try {
    assert.throws(() => transport('tcp'), {
      code: 'ENOTSUP',
      message: `transport 'tcp' does not work here: raw sockets need Linux, this is plan9`,
    });
  } finally {
    row.unsupported = real;
  }
});

test('rows without a descriptor refuse to hand one off', () => {
  for (const row of [net, loop]) {
    assert.throws(() => row.adopt(5), { code: 'ENOTSUP', message: /use 0 reactors$/ });
  }
});

test('what Node cannot set is refused, not ignored', async () => {
  const to = { address: '127.0.0.1', port: 9 };
  await assert.rejects(net.connect({ ...to, tos: 1 }), { code: 'ENOTSUP', message: /cannot set a type of service$/ });
  await assert.rejects(net.connect({ ...to, hostIface: 'lo' }), { code: 'ENOTSUP', message: /a source device$/ });
  await assert.rejects(
    net.listen({ ...to, priority: 1 }, () => {}),
    { code: 'ENOTSUP', message: /^cannot listen on 127.0.0.1:9: .*a priority$/ },
  );
});

test('system errors become one sentence with a code', () => {
  const sentences = [
    ['EADDRINUSE', 'EADDRINUSE', 'x: the port is in use'],
    ['EACCES', 'EACCES', 'x: permission denied'],
    ['EPERM', 'EACCES', 'x: permission denied'],
    ['ENETUNREACH', 'EHOSTUNREACH', 'x: the network cannot be reached'],
    ['EPIPE', 'ECONNRESET', 'x: the peer has closed the connection'],
    ['EMFILE', 'EBUSY', 'x: this process has too many open files'],
    ['EAFNOSUPPORT', 'ENOTSUP', 'x: the address family is not supported here'],
    ['EWHAT', 'EIO', 'x: EWHAT'],
  ] as const;
  for (const [name, code, message] of sentences) {
    const error = systemError(name, 'x');
    assert.deepEqual([error.code, error.message, error.context.errno], [code, message, name]);
  }
  assert.equal(systemError(98, 'x').context.errno, 'EADDRINUSE', 'numbers are known too');
  assert.equal(systemError(99999, 'x').message, 'x: error 99999');
  assert.equal(formatAddress('::1', 4420), '[::1]:4420');
  assert.equal(formatAddress('10.0.0.1', 4420), '10.0.0.1:4420');
});

test('socket addresses survive the way into memory and back', { skip: libcUnsupported() ?? false }, () => {
  const there = (address: string, port: number) => {
    assert.ok(socketAddress.pack(address, port), address);
    return socketAddress.unpack();
  };
  assert.deepEqual(there('192.168.1.255', 65535), { address: '192.168.1.255', port: 65535, family: 'ipv4' });
  assert.equal(socketAddress.length, 16);
  assert.deepEqual(there('2001:DB8:0:0::00ff', 4420), { address: '2001:db8::ff', port: 4420, family: 'ipv6' });
  assert.equal(socketAddress.length, 28);
  assert.deepEqual(there('::ffff:10.1.2.3', 1), { address: '::ffff:10.1.2.3', port: 1, family: 'ipv6' });
  assert.deepEqual(there('::', 0), { address: '::', port: 0, family: 'ipv6' });
  assert.deepEqual(there('fe80::1%7', 80), { address: 'fe80::1%7', port: 80, family: 'ipv6' });
  assert.match(there('fe80::1%lo', 80).address, /^fe80::1%\d+$/);
  for (const wrong of ['', 'localhost', '1.2.3', '1.2.3.256', '::g', 'fe80::1%no-such-dev', '[::1]']) {
    assert.equal(socketAddress.pack(wrong, 1), false, wrong);
  }
  // The layout, byte by byte: family, port, flow, address.
  assert.ok(socketAddress.pack('::1', 0x1234));
  const { view, bytes } = socketAddress.memory;
  assert.deepEqual([view.getUint16(0, true), bytes[2], bytes[3], bytes[23]], [AF_INET6, 0x12, 0x34, 1]);
});
