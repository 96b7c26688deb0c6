import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { memoryDevice } from '@nvbraid/blockdev';
import { ConnectSqe, FabricsStatus, FabricsType, ICReq, IoOpcode, PduType, Property, SglId } from '@nvbraid/wire';
import { createTarget, NvbraidError, type TargetLimits } from 'nvbraid';
import { targetLimits } from '../src/target-limits.ts';
import { capsule, connectCapsule, RawPeer, rw } from './support/raw-peer.ts';

/* What a peer may take, and for how long: each limit with a peer that runs into it, and one beside it that does not. */

const NQN = 'nqn.2026-01.org.nvbraid:limits';
const { Read, Write } = IoOpcode;

async function serving(reactors: number, limits: Partial<TargetLimits>, poolBytes?: number) {
  const target = await createTarget({ reactors, limits, ...(poolBytes === undefined ? {} : { poolBytes }) });
  const logged: string[] = [];
  target.on('log', (message) => logged.push(message));
  target.on('controller-gone', (_controller, reason) => logged.push(reason));
  target.addSubsystem({ nqn: NQN });
  await target.addNamespace(NQN, { device: memoryDevice({ size: 8 << 20, blockSize: 4096 }) });
  const { port } = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
  /** Fulfilled when the limit has been met, with what the log says of it. */
  const met = async (limit: string): Promise<string> => {
    while (target.limitsMet()[limit] === undefined) await turn();
    return logged.find((line) => new RegExp(`limit ${limit}\\b`).test(line))!;
  };
  return { target, port, logged, met };
}

/** A connection on which nothing has been said yet. */
async function silent(port: number): Promise<RawPeer> {
  const socket = connect(port, '127.0.0.1');
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  return new RawPeer(socket);
}

const GONE = /hung up|ECONNRESET/;
const hungUp = (peer: RawPeer): Promise<void> => assert.rejects(peer.pdu(), GONE);

for (const reactors of [0, 1]) {
  const where = reactors === 0 ? 'main thread' : 'reactor';

  test(`a PDU that is never ended ends its connection, in the ${where}; others go on`, async () => {
    const { target, port, met } = await serving(reactors, { pduTimeoutMs: 60 });
    const { admin, cntlid } = await RawPeer.admin(port, NQN);
    const loris = await RawPeer.io(port, NQN, cntlid, 1);
    const other = await RawPeer.io(port, NQN, cntlid, 2);
    loris.write(rw(Read, 1, 0, 1).subarray(0, 30));
    await hungUp(loris);
    assert.match(await met('pduTimeoutMs'), /127\.0\.0\.1:\d+ \(queue 1\) closed, since it has begun a PDU/);
    other.write(rw(Read, 2, 0, 1));
    assert.equal((await other.pdu())[0], PduType.C2HData);
    admin.write(capsule(new Uint8Array(64)).subarray(0, 3));
    await hungUp(admin);
    await target.close();
  });

  test(`an R2T that is never answered ends its connection, and its memory comes back, in the ${where}`, async () => {
    const { target, port, met } = await serving(reactors, { r2tTimeoutMs: 60 }, 1 << 20);
    const { cntlid } = await RawPeer.admin(port, NQN);
    const holder = await RawPeer.io(port, NQN, cntlid, 1);
    holder.write(rw(Write, 1, 0, 256));
    assert.equal((await holder.pdu())[0], PduType.R2T);
    await hungUp(holder);
    assert.match(await met('r2tTimeoutMs'), /queue 1\) closed, since it has not sent the data/);
    // A queue gets memory for one command in any case; that for the second is what the first queue held.
    const other = await RawPeer.io(port, NQN, cntlid, 2);
    other.write(rw(Write, 2, 0, 128), rw(Write, 3, 128, 128));
    assert.equal((await other.pdu())[0], PduType.R2T);
    assert.equal((await other.pdu())[0], PduType.R2T);
    await target.close();
  });

  test(`a host that does not read what it has asked for loses its connection, in the ${where}`, async () => {
    const { target, port, met } = await serving(reactors, { sendTimeoutMs: 60 });
    const { cntlid } = await RawPeer.admin(port, NQN);
    const deaf = await RawPeer.io(port, NQN, cntlid, 1);
    deaf.socket.pause();
    for (let i = 0; i < 64; i++) deaf.write(rw(Read, i, 0, 256));
    assert.match(await met('sendTimeoutMs'), /queue 1\) closed, since it does not receive/);
    while (target.stats().queues > 0) await turn();
    deaf.reset();
    await target.close();
  });
}

test('a connection that says nothing, or no Connect, or no data of its Connect, is closed and named', async () => {
  const { target, port, logged } = await serving(0, { connectTimeoutMs: 60 });
  const nothing = await silent(port);
  await hungUp(nothing);
  while (logged.length < 1) await turn();
  assert.match(logged.shift()!, /has sent no ICReq for 60 ms \(limit connectTimeoutMs\)/);
  const noConnect = await RawPeer.open(port);
  await hungUp(noConnect);
  const noData = await RawPeer.open(port);
  noData.write(
    capsule(
      ConnectSqe.toBytes({
        opc: 0x7f,
        fctype: FabricsType.Connect,
        sqsize: 31,
        sglLength: 1024,
        sglId: SglId.transport,
      }),
    ),
  );
  assert.equal((await noData.pdu())[0], PduType.R2T);
  await hungUp(noData);
  const half = await silent(port);
  half.write(ICReq.toBytes({ pduType: PduType.ICReq, hlen: 128, plen: 128 }).subarray(0, 100));
  await hungUp(half);
  assert.equal(target.limitsMet().connectTimeoutMs, 4);
  // One that is connected in time stays.
  const { admin } = await RawPeer.admin(port, NQN);
  assert.equal((await admin.property(Property.CSTS)) & 1, 1);
  await target.close();
});

test('a controller that is never enabled goes, however busy its host is with it', async () => {
  const { target, port, logged } = await serving(0, { enableTimeoutMs: 80 });
  const peer = await RawPeer.open(port);
  peer.write(connectCapsule(NQN, 0, 0xffff, 31));
  assert.equal((await peer.response()).status, 0);
  await assert.rejects(async () => {
    for (;;) await peer.property(Property.CSTS);
  }, /hung up/);
  assert.deepEqual(logged, ['enable timeout']);
  await target.close();
});

test('connections beyond the limit are reset and named; one that ends makes room', async () => {
  const { target, port, met } = await serving(1, { connections: 3 });
  const { admin, cntlid } = await RawPeer.admin(port, NQN);
  const first = await RawPeer.io(port, NQN, cntlid, 1);
  await RawPeer.io(port, NQN, cntlid, 2);
  await assert.rejects(RawPeer.open(port), GONE);
  assert.match(await met('connections'), /refused, since 3 are open/);
  assert.equal(target.stats().limitsMet, 1);
  first.reset();
  while (target.stats().connections === 3) await turn();
  await RawPeer.io(port, NQN, cntlid, 1);
  assert.equal((await admin.property(Property.CSTS)) & 1, 1);
  await target.close();
});

test('one address has so many connections before Connect, and connected ones do not count', async () => {
  const { target, port, met } = await serving(0, { halfOpenPerAddress: 2 });
  await RawPeer.admin(port, NQN);
  await RawPeer.admin(port, NQN);
  const a = await silent(port);
  await RawPeer.open(port);
  await assert.rejects(RawPeer.open(port), GONE);
  assert.match(await met('halfOpenPerAddress'), /127\.0\.0\.1:\d+ refused, since 2 are open/);
  a.reset();
  while (target.stats().connections > 3) await turn();
  const { admin } = await RawPeer.admin(port, NQN);
  assert.equal((await admin.property(Property.CSTS)) & 1, 1);
  await target.close();
});

test('a flood of connections from one address leaves room for those of others', async () => {
  const { target, port, met } = await serving(0, { halfOpen: 4, halfOpenPerAddress: 3 });
  for (let i = 0; i < 3; i++) await silent(port);
  await assert.rejects(RawPeer.open(port), GONE);
  const other = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.2' });
  await new Promise((resolve) => other.once('connect', resolve));
  const peer = new RawPeer(other);
  peer.write(ICReq.toBytes({ pduType: PduType.ICReq, hlen: 128, plen: 128 }));
  assert.equal((await peer.pdu())[0], PduType.ICResp);
  assert.match(await met('halfOpenPerAddress'), /refused/);
  const beyond = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.3' });
  beyond.on('error', () => {});
  assert.match(await met('halfOpen'), /127\.0\.0\.3/);
  await target.close();
});

test('a host with all its controllers is told that the controller is busy, and the log says who and which limit', async () => {
  const { target, port, met } = await serving(1, { controllersPerHost: 1, queuesPerHost: 1 });
  const { cntlid } = await RawPeer.admin(port, NQN);
  const peer = await RawPeer.open(port);
  peer.write(connectCapsule(NQN, 0, 0xffff, 31));
  assert.equal((await peer.response()).status, FabricsStatus.ControllerBusy);
  assert.match(await met('controllersPerHost'), /nqn\.2026-01\.org\.nvbraid:raw/);
  await RawPeer.io(port, NQN, cntlid, 1);
  await assert.rejects(RawPeer.io(port, NQN, cntlid, 2), /status 0x181/);
  assert.match(await met('queuesPerHost'), /nqn\.2026-01\.org\.nvbraid:raw/);
  assert.deepEqual(target.limitsMet(), { controllersPerHost: 1, queuesPerHost: 1 });
  await target.close();
});

test('limits that cannot be: a sentence names them and what is possible', () => {
  const refused = (given: object, words: RegExp, openFiles = 1e6): void =>
    assert.throws(
      () => targetLimits(given, 1 << 26, openFiles),
      (error) => error instanceof NvbraidError && error.code === 'EINVAL' && words.test(error.message),
    );
  refused({ hots: 1 }, /limits has no hots: there are hosts,/);
  refused({ hosts: 0 }, /limits\.hosts is a whole number from 1 to 65536: 0/);
  refused({ r2tTimeoutMs: 1.5 }, /r2tTimeoutMs/);
  refused({ connections: '9' }, /connections/);
  refused({ connections: 1000 }, /may open 1024 files, which leaves 896.*ulimit -n/, 1024);
  assert.equal(targetLimits({}, 1 << 26, 1024).connections, 896, 'the default is what there is room for');
  assert.equal(targetLimits({}, 1 << 26, 1e6).connections, 8192);
  assert.equal(targetLimits({}, 1 << 26, 20).connections, 16);
  assert.equal(targetLimits({}, 1 << 26).payloadBytesPerHost, 1 << 25);
});
